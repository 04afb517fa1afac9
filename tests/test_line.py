"""One source in a lane: what it counts, where it stands, and how it goes on from a state."""

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
from smollm3_mix.recipe.model import Recipe

SHORT, LONG = "short {}", "a text of more than twenty characters {}"


def recipe(folder: Path, texts: list[str], source: dict[str, object] | None = None, **top: object) -> Recipe:
    """A recipe of one lane over one source of these texts, read in their order in blocks of four rows."""
    if not (folder / "x").exists():
        parquet(folder / "x", texts, files=1)
    given = {"name": str(folder / "x"), "id": "x", "weight": 1, **(source or {})}
    plain = {"lanes": 1, "block": {"rows": 4}, "shuffle": "none", "on_exhausted": "renormalize"}
    return Recipe.from_dict({"file": "one", **plain, **top, "datasets": [given]})


def read(stream: Stream, count: int | None = None) -> list[int]:
    return [record["row"] for record in itertools.islice(stream, count)]


def state(stream: Stream) -> dict[str, object]:
    return json.loads(json.dumps(stream.state_dict()))


def test_reading_goes_on_behind_the_current_block_when_files_are_closed_after_resuming(tmp_path: Path) -> None:
    mix = open_mix(recipe(tmp_path, [LONG.format(n) for n in range(20)], dedup={"exact": False}))
    stream = mix.stream()
    assert read(stream, 6) == list(range(6))
    resumed = mix.stream()
    resumed.load_state_dict(state(stream))
    resumed.close()
    assert read(resumed) == list(range(6, 20))


@pytest.mark.parametrize(("fruitless", "raises"), [(2, False), (3, True)])
def test_reading_ends_at_as_many_blocks_without_a_document_as_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fruitless: int, raises: bool
) -> None:
    monkeypatch.setattr(source_stream, "FRUITLESS_BLOCKS", 3)
    texts = [SHORT.format(n) for n in range(4 * fruitless)] + [LONG.format(n) for n in range(4)]
    stream = open_mix(recipe(tmp_path, texts, filters={"min_chars": 20})).stream()
    if raises:
        said = r"'x': 3 blocks in a row gave no document \(12 rows read, dropped: too_short 12\)"
        with pytest.raises(SourceExhaustedError, match=said):
            read(stream)
    else:
        assert read(stream) == list(range(8, 12))


def test_the_longest_document_is_that_of_all_blocks(tmp_path: Path) -> None:
    texts = [LONG.format(n) + " and more" * (9 if n == 2 else 0) for n in range(12)]
    stream = open_mix(recipe(tmp_path, texts, weigh_by="bytes")).stream()
    assert read(stream) == list(range(12))
    assert stream.stats().sources["x"].longest == len(texts[2])


@pytest.mark.parametrize("weigh_by", ["tokens", "bytes", "documents"])
def test_tokens_bytes_and_units_are_counted_apart(tmp_path: Path, weigh_by: str) -> None:
    mix = open_mix(recipe(tmp_path, [LONG.format("x" * n) for n in range(12)], weigh_by=weigh_by))
    stream = mix.stream()
    records = list(itertools.islice(stream, 7))
    counts = stream.stats().sources["x"]
    bytes_, tokens = sum(len(r["text"]) for r in records), sum(r["tokens"] for r in records)
    units = {"tokens": tokens, "bytes": bytes_, "documents": 7}[weigh_by]
    assert (counts.emitted, counts.emitted_bytes, counts.emitted_tokens, counts.emitted_units) == (
        7,
        bytes_,
        tokens,
        units,
    )
    assert (counts.read, counts.pending, counts.passes) == (8, 1, 1)


def test_later_passes_drop_what_the_first_dropped_and_count_it(tmp_path: Path) -> None:
    texts = [LONG.format(n % 7) for n in range(11)]  # the last four rows are copies
    stream = open_mix(recipe(tmp_path, texts, {"max_passes": 3})).stream()
    assert read(stream) == [*range(7)] * 3
    counts = stream.stats().sources["x"]
    assert counts.dropped == {"duplicate": 4, source_stream.DROPPED_IN_FIRST_PASS: 8}
    assert (counts.read, counts.passes) == (33, 3)


@pytest.mark.parametrize("place", [3, 7, 8, 10])
def test_a_state_in_a_later_pass_knows_the_verdicts_of_the_first(tmp_path: Path, place: int) -> None:
    mix = open_mix(recipe(tmp_path, [LONG.format(n % 7) for n in range(10)], {"max_passes": 2}))
    stream = mix.stream()
    assert read(stream, place) == ([*range(7)] * 2)[:place]
    resumed = mix.stream()
    resumed.load_state_dict(state(stream))
    assert read(resumed) == ([*range(7)] * 2)[place:]


def test_a_source_that_gave_documents_before_the_state_is_not_taken_for_barren(tmp_path: Path) -> None:
    texts = [LONG.format(n) for n in range(4)] + [SHORT.format(n) for n in range(8)]
    mix = open_mix(recipe(tmp_path, texts, filters={"min_chars": 20}, on_exhausted="repeat"))
    stream = mix.stream()
    assert read(stream, 4) == [0, 1, 2, 3]
    resumed = mix.stream()
    resumed.load_state_dict(state(stream))
    assert read(resumed) == []
    assert resumed.stats().sources["x"].read == 12


def test_blocks_without_a_document_leave_no_place_in_the_block_before_them(tmp_path: Path) -> None:
    texts = [LONG.format(n) for n in range(4)] + [SHORT.format(n) for n in range(8)]
    mix = open_mix(recipe(tmp_path, texts, filters={"min_chars": 20}))
    stream = mix.stream()
    assert read(stream) == [0, 1, 2, 3]
    lane = mix.lane(0)
    while lane.fill():
        lane.pull(9)
    place = lane.state_dict()
    assert (place["lines"][0]["emitted"], place["lines"][0]["rows"], place["taken"]) == (0, 4, [0])


def test_the_rest_of_a_block_keeps_the_cleaning_of_the_recipe_that_laid_it(tmp_path: Path) -> None:
    texts = [f"two  spaces here {n}" for n in range(12)]
    first = open_mix(recipe(tmp_path, texts)).stream()
    given = [record["text"] for record in itertools.islice(first, 2)]
    second = open_mix(recipe(tmp_path, texts, clean="code"), continue_from=state(first)).stream()
    given += [record["text"] for record in second]
    assert given == [text.replace("  ", " ") for text in texts[:4]] + texts[4:]


def test_blocks_behind_the_one_that_was_begun_follow_the_new_recipe(tmp_path: Path) -> None:
    texts = [LONG.format(n) for n in range(20)]
    first = open_mix(recipe(tmp_path, texts)).stream()
    assert read(first, 2) == [0, 1]
    lane = open_mix(recipe(tmp_path, texts, block={"rows": 7}), continue_from=state(first)).lane(0)
    blocks = []
    while lane.fill():
        blocks.append([record["row"] for record in lane.pull(99).records()])
    assert blocks == [[2, 3], [*range(4, 11)], [*range(11, 18)], [18, 19]]


def test_a_source_that_two_recipes_go_on_with_stays_as_the_first_dealt_and_laid_it(tmp_path: Path) -> None:
    texts = [LONG.format(n) for n in range(64)]
    parquet(tmp_path / "x", texts, files=4, group=16)
    top = {"block": {"rows": 16}, "shuffle": "block", "lanes": 2}
    whole = [record["text"] for record in open_mix(recipe(tmp_path, texts, **top, seed=1)).stream([0])]
    found: list[str] = []
    saved = None
    for seed, count, shuffle in ((1, 10, "block"), (2, 8, "none"), (3, None, "block")):
        mix = open_mix(recipe(tmp_path, texts, **top | {"shuffle": shuffle}, seed=seed), continue_from=saved)
        stream = mix.stream()
        given = itertools.islice(stream, count)
        found += [record["text"] for record in given if record["text"] in set(whole)]
        saved = state(stream)
    assert found[:16] == whole[:16]
    assert sorted(found) == sorted(whole)


def test_counts_begin_with_the_rest_of_the_block_when_another_recipe_goes_on(tmp_path: Path) -> None:
    texts = [LONG.format(n) + "!" * (3 if n == 1 else 2 if n == 3 else 0) for n in range(12)]
    first = open_mix(recipe(tmp_path, texts, weigh_by="bytes")).stream()
    assert read(first, 2) == [0, 1]
    stream = open_mix(recipe(tmp_path, texts, weigh_by="bytes", seed=9), continue_from=state(first)).stream()
    counts = stream.stats().sources["x"]
    assert (counts.read, counts.pending, counts.emitted, counts.passes) == (2, 2, 0, 1)
    assert counts.longest == len(texts[3])
    assert read(stream) == [*range(2, 12)]
    counts = stream.stats().sources["x"]
    assert (counts.read, counts.pending, counts.emitted, counts.passes) == (10, 0, 10, 1)
    assert counts.emitted_units == sum(map(len, texts[2:]))


def test_the_same_row_is_given_once_in_each_pass_although_the_block_rule_changes(tmp_path: Path) -> None:
    texts = [LONG.format(n % 7) for n in range(10)]
    source = {"max_passes": 3}
    first = open_mix(recipe(tmp_path, texts, source)).stream()
    assert read(first, 5) == [*range(5)]
    second = open_mix(recipe(tmp_path, texts, source, block={"rows": 3}), continue_from=state(first)).stream()
    assert Counter(read(second)) == {row: 3 - (row < 5) for row in range(7)}
