"""What each verb does. Results go to standard output; progress and tables about them to standard error."""

import argparse
import json
import logging
import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

from smollm3_mix.cli import command_finish, command_push, executor_flags
from smollm3_mix.cli.process_info import open_files, peak_memory, printed
from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output.card.readme import pushed_readme, usage
from smollm3_mix.output.lane_pool import Progress
from smollm3_mix.output.output_formats import BY_SOURCE
from smollm3_mix.output.write_mix import MAX_SHARD_BYTES
from smollm3_mix.output.write_mix import write as write_mix
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report.source_rows import source_rows, sparse_sources
from smollm3_mix.report.tables import drops_table, shares_table
from smollm3_mix.sizes import format_bytes
from smollm3_mix.table_format import plain_table
from smollm3_mix.verification.verify_mix import verify as recount
from smollm3_mix.verification.verify_mix import write_report

log = logging.getLogger("smollm3_mix")


def take(options: argparse.Namespace) -> int:
    """Print records as JSON lines, and on standard error what they cost."""
    started = time.perf_counter()
    mix = _opened(options, split=options.split, **_limits(options))
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
    """Write a mix, with a progress bar, and print the table of what came out."""
    lanes, only = command_finish.chosen(options)
    recipe = _recipe(options, lanes)
    started = time.perf_counter()
    if options.by_source and options.format != "parquet":
        raise OutputError(f"--by-source stores texts, so it has no --format {options.format}. Leave one of them out.")
    folder, form = options.by_source or options.output_dir, BY_SOURCE if options.by_source else options.format
    with executor_flags.open_executor(options) as runner, _Bar(recipe, options) as bar:
        all_stats = write_mix(
            recipe,
            folder,
            format=form,
            tokenizer=options.tokenizer,
            bos=options.bos,
            eos=None if options.eos == "none" else options.eos,
            processes=options.processes or 1,
            max_shard_size=options.max_shard_size or MAX_SHARD_BYTES,
            keep_dropped=options.keep_dropped,
            skip_unreadable=options.skip_unreadable,
            accept_terms=options.accept_terms,
            on_progress=bar,
            outlet=command_push.outlet(options, recipe),
            only=only,
            runner=runner,
            take_over=options.take_over,
            **_limits(options),
        )
    if only is not None:
        command_finish.wrote(folder, only, recipe.lanes, all_stats["train"])
        return 0
    _show(recipe, all_stats["train"], sys.stdout)
    few = sparse_sources(recipe, all_stats["train"], recipe.lanes)
    if few is not None:
        log.warning(few)
    if options.keep_dropped:
        sys.stdout.write(f"The dropped documents are in {options.keep_dropped}, with their reasons.\n")
    config = options.config_name or recipe.name
    sys.stdout.write(
        f"Wrote {command_finish.amount(all_stats)} "
        f"to {options.push_to or folder} in {time.perf_counter() - started:.1f} s.\n"
        + (pushed_readme(options.push_to, config, options.revision) if options.push_to else usage(form, str(folder)))
    )
    return 0


def verify(options: argparse.Namespace) -> int:
    """Print the recounted table, then every fault; 1 if there is any."""
    if options.report is None:
        verdict = recount(options.directory)
    else:
        verdict = write_report(options.directory, options.report, options.dropped)
    sys.stdout.write(plain_table(shares_table(verdict.table, verdict.recipe.weigh_by)) + "\n")
    for fault in verdict.problems:
        sys.stdout.write(f"FAULT: {fault}\n")
    if verdict.note:
        sys.stdout.write(f"{verdict.note}\n")
    sys.stdout.write(
        f"{'Not as it should be' if verdict.problems else 'All as it should be'}: {verdict.files} files recounted.\n"
    )
    return 1 if verdict.problems else 0


def _recipe(options: argparse.Namespace, lanes: int | None) -> Recipe:
    recipe = load_recipe(options.recipe, seed=options.seed, lanes=lanes)
    return recipe if options.total_tokens is None else recipe.scale(options.total_tokens)


def _limits(options: argparse.Namespace) -> dict[str, Any]:
    return {"max_samples": options.max_samples, "max_tokens": options.max_tokens, "max_bytes": options.max_bytes}


def _opened(options: argparse.Namespace, **more: Any) -> Mix:
    return open_mix(
        _recipe(options, options.lanes),
        skip_unreadable=options.skip_unreadable,
        accept_terms=options.accept_terms,
        **more,
    )


def _show(recipe: Recipe, stats: MixStats, to: TextIO) -> None:
    kept = [source for source in recipe.active if source.id in stats.sources]
    if len(kept) == len(recipe.active):
        to.write(plain_table(shares_table(source_rows(recipe, stats), recipe.weigh_by)) + "\n")
    drops = drops_table(stats)
    if len(drops) > 1:
        to.write("\n" + plain_table(drops) + "\n")


class _Bar:
    """Progress of a write over all lanes: tokens, tokens a second, and the worst debt."""

    def __init__(self, recipe: Recipe, options: argparse.Namespace) -> None:
        self._all_stats: dict[str, MixStats] = {}
        self._bar = tqdm(total=options.max_tokens, unit="tok", unit_scale=True, desc=recipe.name, disable=None)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, progress: Progress) -> None:
        before = self._all_stats.get(progress.label)
        self._all_stats[progress.label] = progress.stats
        done = progress.stats.total.emitted_tokens - (before.total.emitted_tokens if before else 0)
        largest = max(counts.max_discrepancy for counts in progress.stats.sources.values())
        self._bar.set_postfix_str(f"worst debt {largest:,.0f}", refresh=False)
        self._bar.update(done)
