"""`verify` on written mixes with one change: each count, each column type, each bound."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import document, jsonl

from smollm3_mix.cli.main import main
from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.errors import OutputError
from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix_stats import DiscrepancyTracker, MixStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.output.written_mix import open_written
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.verification import recount_sources
from smollm3_mix.verification.verification_report import Findings
from smollm3_mix.verification.verify_mix import verify


@pytest.fixture
def written(recipe_file, tmp_path):
    """A mix of one lane in one file."""
    write(recipe_file(lanes=1), tmp_path / "out", max_samples=60)
    return tmp_path / "out"


def rows_of(folder: Path, change=None):
    """Return the records of the file. If `change` is given, write the result of `change(records)` instead."""
    path = folder / "data" / "train-00000-00000.parquet"
    rows = pq.read_table(path).to_pylist()
    if change is not None:
        pq.write_table(pa.Table.from_pylist(change(rows), RECORD_SCHEMA), path)
    return rows


def with_first(rows, **values):
    return [{**rows[0], **values}, *rows[1:]]


def test_verify_reports_wrong_token_counts(written):
    rows = rows_of(written)
    for tokens in (rows[0]["tokens"] - 1, rows[0]["tokens"] + 1):
        rows_of(written, lambda rows, tokens=tokens: with_first(rows, tokens=tokens))
        assert any(
            f"has {tokens} tokens, but its text has {rows[0]['tokens']}" in each for each in verify(written).problems
        )


def test_verify_reports_wrong_bytes_when_tokens_are_right(written):
    position = next(n for n, row in enumerate(rows_of(written)) if len(row["text"].encode()) % 4 == 0)
    rows_of(written, lambda rows: [row | {"text": row["text"] + "x" * (n == position)} for n, row in enumerate(rows)])
    _, problem = verify(written).problems  # the first is the size of the file
    assert ": emitted_bytes is " in problem


@pytest.mark.parametrize("name", ["emitted", "emitted_bytes", "emitted_tokens", "emitted_units"])
def test_verify_compares_every_count_with_stats(written, name):
    saved = json.loads((written / "stats.json").read_text())
    saved["splits"]["train"]["sources"]["a"][name] += 1
    (written / "stats.json").write_text(json.dumps(saved))
    (problem,) = verify(written).problems
    assert problem.startswith(f"train: 'a': {name} is ")


def test_verify_reports_wrong_column_types(written):
    path = written / "data" / "train-00000-00000.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("row")
    pq.write_table(table.set_column(at, "row", table["row"].cast(pa.int32())), path)
    assert any(": columns are " in problem for problem in verify(written).problems)


def delayed(rows, source, records):
    """Return the rows with the source's documents among the first `records` rows moved behind the other rows."""
    first = [row for row in rows[:records] if row["source"] != source]
    return first + [row for row in rows[:records] if row["source"] == source] + rows[records:]


def max_discrepancies(recipe, rows):
    numbers = {source: number for number, source in enumerate(recipe.shares)}
    discrepancies = DiscrepancyTracker(np.array(list(recipe.shares.values())))
    discrepancies.add(np.array([numbers[row["source"]] for row in rows]), np.array([row["tokens"] for row in rows]))
    return discrepancies.largest


def test_verify_reports_discrepancy_slightly_above_bound(written):
    recipe, rows = load_recipe(written / "recipe.yaml"), rows_of(written)
    saved = json.loads((written / "stats.json").read_text())["splits"]["train"]["sources"]
    longest = np.array([saved[source]["longest"] for source in recipe.shares], np.float64)
    bound = discrepancy_bound(np.array(list(recipe.shares.values())), longest)
    over = (n for n in range(len(rows)) if (max_discrepancies(recipe, delayed(rows, "b", n)) > bound).any())
    records = next(over)
    ratio = (max_discrepancies(recipe, delayed(rows, "b", records)) / bound).max()
    assert 1 < ratio < 1.3
    for number, found in ((records - 1, False), (records, True)):
        rows_of(written, lambda _, number=number: delayed(rows, "b", number))
        assert any("the discrepancy of " in problem for problem in verify(written).problems) is found


def test_verify_by_source_reports_discrepancy_above_bound(recipe_file):
    exact, drawn = (open_mix(recipe_file(name, lanes=1, order=name)) for name in ("exact", "iid"))

    class RandomMix:
        """A mix in random order, with a recipe that requires exact order."""

        recipe, num_lanes, stream = exact.recipe, 1, staticmethod(drawn.stream)

    for mix, found in ((exact, False), (RandomMix, True)):
        findings = Findings(exact.recipe, MixStats({}), {"train": MixStats.empty(exact.recipe.shares)})
        recount_sources._recount_mix(mix, findings)
        expected = "train-00000: the discrepancy of '"
        assert any(problem.startswith(expected) for problem in findings.problems) is found


def test_verify_reports_cross_lane_duplicates_when_a_source_is_repeated(recipe_file, tmp_path):
    options = {"lanes": 2, "sources": {"c": {"max_passes": 2}}, "on_exhausted": "renormalize"}
    plain = recipe_file("plain", **options)
    same = [document("same", number) for number in range(40)]
    jsonl(tmp_path / "sources" / "b", same)
    (tmp_path / "sources" / "a" / "part-00.parquet").unlink()
    pq.write_table(pa.table({"text": same}), tmp_path / "sources" / "a" / "part-00.parquet")
    build_index(plain, tmp_path / "index")
    write(recipe_file("indexed", dedup={"index": str(tmp_path / "index")}, **options), tmp_path / "out")
    assert verify(tmp_path / "out").problems == ()
    write(plain, tmp_path / "lanes")
    (tmp_path / "lanes" / "recipe.yaml").write_bytes((tmp_path / "out" / "recipe.yaml").read_bytes())
    (problem,) = verify(tmp_path / "lanes").problems
    assert problem.endswith(" records repeat a text of another lane, which the dedup index drops")


def test_verification_report_has_repr_html_and_dict(written):
    report = verify(open_written(written))
    assert report.ok
    report.raise_for_problems()
    assert repr(report) == "VerificationReport(ok=True, 1 file)"
    content = json.loads(json.dumps(report.to_dict()))
    assert (content["ok"], content["problems"], content["files"]) == (True, [], 1)
    assert report._repr_html_().count("<table>") == 1


def test_raise_for_problems_lists_problems(written):
    (written / "data" / "other.parquet").write_bytes(b"")
    report = verify(written)
    assert repr(report) == "VerificationReport(ok=False, 2 files, 1 problem)"
    assert report._repr_html_().count("<table>") == 2
    with pytest.raises(OutputError) as error:
        report.raise_for_problems()
    assert str(error.value) == "The verification found 1 problem:\n  data/other.parquet is not in stats.json"


def test_verify_command_prints_result_and_problems(written, capsys):
    assert main(["verify", str(written)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == [
        *("source", "target", "actual", "diff", "tokens", "records", "max", "discrepancy", "bound"),
        *("duplicates", "dropped"),
    ]
    assert printed[-1] == "Verified 1 file: no problems found."
    (written / "data" / "other.parquet").write_bytes(b"")
    assert main(["verify", str(written)]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "ERROR: data/other.parquet is not in stats.json",
        "Verified 2 files: 1 problem.",
    ]
