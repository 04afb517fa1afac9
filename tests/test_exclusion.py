"""`exclude:` drops listed rows in every format and counts them."""

import json
import pickle
from pathlib import Path

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import use_hub
from hub import hub
from hypothesis import given
from hypothesis import strategies as st
from network_faults import Faults
from recipes import faults_of
from sources_fixtures import write as write_source

from smollm3_mix.errors import RecipeError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.exclusion_file import exclusions_digest, read_exclusions
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.sources.url_files import local_copy
from smollm3_mix.text.exclusion import (
    build_exclusion_list,
    is_key,
    is_location,
    normal_forms,
)
from smollm3_mix.verification.verify_mix import verify

ROWS = [
    {
        "text": f"document number {n}",
        "id": f"own-{n}",
        "url": f"https://example.org/page/{n}",
        "blob_id": f"{n:040x}",
        "repo_name": f"Owner/name-{n % 10}",
    }
    for n in range(60)
]


def mix_of(folder: Path, rows: list[dict[str, object]], listed: str, ending: str = ".parquet", **top: object) -> Path:
    """Write a recipe over one file of the given rows and exclusion list."""
    write_source(folder / f"rows{ending}", rows)
    (folder / "list.txt").write_text(listed, encoding="utf-8")
    recipe = {"lanes": 1, "on_exhausted": "stop", "shuffle": "none", "exclude": "list.txt", **top}
    recipe["datasets"] = [{"name": f"rows{ending}", "id": "s", "weight": 1, **(top.get("source") or {})}]  # type: ignore[dict-item]
    recipe.pop("source", None)
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def emitted(path: Path) -> tuple[set[int], dict[str, int]]:
    """Return the emitted rows, and the number of dropped rows by reason."""
    stream = open_mix(path).stream()
    rows = {record["row"] for record in stream}
    counts = stream.stats.total
    assert counts.read == counts.emitted + counts.pending + sum(counts.dropped.values())
    return rows, counts.dropped


FORMATS = [".parquet", ".jsonl", ".jsonl.gz", ".csv", ".arrow"]


@pytest.mark.parametrize("ending", FORMATS)
def test_exclusion_matches_every_key_in_every_format(tmp_path: Path, ending: str) -> None:
    listed = f"# taken down\n\nown-3\nhttp://www.Example.org/page/7/\n{5:040x}\ngithub.com/owner/NAME-9\n"
    listed += f"rows{ending}:11\n  own-12  \r\nnobody\n"
    rows, dropped = emitted(mix_of(tmp_path, ROWS, listed, ending))
    gone = {3, 5, 7, 9, 11, 12, 19, 29, 39, 49, 59}
    assert rows == set(range(60)) - gone
    assert dropped == {"excluded": len(gone)}


@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_exclusion_columns_are_not_emitted_unless_kept(tmp_path: Path, ending: str) -> None:
    rows = [{key: row[key] for key in ("text", "url", "repo_name")} for row in ROWS]
    path = mix_of(tmp_path, rows, "https://example.org/page/1")
    records = list(open_mix(path).stream())
    assert len(records) == 59
    assert {record["meta"] for record in records} == {"{}"}
    path = mix_of(tmp_path, rows, "https://example.org/page/1", source={"keep": ["repo_name"]})
    assert json.loads(next(iter(open_mix(path).stream()))["meta"]) == {"repo_name": "Owner/name-0"}


def test_exclusion_finds_keys_of_later_lines(tmp_path: Path) -> None:
    rows = [{"text": f"document {n}"} | ({"url": f"u/{n}"} if n > 90 else {}) for n in range(100)]
    path = mix_of(tmp_path, [], "u/95")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines)
    path.write_text(path.read_text().replace("rows.parquet", "rows.jsonl"))
    assert emitted(path)[0] == set(range(100)) - {95}


def test_exclusion_finds_columns_kept_by_path(tmp_path: Path) -> None:
    rows = [{"text": f"document {n}", "metadata": {"url": f"u/{n}"}} for n in range(9)]
    assert len(emitted(mix_of(tmp_path, rows, "u/4"))[0]) == 9
    assert emitted(mix_of(tmp_path, rows, "u/4", source={"keep": ["metadata.url"]}))[0] == set(range(9)) - {4}


def test_exclusion_ignores_columns_of_lists_and_numbers(tmp_path: Path) -> None:
    rows = [{"text": f"document {n}", "repo": {"name": "x"}, "id": n, "url": [f"u/{n}"]} for n in range(9)]
    for ending in (".parquet", ".jsonl"):
        assert emitted(mix_of(tmp_path, rows, "4\n", ending))[0] == set(range(9)) - {4}


def test_reason_where_precedes_excluded_and_invalid_text(tmp_path: Path) -> None:
    rows = [{"text": text, "id": f"i{n}", "n": n} for n, text in enumerate(["a", None, "b", "c"])]
    path = mix_of(tmp_path, rows, "i0\ni1", source={"where": [["n", ">", 0]], "filters": {"min_chars": 5}})
    with pytest.raises(Exception, match="dropped: excluded 1, too_short 2, where 1"):
        list(open_mix(path).stream())


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_exclusion_does_not_depend_on_blocks(tmp_path: Path, rows: int) -> None:
    path = mix_of(tmp_path, ROWS, "own-3\nowner/name-4\n", block={"rows": rows, "bytes": 10_000})
    assert emitted(path)[0] == {n for n in range(60) if n != 3 and n % 10 != 4}


def test_block_of_excluded_rows_is_skipped(tmp_path: Path) -> None:
    listed = "".join(f"own-{n}\n" for n in range(16))
    assert emitted(mix_of(tmp_path, ROWS, listed, block={"rows": 8, "bytes": 10_000}))[0] == set(range(16, 60))


def test_fingerprint_depends_on_entries_of_the_list(tmp_path: Path) -> None:
    path = mix_of(tmp_path, ROWS, "own-1\nown-2\n")
    first = load_recipe(path).fingerprint
    (tmp_path / "other.txt").write_bytes(b"\xef\xbb\xbf# ours\r\nown-2\r\n\r\nown-1")
    path.write_text(path.read_text().replace("list.txt", "other.txt"))
    assert load_recipe(path).fingerprint == first
    (tmp_path / "other.txt").write_text("own-1\n")
    changed = load_recipe(path)
    assert changed.fingerprint != first
    assert changed.fingerprint != load_recipe(path).replace(exclude="list.txt").fingerprint == first
    path.write_text(path.read_text().replace("exclude: other.txt", ""))
    without = load_recipe(path)
    (line,) = without.diff(changed)
    assert line.startswith("exclude: absent → ")


def test_recipes_read_back_from_dict_and_yaml(tmp_path: Path) -> None:
    recipe = load_recipe(mix_of(tmp_path, ROWS, "own-1\n"))
    assert type(recipe).from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml").fingerprint == recipe.fingerprint


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "exclude: no file 'gone.txt' beside the recipe or here. Create it or correct the path"),
        (
            b"",
            (
                "exclude: 'gone.txt' has no entries. Write one id, blob id, URL or repository per line, or remove "
                "`exclude`"
            ),
        ),
        (
            b"# only\n\n  \n",
            (
                "exclude: 'gone.txt' has no entries. Write one id, blob id, URL or repository per line, or remove "
                "`exclude`"
            ),
        ),
        (b"a\nb\n\xe9t\xe9\n", "exclude: 'gone.txt' is not UTF-8 in line 3. Save it as UTF-8"),
    ],
)
def test_invalid_exclusion_lists_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "gone.txt").write_bytes(content)
    small = "datasets:\n  - {name: a/b, weight: 1}\n"
    assert faults_of(f"exclude: gone.txt\n{small}") == [problem]
    assert faults_of("exclude: ''\n" + small) == ["exclude.file: expected the path of a list, got ''"]


def test_list_that_differs_from_the_pinned_one_is_rejected(tmp_path: Path) -> None:
    path = mix_of(tmp_path, ROWS, "own-1\n")
    pinned = load_recipe(path)
    (tmp_path / "list.txt").write_text("own-2\n")
    with pytest.raises(RecipeError) as error:
        open_mix(pinned)
    old, new = exclusions_digest(["own-1"])[:12], exclusions_digest(["own-2"])[:12]
    assert str(error.value) == (
        f"{path}: exclude: 'list.txt' is not the list of sha256 {old}… that the recipe is pinned to, but of {new}…. "
        "Restore the old list, or remove `sha256`"
    )


def test_written_mix_contains_its_list(tmp_path: Path) -> None:
    path = mix_of(tmp_path, ROWS, "# why\nown-2\nown-1\n")
    all_stats = write(path, tmp_path / "one").stats
    assert all_stats["train"].total.dropped == {"excluded": 2}
    assert (tmp_path / "one" / "exclude.txt").read_text() == "own-1\nown-2\n"
    assert load_recipe(tmp_path / "one" / "recipe.yaml").exclude.file == "exclude.txt"  # type: ignore[union-attr]
    assert verify(tmp_path / "one").problems == ()
    (tmp_path / "list.txt").unlink()
    rebuilt = (tmp_path / "one" / "recipe.yaml").read_text().replace("rows.parquet", str(tmp_path / "rows.parquet"))
    (tmp_path / "one" / "recipe.yaml").write_text(rebuilt)
    write(tmp_path / "one" / "recipe.yaml", tmp_path / "two")
    data = [sorted((tmp_path / name / "data").iterdir()) for name in ("one", "two")]
    columns = [pq.read_table(*files)["id"].to_pylist() for files in data]
    assert columns[0] == columns[1]
    (tmp_path / "one" / "exclude.txt").unlink()  # removed by a user who must not publish it
    assert verify(tmp_path / "one").problems == ()


def test_changed_list_changes_the_mix(tmp_path: Path) -> None:
    path = mix_of(tmp_path, ROWS, "own-1\n")
    write(path, tmp_path / "out")
    (tmp_path / "list.txt").write_text("own-1\nown-2\n")
    with pytest.raises(OSError, match=r"already contains a different mix \(fingerprint: "):
        write(path, tmp_path / "out")


def test_workers_receive_the_list_with_the_resolved_recipe(tmp_path: Path) -> None:
    mix = open_mix(mix_of(tmp_path, ROWS, "own-1\n"))
    (tmp_path / "list.txt").unlink()
    again = pickle.loads(pickle.dumps(mix))
    assert {record["id"] for record in again.stream()} == {f"own-{n}" for n in range(60) if n != 1}


def test_exclusion_list_on_the_hub_is_found_beside_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    from smollm3_mix.builder.mix_config import SmolLM3MixConfig

    root = tmp_path / "repository"
    root.mkdir()
    path = mix_of(root, ROWS, "own-1\n")
    path.write_text(path.read_text().replace("rows.parquet", str(root / "rows.parquet")))
    with hub("org/recipes", root) as endpoint:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        use_hub(monkeypatch, endpoint)
        recipe = SmolLM3MixConfig(recipe="hf://datasets/org/recipes/mine.yaml").read()
        assert recipe.exclude.sha256 is None  # type: ignore[union-attr]
        mix = open_mix(recipe)
        assert mix.recipe.exclude.sha256 == exclusions_digest(["own-1"])  # type: ignore[union-attr]
        assert len(list(mix.stream())) == 59
        with pytest.raises(RecipeError) as error:
            open_mix(recipe.replace(exclude="gone.txt"))
    assert str(error.value).endswith(
        "exclude: hf://datasets/org/recipes/gone.txt is not on the Hub or is private. Fix the URL, or log in "
        "with `hf auth login`."
    )
    with hub("org/recipes", root, problems=Faults(lasting=("/resolve/",))) as endpoint:
        use_hub(monkeypatch, endpoint)
        with pytest.raises(
            RecipeError, match=r"exclude: hf://datasets/org/recipes/gone\.txt: the Hub cannot be reached \("
        ):
            open_mix(recipe.replace(exclude="gone.txt"))


@given(st.lists(st.text(min_size=1), min_size=1), st.lists(st.text()), st.integers(0, 5))
def test_excluded_rows_are_found_in_any_blocks(listed: list[str], others: list[str], cut: int) -> None:
    try:
        found = read_exclusions("\n".join(listed).encode("utf-8", "surrogatepass"))
    except ValueError:
        return
    values = [*found, *others, None]
    list_ = build_exclusion_list(found)
    expected = [value in set(found) for value in values]
    block = pa.array(values, pa.string())
    parts = [block.slice(0, cut), block.slice(cut)]
    matches = [
        list_.matches([(part, False)], "", pa.nulls(len(part), pa.int64()).fill_null(0).to_numpy()) for part in parts
    ]
    assert [*matches[0].tolist(), *matches[1].tolist()] == expected


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://www.Example.com/A/?q=1#part", "example.com/a/?q=1"),
        ("example.com/a/", "example.com/a"),
        ("git+ssh://github.com/Owner/Name.git", "owner/name"),
        ("https://github.com/owner/name/blob/x", "github.com/owner/name/blob/x"),
        ("Owner/Name", "owner/name"),
        ("", ""),
    ],
)
def test_normal_forms(url: str, form: str) -> None:
    assert normal_forms(pa.array([url])).to_pylist() == [form]
    assert normal_forms(pa.array([form])).to_pylist() == [form]


def test_digest_of_a_list_has_one_entry_per_line() -> None:
    two = "b4c620724d95022be9765d6f660a36f90835acab2437b5e8cd71812940b29346"
    assert exclusions_digest(["a", "bc"]) == two
    assert exclusions_digest(["abc"]) != two
    assert exclusions_digest(["ab", "c"]) != two


def test_null_is_never_excluded() -> None:
    found = build_exclusion_list(["https://www."])  # its normal form is empty, like the bytes of a null in Arrow
    urls = pa.array(["a.org", None, "http://"])
    assert found.matches([(urls, True)], "f", np.arange(3)).tolist() == [False, False, True]


def test_key_columns_match_by_last_part_in_any_case() -> None:
    assert [is_key(name) for name in ("id", "Blob_ID", "meta.HexSHA", "meta.url", "ids", "id.x")] == [
        *(True, True, True, True),
        *(False, False),
    ]
    assert [is_location(name) for name in ("Repo_Name", "meta.URL", "id", "content_id")] == [True, True, False, False]


def test_rows_are_excluded_by_numbers_of_up_to_18_digits() -> None:
    numbers = np.array([7, 10**17, 10**18 - 1])
    found = build_exclusion_list([f"a:b:{number}" for number in numbers])
    assert found.matches([], "a:b", numbers).tolist() == [True, True, True]
    assert found.matches([], "a", numbers).tolist() == [False, False, False]


def test_revision_in_the_url_of_a_list_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    revisions = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **options: revisions.append(options["revision"]))
    local_copy("hf://datasets/org/lists@refs%2Fpr%2F1/a/b.txt", None)
    local_copy("hf://datasets/org/lists/a/b.txt", None)
    assert revisions == ["refs/pr/1", None]
