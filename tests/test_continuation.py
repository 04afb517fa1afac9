"""Continue with another recipe from a state: no record repeated or lost, shares from the first record on."""

import functools
import itertools
import json
from collections import Counter, defaultdict

import numpy as np
import pytest
from conftest import resumes_everywhere

from smollm3_mix.errors import StateError
from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.read_recipe import load_recipe

ONCE = {"on_exhausted": "renormalize"}


def key(record):
    return record["file"], record["row"]


def name(record):
    """Return the start of a text, which only its copies share. Which of two copies is emitted depends on the order."""
    return record["text"].split(":")[0]


def stopped(mix, records):
    """Return the first records of a mix and its state after them, through JSON."""
    stream = mix.stream()
    emitted = list(itertools.islice(stream, records))
    return emitted, json.loads(json.dumps(stream.state_dict()))


@pytest.fixture(scope="module")
def begun(shared_recipe_file):
    """Gives the names of all documents of a mix, and after so many records what came and the state."""
    mix = open_mix(shared_recipe_file("one", **ONCE))
    everything = {name(record) for record in mix.stream()}
    return functools.cache(lambda records: (everything, *stopped(mix, records)))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seed": 8},
        {"shuffle": "none"},
        {"block": {"rows": 5, "bytes": 1500}},
        {"clean": "code", "filters": {"min_chars": 5}},
        {"weigh_by": "bytes"},
        {"order": "iid", "seed": 3},
        {"dedup": {"exact": True, "memory": "2GiB"}},
    ],
    ids=lambda change: "-".join(change) or "same",
)
@pytest.mark.parametrize("records", [1, 150])
def test_continuation_repeats_and_loses_no_record(shared_recipe_file, begun, change, records):
    everything, emitted, state = begun(records)
    rest = list(open_mix(shared_recipe_file("two", **ONCE, **change), continue_from=state).stream())
    counts = Counter(map(key, emitted + rest))
    assert max(counts.values()) == 1
    assert set(map(name, emitted + rest)) == everything


def test_dedup_may_be_turned_off_and_on(shared_recipe_file, begun):
    everything, emitted, state = begun(150)
    off = open_mix(shared_recipe_file("two", **ONCE, dedup={"exact": False}), continue_from=state)
    more, state = stopped(off, 10)
    rest = list(open_mix(shared_recipe_file("three", **ONCE), continue_from=state).stream())
    counts = Counter(map(key, emitted + more + rest))
    assert max(counts.values()) == 1
    assert set(map(name, emitted + more + rest)) == everything


def test_continuation_stops_removed_sources_and_starts_new_ones(recipe_file):
    one = recipe_file("one", sources={"c": {"weight": 0}}, **ONCE)
    two = recipe_file("two", sources={"b": {"weight": 0}}, **ONCE)
    emitted, state = stopped(open_mix(one), 60)
    rest = list(open_mix(two, continue_from=state).stream())
    assert {r["source"] for r in emitted} == {"a", "b"}
    assert {r["source"] for r in rest} == {"a", "c"}
    assert len({key(r) for r in rest if r["source"] == "c"}) == 60
    assert not {key(r) for r in emitted} & {key(r) for r in rest}


def test_inactive_source_continues_at_its_position(recipe_file):
    without_b = recipe_file("two", sources={"b": {"weight": 0}}, **ONCE)
    emitted, state = stopped(open_mix(recipe_file("one", **ONCE)), 60)
    middle, state = stopped(open_mix(without_b, continue_from=state), 50)
    rest = list(open_mix(recipe_file("three", **ONCE), continue_from=state).stream())
    counts = Counter(map(key, emitted + middle + rest))
    assert max(counts.values()) == 1
    assert set(map(name, emitted + middle + rest)) == set(map(name, open_mix(recipe_file("one", **ONCE)).stream()))


def test_shares_hold_from_the_first_record_of_a_continuation(recipe_file):
    weights = {"a": {"weight": 0.2}, "b": {"weight": 0.2}, "c": {"weight": 0.6}}
    _, state = stopped(open_mix(recipe_file("one", lanes=1)), 60)
    mix = open_mix(recipe_file("two", lanes=1, sources=weights), continue_from=state)
    stream = mix.stream()
    records = list(stream)
    stats = stream.stats
    shares = mix.recipe.shares
    assert shares["c"] == pytest.approx(0.6)
    bound = discrepancy_bound(
        np.array(list(shares.values())), np.array([float(stats.sources[s].longest) for s in shares])
    )
    tokens = np.array([r["tokens"] for r in records])
    for source, most in zip(shares, bound, strict=True):
        mine = np.where([r["source"] == source for r in records], tokens, 0)
        discrepancy = np.abs(shares[source] * np.cumsum(tokens) - np.cumsum(mine))
        assert discrepancy.max() <= most
        assert stats.sources[source].max_discrepancy == pytest.approx(discrepancy.max())
    assert stats.total.emitted == len(records)
    for counts in stats.sources.values():
        assert counts.read == sum(counts.dropped.values()) + counts.pending + counts.emitted
        assert counts.pending >= 0


@pytest.mark.parametrize("change", [{}, {"seed": 8, "block": {"rows": 5, "bytes": 1500}, "clean": "code"}])
def test_continuation_resumes_at_every_position(recipe_file, change):
    _, state = stopped(open_mix(recipe_file("one", sizes=(60, 30, 12), on_exhausted="repeat")), 40)
    mix = open_mix(recipe_file("two", on_exhausted="repeat", **change), continue_from=state, max_samples=40)
    assert resumes_everywhere(mix, few=3) > 20
    stream = mix.stream()
    list(stream)
    plain = open_mix(recipe_file("two", on_exhausted="repeat", **change), max_samples=40).stream()
    plain.load_state_dict(stream.state_dict())  # a later state belongs to the new recipe
    assert list(plain) == []


def test_later_passes_of_a_continuation_keep_the_decisions_of_the_first(recipe_file):
    one = recipe_file("one", sizes=(90, 45, 18), lanes=1, on_exhausted="repeat")
    two = recipe_file("two", lanes=1, on_exhausted="repeat", block={"rows": 5, "bytes": 1500})
    _, state = stopped(open_mix(one), 100)
    once = {key(r) for r in open_mix(recipe_file("three", lanes=1, **ONCE)).stream()}
    passes = defaultdict(int)
    for record in open_mix(two, continue_from=state, max_samples=600).stream():
        passes[key(record)] += 1
    assert set(passes) == once
    assert max(passes.values()) > 2


def test_validation_split_continues(recipe_file):
    top = {"holdout": {"fraction": 0.3}, **ONCE}
    whole = [key(r) for r in open_mix(recipe_file("one", **top), split="validation").stream()]
    emitted, state = stopped(open_mix(recipe_file("one", **top), split="validation"), 20)
    rest = open_mix(recipe_file("two", seed=9, **top), split="validation", continue_from=state).stream()
    assert sorted([*map(key, emitted), *map(key, rest)]) == sorted(whole)


def message(recipe, state, **options):
    with pytest.raises(StateError) as caught:
        open_mix(recipe, continue_from=state, **options)
    return str(caught.value)


def test_open_mix_rejects_states_that_it_cannot_continue(recipe_file, tmp_path):
    top = {"holdout": {"fraction": 0.3}}
    _, state = stopped(open_mix(recipe_file("one", **top)), 20)
    start = "two cannot continue from this state of one: "
    assert message(recipe_file("two", lanes=3), state) == (
        f"{start}the state has lanes [0, 1], but the mix has lanes 0 to 2. "
        "Open the mix with as many lanes as before (lanes=…). Merge the states of several workers first."
    )
    assert message(recipe_file("two", **top), state, split="validation") == (
        f"{start}the state has split 'train', not 'validation'. Open the mix with split='train'."
    )
    assert message(recipe_file("two", dedup={"exact": False, "near": {"bands": 4, "rows": 2}}), state) == (
        f"{start}its dedup state was made with {load_recipe(recipe_file('one')).dedup}, but the recipe has "
        f"{load_recipe(recipe_file('two', dedup={'exact': False, 'near': {'bands': 4, 'rows': 2}})).dedup}. "
        "Use the same `dedup` (its `memory` may differ), or turn it off."
    )
    pins = {source.id: source.revision for source in open_mix(recipe_file("one")).recipe.active}
    (tmp_path / "sources" / "c" / "more.parquet").write_bytes((tmp_path / "sources/c/part-00.parquet").read_bytes())
    now = open_mix(recipe_file("one")).recipe.active[2].revision
    assert now != pins["c"]
    assert message(recipe_file("two", **top), state) == (
        f"{start}the positions of these sources are not valid for the new recipe.\n"
        f"  source 'c': revision: '{pins['c']}' → '{now}'\n"
        "Remove a changed `revision` to continue at that of the state, restore the other keys, "
        "or give the source another id to start it anew."
    )
    with pytest.raises(StateError, match="No mix state found"):
        open_mix(recipe_file("two"), continue_from={})


def test_load_state_dict_rejects_the_state_of_another_recipe(recipe_file):
    _, state = stopped(open_mix(recipe_file("one")), 20)
    with pytest.raises(StateError, match="They differ in:\n  seed: 7 → 8"):
        open_mix(recipe_file("two", seed=8)).stream().load_state_dict(state)
