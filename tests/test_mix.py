"""The mix engine on real files: order, shares, ends of sources, holdout, limits."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from conftest import resumes_everywhere

from smollm3_mix.errors import SourceExhaustedError, StateError
from smollm3_mix.mix import stream
from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.schema import RECORD_SCHEMA


def ids(stream):
    return [record["id"] for record in stream]


def read_by(stream, rows):
    found = []
    while (batch := stream.read(rows)).num_rows:
        assert batch.num_rows <= rows
        assert batch.schema.equals(RECORD_SCHEMA)
        found += batch.to_pylist()
    return found


def test_records_do_not_depend_on_read_size(recipe_file):
    mix = open_mix(recipe_file(lanes=3))
    whole = list(mix.stream())
    assert len(whole) > 300
    assert {record["source"] for record in whole} == {"a", "b", "c"}
    for rows in (1, 7, 64, 1000):
        assert read_by(mix.stream(), rows) == whole


def test_stream_interleaves_lanes_round_robin_without_changing_them(recipe_file):
    mix = open_mix(recipe_file(lanes=3))
    alone = [ids(mix.stream([lane])) for lane in range(3)]
    expected = []
    for place in range(max(map(len, alone))):
        expected += [lane[place] for lane in alone if place < len(lane)]
    assert ids(mix.stream()) == expected
    assert ids(mix.stream([2, 0])) == [
        lane[place]
        for place in range(max(len(alone[0]), len(alone[2])))
        for lane in (alone[2], alone[0])
        if place < len(lane)
    ]


@pytest.mark.parametrize("top", [{}, {"order": "iid", "on_exhausted": "repeat"}])
def test_released_blocks_are_reread(recipe_file, monkeypatch, top):
    mix = open_mix(recipe_file(sizes=(90, 45, 18), **top))
    whole = mix.stream()
    records = list(whole)
    monkeypatch.setattr(stream, "HELD_BYTES", 0)
    resting = mix.stream()
    assert list(resting) == records
    assert resting.stats == whole.stats
    again = mix.stream()
    list(itertools.islice(again, 20))
    state = json.loads(json.dumps(again.state_dict()))
    resumed = mix.stream()
    resumed.load_state_dict(state)
    assert list(resumed) == records[20:]


def test_records_are_unique_and_name_their_origin(recipe_file):
    path = recipe_file(lanes=1, on_exhausted="renormalize")
    records = list(open_mix(path).stream())
    assert max(Counter((r["file"], r["row"]) for r in records).values()) == 1
    given = Counter(r["source"] for r in records)
    assert (given["a"] + given["b"], given["c"]) == (600 - 3, 60)  # one empty, one twice in a, one in a and b
    assert all(r["id"].startswith("own-") for r in records if r["source"] == "b")
    assert all(r["id"] == f"{r['file']}:{r['row']}" for r in records if r["source"] == "a")


@pytest.mark.parametrize("weigh_by", ["tokens", "bytes", "documents"])
def test_discrepancies_are_within_their_bound_after_every_record(recipe_file, weigh_by):
    mix = open_mix(recipe_file(lanes=1, weigh_by=weigh_by))
    records = list(mix.stream())
    unit = {"tokens": lambda r: r["tokens"], "bytes": lambda r: len(r["text"].encode()), "documents": lambda r: 1}[
        weigh_by
    ]
    units = np.array([unit(r) for r in records])
    sources = np.array([r["source"] for r in records])
    shares = mix.recipe.shares
    stream = mix.stream()
    list(stream)
    stats = stream.stats
    bound = discrepancy_bound(
        np.array(list(shares.values())), np.array([float(stats.sources[s].longest) for s in shares])
    )
    for source, most in zip(shares, bound, strict=True):
        discrepancy = np.abs(shares[source] * np.cumsum(units) - np.cumsum(np.where(sources == source, units, 0)))
        assert discrepancy.max() <= most
        assert stats.sources[source].max_discrepancy == pytest.approx(discrepancy.max())


def test_stats_add_up_and_are_the_sum_of_all_lanes(recipe_file):
    mix = open_mix(recipe_file(lanes=3))
    stream = mix.stream()
    list(stream)
    whole = stream.stats
    for counts in whole.sources.values():
        assert counts.read == sum(counts.dropped.values()) + counts.pending + counts.emitted
        assert counts.pending >= 0
    parts = []
    for lane in range(3):
        alone = mix.stream([lane])
        list(alone)
        parts.append(alone.stats)
    assert sum(parts, MixStats({})) == whole


def test_stats_count_only_emitted_records(recipe_file):
    stream = open_mix(recipe_file()).stream()
    records = iter(stream)
    for number in range(1, 60):
        next(records)
        assert stream.stats.total.emitted == number


@pytest.mark.parametrize(
    "top",
    [
        {"lanes": 1},
        {"lanes": 3, "shuffle": "none"},
        {"lanes": 2, "on_exhausted": "renormalize"},
        {"lanes": 2, "on_exhausted": "repeat"},
        {"lanes": 1, "order": "iid"},
        {"lanes": 2, "order": "iid", "on_exhausted": "repeat"},
        {
            "lanes": 2,
            "dedup": {"exact": True, "near": {"bands": 14, "rows": 8, "ngram": 5}},
            "holdout": {"fraction": 0.2},
        },
        {"lanes": 2, "weighted": False},
    ],
    ids=lambda top: "-".join(str(value) for value in top.values() if not isinstance(value, dict)),
)
def test_stream_resumes_at_every_position(recipe_file, top):
    mix = open_mix(recipe_file(sizes=(60, 30, 12), **top))
    assert resumes_everywhere(mix, few=5) > 30


def test_stream_resumes_with_another_read_size(recipe_file):
    mix = open_mix(recipe_file(lanes=3))
    whole = list(mix.stream())
    stream = mix.stream()
    given = stream.read(5).num_rows + stream.read(3).num_rows
    resumed = mix.stream()
    resumed.load_state_dict(stream.state_dict())
    assert read_by(resumed, 11) == whole[given:]


def test_order_depends_on_the_seed_alone(recipe_file):
    one = ids(open_mix(recipe_file()).stream())
    assert ids(open_mix(recipe_file()).stream()) == one
    assert ids(open_mix(recipe_file(), seed=8).stream())[:100] != one[:100]


def test_mix_ends_with_the_record_that_reaches_a_limit(recipe_file):
    path = recipe_file(lanes=3)
    assert len(list(open_mix(path, max_samples=100).stream())) == 100
    assert len(list(open_mix(path, max_samples=2).stream())) == 2
    for limits, measure in (
        ({"max_tokens": 3000}, lambda r: r["tokens"]),
        ({"max_bytes": 9000}, lambda r: len(r["text"].encode())),
    ):
        records = list(open_mix(path, lanes=1, **limits).stream())
        total = sum(map(measure, records))
        limit = next(iter(limits.values()))
        assert total >= limit
        assert total - measure(records[-1]) < limit


def test_exhausted_source_raises_with_remedies(recipe_file):
    path = recipe_file(lanes=1, on_exhausted="error")
    with pytest.raises(SourceExhaustedError) as caught:
        list(open_mix(path, max_tokens=100_000).stream())
    message = str(caught.value)
    assert "'c' ran out after 1 pass (" in message or "'b' ran out after 1 pass (" in message
    assert "tokens of the mix need" in message
    assert "Raise its max_passes to" in message


def test_remedies_of_an_exhausted_source_are_sufficient(recipe_file):
    path = recipe_file(lanes=1, on_exhausted="error")
    with pytest.raises(SourceExhaustedError) as caught:
        list(open_mix(path, max_tokens=90_000).stream())
    message = str(caught.value)
    source = message.split("'")[1]
    passes = int(message.split("max_passes to ")[1].split(",", maxsplit=1)[0])
    more = recipe_file("more", sources={key: {"max_passes": passes} for key in "abc"}, lanes=1, on_exhausted="error")
    assert sum(r["tokens"] for r in open_mix(more, max_tokens=90_000).stream()) >= 90_000
    weight = float(message.split("weight to ")[1].rstrip("."))
    assert weight < {"a": 0.6, "b": 0.3, "c": 0.1}[source]


def test_repeat_ends_when_every_source_was_read_once(recipe_file):
    stream = open_mix(recipe_file(lanes=1, on_exhausted="repeat")).stream()
    given = Counter(record["source"] for record in stream)
    stats = stream.stats
    assert min(counts.passes for counts in stats.sources.values()) == 1
    assert max(counts.passes for counts in stats.sources.values()) > 1
    assert given["a"] + given["b"] + given["c"] == stats.total.emitted


def test_repeat_ends_when_every_source_had_all_its_passes(recipe_file):
    twice = {key: {"max_passes": 2} for key in "abc"}
    stream = open_mix(recipe_file(lanes=1, on_exhausted="repeat", sources=twice, sizes=(60, 30, 12))).stream()
    given = Counter(record["source"] for record in stream)
    assert min(given.values()) > 0
    assert min(counts.passes for counts in stream.stats.sources.values()) == 2


def test_repeat_continues_up_to_a_limit(recipe_file):
    stream = open_mix(recipe_file(lanes=2, on_exhausted="repeat"), max_tokens=80_000).stream()
    assert sum(record["tokens"] for record in stream) >= 80_000
    stats = stream.stats
    shares = stats.shares
    assert shares["a"] == pytest.approx(0.6, abs=0.01)
    assert stats.sources["c"].dropped.get("duplicate", 0) == 0  # repeated passes are not duplicates


def test_later_passes_have_another_order(recipe_file):
    records = list(open_mix(recipe_file(lanes=1, on_exhausted="repeat"), max_tokens=150_000).stream())
    rows = [r["row"] for r in records if r["source"] == "c"]
    assert sorted(rows[:60]) == sorted(rows[60:120]) == list(range(60))
    assert rows[:60] != rows[60:120]


def test_holdout_is_never_in_train_for_any_seed_or_lanes(recipe_file):
    path = recipe_file(on_exhausted="renormalize", holdout={"fraction": 0.2})
    held = {r["text"] for r in open_mix(path, split="validation").stream()}
    assert len(held) == 131
    everything = set()
    for seed, lanes in ((7, 2), (8, 3), (9, 1)):
        train = {r["text"] for r in open_mix(path, seed=seed, lanes=lanes).stream()}
        assert not train & held
        everything |= train | held
        assert {r["text"] for r in open_mix(path, seed=seed, lanes=lanes, split="validation").stream()} == held
    assert len(everything) == 657


def test_iid_draws_equal_those_of_interleave_datasets(recipe_file, tmp_path):
    datasets = pytest.importorskip("datasets")
    path = recipe_file(lanes=1, order="iid", shuffle="none", dedup={"exact": False})
    mix = open_mix(path)
    folders = [str(tmp_path / "sources" / key) for key in "abc"]
    parts = [
        datasets.load_dataset(folder, split="train", streaming=True)
        .filter(lambda row: row["text"].strip() != "")
        .map(lambda row, key: {"source": key}, fn_kwargs={"key": key})
        for folder, key in zip(folders, "abc", strict=True)
    ]
    expected = [
        row["source"]
        for row in datasets.interleave_datasets(
            parts, probabilities=[0.6, 0.3, 0.1], seed=7, stopping_strategy="first_exhausted"
        )
    ]
    assert [r["source"] for r in mix.stream()] == expected


def test_concatenation_yields_every_source_in_order(recipe_file):
    records = list(open_mix(recipe_file(lanes=1, weighted=False, on_exhausted="renormalize")).stream())
    sources = [r["source"] for r in records]
    assert sources == sorted(sources)
    assert Counter(sources) == {"a": 399, "b": 198, "c": 60}


def test_lane_raises_when_a_source_has_no_row_in_it(recipe_file, tmp_path):
    path = recipe_file(lanes=1)
    folder = tmp_path / "sources" / "one"
    folder.mkdir()
    (folder / "one.jsonl").write_text('{"text": "the only row of this source"}\n')
    both = recipe_file("both", sources={"c": {"name": str(folder)}}, lanes=2)
    with pytest.raises(
        SourceExhaustedError, match=r"'c' has no row in lane \d of 2: it is empty or has fewer rows than lanes"
    ):
        list(open_mix(both).stream())
    assert len(list(open_mix(both, lanes=1).stream())) > 0
    assert path.exists()


def test_source_without_accepted_documents_raises_with_reasons(recipe_file):
    path = recipe_file(sources={"b": {"filters": {"min_chars": 10_000}}}, lanes=1)
    with pytest.raises(
        SourceExhaustedError,
        match=r"'b' has no accepted document in lane 0 of 1 \(200 rows read, dropped: .*too_short 19\d",
    ):
        list(open_mix(path).stream())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": 8}, "seed: 7 → 8"),
        ({"lanes": 3}, "lanes: 2 → 3"),
    ],
)
def test_stream_rejects_the_state_of_another_recipe(recipe_file, change, message):
    path = recipe_file()
    state = open_mix(path).stream().state_dict()
    with pytest.raises(StateError) as caught:
        open_mix(path, **change).stream().load_state_dict(state)
    assert "This state was saved by recipe toy" in str(caught.value)
    assert message in str(caught.value)


def test_stream_rejects_states_of_other_lanes_or_limits(recipe_file):
    mix = open_mix(recipe_file())
    with pytest.raises(StateError, match=r"This state has lanes \[0\], but the reader has lanes \[0, 1\]\."):
        mix.stream().load_state_dict(mix.stream([0]).state_dict())
    with pytest.raises(StateError, match="saved with max_samples=None, but the mix has max_samples=5"):
        open_mix(recipe_file(), max_samples=5).stream().load_state_dict(mix.stream().state_dict())
    with pytest.raises(StateError, match="This is not the state of a mix: it has no 'recipe'"):
        mix.stream().load_state_dict({})


def test_open_mix_and_stream_reject_invalid_arguments(recipe_file):
    path = recipe_file()
    with pytest.raises(ValueError, match=r"max_samples must be a whole number above 0, such as .*, got 0"):
        open_mix(path, max_samples=0)
    with pytest.raises(ValueError, match="split must be 'train' or 'validation', got 'test'"):
        open_mix(path, split="test")
    with pytest.raises(ValueError, match="has no validation split, because it holds nothing out"):
        open_mix(path, split="validation")
    with pytest.raises(ValueError, match="There is no lane 2"):
        open_mix(path).stream([2])
    with pytest.raises(ValueError, match="lanes must be different"):
        open_mix(path).stream([1, 1])
