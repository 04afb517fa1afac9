"""Encoding of states: lossless, below a megabyte for 64 lanes of 56 sources, versions are checked."""

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import document
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.state.merge_states import merge_states
from smollm3_mix.mix.state.state_codec import decode_state, encode_state
from smollm3_mix.recipe.read_recipe import recipe_from_dict
from smollm3_mix.recipe.recipe import Recipe

LANES, SOURCES = 64, 56
MEGABYTE = 1_000_000
REASONS = ("duplicate", "excluded", "holdout", "near_duplicate", "too_few_words", "too_long", "too_short")


def recipe(sources: int, folder: str = "", **top: object) -> Recipe:
    datasets = [
        {"name": f"{folder}/s{n:02d}.parquet", "id": f"source-{n:02d}", "weight": n + 1} for n in range(sources)
    ]
    return recipe_from_dict({"file": "toy", "datasets": datasets, **top})


def lane_state(of: Recipe, rng: np.random.Generator, tokens: int, rows: int, kept: float) -> dict:
    """Return a plausible state of a lane after this number of tokens, with blocks of this number of rows."""
    streams, counts = [], {}
    for n, source in enumerate(of.active):
        emitted_tokens = max(1, int(of.shares[source.id] * tokens * rng.uniform(0.999, 1.001)))
        documents = emitted_tokens // int(rng.integers(300, 3000)) + 1
        keep = rng.random(rows) < kept
        emitted_of_block, read = int(rng.integers(0, keep.sum() + 1)), int(documents / kept) + rows
        dropped = rng.multinomial(read - documents, rng.dirichlet(np.ones(len(REASONS)))).tolist()
        streams.append(
            {
                "passes": 0,
                "exhausted": n == 0,
                "cursor": [int(rng.integers(300)), int(rng.integers(10**6))],
                "block": read // max(rows, 1),
                "units": emitted_tokens - emitted_of_block,
                "documents": documents - emitted_of_block,
                "emitted": emitted_of_block,
                "rows": rows,
                "kept": base64.b85encode(np.packbits(keep).tobytes()).decode(),
                "row": read - rows,
                "emitted_earlier": 0,
                "accepted_in_pass": documents,
                "layout": None,
                "partition": None,
            }
        )
        counts[source.id] = SourceStats(
            read=read,
            read_bytes=emitted_tokens * 5,
            dropped={reason: n for reason, n in zip(REASONS, dropped, strict=True) if n},
            emitted=documents,
            emitted_bytes=emitted_tokens * 4 + documents,
            emitted_tokens=emitted_tokens,
            emitted_units=emitted_tokens,
            longest=int(rng.integers(10**6)),
            passes=1,
        )
    discrepancies = [
        tokens,
        [each.emitted_units for each in counts.values()],
        (rng.random(len(streams)) * 3000).tolist(),
    ]
    pulled = [stream["emitted"] for stream in streams]
    return {
        "lane": 3,
        "order": [],
        "skip": 5,
        "pulled": pulled,
        "ended": False,
        "streams": streams,
        "stats": MixStats(counts).to_dict(),
        "discrepancies": discrepancies,
        "inactive": {},
    }


@given(
    st.integers(1, 9),
    st.integers(0, 40),
    st.floats(0.05, 1),
    st.integers(0, 2**32),
    st.sampled_from([1, 10**6, 10**13]),
)
def test_decode_state_returns_what_was_encoded(sources, rows, kept, seed, tokens):
    of = recipe(sources)
    before = lane_state(of, np.random.default_rng(seed), tokens, rows, kept)
    found = json.loads(json.dumps({**encode_state(before), "records": 7, "dedup_state": "", "row_decisions": {}}))
    assert decode_state(found, of) == {**before, "records": 7, "dedup_state": "", "row_decisions": {}}


@pytest.mark.parametrize(("rows", "kept"), [(350, 0.5), (1024, 0.8)])
def test_state_after_8_trillion_tokens_is_smaller_than_a_megabyte(rows, kept):
    of, rng = recipe(SOURCES), np.random.default_rng(0)
    encoded = [encode_state(lane_state(of, rng, 8_100_000_000_000 // LANES, rows, kept)) for _ in range(LANES)]
    assert len(json.dumps(encoded)) < 0.9 * MEGABYTE  # the recipe takes the rest


def test_lanes_of_56_sources_with_an_index_have_small_states_and_resume(tmp_path: Path):
    for number in range(SOURCES):
        texts = [document(f"{number}-{n}" if n % 9 else f"0-{n}", 20) for n in range(LANES * 8)]
        pq.write_table(pa.table({"text": texts}), tmp_path / f"s{number:02d}.parquet", row_group_size=8)
    top = {"lanes": LANES, "on_exhausted": "renormalize", "filters": {"min_chars": 10}}
    build_index(recipe(SOURCES, str(tmp_path), **top), tmp_path / "idx")
    mix = open_mix(recipe(SOURCES, str(tmp_path), **top, dedup={"exact": True, "index": str(tmp_path / "idx")}))
    lanes = [5, 63]  # all 64 take a minute: bench/states.py opens them
    stream = mix.stream(lanes)
    emitted = 0
    while emitted < 200:
        emitted += stream.read(200 - emitted).num_rows
    state = json.loads(json.dumps(stream.state_dict()))
    assert len(json.dumps(state["lanes"])) < 0.9 * MEGABYTE * len(lanes) / LANES / 2
    again = mix.stream(lanes)
    again.load_state_dict(state)
    assert [record["id"] for record in again] == [record["id"] for record in stream]


def test_states_of_another_version_are_rejected(recipe_file):
    mix = open_mix(recipe_file())
    state = mix.stream().state_dict()
    old, new = {key: value for key, value in state.items() if key != "version"}, {**state, "version": 4}
    message = "has version {}, but this version of smollm3_mix reads version 3. Resume with the version of the package "
    message += "that saved it, or start again without the state."
    for other, version in ((old, 1), (new, 4)):
        with pytest.raises(StateError) as error:
            mix.stream().load_state_dict(other)
        assert str(error.value) == "This state " + message.format(version)
        with pytest.raises(StateError) as error:
            merge_states([other])
        assert str(error.value) == "state 0 " + message.format(version)
        with pytest.raises(StateError) as error:
            open_mix(recipe_file("other"), continue_from=other)
        assert str(error.value) == "state 0 " + message.format(version)
