"""The custom recipe of the project's brief, over folders in the shape of the repositories that it names.

As written it cannot work: stack-edu spells its configs otherwise and holds no text, and finemath has several configs.
One error lists all of it; fixed as the error says, the recipe gives its shares.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import document

from smollm3_mix.cli.main import main
from smollm3_mix.errors import UnreadableSourcesError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.read_recipe import load_recipe

FIXTURE = Path(__file__).parent / "fixtures" / "custom_recipe.yaml"

STACK_EDU = [
    "C",
    "CSharp",
    "Cpp",
    "Go",
    "Java",
    "JavaScript",
    "Markdown",
    "PHP",
    "Python",
    "Ruby",
    "Rust",
    "SQL",
    "Shell",
    "Swift",
    "TypeScript",
]
FINEMATH = ["finemath-3plus", "finemath-4plus", "infiwebmath-3plus", "infiwebmath-4plus"]

NO_TEXT = (
    "its rows contain Software Heritage ids in `blob_id` and no text. Add `content: swh` to fetch the texts, "
    "or name a source that contains them."
)
NO_PYTHON = f"no config 'python' (did you mean 'Python'?). Configs: {', '.join(STACK_EDU)}"
WHICH = (
    "it has several configs, but the recipe names none. Add `config`, for example `config: finemath-3plus`. "
    f"Configs: {', '.join(FINEMATH)}"
)
FIX = "Fix these sources, or skip them with --skip-unreadable (skip_unreadable=True). The other shares then grow."


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The recipe as written; the repositories stand beside it, so that its names mean them and not the Hub."""
    web = [{"text": document("web", n), "id": f"w{n}", "int_score": 3} for n in range(400)]
    ids = [{"blob_id": f"{n:040x}", "language": "Python", "src_encoding": "UTF-8", "length_bytes": 9} for n in range(9)]
    mathematics = [{"url": f"u{n}", "text": document("math", n)} for n in range(200)]
    repository(tmp_path / "HuggingFaceFW/fineweb-edu", ["default", "sample-10BT"], web)
    repository(tmp_path / "HuggingFaceTB/stack-edu", STACK_EDU, ids)
    repository(tmp_path / "HuggingFaceTB/finemath", FINEMATH, mathematics)
    return Path(shutil.copy(FIXTURE, tmp_path / "custom_recipe.yaml"))


def repository(folder: Path, configs: list[str], rows: list[dict[str, Any]]) -> None:
    """A folder with these rows in every config, told by its card as on the Hub."""
    card = ["---", "configs:"]
    for config in configs:
        (folder / config).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / config / "train-00000-of-00001.parquet")
        card += [f"- config_name: {config}", "  data_files:", "  - split: train", f"    path: {config}/train-*"]
    (folder / "README.md").write_text("\n".join([*card, "---", ""]), encoding="utf-8")


def fixed(recipe: Path, **changes: dict[str, Any]) -> Path:
    """The recipe with keys of some sources changed, by the last part of their names."""
    given = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    for source in given["datasets"]:
        source.update(changes.get(source["name"].rpartition("/")[2].replace("-", "_"), {}))
    path = recipe.with_name("fixed.yaml")
    path.write_text(yaml.safe_dump({"lanes": 1, **given}, sort_keys=False), encoding="utf-8")
    return path


def shown(recipe: Path) -> str:
    with pytest.raises(UnreadableSourcesError) as error:
        open_mix(recipe)
    return str(error.value)


def test_custom_recipe_is_valid() -> None:
    weights = {"HuggingFaceFW/fineweb-edu": 0.5, "HuggingFaceTB/stack-edu/python": 0.3, "HuggingFaceTB/finemath": 0.2}
    assert load_recipe(FIXTURE).shares == pytest.approx(weights)


def test_one_error_lists_every_unreadable_source(recipe: Path) -> None:
    assert shown(recipe).splitlines() == [
        f"{recipe}: 2 of 3 sources (50 % of the weight) cannot be read",
        f"  'HuggingFaceTB/stack-edu/python' (30 %): {NO_PYTHON}. With `config: Python`: {NO_TEXT}",
        f"  'HuggingFaceTB/finemath' (20 %): {WHICH}",
        FIX,
    ]


def test_command_line_prints_the_error_and_exits_with_1(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = shown(recipe)
    assert main(["write", str(recipe), "--max-tokens", "1k", "--output-dir", str(recipe.with_name("out"))]) == 1
    assert capsys.readouterr().err.endswith(f"error: {expected}\n")
    assert not recipe.with_name("out").exists()


def test_fixed_source_is_not_reported(recipe: Path) -> None:
    assert shown(fixed(recipe, stack_edu={"config": "Python"}, finemath={"config": "finemath-4plus"})).splitlines() == [
        f"{recipe.with_name('fixed.yaml')}: 1 of 3 sources (30 % of the weight) cannot be read",
        f"  'HuggingFaceTB/stack-edu/Python' (30 %): {NO_TEXT}",
        FIX,
    ]


def test_recipe_fixed_as_suggested_has_its_shares(recipe: Path) -> None:
    rows = [{"content": document("code", n)} for n in range(300)]
    repository(recipe.parent / "org/inline-code", ["Python"], rows)
    inline = {"name": "org/inline-code", "config": "Python", "text_field": "content", "kind": "code"}
    stream = open_mix(
        fixed(recipe, stack_edu=inline, finemath={"config": "finemath-4plus"}), max_tokens=20_000
    ).stream()
    for _ in stream:
        pass
    given = dict(zip(("web", "code", "math"), stream.stats.shares.values(), strict=True))
    assert given == pytest.approx({"web": 0.5, "code": 0.3, "math": 0.2}, abs=0.02)  # at most 400 of 20,000 tokens


def test_unavailable_source_is_skipped_and_named(recipe: Path) -> None:
    path = fixed(recipe, stack_edu={"unavailable": "Blob ids, no text."}, finemath={"config": "finemath-4plus"})
    plan = open_mix(path).resolved
    assert plan.skipped == {"HuggingFaceTB/stack-edu/python": "Blob ids, no text."}
    assert list(plan.recipe.shares.values()) == pytest.approx([5 / 7, 2 / 7])


def test_skip_unreadable_logs_every_skipped_source(recipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "smollm3_mix"):
        mix = open_mix(recipe, skip_unreadable=True)
    assert mix.resolved.recipe.shares == {"HuggingFaceFW/fineweb-edu": 1.0}
    for source, problem in mix.resolved.skipped.items():
        assert any(source in message and problem in message for message in caplog.messages)
    assert len(mix.resolved.skipped) == 2
