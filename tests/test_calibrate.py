"""`calibrate`: ratios of sums on a sample, written into a copy of the recipe whose other lines stay."""

from pathlib import Path

import pytest
from conftest import document, parquet
from small_tokenizer import save

from smollm3_mix.cli.main import main
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.report.recipe_edits import with_ratios

RECIPE = """\
# My own words.
description: Three.  # kept
datasets:
  - {name: ./a, id: a, weight: 0.5, tokens_per_byte: 0.1}   # flow
  - name: ./b
    id: b
    weight: 0.3
    # a comment inside
  - {id: gone, weight: 0.1, unavailable: "internal"}
  - {name: ./c, id: c, weight: 0.1,
     tokens_per_byte: 9, max_passes: 2}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    for name in "abc":
        parquet(tmp_path / name, [document(name, number) for number in range(300)], files=3)
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_with_ratios_changes_only_ratios() -> None:
    assert with_ratios(RECIPE, {0: "0.25", 1: "0.3", 3: "0.5"}) == (
        RECIPE.replace("0.1}   #", "0.25}   #")
        .replace("  - name: ./b\n", "  - tokens_per_byte: 0.3\n    name: ./b\n")
        .replace("tokens_per_byte: 9", "tokens_per_byte: 0.5")
    )
    assert with_ratios("datasets:\n  - &x {name: a, weight: 1}\n  - *x\n", {0: "2", 1: "3"}) == (
        "datasets:\n  - &x {name: a, weight: 1, tokens_per_byte: 2}\n  - *x\n"
    )
    assert with_ratios("english_datasets: [{name: a}]\n", {0: "2"}) == "english_datasets: [{name: a}]\n"


def test_calibrate_writes_exact_ratios_when_all_documents_are_sampled(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="counts with a tokenizer: pip install tokenizers")
    vocabulary, out = save(tmp_path / "tokenizer.json"), tmp_path / "new.yaml"
    command = ["calibrate", str(recipe), "--tokenizer", str(vocabulary), "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    encoder = tokenizers.Tokenizer.from_file(str(vocabulary))
    changed = {source.id: source for source in load_recipe(out).sources}
    for name in "abc":
        texts = [document(name, number) for number in range(300)]
        tokens = sum(len(each.ids) for each in encoder.encode_batch(texts, add_special_tokens=False))
        assert changed[name].tokens_per_byte == pytest.approx(tokens / sum(map(len, texts)), abs=6e-5)
        assert f"#   {name}: {changed[name].tokens_per_byte:.4f}, give or take " in out.read_text()
        assert f"{tokens:,}" in shown
    assert "# My own words.\ndescription: Three.  # kept\n" in out.read_text()
    assert "    # a comment inside\n" in out.read_text()
    assert str(tmp_path) not in out.read_text()  # a recipe may be published
    assert main(command) == 1
    assert capsys.readouterr().err == (f"error: {out} exists. Name a new file with --out, or remove that one.\n")


def test_calibrate_checks_output_before_measuring(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = recipe / "below/a file.yaml"
    assert main(["calibrate", str(recipe), "--tokenizer", "nowhere", "--out", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"OutputError: cannot make {out.parent}: Not a directory. Name another file with --out.\n"
    )


def test_calibrate_samples_all_files(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tokenizers", reason="counts with a tokenizer: pip install tokenizers")
    parquet(tmp_path / "a", [document("a", 1)] * 100 + ["naïve " * 90] * 200, files=3)
    vocabulary, out = save(tmp_path / "tokenizer.json"), tmp_path / "new.yaml"
    line = ["calibrate", str(recipe), "--tokenizer", str(vocabulary), "--out", str(out), "--samples", "60"]
    assert main(line) == 0
    row = next(row.split() for row in capsys.readouterr().out.splitlines() if row.startswith("a "))
    assert row[4] == "60"
    assert float(row[3].rstrip("%")) > 1  # documents of both kinds are in it


def test_calibrate_raises_when_no_document_is_kept(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tokenizers", reason="counts with a tokenizer: pip install tokenizers")
    vocabulary = save(tmp_path / "tokenizer.json")
    parquet(tmp_path / "a", [""] * 20, files=1)
    for file in list((tmp_path / "a").glob("part-0[12]*")):
        file.unlink()
    assert main(["calibrate", str(recipe), "--tokenizer", str(vocabulary), "--out", str(tmp_path / "new.yaml")]) == 1
    assert capsys.readouterr().err.endswith(
        f"SourceExhaustedError: {recipe}: source 'a' has no document to measure: cleaning and judging keep none. "
        "Loosen its `filters` or `where`, or remove it from the recipe.\n"
    )
    assert not (tmp_path / "new.yaml").exists()
