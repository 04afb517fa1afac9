"""The verb `index`: find all duplicates of a recipe's sources once, for any lane, worker or machine to look up."""

import argparse
import sys
import time
from typing import Any

from tqdm import tqdm

from smollm3_mix.cli import executor_flags
from smollm3_mix.cli.size_arguments import bytes_argument, count_argument
from smollm3_mix.dedup_index.build_index import MEMORY, build_index
from smollm3_mix.sources.dedup_lookup import MANIFEST
from smollm3_mix.table_format import plain_table

SUMMARY = "Find the duplicates of all sources of a recipe, over all lanes, for `dedup: {index: DIR}` to look up."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command other than those of the sources."""
    command.epilog = (
        "Stopped and repeated it goes on, and after a change of the recipe it reads only what that concerns. Readers "
        f"need {MANIFEST} and drops/; keys/ is what later builds go on from."
    )
    command.add_argument(
        "recipe", help="a recipe file, or the name of a shipped one; its dedup says what a duplicate is"
    )
    command.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="new, empty, or with an index, which is replaced; or a URL (hf://datasets/…, s3://…) beside --work",
    )
    command.add_argument("--work", metavar="DIR", help="where an index for a URL is built, and later builds go on from")
    command.add_argument(
        "--processes",
        type=count_argument,
        metavar="N",
        help="processes at work (default 1; of a cluster, all processors)",
    )
    executor_flags.add_arguments(command)
    command.add_argument(
        "--memory",
        type=bytes_argument,
        default=MEMORY,
        metavar="SIZE",
        help="bytes for comparing keys, of all --processes together (default 1GiB)",
    )


def index(options: argparse.Namespace) -> int:
    """Build the index, with a progress bar for each pass, and print what it drops."""
    started = time.perf_counter()
    with _Bars() as bars, executor_flags.open_executor(options) as runner:
        built = build_index(
            options.recipe,
            options.out,
            processes=options.processes or 1,
            memory=options.memory,
            work=options.work,
            skip_unreadable=options.skip_unreadable,
            accept_terms=options.accept_terms,
            on_progress=bars,
            runner=runner,
        )
    counts = built.index.counts
    table = [["source", "rows", "documents", "duplicates", "near duplicates"]]
    table += [[id_, *(f"{number:,}" for number in mine.values())] for id_, mine in counts.items()]
    sys.stdout.write(plain_table(table) + "\n")
    documents = sum(mine["documents"] for mine in counts.values())
    each = built.index.nbytes / documents * 1e6 if documents else 0
    sys.stdout.write(
        f"Read {built.read:,} of {built.units:,} parts of files in {time.perf_counter() - started:.1f} s; the others "
        f"were known. The index takes {built.index.nbytes:,} bytes, {each:,.0f} a million documents.\n"
        f"Use it: `dedup: {{index: {options.out}}}` in the recipe, beside what its dedup says now.\n"
    )
    return 0


class _Bars:
    """A progress bar for each pass."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._bar is None or self._bar.desc != what:
            self.__exit__()
            self._bar = tqdm(total=total, desc=what, unit="part", disable=None)
            self._bar.desc = what  # tqdm leaves it out where it shows nothing
        self._bar.update(done - self._bar.n)
