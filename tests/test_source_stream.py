"""One source in a lane: its statistics, its position, and how it resumes from a state."""

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import parquet

from smollm3_mix.errors import SourceExhaustedError
from smollm3_mix.mix import source_stream
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.stream import Stream
from smollm3_mix.recipe.recipe import Recipe

SHORT, LONG = "short {}", "a text of more than twenty characters {}"


def recipe(folder: Path, texts: list[str], source: dict[str, object] | None = None, **top: object) -> Recipe:
    """Return a recipe of one lane over one source of these texts, in their order, in blocks of four rows."""
    if not (folder / "x").exists():
        parquet(folder / "x", texts, files=1)
    values = {"name": str(folder / "x"), "id": "x", "weight": 1, **(source or {})}
    plain = {"lanes": 1, "block": {"rows": 4}, "shuffle": "none", "on_exhausted": "renormalize"}
    return Recipe.from_dict({"file": "one", **plain, **top, "datasets": [values]})


def read(stream: Stream, count: int | None = None) -> list[int]:
    return [record["row"] for record in itertools.islice(stream, count)]


def state(stream: Stream) -> dict[str, object]:
    return json.loads(json.dumps(stream.state_dict()))


def test_stream_continues_after_its_files_were_closed_on_resume(tmp_path: Path) -> None:
    mix = open_mix(recipe(tmp_path, [LONG.format(n) for n in range(20)], dedup={"exact": False}))
    stream = mix.stream()
    assert read(stream, 6) == list(range(6))
    resumed = mix.stream()
    resumed.load_state_dict(state(stream))
    resumed.close()
    assert read(resumed) == list(range(6, 20))


@pytest.mark.parametrize(("empty", "raises"), [(2, False), (3, True)])
def test_stream_raises_after_too_many_empty_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: int, raises: bool
) -> None:
    monkeypatch.setattr(source_stream, "MAX_EMPTY_BLOCKS", 3)
    texts = [SHORT.format(n) for n in range(4 * empty)] + [LONG.format(n) for n in range(4)]
    stream = open_mix(recipe(tmp_path, texts, filters={"min_chars": 20})).stream()
    if raises:
        message = r"'x': 3 consecutive blocks have no accepted document \(12 rows read, dropped: too_short 12\)"
        with pytest.raises(SourceExhaustedError, match=message):
            read(stream)
    else:
        assert read(stream) == list(range(8, 12))


def test_longest_document_is_that_of_all_blocks(tmp_path: Path) -> None:
    texts = [LONG.format(n) + " and more" * (9 if n == 2 else 0) for n in range(12)]
    stream = open_mix(recipe(tmp_path, texts, weigh_by="bytes")).stream()
    assert read(stream) == list(range(12))
    assert stream.stats.sources["x"].longest == len(texts[2])


@pytest.mark.parametrize("weigh_by", ["tokens", "bytes", "documents"])
def test_stats_count_tokens_bytes_and_units_separately(tmp_path: Path, weigh_by: str) -> None:
    mix = open_mix(recipe(tmp_path, [LONG.format("x" * n) for n in range(12)], weigh_by=weigh_by))
    stream = mix.stream()
    records = list(itertools.islice(stream, 7))
    counts = stream.stats.sources["x"]
    bytes_, tokens = sum(len(r["text"]) for r in records), sum(r["tokens"] for r in records)
    units = {"tokens": tokens, "bytes": bytes_, "documents": 7}[weigh_by]
    assert (counts.emitted, counts.emitted_bytes, counts.emitted_tokens, counts.emitted_units) == (
        7,
        bytes_,
        tokens,
        units,
    )
    assert (counts.read, counts.pending, counts.passes) == (8, 1, 1)


def test_later_passes_drop_and_count_rows_dropped_in_the_first_pass(tmp_path: Path) -> None:
    texts = [LONG.format(n % 7) for n in range(11)]  # the last four rows are copies
    stream = open_mix(recipe(tmp_path, texts, {"max_passes": 3})).stream()
    assert read(stream) == [*range(7)] * 3
    counts = stream.stats.sources["x"]
    assert counts.dropped == {"duplicate": 4, source_stream.DROPPED_IN_FIRST_PASS: 8}
    assert (counts.read, counts.passes) == (33, 3)


@pytest.mark.parametrize("position", [3, 7, 8, 10])
def test_state_in_a_later_pass_contains_the_decisions_of_the_first(tmp_path: Path, position: int) -> None:
    mix = open_mix(recipe(tmp_path, [LONG.format(n % 7) for n in range(10)], {"max_passes": 2}))
    stream = mix.stream()
    assert read(stream, position) == ([*range(7)] * 2)[:position]
    resumed = mix.stream()
    resumed.load_state_dict(state(stream))
    assert read(resumed) == ([*range(7)] * 2)[position:]


def test_resumed_pass_is_not_empty_when_documents_were_accepted_before_the_state(tmp_path: Path) -> None:
    texts = [LONG.format(n) for n in range(4)] + [SHORT.format(n) for n in range(8)]
    mix = open_mix(recipe(tmp_path, texts, filters={"min_chars": 20}, on_exhausted="repeat"))
    stream = mix.stream()
    assert read(stream, 4) == [0, 1, 2, 3]
    resumed = mix.stream()
    resumed.load_state_dict(state(stream))
    assert read(resumed) == []
    assert resumed.stats.sources["x"].read == 12


def test_position_is_reset_when_empty_blocks_follow_the_current_block(tmp_path: Path) -> None:
    texts = [LONG.format(n) for n in range(4)] + [SHORT.format(n) for n in range(8)]
    mix = open_mix(recipe(tmp_path, texts, filters={"min_chars": 20}))
    stream = mix.stream()
    assert read(stream) == [0, 1, 2, 3]
    lane = mix.lane(0)
    while lane.fill():
        lane.pull(9)
    saved = lane.state_dict()
    assert (saved["streams"][0]["emitted"], saved["streams"][0]["rows"], saved["pulled"]) == (0, 4, [0])


def test_continued_block_keeps_the_cleaning_of_its_recipe(tmp_path: Path) -> None:
    texts = [f"two  spaces here {n}" for n in range(12)]
    first = open_mix(recipe(tmp_path, texts)).stream()
    emitted = [record["text"] for record in itertools.islice(first, 2)]
    second = open_mix(recipe(tmp_path, texts, clean="code"), continue_from=state(first)).stream()
    emitted += [record["text"] for record in second]
    assert emitted == [text.replace("  ", " ") for text in texts[:4]] + texts[4:]


def test_blocks_after_a_continued_block_follow_the_new_recipe(tmp_path: Path) -> None:
    texts = [LONG.format(n) for n in range(20)]
    first = open_mix(recipe(tmp_path, texts)).stream()
    assert read(first, 2) == [0, 1]
    lane = open_mix(recipe(tmp_path, texts, block={"rows": 7}), continue_from=state(first)).lane(0)
    blocks = []
    while lane.fill():
        blocks.append([record["row"] for record in lane.pull(99).records()])
    assert blocks == [[2, 3], [*range(4, 11)], [*range(11, 18)], [18, 19]]


def test_block_continued_by_two_recipes_keeps_its_layout(tmp_path: Path) -> None:
    texts = [LONG.format(n) for n in range(64)]
    parquet(tmp_path / "x", texts, files=4, group=16)
    top = {"block": {"rows": 16}, "shuffle": "block", "lanes": 2}
    whole = [record["text"] for record in open_mix(recipe(tmp_path, texts, **top, seed=1)).stream([0])]
    found: list[str] = []
    saved = None
    for seed, count, shuffle in ((1, 10, "block"), (2, 8, "none"), (3, None, "block")):
        mix = open_mix(recipe(tmp_path, texts, **top | {"shuffle": shuffle}, seed=seed), continue_from=saved)
        stream = mix.stream()
        emitted = itertools.islice(stream, count)
        found += [record["text"] for record in emitted if record["text"] in set(whole)]
        saved = state(stream)
    assert found[:16] == whole[:16]
    assert sorted(found) == sorted(whole)


def test_stats_of_a_continuation_start_with_the_continued_block(tmp_path: Path) -> None:
    texts = [LONG.format(n) + "!" * (3 if n == 1 else 2 if n == 3 else 0) for n in range(12)]
    first = open_mix(recipe(tmp_path, texts, weigh_by="bytes")).stream()
    assert read(first, 2) == [0, 1]
    stream = open_mix(recipe(tmp_path, texts, weigh_by="bytes", seed=9), continue_from=state(first)).stream()
    counts = stream.stats.sources["x"]
    assert (counts.read, counts.pending, counts.emitted, counts.passes) == (2, 2, 0, 1)
    assert counts.longest == len(texts[3])
    assert read(stream) == [*range(2, 12)]
    counts = stream.stats.sources["x"]
    assert (counts.read, counts.pending, counts.emitted, counts.passes) == (10, 0, 10, 1)
    assert counts.emitted_units == sum(map(len, texts[2:]))


def test_each_pass_yields_a_row_once_when_the_block_size_changes(tmp_path: Path) -> None:
    texts = [LONG.format(n % 7) for n in range(10)]
    source = {"max_passes": 3}
    first = open_mix(recipe(tmp_path, texts, source)).stream()
    assert read(first, 5) == [*range(5)]
    second = open_mix(recipe(tmp_path, texts, source, block={"rows": 3}), continue_from=state(first)).stream()
    assert Counter(read(second)) == {row: 3 - (row < 5) for row in range(7)}
