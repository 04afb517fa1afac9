"""Measure the bookkeeping of many lanes over synthetic sources, and check that no cost per lane grows.

    python bench/simulate.py [--lanes 1000 10000 100000] [--files 110000]

The recipe is that of stage 3. Its sources have many files, none of which is opened. For each number of lanes, a new
process partitions the files, opens lanes without reading, computes the limits of all lanes, merges the states of all
readers, resumes one reader, and reads and adds the statistics that writers leave. Results are per lane, in microseconds
of processor time and in bytes. The exit code is 1 if the cost of a step per lane more than doubles. Opening is measured
on up to 200 lanes spread over all lanes. All other steps are done for every lane.
"""

import argparse
import base64
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smollm3_mix.mix.limits import Limits, lane_limit
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.recipe_mix import RecipeMix
from smollm3_mix.mix.state.merge_states import check_lanes, merge_states
from smollm3_mix.mix.state.state_codec import encode_state
from smollm3_mix.output.lane_pool import run_jobs
from smollm3_mix.output.lane_writer import LaneJob
from smollm3_mix.output.output_formats import Tables
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.sources.source_files import ResolvedSource, SourceFile
from smollm3_mix.storage.atomic_files import replace_json

TOKENS = 8_100_000_000_000
"""Tokens of SmolLM3's first stage."""

OPENED = 200
REASONS = ("duplicate", "near_duplicate", "too_few_words", "too_short", "lines_end_alike", "holdout")
GROWTH = 2.0
"""Maximum growth of the cost of a step per lane, with a hundred times the lanes, including noise."""


@dataclass
class Watch:
    """Microseconds of processor time and bytes per lane, by step.

    Attributes:
        lanes: Number of lanes.
        time: Microseconds by step.
        size: Bytes by kind of data.
    """

    lanes: int
    time: dict[str, float] = field(default_factory=dict)
    size: dict[str, float] = field(default_factory=dict)

    def of(self, step: str, work: Callable[[], Any], lanes: int | None = None) -> Any:
        """Return the result of `work`. Its time is divided by `lanes`, by default all lanes."""
        started = time.process_time()
        found = work()
        self.time[step] = (time.process_time() - started) / (lanes or self.lanes) * 1e6
        return found


def planned(lanes: int, files: int) -> Mix:
    """Return a mix of stage 3 whose sources have this number of files in total."""
    recipe = Recipe.from_dict({**load_recipe("stage3").to_dict(), "lanes": lanes, "dedup": {"exact": False}})
    rng = np.random.default_rng(0)
    resolved = {}
    for source in recipe.active:
        sizes = rng.integers(1 << 27, 1 << 29, max(1, round(files * recipe.shares[source.id]))).tolist()
        names = [f"{source.id}@{'0' * 40}/data/train-{n:05d}-of-{len(sizes):05d}.parquet" for n in range(len(sizes))]
        each = tuple(
            SourceFile(name, f"hf://datasets/{name}", size, "0" * 64) for name, size in zip(names, sizes, strict=True)
        )
        resolved[source.id] = ResolvedSource(source.id, "parquet", "0" * 40, each)
    pinned = recipe.pin(dict.fromkeys(resolved, "0" * 40))
    return RecipeMix(ResolvedRecipe(pinned, resolved), limits=Limits(max_tokens=TOKENS))


def all_stats(recipe: Recipe, tokens: int) -> Iterator[MixStats]:
    """Yield statistics of lanes that have each emitted this number of tokens."""
    rng = np.random.default_rng(1)
    while True:
        counts = {}
        for source in recipe.active:
            given = max(1, int(recipe.shares[source.id] * tokens * rng.uniform(0.99, 1.01)))
            documents = given // 700 + 1
            dropped = dict.fromkeys(REASONS, documents // 50 + 1)
            read_rows = documents + sum(dropped.values())
            figures = (documents, given * 4, given, given)
            counts[source.id] = SourceStats(
                read_rows, given * 5, dropped, 0, *figures, 90_000, float(rng.uniform(0, 9e4)), 1
            )
        yield MixStats(counts)


def state(mix: Mix, lane: int, position: str, kept_rows: str, records: int) -> dict[str, Any]:
    """Return the state of a reader of one lane, with strings of its own, as if it had come over the network."""
    texts = {"position": position[:1] + position[1:], "kept_rows": kept_rows[:1] + kept_rows[1:]}
    saved = {"lane": lane, **texts, "row_decisions": {}, "dedup_state": ""}
    return {
        "recipe": HEADER["recipe"],
        "fingerprint": HEADER["fingerprint"],
        "version": HEADER["version"],
        "split": "train",
        "limits": mix.limits.to_dict(),
        "num_lanes": mix.num_lanes,
        "continued": False,
        "active_lanes": [lane],
        "next_lane": lane,
        "lanes": [{**saved, "records": records}],
    }


HEADER: dict[str, Any] = {}


def states(mix: Mix, watch: Watch) -> None:
    """Merge the states of readers of one lane each, and resume one reader from the merged state."""
    empty = mix.stream([])
    HEADER.update(empty.state_dict())
    saved = mix.blank_lane(0).state_dict()
    rng = np.random.default_rng(2)
    for stream in saved["streams"]:
        stream |= {"rows": 350, "block": int(rng.integers(10**5)), "row": int(rng.integers(10**8))}
        stream |= {"units": int(rng.integers(10**10)), "documents": int(rng.integers(10**7)), "emitted": 100}
        stream["kept"] = base64.b85encode(np.packbits(rng.random(350) < 0.8).tobytes()).decode()
    counts = next(all_stats(mix.recipe, TOKENS // mix.num_lanes))
    written = encode_state({**saved, "stats": counts.to_dict()})
    before = _memory()
    each = [state(mix, lane, written["position"], written["kept_rows"], lane % 7) for lane in range(mix.num_lanes)]
    merged = watch.of("merge states", lambda: merge_states(each))
    watch.size["states, in memory"] = (_memory() - before) / mix.num_lanes
    watch.size["states, as JSON"] = len(json.dumps(merged["lanes"][0]))
    empty.load_state_dict(merged)  # rejects states of other mixes
    watch.of("find a reader's lane in it", lambda: check_lanes(merged, [mix.num_lanes // 2]))


def finish(mix: Mix, watch: Watch) -> None:
    """Read the files that the writers of all lanes leave, and add them as the end of a write does."""
    with tempfile.TemporaryDirectory() as place:
        made = all_stats(mix.recipe, TOKENS // mix.num_lanes)
        some = [next(made).to_dict() for _ in range(20)]
        jobs = [LaneJob(mix, lane, place, 512 << 20, Tables()) for lane in range(mix.num_lanes)]
        for number, counts in enumerate(some):
            left = {"parts": 1, "done": True, "stats": counts, "seen": [], "state": None, "stages": [counts]}
            replace_json(Path(place) / f"left-{number}", left)
        for number, job in enumerate(jobs):  # names for a few files: many gigabytes of copies would show nothing more
            (Path(place) / f"{job.label}.json").hardlink_to(Path(place) / f"left-{number % len(some)}")
        watch.size["what a writer leaves, done"] = (Path(place) / f"{jobs[0].label}.json").stat().st_size
        found = watch.of("read what writers left", lambda: run_jobs(jobs, 1, lambda _: None, None))
    total = watch.of("sum tallies", lambda: sum(found, MixStats({})))
    given = sum(some[n % len(some)][mix.recipe.active[0].id]["emitted"] for n in range(mix.num_lanes))
    if total.sources[mix.recipe.active[0].id].emitted != given:
        raise SystemExit("the tallies do not add up")


def measured(lanes: int, files: int) -> Watch:
    """Run all steps for one number of lanes."""
    watch = Watch(lanes)
    before = _memory()
    mix = planned(lanes, files)
    watch.size["the plan, in memory"] = _memory() - before
    jobs = [LaneJob(mix, lane, "mix/.writing", 512 << 20, Tables()) for lane in range(lanes)]
    sent = watch.of("send all jobs to a process", lambda: pickle.dumps(jobs))
    watch.of("take all jobs in a process", lambda: pickle.loads(sent))
    watch.size["all jobs, sent to a process"] = len(sent) / lanes
    watch.size["the plan among them"] = len(pickle.dumps(mix))
    spread = range(0, lanes, max(1, lanes // OPENED))
    mix.blank_lane(0)  # computes the positions of the files of all sources, once per process
    watch.of("open a lane", lambda: [mix.blank_lane(lane) for lane in spread], len(spread))
    limits = watch.of("limits", lambda: sum(lane_limit(TOKENS, lane, lanes) or 0 for lane in range(lanes)))
    if limits != TOKENS:
        raise SystemExit(f"the lanes' limits add up to {limits:,}, not {TOKENS:,}")
    states(mix, watch)
    finish(mix, watch)
    return watch


def _memory() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def table(found: list[dict[str, Any]], what: str) -> None:
    """Return a table with one row per step and one column per number of lanes."""
    print(f"| | {' | '.join(format(each['lanes'], ',') + ' lanes' for each in found)} |")
    print(f"|---|{'--:|' * len(found)}")
    for step in found[0][what]:
        print(f"| {step} | {' | '.join(format(each[what][step], ',.0f') for each in found)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument(
        "--files", type=int, default=110_000, help="number of files of all sources together (default %(default)s)"
    )
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.one, asked.files).__dict__))
        return
    found = []
    for lanes in asked.lanes:
        command = [sys.executable, __file__, "--one", str(lanes), "--files", str(asked.files)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout))
    print("Microseconds of processor time a lane:\n")
    table(found, "time")
    print("\nBytes a lane; the plan is one for all lanes:\n")
    table(found, "size")
    grown = [step for step, least in found[0]["time"].items() if found[-1]["time"][step] > GROWTH * max(least, 10)]
    if grown:
        sys.exit(f"\nThe cost a lane grows with their number: {', '.join(grown)}")


if __name__ == "__main__":
    main()
