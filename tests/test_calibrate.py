"""`calibrate`: ratios of sums on a sample, and a copy of the recipe in which only the ratios change."""

import json
from pathlib import Path

import pytest
from conftest import document, parquet
from small_tokenizer import save

from smollm3_mix.cli.main import main
from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.report.calibration import calibrate
from smollm3_mix.report.recipe_edits import with_ratios

RECIPE = """\
# My comment.
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


def test_calibrate_writes_exact_ratios_when_all_documents_are_sampled(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs a tokenizer: pip install tokenizers")
    vocabulary, out = save(tmp_path / "tokenizer.json"), tmp_path / "new.yaml"
    command = ["calibrate", str(recipe), "--tokenizer", str(vocabulary), "--output", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    encoder = tokenizers.Tokenizer.from_file(str(vocabulary))
    changed = {source.id: source for source in load_recipe(out).sources}
    for name in "abc":
        texts = [document(name, number) for number in range(300)]
        tokens = sum(len(each.ids) for each in encoder.encode_batch(texts, add_special_tokens=False))
        assert changed[name].tokens_per_byte == pytest.approx(tokens / sum(map(len, texts)), abs=6e-5)
        assert f"#   {name}: {changed[name].tokens_per_byte:.4f} ± " in out.read_text()
        assert f"{tokens:,}" in printed
    assert "# My comment.\ndescription: Three.  # kept\n" in out.read_text()
    assert "    # a comment inside\n" in out.read_text()
    assert str(tmp_path) not in out.read_text()  # a recipe may be published
    assert main(command) == 1
    assert capsys.readouterr().err == (f"error: {out} exists. Name a new file with --output, or delete this one.\n")


def test_calibrate_checks_output_before_measuring(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recipe / "below/a file.yaml"
    assert main(["calibrate", str(recipe), "--tokenizer", "nowhere", "--output", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"error: cannot create {out.parent}: Not a directory. Name another file with --output.\n"
    )


def test_calibrate_samples_all_files(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tokenizers", reason="needs a tokenizer: pip install tokenizers")
    parquet(tmp_path / "a", [document("a", 1)] * 100 + ["naïve " * 90] * 200, files=3)
    vocabulary, out = save(tmp_path / "tokenizer.json"), tmp_path / "new.yaml"
    command = ["calibrate", str(recipe), "--tokenizer", str(vocabulary), "--output", str(out), "--samples", "60"]
    assert main(command) == 0
    row = next(row.split() for row in capsys.readouterr().out.splitlines() if row.startswith("a "))
    assert row[4] == "60"
    assert float(row[3].rstrip("%")) > 1  # the sample has documents of both kinds


def test_calibrate_raises_when_no_document_is_kept(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tokenizers", reason="needs a tokenizer: pip install tokenizers")
    vocabulary = save(tmp_path / "tokenizer.json")
    parquet(tmp_path / "a", [""] * 20, files=1)
    for file in list((tmp_path / "a").glob("part-0[12]*")):
        file.unlink()
    assert main(["calibrate", str(recipe), "--tokenizer", str(vocabulary), "--output", str(tmp_path / "new.yaml")]) == 1
    assert capsys.readouterr().err == (
        f"error: {recipe}: source 'a' has no document to measure, because cleaning and filters keep none. "
        "Relax its `filters` or `where`, or remove it from the recipe.\n"
    )
    assert not (tmp_path / "new.yaml").exists()


def test_calibration_applies_ratios_and_has_repr_html_and_dict(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs a tokenizer: pip install tokenizers")
    vocabulary = save(tmp_path / "tokenizer.json")
    found = calibrate(recipe, tokenizer=vocabulary, samples="60")
    assert list(found.ratios) == ["a", "b", "c"]
    applied = {source.id: source.tokens_per_byte for source in found.apply(load_recipe(recipe)).sources}
    content = json.loads(json.dumps(found.to_dict()))
    assert {id_: applied[id_] for id_ in "abc"} == {
        id_: each["tokens_per_byte"] for id_, each in content["ratios"].items()
    }
    assert content["ratios"]["a"]["documents"] == 60
    assert repr(found) == f"Calibration('mine', 3 sources, tokenizer={str(vocabulary)!r})"
    assert found._repr_html_().count("<tr>") == 4
    found.to_yaml(tmp_path / "new.yaml")
    assert {s.id: s.tokens_per_byte for s in load_recipe(tmp_path / "new.yaml").sources if s.id in "abc"} == {
        id_: applied[id_] for id_ in "abc"
    }


def test_calibrate_raises_on_curriculum() -> None:
    with pytest.raises(RecipeError, match=r"a curriculum cannot be calibrated\. Calibrate the recipe of each stage"):
        calibrate("curriculum")
