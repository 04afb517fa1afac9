"""`smollm3-mix index`: find the duplicates of all sources once, for any lane, worker or machine to look up."""

import argparse
import sys
import time
from typing import Any

from tqdm import tqdm

from smollm3_mix.cli import executor_flags
from smollm3_mix.cli.size_arguments import bytes_argument
from smollm3_mix.dedup_index.build_index import MEMORY, IndexProgress, build_index
from smollm3_mix.sources.dedup_lookup import MANIFEST
from smollm3_mix.table_format import plain_table

SUMMARY = "Find the duplicates of all sources of a recipe, across all lanes, for `dedup: {index: DIR}` to look up."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command other than those of the sources."""
    command.epilog = (
        "Repeat the same command to resume. After a change of the recipe, only the changed parts are read. Readers of "
        f"an index need {MANIFEST} and drops/. Later builds resume from keys/."
    )
    command.add_argument(
        "recipe", metavar="RECIPE", help="recipe file, or the name of a shipped recipe; its dedup defines duplicates"
    )
    command.add_argument(
        "--output-dir",
        required=True,
        metavar="DIR",
        help="new or empty folder, or an index to replace; or a URL (hf://datasets/…, s3://…), with --work-dir",
    )
    command.add_argument(
        "--work-dir", metavar="DIR", help="folder in which the index of a URL is built; later builds resume from it"
    )
    executor_flags.add_arguments(command)
    command.add_argument(
        "--memory",
        type=bytes_argument,
        default=MEMORY,
        metavar="SIZE",
        help="bytes of keys that all processes together compare at once (default %(default)s)",
    )


def index(options: argparse.Namespace) -> int:
    """Build the index with a progress bar for each pass, and print its counts. Return the exit code."""
    started = time.perf_counter()
    with _ProgressBars() as bars, executor_flags.open_executor(options) as executor:
        built = build_index(
            options.recipe,
            options.output_dir,
            num_proc=options.num_proc or 1,
            memory=options.memory,
            work_dir=options.work_dir,
            executor=executor,
            skip_unreadable=options.skip_unreadable,
            accept_terms=options.accept_terms,
            on_progress=bars,
        )
    documents = sum(counts.documents for counts in built.stats.values())
    per_million = built.nbytes / documents * 1e6 if documents else 0
    sys.stdout.write(
        f"{plain_table(built.table())}\n"
        f"Read {built.units_read:,} of {built.units:,} parts of files in {time.perf_counter() - started:.1f} s. "
        "The other parts are from earlier builds. "
        f"The index takes {built.nbytes:,} bytes, {per_million:,.0f} per million documents.\n"
        f"Use it in the recipe, next to the other keys of dedup: `dedup: {{index: {options.output_dir}}}`\n"
    )
    return 0


class _ProgressBars:
    """A progress bar for each pass."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> "_ProgressBars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: IndexProgress) -> None:
        if self._bar is None or self._bar.desc != progress.step:
            self.__exit__()
            self._bar = tqdm(total=progress.total, desc=progress.step, unit="part", disable=None)
            self._bar.desc = progress.step  # a disabled tqdm does not store it
        self._bar.update(progress.done - self._bar.n)
