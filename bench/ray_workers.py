"""Compare the speed of a write on one and on two Ray workers, in one run.

    python bench/ray_workers.py CORPUS [--lanes 12] [--max-tokens 24M] [--workers 1 2] [--repeat 2]

CORPUS has the folders that bench/throughput.py names. Ray runs on this machine with one processor per worker
(`num_cpus=1`) and one thread of OpenMP and of Arrow. Every worker writes a lane before anything is timed. The time is
that of all lanes, from the check of the nodes to the end of the last lane. It does not include the start of Ray, the
opening of sources by the driver, and the commit.
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


class TimedExecutor(RayExecutor):
    """Executor that stores the seconds of its last call."""

    seconds = 0.0

    def map(
        self,
        function: Callable[..., Any],
        jobs: Sequence[Any],
        on_progress: Callable[[int, Any], None],
        shared_dir: str | None,
    ) -> list[Any]:
        started = time.perf_counter()
        results = super().map(function, jobs, on_progress, shared_dir)
        self.seconds = time.perf_counter() - started
        return results


def write_recipe(corpus: Path, lanes: int, folder: Path) -> Path:
    """Write a recipe over the corpus with filters and exact dedup, and return its path."""
    datasets = [{**entry, "max_passes": 100} for entry in entries(corpus)]
    top = {"lanes": lanes, "filters": {"preset": "kind", "min_chars": 20}, "dedup": {"exact": True}}
    path = folder / "corpus.yaml"
    path.write_text(yaml.safe_dump({**top, "datasets": datasets}))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--lanes", type=int, default=12, help="of each write (default %(default)s)")
    parser.add_argument("--max-tokens", default="24M", help="of each write (default %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--repeat", type=int, default=2, help="number of runs, of which the best counts (default %(default)s)"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # for the workers, which Ray starts from here, and for the threads of Arrow
    tokens = int(read_value(int, arguments.max_tokens, FieldPath(), []))
    best: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder, TimedExecutor(max_tasks=max(arguments.workers)):
        work = Path(folder)
        path = write_recipe(arguments.corpus, arguments.lanes, work)
        write(path, work / "warm", lanes=max(arguments.workers), max_tokens=tokens // 10, executor=TimedExecutor())
        for number in range(arguments.repeat):
            for workers in arguments.workers:
                timed = TimedExecutor(max_tasks=workers)
                written = write(path, work / f"{number}-{workers}", max_tokens=tokens, executor=timed)
                best[workers] = min(timed.seconds, best.get(workers, timed.seconds))
    print("| workers | seconds | MB of text per second | speedup |\n|--:|--:|--:|--:|")
    for workers, seconds in best.items():
        rate = written.stats["train"].total.emitted_bytes / seconds / 1e6
        print(f"| {workers} | {seconds:.1f} | {rate:.1f} | {best[arguments.workers[0]] / seconds:.2f} × |")


if __name__ == "__main__":
    main()
