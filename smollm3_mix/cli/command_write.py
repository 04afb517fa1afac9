"""`smollm3-mix write`: write a mix as files."""

import argparse
import logging
import re
import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from smollm3_mix.cli import command_push, executor_flags
from smollm3_mix.cli.mix_options import add_mix_options, add_recipe, mix_options
from smollm3_mix.cli.result_tables import amount, print_tables
from smollm3_mix.cli.size_arguments import bytes_argument, count_argument
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.card.readme import pushed_usage, usage
from smollm3_mix.output.lane_pool import Progress
from smollm3_mix.output.output_formats import FORMATS
from smollm3_mix.output.write_mix import MAX_SHARD_SIZE
from smollm3_mix.output.write_mix import write as write_mix
from smollm3_mix.report.source_rows import sparse_sources
from smollm3_mix.tokenizer.encoder import EOS

if TYPE_CHECKING:
    from smollm3_mix.output.written_mix import WrittenMix

log = logging.getLogger("smollm3_mix")

SUMMARY = "Write a mix as files that load_dataset opens. Resumes when it is repeated after an interruption."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_recipe(command)
    command.add_argument(
        "--output-dir",
        required=True,
        metavar="DIR",
        help="output folder or URL (s3://bucket/mix); must be new, empty, or hold an unfinished run of this command",
    )
    command.add_argument("--format", choices=FORMATS, default="parquet", help="format of the files (default parquet)")
    command.add_argument(
        "--num-proc", type=count_argument, metavar="N", help="number of processes (default 1; with Ray, all processors)"
    )
    command.add_argument(
        "--max-shard-size",
        type=bytes_argument,
        default=MAX_SHARD_SIZE,
        metavar="SIZE",
        help="bytes of text per file (default %(default)s)",
    )
    command.add_argument("--tokenizer", metavar="T", help="count tokens with this file, folder or Hub repository")
    command.add_argument("--bos", metavar="TOKEN", help="token before each document of token files (default none)")
    command.add_argument(
        "--eos", metavar="TOKEN", default=EOS, help="token after each document of token files, or none (default auto)"
    )
    command.add_argument("--keep-dropped", metavar="DIR", help="write dropped documents and their reasons to DIR")
    command.add_argument(
        "--only-lanes",
        type=lanes_argument,
        metavar="LANES",
        help="write only these lanes (3, or 0-15), then run `smollm3-mix finish DIR`",
    )
    command.add_argument(
        "--take-over", action="store_true", help="replace the lock of a writer of a URL that is no longer running"
    )
    executor_flags.add_arguments(command)
    command_push.add_push_to_arguments(command)
    add_mix_options(command, split=False)


def lanes_argument(text: str) -> list[int]:
    """Return the lanes that were typed: 3, or 0-15.

    Raises:
        ArgumentTypeError: If the text is neither a lane nor a range of lanes.
    """
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    lanes = [] if found is None else list(range(int(found[1]), int(found[2] or found[1]) + 1))
    if not lanes:
        raise argparse.ArgumentTypeError(f"expected lanes such as 3 or 0-15, got {text!r}")
    return lanes


def write(arguments: argparse.Namespace) -> int:
    """Write a mix with a progress bar, and print its statistics."""
    started = time.perf_counter()
    with executor_flags.open_executor(arguments) as executor, _ProgressBar(arguments) as bar:
        written = write_mix(
            arguments.recipe,
            arguments.output_dir,
            num_proc=arguments.num_proc or 1,
            format=arguments.format,
            max_shard_size=arguments.max_shard_size,
            tokenizer=arguments.tokenizer,
            bos=arguments.bos,
            eos=None if arguments.eos == "none" else arguments.eos,
            keep_dropped=arguments.keep_dropped,
            only_lanes=arguments.only_lanes,
            push_to=command_push.push_to_target(arguments),
            executor=executor,
            take_over=arguments.take_over,
            on_progress=bar,
            **mix_options(arguments),
        )
    if arguments.only_lanes is None:
        _print_result(arguments, written, time.perf_counter() - started)
    else:
        _print_lanes(arguments, written)
    return 0


def _print_result(arguments: argparse.Namespace, written: "WrittenMix", seconds: float) -> None:
    recipe, stats = written.recipe, written.stats["train"]
    print_tables(recipe, stats, sys.stdout)
    warning = sparse_sources(recipe, stats, recipe.lanes)
    if warning is not None:
        log.warning(warning)
    if arguments.keep_dropped:
        sys.stdout.write(f"The dropped documents and their reasons are in {arguments.keep_dropped}.\n")
    location = arguments.push_to or arguments.output_dir
    sys.stdout.write(f"Wrote {amount(written.stats)} to {location} in {seconds:.1f} s.\n")
    if arguments.push_to:
        sys.stdout.write(pushed_usage(arguments.push_to, arguments.config_name or written.name, arguments.revision))
    else:
        sys.stdout.write(usage(written.format, arguments.output_dir))


def _print_lanes(arguments: argparse.Namespace, written: "WrittenMix") -> None:
    first, last, total = arguments.only_lanes[0], arguments.only_lanes[-1], written.stats["train"].total
    sys.stdout.write(
        f"Wrote {total.emitted:,} records of lanes {first}-{last} of {written.recipe.lanes} to {arguments.output_dir}. "
        f"After all lanes are written: smollm3-mix finish {arguments.output_dir}\n"
    )


class _ProgressBar:
    """Progress of all lanes: tokens, tokens per second, and the largest discrepancy."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._stats: dict[str, MixStats] = {}
        self._bar = tqdm(
            total=arguments.max_tokens, unit="tok", unit_scale=True, desc=str(arguments.recipe), disable=None
        )

    def __enter__(self) -> "_ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, progress: Progress) -> None:
        before = self._stats.get(progress.label)
        self._stats[progress.label] = progress.stats
        done = progress.stats.total.emitted_tokens - (before.total.emitted_tokens if before else 0)
        largest = max(stats.max_discrepancy for stats in progress.stats.sources.values())
        self._bar.set_postfix_str(f"max discrepancy {largest:,.0f}", refresh=False)
        self._bar.update(done)
