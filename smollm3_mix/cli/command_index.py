"""`smollm3-mix index`: find the duplicates of all sources once, for every lane, worker and machine to look up."""

import argparse
import sys
import time
from typing import Any

from tqdm import tqdm

from smollm3_mix.cli import executor_flags
from smollm3_mix.cli.mix_options import add_recipe, add_source_options
from smollm3_mix.cli.size_arguments import bytes_argument, count_argument
from smollm3_mix.dedup_index.build_index import MEMORY, build_index, counts_table
from smollm3_mix.dedup_index.index_workers import IndexProgress
from smollm3_mix.sources.dedup_lookup import MANIFEST
from smollm3_mix.table_format import plain_table

SUMMARY = "Find duplicates across all sources and lanes of a recipe once, for `dedup: {index: DIR}` to look up."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.epilog = (
        "Repeat the command to resume after an interruption. After a change of the recipe, it reads only what the "
        f"change affects. Readers need {MANIFEST} and drops/. Later builds reuse keys/."
    )
    add_recipe(command)
    command.add_argument(
        "--output-dir",
        required=True,
        metavar="DIR",
        help="output folder, which must be new, empty or hold an index; or a URL (hf://datasets/…) with --work-dir",
    )
    command.add_argument("--work-dir", metavar="DIR", help="folder in which the index for a URL is built")
    command.add_argument(
        "--num-proc", type=count_argument, metavar="N", help="number of processes (default 1; with Ray, all processors)"
    )
    command.add_argument(
        "--memory",
        type=bytes_argument,
        default=MEMORY,
        metavar="SIZE",
        help="memory for comparing keys, of all processes together (default %(default)s)",
    )
    executor_flags.add_arguments(command)
    add_source_options(command)


def index(arguments: argparse.Namespace) -> int:
    """Build the index with a progress bar per pass, and print its counts."""
    started = time.perf_counter()
    with _ProgressBars() as bars, executor_flags.open_executor(arguments) as executor:
        built = build_index(
            arguments.recipe,
            arguments.output_dir,
            num_proc=arguments.num_proc or 1,
            memory=arguments.memory,
            work_dir=arguments.work_dir,
            executor=executor,
            skip_unreadable=arguments.skip_unreadable,
            accept_terms=arguments.accept_terms,
            on_progress=bars,
        )
    documents = sum(counts.documents for counts in built.stats.values())
    per_million = built.nbytes / documents * 1e6 if documents else 0
    sys.stdout.write(
        f"{plain_table(counts_table(built.stats))}\n"
        f"Read {built.units_read:,} of {built.units:,} parts of files in {time.perf_counter() - started:.1f} s and "
        f"reused the others. The index has {built.nbytes:,} bytes, {per_million:,.0f} per million documents.\n"
        f"Use it: add `index: {arguments.output_dir}` to `dedup` in the recipe.\n"
    )
    return 0


class _ProgressBars:
    """A progress bar per pass."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._step = ""

    def __enter__(self) -> "_ProgressBars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: IndexProgress) -> None:
        if self._bar is None or self._step != progress.step:
            self.__exit__()
            self._step = progress.step
            self._bar = tqdm(total=progress.total, desc=progress.step, unit="part", disable=None)
        self._bar.update(progress.done - self._bar.n)
