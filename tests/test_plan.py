"""`plan`: what would be read of each source and of the whole, and what cannot be, before anything is."""

import gzip
import json
from pathlib import Path

import pytest
import yaml
from conftest import document, parquet
from test_heritage import ids

from smollm3_mix.cli.main import main
from smollm3_mix.report.plan_table import format_bytes


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
    head, _, names, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "mine: 5 sources, 4 of them to be read. Five."
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
    web, lines, code, gone, *said = [row.split() for row in rows]
    assert web[:4] == ["web", "0.5", "55.5556%", "2"]
    text = sum(len(document("web", number)) for number in range(200))
    assert web[6:9] == ["50,000", "250", "kB"]
    assert int(web[9]) == pytest.approx(250_000 / text, abs=1.5)
    assert lines[9].startswith("~")
    assert code[6:9] == ["10,000", "40", "kB"]
    assert code[9:] == ["1", "~13.3", "kB"]  # no passes: where the texts are, none are counted
    assert gone == ["gone", "0.1", "11.1111%", "10,000", "40", "kB", "1"]
    joined = [" ".join(words) for words in said[1:]]  # the first is of dedup
    assert joined[0].startswith("To read: about ")
    assert " minutes at 1 kB/s. A written mix takes about 123 kB of disk." in joined[0]
    assert joined[1].startswith("Too few passes allowed, if sizes are as listed: web (needs ")
    assert joined[2:4] == [
        "Gated on the Hub: 1 source, 11.1111%; ask for access at https://huggingface.co/datasets/./code.",
        "Of Software Heritage (--accept-terms softwareheritage): 1 source, 11.1111%.",
    ]
    assert joined[4].startswith("Cannot be read: 'gone' (11.1111%): ")
    assert joined[5:] == ["Note: source 'secret' (weight 0.1, 10.0000% of the recipe) is not available: internal"]
    assert main(["plan", str(recipe), "--skip-unreadable"]) == 0


def test_plan_groups_unreadable_sources_by_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet(tmp_path / "web", [document("web", number) for number in range(20)])
    sources = [{"name": "./web", "id": "web", "weight": 0.5}]
    sources += [{"name": "./nowhere", "id": id_, "data_dir": id_, "weight": 0.2} for id_ in ("one", "two")]
    sources += [{"name": "./elsewhere", "id": "three", "weight": 0.1}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": sources}, sort_keys=False))
    assert main(["plan", str(tmp_path / "mine.yaml")]) == 1
    said = capsys.readouterr().out.splitlines()
    assert "Give --tokens N to see what a mix of N tokens takes: text, passes, bytes, hours and disk." in said
    lines = said[said.index("Of 4 sources cannot be read: 3 sources, 50.0000%.") + 1 :]
    assert len(lines) == 2
    assert lines[0].startswith(
        "Cannot be read: 'one' (20.0000%), 'two' (20.0000%): no local file or folder './nowhere'"
    )
    assert lines[1].startswith("Cannot be read: 'three' (10.0000%): no local file or folder './elsewhere'")


def test_plan_opens_no_source_when_offline(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(recipe), "--offline", "--max-tokens", "90k"]) == 0
    assert "Cannot be read" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345, "12.3 kB"), (999_499, "999 kB"), (5e15, "5000 TB")],
)
def test_format_bytes_rounds(count: float, said: str) -> None:
    assert format_bytes(count) == said


def test_plan_prints_time_in_fitting_unit(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rate, said in (("1GB", " seconds at 1 GB/s."), ("1kB", " minutes at 1 kB/s."), ("1", " hours at 1 B/s.")):
        main(["plan", str(recipe), "--max-tokens", "90k", "--rate", rate])
        assert said in capsys.readouterr().out
