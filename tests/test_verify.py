"""What `verify` finds in a written mix of which one thing was changed: each count, each type, each bound."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import document, jsonl

from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix_stats import DiscrepancyTracker, MixStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.verification import recount_sources
from smollm3_mix.verification.verification_report import VerificationReport
from smollm3_mix.verification.verify_mix import verify


@pytest.fixture
def written(recipe_file, tmp_path):
    """A mix of one lane in one file."""
    write(recipe_file(lanes=1), tmp_path / "out", max_samples=60)
    return tmp_path / "out"


def rows_of(folder: Path, change=None):
    """The records of the file, which are replaced by what `change` makes of them."""
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
            f"says {tokens} tokens; its text gives {rows[0]['tokens']}" in each for each in verify(written).problems
        )


def test_verify_reports_wrong_bytes_when_tokens_are_right(written):
    place = next(n for n, row in enumerate(rows_of(written)) if len(row["text"].encode()) % 4 == 0)
    rows_of(written, lambda rows: [row | {"text": row["text"] + "x" * (n == place)} for n, row in enumerate(rows)])
    _, fault = verify(written).problems  # beside the size of the file
    assert ": emitted_bytes is " in fault


@pytest.mark.parametrize("name", ["emitted", "emitted_bytes", "emitted_tokens", "emitted_units"])
def test_verify_compares_every_count_with_stats(written, name):
    saved = json.loads((written / "stats.json").read_text())
    saved["splits"]["train"]["sources"]["a"][name] += 1
    (written / "stats.json").write_text(json.dumps(saved))
    (fault,) = verify(written).problems
    assert fault.startswith(f"train: 'a': {name} is ")


def test_verify_reports_wrong_column_types(written):
    path = written / "data" / "train-00000-00000.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("row")
    pq.write_table(table.set_column(at, "row", table["row"].cast(pa.int32())), path)
    assert any(": columns are " in fault for fault in verify(written).problems)


def late(rows, source, records):
    """The rows with the first documents of a source behind so many records."""
    first = [row for row in rows[:records] if row["source"] != source]
    return first + [row for row in rows[:records] if row["source"] == source] + rows[records:]


def worst_debts(recipe, rows):
    numbers = {source: number for number, source in enumerate(recipe.shares)}
    discrepancies = DiscrepancyTracker(np.array(list(recipe.shares.values())))
    discrepancies.add(np.array([numbers[row["source"]] for row in rows]), np.array([row["tokens"] for row in rows]))
    return discrepancies.largest


def test_verify_reports_discrepancy_slightly_above_bound(written):
    recipe, rows = load_recipe(written / "recipe.yaml"), rows_of(written)
    saved = json.loads((written / "stats.json").read_text())["splits"]["train"]["sources"]
    longest = np.array([saved[source]["longest"] for source in recipe.shares], np.float64)
    bound = discrepancy_bound(np.array(list(recipe.shares.values())), longest)
    over = (n for n in range(len(rows)) if (worst_debts(recipe, late(rows, "b", n)) > bound).any())
    records = next(over)
    ratio = (worst_debts(recipe, late(rows, "b", records)) / bound).max()
    assert 1 < ratio < 1.3
    for number, found in ((records - 1, False), (records, True)):
        rows_of(written, lambda _, number=number: late(rows, "b", number))
        assert any("the debt of " in fault for fault in verify(written).problems) is found


def test_verify_by_source_reports_discrepancy_above_bound(recipe_file):
    exact, drawn = (open_mix(recipe_file(name, lanes=1, order=name)) for name in ("exact", "iid"))

    class Claimed:
        """A mix drawn at random that its recipe calls exact."""

        recipe, num_lanes, stream = exact.recipe, 1, staticmethod(drawn.stream)

    for mix, found in ((exact, False), (Claimed, True)):
        verdict = VerificationReport(exact.recipe, {"train": MixStats.empty(exact.recipe.shares)}, MixStats({}))
        recount_sources._mixed(mix, verdict)
        assert any(fault.startswith("train-00000: the debt of '") for fault in verdict.problems) is found


def test_verify_reports_cross_lane_duplicates_when_a_source_is_repeated(recipe_file, tmp_path):
    make = {"lanes": 2, "sources": {"c": {"max_passes": 2}}, "on_exhausted": "renormalize"}
    plain = recipe_file("plain", **make)
    same = [document("same", number) for number in range(40)]
    jsonl(tmp_path / "sources" / "b", same)
    (tmp_path / "sources" / "a" / "part-00.parquet").unlink()
    pq.write_table(pa.table({"text": same}), tmp_path / "sources" / "a" / "part-00.parquet")
    build_index(plain, tmp_path / "index")
    write(recipe_file("indexed", dedup={"index": str(tmp_path / "index")}, **make), tmp_path / "out")
    assert verify(tmp_path / "out").problems == ()
    write(plain, tmp_path / "lanes")
    (tmp_path / "lanes" / "recipe.yaml").write_bytes((tmp_path / "out" / "recipe.yaml").read_bytes())
    (fault,) = verify(tmp_path / "lanes").problems
    assert fault.endswith(" records repeat a text of another lane, which the dedup index drops")
