"""How much faster two Ray workers write a mix than one, in one run.

    python bench/engine.py CORPUS [--lanes 12] [--tokens 24M] [--workers 1 2] [--repeat 2]

CORPUS holds the folders that bench/throughput.py names. Ray runs on this machine with as many processors as there are
workers at most; a worker has one (`num_cpus=1`), and one thread of OpenMP and of Arrow. All workers are started, and
have written a lane each, before anything is timed. Timed is the work on all lanes, from the look at the nodes to the
last lane's end: no start of Ray, no opening of sources by the driver, no commit.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from scaling import entries

from smollm3_mix.executors.ray_executor import RayExecutor
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.parsing import FieldPath, read_value


class Timed(RayExecutor):
    """A cluster that notes the seconds of its last call."""

    seconds = 0.0

    def each(
        self,
        function: Callable[..., Any],
        jobs: Sequence[Any],
        heard: Callable[[int, Any], None],
        folder: str | None,
    ) -> list[Any]:
        started = time.perf_counter()
        done = super().each(function, jobs, heard, folder)
        self.seconds = time.perf_counter() - started
        return done


def recipe(corpus: Path, lanes: int, place: Path) -> Path:
    """A recipe over the corpus: judged, without duplicates."""
    datasets = [{**entry, "max_passes": 100} for entry in entries(corpus)]
    top = {"lanes": lanes, "filters": {"preset": "kind", "min_chars": 20}, "dedup": {"exact": True}}
    path = place / "corpus.yaml"
    path.write_text(yaml.safe_dump({**top, "datasets": datasets}))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--lanes", type=int, default=12, help="of each write (default %(default)s)")
    parser.add_argument("--tokens", default="24M", help="of each write (default %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=2, help="the best of so many (default %(default)s)")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers, which Ray starts from here; Arrow's threads follow it
    tokens = int(read_value(int, asked.tokens, FieldPath(), []))
    best: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as place, Timed(at_once=max(asked.workers)):
        work = Path(place)
        path = recipe(asked.corpus, asked.lanes, work)
        write(path, work / "warm", lanes=max(asked.workers), max_tokens=tokens // 10, executor=Timed())
        for number in range(asked.repeat):
            for workers in asked.workers:
                timed = Timed(at_once=workers)
                stats = (
                    write(path, work / f"{number}-{workers}", max_tokens=tokens, executor=timed).stats["train"].total
                )
                best[workers] = min(timed.seconds, best.get(workers, timed.seconds))
    print("| workers | seconds | MB of text given a second | of one |\n|--:|--:|--:|--:|")
    for workers, seconds in best.items():
        rate = stats.emitted_bytes / seconds / 1e6
        print(f"| {workers} | {seconds:.1f} | {rate:.1f} | {best[asked.workers[0]] / seconds:.2f} × |")


if __name__ == "__main__":
    main()
