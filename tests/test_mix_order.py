"""The order of a mix, against a model that follows its definition record by record."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import document, parquet

from smollm3_mix.mix.interleave import permutation, stream_key, uniforms
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.partition import partition_source

SIZES = {"x": 40, "y": 24, "z": 14}
WEIGHTS = {"x": 0.5, "y": 0.3, "z": 0.2}
RATIO = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources of 40, 24 and 14 documents, two files each."""
    made = tmp_path_factory.mktemp("order")
    for source, size in SIZES.items():
        parquet(made / source, [document(source, number) for number in range(size)])
    return made


def small(folder: Path, sources=None, **top):
    """Return the mix of a recipe over these sources."""
    return open_mix(
        Recipe.from_dict(
            {
                "file": "small",
                "seed": 7,
                "lanes": 2,
                "block": {"rows": 4},
                "on_exhausted": "stop",
                **top,
                "datasets": [
                    {
                        "name": str(folder / source),
                        "id": source,
                        **({"weight": weight} if top.get("weighted", True) else {}),
                        "tokens_per_byte": RATIO,
                        **(sources or {}).get(source, {}),
                    }
                    for source, weight in WEIGHTS.items()
                ],
            }
        )
    )


def key(record):
    return record["source"], record["file"], record["row"]


def keys(records):
    return [key(record) for record in records]


def passes(mix, lane, source):
    """Yield the documents of each pass of a source in a lane, in placement order, as (key, tokens) pairs. Endless."""
    recipe = mix.recipe
    resolved = mix.resolved.sources[source.id]
    parts = partition_source(resolved, recipe.lanes, recipe.seed, recipe.shuffle == "block")[lane]
    for number in itertools.count():
        found = []
        reader = Reader(source, resolved, parts, recipe.block)
        for block, raw in enumerate(iter(reader.read, None)):
            rows = range(len(raw.rows))
            if recipe.shuffle == "block":
                rows = permutation(stream_key("shuffle", recipe.seed, lane, source.id, number, block), len(raw.rows))
            texts = raw.texts.to_pylist()
            found += [
                ((source.id, raw.file, int(raw.rows[row])), max(1, round(len(texts[row].encode()) * RATIO)))
                for row in rows
            ]
        yield found


def exact(mix, lane):
    """Return the keys that a lane emits by merging virtual times."""
    recipe, placed, ends = mix.recipe, [], []
    repeat = recipe.on_exhausted == "repeat"
    for number, source in enumerate(recipe.active):
        before, share = 0, recipe.shares[source.id]
        made = list(itertools.islice(passes(mix, lane, source), 4 if repeat else source.max_passes))
        documents = list(itertools.chain.from_iterable(made))
        inside = uniforms(stream_key("place", recipe.seed, lane, source.id), 0, len(documents))
        for (name, tokens), u in zip(documents, inside.tolist(), strict=True):
            placed.append(((before + u * tokens) / share, number, name))
            before += tokens
        ends.append(sum(tokens for each in made[: source.max_passes] for _, tokens in each) / share)
    end = {"stop": min(ends), "repeat": max(ends), "renormalize": np.inf}[recipe.on_exhausted]
    return [name for position, _, name in sorted(placed) if position < end]


def drawn(mix, lane):
    """Return the keys that a lane emits by drawing a source for each document."""
    recipe = mix.recipe
    rng = np.random.default_rng(recipe.seed if lane == 0 else (recipe.seed, lane))
    cumulated = np.cumsum(list(recipe.shares.values()))
    sources = [
        SimpleNamespace(passes=passes(mix, lane, source), left=[], begun=0, most=source.max_passes, done=False)
        for source in recipe.active
    ]
    found, gone = [], set()
    while len(gone) < len(sources):
        number = int(np.searchsorted(cumulated / cumulated[-1], rng.random(), side="right"))
        source = sources[number]
        if number in gone:
            continue
        if not source.left:
            if source.begun >= source.most and recipe.on_exhausted == "renormalize":
                gone.add(number)
                continue
            source.left, source.begun = list(next(source.passes)), source.begun + 1
        found.append(source.left.pop(0)[0])
        source.done = source.done or (not source.left and source.begun == source.most)
        done = [each.done for each in sources]
        if {"stop": any(done), "repeat": all(done), "renormalize": False}[recipe.on_exhausted]:
            break
    return found


@pytest.mark.parametrize("policy", ["stop", "renormalize", "repeat"])
@pytest.mark.parametrize(("order", "model"), [("exact", exact), ("iid", drawn)])
def test_records_have_the_defined_order(folder, order, model, policy):
    shuffle = "none" if policy == "renormalize" else "block"
    mix = small(folder, {"z": {"max_passes": 2}}, order=order, on_exhausted=policy, shuffle=shuffle)
    for lane in range(2):
        expected = model(mix, lane)
        assert len(expected) > 20
        assert keys(mix.stream([lane])) == expected


SIZES_OF = {"max_samples": lambda r: 1, "max_tokens": lambda r: r["tokens"], "max_bytes": lambda r: len(r["text"])}


@pytest.mark.parametrize("limit", SIZES_OF)
def test_lane_ends_with_the_record_that_reaches_a_limit_exactly(folder, limit):
    mix = small(folder, lanes=1)
    whole = list(mix.stream())
    reached = np.cumsum([SIZES_OF[limit](record) for record in whole]).tolist()
    for count in (1, 2, 13, 30):
        assert keys(replace(mix, limits=Limits(**{limit: reached[count - 1]})).stream()) == keys(whole[:count])
        assert keys(replace(mix, limits=Limits(**{limit: reached[count - 1] + 1})).stream()) == keys(whole[: count + 1])


@pytest.mark.parametrize(
    "top",
    [
        {"on_exhausted": "renormalize"},
        {"on_exhausted": "repeat", "order": "iid"},
        {"on_exhausted": "repeat", "weigh_by": "bytes"},
        {"weighted": False},
        {"filters": {"min_chars": 250}, "block": {"rows": 2}, "on_exhausted": "renormalize"},
    ],
    ids=["exact", "iid-repeat", "exact-repeat", "in-turn", "empty-blocks"],
)
def test_resumed_stream_has_the_same_records_and_stats(folder, top):
    mix = small(folder, {"z": {"max_passes": 2}}, lanes=1, **top)
    reading, whole, states = mix.stream(), [], {}
    for record in reading:
        if len(whole) % 24 == 15:
            states[len(whole) + 1] = json.dumps(reading.state_dict())
        whole.append(key(record))
    assert len(states) >= 2
    for position, state in states.items():
        resumed = mix.stream()
        resumed.load_state_dict(json.loads(state))
        assert keys(resumed) == whole[position:]
        assert resumed.stats == reading.stats


@pytest.mark.parametrize("seed", [7, 8])
@pytest.mark.parametrize("count", [9, 26])
def test_records_of_a_continuation_have_the_defined_order(folder, count, seed):
    top = {"lanes": 1, "on_exhausted": "renormalize", "shuffle": "none"}
    first, second = small(folder, **top), small(folder, seed=seed, **top)
    stream = first.stream()
    given = Counter(record["source"] for record in itertools.islice(stream, count))
    state = json.loads(json.dumps(stream.state_dict()))
    placed = []
    for number, source in enumerate(first.recipe.active):
        before, documents = 0, next(passes(first, 0, source))[given[source.id] :]
        inside = uniforms(stream_key("place", seed, 0, source.id), given[source.id], len(documents))
        for (name, tokens), u in zip(documents, inside.tolist(), strict=True):
            placed.append(((before + u * tokens) / WEIGHTS[source.id], number, name))
            before += tokens
    expected = [name for _, _, name in sorted(placed)]
    assert keys(open_mix(second.recipe, continue_from=state).stream()) == expected


def test_read_with_lanes_returns_the_lane_of_each_record(folder):
    mix = small(folder, lanes=3, on_exhausted="renormalize")
    found = {lane: [] for lane in (2, 0, 1)}
    stream = mix.stream(list(found))
    for rows in itertools.cycle((1, 7, 2, 5)):
        batch, lanes = stream.read_with_lanes(rows)
        for record, lane in zip(batch.to_pylist(), lanes.tolist(), strict=True):
            found[lane].append(key(record))
        if not batch.num_rows:
            break
    assert found == {lane: keys(mix.stream([lane])) for lane in found}
