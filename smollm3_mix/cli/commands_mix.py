"""`smollm3-mix take`, `write` and `verify`. Results go to standard output, progress to standard error."""

import argparse
import json
import logging
import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

from smollm3_mix.cli import command_finish, command_push, executor_flags
from smollm3_mix.cli.mix_options import mix_options
from smollm3_mix.cli.process_info import open_files, peak_memory, printed
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.card.readme import pushed_usage, usage
from smollm3_mix.output.lane_pool import Progress
from smollm3_mix.output.write_mix import write as write_mix
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report.source_rows import source_rows, sparse_sources
from smollm3_mix.report.tables import drops_table, shares_table
from smollm3_mix.sizes import format_bytes
from smollm3_mix.table_format import plain_table
from smollm3_mix.verification.verify_mix import verify as verify_mix

log = logging.getLogger("smollm3_mix")


def take(options: argparse.Namespace) -> int:
    """Print the records of a mix as JSON lines, and statistics to standard error. Return the exit code."""
    started = time.perf_counter()
    mix = open_mix(options.recipe, **mix_options(options))
    stream = mix.stream()
    first: dict[str, Any] = {}
    try:
        for record in stream:
            if not first:
                first = {
                    "seconds": time.perf_counter() - started,
                    "read": stream.stats.total.read_bytes,
                    "files": open_files(),
                }
            if not printed(json.dumps(record, ensure_ascii=False) + "\n"):
                return 0
        if printed() and not options.quiet:
            _show(mix.plan.recipe, stream.stats, sys.stderr)
            if first:
                sys.stderr.write(
                    f"First record after {first['seconds']:.1f} s and {format_bytes(first['read'])} of text read. "
                    f"Peak memory {peak_memory()}, open files {first['files']}, "
                    f"{len(mix.recipe.active)} sources, {mix.num_lanes} lanes.\n"
                )
    finally:
        stream.close()
    return 0


def write(options: argparse.Namespace) -> int:
    """Write a mix with a progress bar, and print its tables. Return the exit code."""
    started = time.perf_counter()
    only_lanes = None if options.only_lanes is None else list(options.only_lanes)
    recipe, passed = _requested_recipe(options), mix_options(options)
    passed["total_tokens"] = None  # the recipe has it already
    with executor_flags.open_executor(options) as executor, _ProgressBar(recipe.name, options.max_tokens) as bar:
        written = write_mix(
            recipe,
            options.output_dir,
            num_proc=options.num_proc or 1,
            format=options.format,
            max_shard_size=options.max_shard_size,
            tokenizer=options.tokenizer,
            bos=options.bos,
            eos=None if options.eos == "none" else options.eos,
            keep_dropped=options.keep_dropped,
            only_lanes=only_lanes,
            push_to=command_push.upload_target(options, recipe),
            executor=executor,
            take_over=options.take_over,
            on_progress=bar,
            **passed,
        )
    stats = written.stats["train"]
    if only_lanes is not None:
        sys.stdout.write(command_finish.written_lanes(options.output_dir, only_lanes, recipe.lanes, stats))
        return 0
    _show(recipe, stats, sys.stdout)
    warning = sparse_sources(recipe, stats, recipe.lanes)
    if warning is not None:
        log.warning(warning)
    if options.keep_dropped:
        sys.stdout.write(f"The dropped documents and their reasons are in {options.keep_dropped}.\n")
    sys.stdout.write(
        f"Wrote {command_finish.amount(written.stats)} "
        f"to {options.push_to or options.output_dir} in {time.perf_counter() - started:.1f} s.\n"
    )
    if options.push_to:
        sys.stdout.write(pushed_usage(options.push_to, options.config_name or recipe.name, options.revision))
    else:
        sys.stdout.write(usage(options.format, options.output_dir))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Print the recounted table and every problem. Return the exit code, 1 if there are problems."""
    result = verify_mix(options.directory, report=options.report, dropped=options.dropped)
    sys.stdout.write(plain_table(shares_table(result.rows, result.recipe.weigh_by)) + "\n")
    for problem in result.problems:
        sys.stdout.write(f"ERROR: {problem}\n")
    if result.note:
        sys.stdout.write(f"{result.note}\n")
    found = f"{len(result.problems):,} problems" if result.problems else "no problems"
    sys.stdout.write(f"Verified {result.files:,} files: {found} found.\n")
    return 0 if result.ok else 1


def _requested_recipe(options: argparse.Namespace) -> Recipe:
    """Return the recipe with the seed, lanes and number of tokens of the command line."""
    recipe = load_recipe(options.recipe, seed=options.seed, lanes=options.lanes)
    return recipe if options.total_tokens is None else recipe.scale(options.total_tokens)


def _show(recipe: Recipe, stats: MixStats, to: TextIO) -> None:
    """Print the tables of shares and drops. The first is left out if sources were skipped."""
    kept = [source for source in recipe.active if source.id in stats.sources]
    if len(kept) == len(recipe.active):
        to.write(plain_table(shares_table(source_rows(recipe, stats), recipe.weigh_by)) + "\n")
    drops = drops_table(stats)
    if len(drops) > 1:
        to.write("\n" + plain_table(drops) + "\n")


class _ProgressBar:
    """Progress of all lanes of a write: tokens, tokens per second, and the maximum discrepancy.

    Args:
        name: Name of the mix.
        max_tokens: Number of tokens at the end, or None if it is unknown.
    """

    def __init__(self, name: str, max_tokens: int | None) -> None:
        self._stats: dict[str, MixStats] = {}
        self._bar = tqdm(total=max_tokens, unit="tok", unit_scale=True, desc=name, disable=None)

    def __enter__(self) -> "_ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, progress: Progress) -> None:
        before = self._stats.get(progress.label)
        self._stats[progress.label] = progress.stats
        new_tokens = progress.stats.total.emitted_tokens - (before.total.emitted_tokens if before else 0)
        largest = max(counts.max_discrepancy for counts in progress.stats.sources.values())
        self._bar.set_postfix_str(f"max discrepancy {largest:,.0f}", refresh=False)
        self._bar.update(new_tokens)
