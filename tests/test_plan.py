"""`plan`: estimates per source and for the whole mix, and unreadable sources."""

import gzip
import json
from pathlib import Path

import pytest
import yaml
from conftest import document, parquet
from test_heritage import ids

from smollm3_mix.cli.main import main
from smollm3_mix.report.mix_plan import plan


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    texts = [document("web", number) for number in range(200)]
    parquet(tmp_path / "web", texts, files=2, group=50)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "lines.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    ids(tmp_path / "code/0.parquet", [(f"{number:040x}", "UTF-8", 100) for number in range(50)])
    path = tmp_path / "mine.yaml"
    sources = [
        {"name": "./web", "id": "web", "weight": 0.5, "tokens_per_byte": 0.2},
        {"name": "./lines.jsonl.gz", "id": "lines", "weight": 0.2, "tokens_per_byte": 0.25},
        {"name": "./code", "id": "code", "weight": 0.1, "content": "swh", "gated": True},
        {"name": "./nowhere", "id": "gone", "weight": 0.1},
        {"id": "secret", "weight": 0.1, "unavailable": "internal"},
    ]
    path.write_text(yaml.safe_dump({"description": "Five.", "datasets": sources}, sort_keys=False))
    return path


def test_plan_prints_estimates_and_unreadable_sources(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(recipe), "--max-tokens", "90k", "--rate", "1kB"]) == 1
    heading, _, names, _, *rows = capsys.readouterr().out.splitlines()
    assert heading == "mine: 4 of 5 sources are read. Five."
    assert names.split() == [
        "source",
        "weight",
        "share",
        "files",
        "on",
        "disk",
        "tokens",
        "text",
        "passes",
        "of",
        "to",
        "read",
    ]
    web, lines, code, gone, *rest = [row.split() for row in rows]
    assert web[:4] == ["web", "0.5", "55.5556%", "2"]
    text = sum(len(document("web", number)) for number in range(200))
    assert web[5:7] == ["50,000", "250kB"]
    assert int(web[7]) == pytest.approx(250_000 / text, abs=1.5)
    assert lines[7].startswith("~")
    assert code[5:7] == ["10,000", "40kB"]
    assert code[7:] == ["1", "~13.3kB"]  # the number of passes over texts in Software Heritage is unknown
    assert gone == ["gone", "0.1", "11.1111%", "10,000", "40kB", "1"]
    sentences = [" ".join(words) for words in rest[1:]]  # the first sentence describes dedup
    assert sentences[0].startswith("To read: about ")
    assert " minutes at 1kB/s. A written mix needs about 123.3kB of disk." in sentences[0]
    assert sentences[1].startswith("max_passes is too small according to the listed sizes: web (needs ")
    assert sentences[2:4] == [
        "Gated on the Hub: 1 source, 11.1111%. Request access at https://huggingface.co/datasets/./code.",
        "From Software Heritage (--accept-terms softwareheritage): 1 source, 11.1111%.",
    ]
    assert sentences[4].startswith("Cannot be read: 'gone' (11.1111%): ")
    assert sentences[5:] == ["Note: source 'secret' (weight 0.1, 10.0000% of the recipe) is not available: internal"]
    assert main(["plan", str(recipe), "--skip-unreadable"]) == 0


def test_plan_groups_unreadable_sources_by_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet(tmp_path / "web", [document("web", number) for number in range(20)])
    sources = [{"name": "./web", "id": "web", "weight": 0.5}]
    sources += [{"name": "./nowhere", "id": id_, "data_dir": id_, "weight": 0.2} for id_ in ("one", "two")]
    sources += [{"name": "./elsewhere", "id": "three", "weight": 0.1}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": sources}, sort_keys=False))
    assert main(["plan", str(tmp_path / "mine.yaml")]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert "Add --max-tokens N to estimate text, passes, bytes, hours and disk of a mix of N tokens." in printed
    lines = printed[printed.index("3 of 4 sources (50.0000% of the mix) cannot be read.") + 1 :]
    assert len(lines) == 2
    assert lines[0].startswith(
        "Cannot be read: 'one' (20.0000%), 'two' (20.0000%): no local file or folder './nowhere'"
    )
    assert lines[1].startswith("Cannot be read: 'three' (10.0000%): no local file or folder './elsewhere'")


def test_plan_opens_no_source_when_offline(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(recipe), "--offline", "--max-tokens", "90k"]) == 0
    assert "Cannot be read" not in capsys.readouterr().out


def test_plan_estimates_the_same_bytes_for_max_bytes_as_for_the_tokens_in_them(recipe: Path) -> None:
    by_tokens = plan(recipe, offline=True, max_tokens="90k")
    size = sum(row.text_bytes or 0 for row in by_tokens.rows)
    by_bytes = plan(recipe, offline=True, max_bytes=round(size))
    assert [row.tokens for row in by_bytes.rows] == pytest.approx([row.tokens for row in by_tokens.rows])
    smaller = plan(recipe, offline=True, max_tokens="45k", max_bytes=round(size))
    assert sum(row.tokens or 0 for row in smaller.rows) == pytest.approx(45_000)


@pytest.mark.parametrize("option", ["max_samples", "max_tokens", "max_bytes", "total_tokens"])
def test_plan_rejects_limits_that_are_not_positive(recipe: Path, option: str) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be a whole number"):
        plan(recipe, offline=True, **{option: 0})  # type: ignore[arg-type]


def test_plan_rejects_unknown_options_with_nearest_name(recipe: Path) -> None:
    with pytest.raises(
        TypeError, match=r"^plan\(\) got an unexpected keyword argument 'max_token'. Did you mean 'max_tokens'"
    ):
        plan(recipe, max_token=5)  # type: ignore[call-arg]


def test_plan_result_has_repr_html_and_dict(recipe: Path) -> None:
    found = plan(recipe, max_tokens="90k")
    assert repr(found) == "MixPlan('mine', 3 of 4 sources, 106.3kB to read, 0.0 seconds)"
    assert repr(plan(recipe, offline=True)) == "MixPlan('mine', 4 of 4 sources)"
    assert found._repr_html_().count("<tr>") == 5
    content = json.loads(json.dumps(found.to_dict()))
    assert [row["source"] for row in content["rows"]] == ["web", "lines", "code", "gone"]
    assert list(content["unreadable"]) == ["gone"]
    assert content["seconds"] == content["bytes_to_read"] / 50e6


def test_plan_prints_time_in_fitting_unit(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rate, expected in (("1GB", " seconds at 1GB/s."), ("1kB", " minutes at 1kB/s."), ("1", " hours at 1B/s.")):
        main(["plan", str(recipe), "--max-tokens", "90k", "--rate", rate])
        assert expected in capsys.readouterr().out
