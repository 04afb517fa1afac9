"""Another recipe that goes on where a state stopped: nothing twice, nothing lost, shares from there on."""

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
    """What no other document begins with, but for copies; which of two copies comes is a matter of the order."""
    return record["text"].split(":")[0]


def stopped(mix, records):
    """The first records of a mix, and its state after them, as JSON keeps it."""
    stream = mix.stream()
    given = list(itertools.islice(stream, records))
    return given, json.loads(json.dumps(stream.state_dict()))


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
def test_no_record_twice_and_none_lost(shared_recipe_file, begun, change, records):
    everything, given, state = begun(records)
    rest = list(open_mix(shared_recipe_file("two", **ONCE, **change), continue_from=state).stream())
    counts = Counter(map(key, given + rest))
    assert max(counts.values()) == 1
    assert set(map(name, given + rest)) == everything


def test_a_source_that_is_dropped_stops_and_one_that_is_new_starts(recipe_file):
    one = recipe_file("one", sources={"c": {"weight": 0}}, **ONCE)
    two = recipe_file("two", sources={"b": {"weight": 0}}, **ONCE)
    given, state = stopped(open_mix(one), 60)
    rest = list(open_mix(two, continue_from=state).stream())
    assert {r["source"] for r in given} == {"a", "b"}
    assert {r["source"] for r in rest} == {"a", "c"}
    assert len({key(r) for r in rest if r["source"] == "c"}) == 60
    assert not {key(r) for r in given} & {key(r) for r in rest}


def test_a_source_that_comes_back_goes_on_where_it_was(recipe_file):
    without_b = recipe_file("two", sources={"b": {"weight": 0}}, **ONCE)
    given, state = stopped(open_mix(recipe_file("one", **ONCE)), 60)
    middle, state = stopped(open_mix(without_b, continue_from=state), 50)
    rest = list(open_mix(recipe_file("three", **ONCE), continue_from=state).stream())
    counts = Counter(map(key, given + middle + rest))
    assert max(counts.values()) == 1
    assert set(map(name, given + middle + rest)) == set(map(name, open_mix(recipe_file("one", **ONCE)).stream()))


def test_shares_hold_from_there_on(recipe_file):
    weights = {"a": {"weight": 0.2}, "b": {"weight": 0.2}, "c": {"weight": 0.6}}
    _, state = stopped(open_mix(recipe_file("one", lanes=1)), 60)
    mix = open_mix(recipe_file("two", lanes=1, sources=weights), continue_from=state)
    stream = mix.stream()
    records = list(stream)
    stats = stream.stats()
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
def test_resumes_at_every_position_behind_the_change(recipe_file, change):
    _, state = stopped(open_mix(recipe_file("one", sizes=(60, 30, 12), on_exhausted="repeat")), 40)
    mix = open_mix(recipe_file("two", on_exhausted="repeat", **change), continue_from=state, max_samples=40)
    assert resumes_everywhere(mix, few=3) > 20
    stream = mix.stream()
    list(stream)
    plain = open_mix(recipe_file("two", on_exhausted="repeat", **change), max_samples=40).stream()
    plain.load_state_dict(stream.state_dict())  # a state behind the change is one of the new recipe
    assert list(plain) == []


def test_later_passes_give_what_the_first_kept(recipe_file):
    one = recipe_file("one", sizes=(90, 45, 18), lanes=1, on_exhausted="repeat")
    two = recipe_file("two", lanes=1, on_exhausted="repeat", block={"rows": 5, "bytes": 1500})
    _, state = stopped(open_mix(one), 100)
    once = {key(r) for r in open_mix(recipe_file("three", lanes=1, **ONCE)).stream()}
    passes = defaultdict(int)
    for record in open_mix(two, continue_from=state, max_samples=600).stream():
        passes[key(record)] += 1
    assert set(passes) == once
    assert max(passes.values()) > 2


def test_a_validation_split_goes_on_too(recipe_file):
    top = {"holdout": {"fraction": 0.3}, **ONCE}
    whole = [key(r) for r in open_mix(recipe_file("one", **top), split="validation").stream()]
    given, state = stopped(open_mix(recipe_file("one", **top), split="validation"), 20)
    rest = open_mix(recipe_file("two", seed=9, **top), split="validation", continue_from=state).stream()
    assert sorted([*map(key, given), *map(key, rest)]) == sorted(whole)


def message(recipe, state, **options):
    with pytest.raises(StateError) as caught:
        open_mix(recipe, continue_from=state, **options)
    return str(caught.value)


def test_what_cannot_go_on_says_why(recipe_file, tmp_path):
    top = {"holdout": {"fraction": 0.3}}
    _, state = stopped(open_mix(recipe_file("one", **top)), 20)
    start = "two cannot go on from this state of one: "
    assert message(recipe_file("two", lanes=3), state) == (
        f"{start}it holds lanes [0, 1], and the mix has lanes 0 to 2. Open it with as many lanes as before (lanes=…); "
        "states of several workers must be merged first."
    )
    assert message(recipe_file("two", **top), state, split="validation") == (
        f"{start}it is of split 'train', not 'validation'. Open the mix with that split."
    )
    assert message(recipe_file("two", dedup={"exact": False, "near": {"bands": 4, "rows": 2}}), state) == (
        f"{start}what dedup remembers was made with {load_recipe(recipe_file('one')).dedup}, and the recipe has "
        f"{load_recipe(recipe_file('two', dedup={'exact': False, 'near': {'bands': 4, 'rows': 2}})).dedup}. "
        "Write the same `dedup` (its `memory` may differ), or turn it off."
    )
    pins = {source.id: source.revision for source in open_mix(recipe_file("one")).recipe.active}
    (tmp_path / "sources" / "c" / "more.parquet").write_bytes((tmp_path / "sources/c/part-00.parquet").read_bytes())
    now = open_mix(recipe_file("one")).recipe.active[2].revision
    assert now != pins["c"]
    assert message(recipe_file("two", **top), state) == (
        f"{start}its sources stand at places that mean nothing in what the recipe reads now.\n"
        f"  source 'c': revision: '{pins['c']}' → '{now}'\n"
        "Take a changed `revision` out to go on at the state's, write the other keys as they were, "
        "or give the source another id, and it starts anew."
    )
    with pytest.raises(StateError, match="there is no state of a mix among these"):
        open_mix(recipe_file("two"), continue_from={})


def test_plain_loading_stays_strict(recipe_file):
    _, state = stopped(open_mix(recipe_file("one")), 20)
    with pytest.raises(StateError, match="They differ in:\n  seed: 7 → 8"):
        open_mix(recipe_file("two", seed=8)).stream().load_state_dict(state)
