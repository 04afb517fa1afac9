"""Mixes written by source: mixed again record for record, without network, with other weights, after interruptions."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from smollm3_mix.cli.main import main
from smollm3_mix.errors import SourceExhaustedError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output import lane_writer, output_formats
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.filters.filter_options import FilterOptions
from smollm3_mix.verification.verify_mix import verify


def records(recipe, **options):
    return list(open_mix(recipe, **options).stream())


@pytest.mark.parametrize(
    "top",
    [
        {},
        {"weigh_by": "documents", "lanes": 3, "dedup": {"exact": True, "near": {"bands": 4, "rows": 2}}},
        {"order": "iid", "shuffle": "none"},
        {"holdout": {"fraction": 0.1}, "on_exhausted": "error"},
        {"weighted": False},
    ],
    ids=["plain", "near", "iid", "holdout", "unweighted"],
)
def test_by_source_mix_has_the_records_of_the_live_mix(recipe_file, tmp_path, top):
    recipe = recipe_file(sources={"b": {"id_field": "id"}, "a": {"keep": ["text"]}}, **top)
    limits = {"max_tokens": 4_000}
    write(recipe, tmp_path / "out", format="by-source", **limits)
    live = records(recipe, **limits)
    assert len(live) > 30
    assert records(tmp_path / "out" / "recipe.yaml", **limits) == live


def test_by_source_mix_has_the_records_of_the_live_mix_with_smaller_limits_and_passes(recipe_file, tmp_path):
    recipe = recipe_file(sources={"c": {"max_passes": 3}}, lanes=1)
    write(recipe, tmp_path / "out", format="by-source")
    stored = tmp_path / "out" / "recipe.yaml"
    assert records(stored, max_samples=100) == records(recipe, max_samples=100)
    assert records(stored) == records(recipe)


def test_by_source_stores_emitted_and_pending_documents(recipe_file, tmp_path):
    stats_by_split = write(recipe_file(), tmp_path / "out", format="by-source", max_tokens=4_000).stats
    stored = json.loads((tmp_path / "out" / "stats.json").read_text())["stored"]
    for source, counts in stats_by_split["train"].sources.items():
        assert stored[source]["documents"] == counts.emitted + counts.pending
        assert stored[source]["tokens"] >= counts.emitted_tokens
    assert (tmp_path / "out" / "data" / "00-a" / "train-00000-00000.parquet").exists()


def test_by_source_mix_accepts_other_weights_until_a_source_is_exhausted(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "out", format="by-source", max_tokens=6_000)
    text = (tmp_path / "out" / "recipe.yaml").read_text()
    changed = yaml.safe_load(text)
    for source, weight in zip(changed["datasets"], (0.2, 0.5, 0.3), strict=True):
        source["weight"] = weight
    changed["on_exhausted"] = "error"
    (tmp_path / "out" / "other.yaml").write_text(yaml.safe_dump(changed))
    mix = open_mix(tmp_path / "out" / "other.yaml", max_tokens=1_500)
    stream = mix.stream()
    assert len(list(stream)) > 10
    assert abs(stream.stats.shares["b"] - 0.5) < 0.1
    with pytest.raises(SourceExhaustedError, match="ran out after 1 pass"):
        records(tmp_path / "out" / "other.yaml", max_tokens=6_000)


def test_by_source_mix_drops_nothing_with_other_weights(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "out", format="by-source", max_tokens=6_000)
    (tmp_path / "sources").rename(tmp_path / "moved")
    stored = load_recipe(tmp_path / "out" / "recipe.yaml")
    weights = zip(stored.sources, (0.2, 0.5, 0.3), strict=True)
    other = stored.replace(sources=tuple(replace(source, weight=weight) for source, weight in weights))
    assert {source.clean for source in other.sources} == {Cleaning("none")}
    assert {source.filters for source in other.sources} == {FilterOptions()}
    assert not other.dedup.needs_state
    stream = open_mix(other, max_tokens=1_500).stream()
    emitted = sum(1 for _ in stream)
    total = stream.stats.total
    assert total.emitted == emitted > 10
    assert total.read == total.emitted + total.pending
    assert not total.dropped


def test_by_source_mix_needs_no_network_and_no_source(recipe_file, tmp_path):
    recipe = recipe_file()
    expected = records(recipe, max_samples=50)
    write(recipe, tmp_path / "out", format="by-source", max_samples=60)
    (tmp_path / "sources").rename(tmp_path / "moved")
    command = [sys.executable, "-m", "smollm3_mix", "take", str(tmp_path / "out" / "recipe.yaml"), "--quiet"]
    finished = subprocess.run(
        [*command, "--max-samples", "50"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line) for line in finished.stdout.splitlines()] == expected


def test_by_source_mix_resumes_from_a_state(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "out", format="by-source", max_samples=80)
    mix = open_mix(tmp_path / "out" / "recipe.yaml", max_samples=80)
    expected = list(mix.stream())
    for position in (0, 1, 33, 79):
        stream = mix.stream()
        for _ in range(position):
            next(iter(stream))
        resumed = mix.stream()
        resumed.load_state_dict(json.loads(json.dumps(stream.state_dict())))
        assert list(resumed) == expected[position:]


def test_by_source_files_are_the_same_after_an_interruption(recipe_file, tmp_path, monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 20)
    recipe = recipe_file(lanes=1, block={"rows": 40, "bytes": 40_000})
    options = {"format": "by-source", "max_shard_size": 6_000}
    write(recipe, tmp_path / "complete", **options)
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(recipe, tmp_path / "resumed", on_progress=stop, **options)
    assert (tmp_path / "resumed" / ".writing").exists()
    write(recipe, tmp_path / "resumed", **options)
    complete = {
        p.relative_to(tmp_path / "complete"): p.read_bytes() for p in (tmp_path / "complete").rglob("*.parquet")
    }
    assert complete == {
        p.relative_to(tmp_path / "resumed"): p.read_bytes() for p in (tmp_path / "resumed").rglob("*.parquet")
    }
    assert {p.name for p in complete} >= {"train-00000-00000.parquet"}


def test_write_command_prints_how_to_mix_by_source_files(recipe_file, tmp_path, capsys):
    assert (
        main(
            [
                "write",
                str(recipe_file()),
                "--format",
                "by-source",
                "--output-dir",
                str(tmp_path / "out"),
                "--max-samples",
                "40",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.endswith(
        f"Mix it with any weights: smollm3-mix take {tmp_path / 'out'}/recipe.yaml\n"
    )
    assert load_recipe(tmp_path / "out" / "recipe.yaml").tokens == "column"
    for path in (tmp_path / "out" / "data" / "01-b").glob("*.parquet"):
        assert set(pq.read_table(path)["source"].to_pylist()) == {"b"}


# Verification


@pytest.fixture
def stored(recipe_file, tmp_path):
    recipe = recipe_file(lanes=2, holdout={"fraction": 0.1})
    write(recipe, tmp_path / "out", format="by-source", max_tokens=4_000)
    return tmp_path / "out"


def test_verify_counts_stored_documents_and_mixes_them(stored, capsys):
    report = verify(stored)
    assert report.problems == ()
    written = {row.source: (row.records, row.units, row.discrepancy) for row in report.rows}
    stats = json.loads((stored / "stats.json").read_text())["splits"]["train"]["sources"]
    assert written == {
        id_: (own["emitted"], own["emitted_units"], own["max_discrepancy"]) for id_, own in stats.items()
    }
    assert main(["verify", str(stored)]) == 0
    assert capsys.readouterr().out.endswith("Verified 7 files: no problems found.\n")
    assert main(["verify", str(stored), "--report", str(stored.parent / "page.html")]) == 1
    assert capsys.readouterr().err.endswith(
        f"{stored} has format 'by-source', but a report needs Parquet. Verify it without --report (report=).\n"
    )


def change_rows(stored, name, change):
    path = stored / "data" / name
    pq.write_table(change(pq.read_table(path)), path)


def change_stats(stored, change):
    saved = json.loads((stored / "stats.json").read_text())
    change(saved)
    (stored / "stats.json").write_text(json.dumps(saved))


def update_sizes(saved, stored):
    data = stored / "data"
    saved["files"] = {name: (data / name).stat().st_size for name in saved["files"]}


def replace_column(table, column, values):
    return table.set_column(table.column_names.index(column), table.schema.field(column), values)


DAMAGE = {
    "a file is missing": (
        lambda stored: (stored / "data/01-b/train-00001-00000.parquet").unlink(),
        r"^data/01-b/train-00001-00000.parquet is missing, but stats.json says [\d,]+ bytes$",
    ),
    "a file is truncated": (
        lambda stored: (stored / "data/01-b/train-00001-00000.parquet").write_bytes(b"PAR1"),
        r"^train-00001-00000.parquet cannot be read: .*",
    ),
    "an unexpected file": (
        lambda stored: (stored / "data/01-b/notes.txt").write_text("?"),
        r"^data/01-b/notes.txt is not in stats.json$",
    ),
    "a document is missing": (
        lambda stored: change_rows(stored, "00-a/train-00000-00000.parquet", lambda table: table.slice(1)),
        r"^stored: 'a': documents are \d+ in the files and \d+ in stats.json$",
    ),
    "tokens are changed": (
        lambda stored: change_rows(
            stored,
            "00-a/train-00000-00000.parquet",
            lambda table: replace_column(
                table, "tokens", pa.array([9] * len(table), table.schema.field("tokens").type)
            ),
        ),
        r"^stored: 'a': tokens are [\d,]+ in the files and [\d,]+ in stats.json$",
    ),
    "documents of another source": (
        lambda stored: change_rows(
            stored,
            "00-a/train-00000-00000.parquet",
            lambda table: replace_column(
                table, "source", pa.array(["b"] * len(table), table.schema.field("source").type)
            ),
        ),
        r"^00-a/train-00000-00000.parquet: it has documents of 'b', expected only 'a'$",
    ),
    "the order is changed": (
        lambda stored: change_rows(stored, "00-a/train-00000-00000.parquet", lambda table: table[::-1]),
        r"^train: 'a': emitted_tokens is [\d,]+ as recipe.yaml mixes the files and [\d,]+ in stats.json$",
    ),
    "a held-out document is stored": (
        lambda stored: change_rows(
            stored,
            "validation-00000-00000.parquet",
            lambda table: pa.concat_tables(
                [table, pq.read_table(stored / "data/00-a/train-00000-00000.parquet").slice(0, 1)]
            ),
        ),
        r"^1 records of train have a text that is in validation$",
    ),
    "a held-out document is missing": (
        lambda stored: change_rows(stored, "validation-00000-00000.parquet", lambda table: table.slice(1)),
        r"^validation: '\w': emitted is \d+ in the files and \d+ in stats.json$",
    ),
    "the recipe reads other files": (
        lambda stored: (stored / "recipe.yaml").write_text(
            (stored / "recipe.yaml").read_text().replace("02-c/train-*", "02-d/train-*")
        ),
        r"(?s)^recipe.yaml cannot mix the stored documents: .*02-d/train-\*",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_verify_finds_every_kind_of_damage_in_by_source_files(stored, damage, capsys):
    change, problem = DAMAGE[damage]
    change(stored)
    if "file" not in damage and damage != "an unexpected file":  # otherwise the sizes are problems too
        change_stats(stored, lambda saved: update_sizes(saved, stored))
    problems = verify(stored).problems
    assert any(re.search(problem, found) for found in problems), problems
    assert main(["verify", str(stored)]) == 1
    output = capsys.readouterr().out
    assert f"ERROR: {problems[0]}\n" in output
    assert f"\nVerified {len(list((stored / 'data').rglob('*.*')))} files: {len(problems)} problem" in output


def test_write_refuses_an_unknown_format(recipe_file, tmp_path):
    with pytest.raises(ValueError, match="format must be one of parquet, by-source, nanotron, megatron, got 'mega'"):
        write(recipe_file(), tmp_path / "out", format="mega")


def test_row_groups_of_a_source_end_at_their_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(output_formats, "SOURCE_GROUP", 100)
    shard = output_formats.BySource(("a", "b")).open(tmp_path, "train-00000-00000")
    for number in range(5):
        row = {"id": str(number), "source": "a", "tokens": 15, "file": "f", "row": number, "meta": "{}"}
        shard.add(pa.Table.from_pylist([{**row, "text": "x" * 50}], RECORD_SCHEMA))
    shard.close()
    file = pq.ParquetFile(tmp_path / "00-a" / "train-00000-00000.parquet").metadata
    assert [file.row_group(n).num_rows for n in range(file.num_row_groups)] == [2, 2, 1]
    assert not (tmp_path / "01-b").exists()
