"""The verb `merge`: the old tool's flags, its meaning and its log lines."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from smollm3_mix.cli.size_arguments import count_argument
from smollm3_mix.errors import SourceExhaustedError
from smollm3_mix.merge_datasets import merge_output
from smollm3_mix.merge_datasets.dataset_merger import DatasetMerger
from smollm3_mix.merge_datasets.row_draws import Outcome, RowDraws
from smollm3_mix.table_format import plain_table

log = logging.getLogger("smollm3_mix")

SUMMARY = "Merge sources as the old tool did: rows drawn by weight (--use-weights), or one source after another."
ABOUT = (
    "With --use-weights, each row is drawn from a source by chance, as datasets.interleave_datasets does, before it is "
    "judged. `smollm3-mix write` gives exact token shares of what comes out, at every prefix, and goes on after a stop."
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    command.epilog = ABOUT
    command.set_defaults(fail=command.error)
    command.add_argument(
        "--config",
        default="datasets_config.yaml",
        metavar="FILE",
        help="a recipe, a shipped one's name, or an old name such as smollm3_stage2_config.yaml (default %(default)s)",
    )
    command.add_argument(
        "--max-samples",
        type=count_argument,
        metavar="N",
        help="rows to process, dropped ones included: in all with --use-weights, else of each source",
    )
    command.add_argument("--seed", type=int, help="of the draws (default: the recipe's, 42 where it names none)")
    command.add_argument(
        "--output-dir",
        default="./merged_dataset",
        metavar="DIR",
        help="for datasets.load_from_disk (default %(default)s)",
    )
    command.add_argument("--no-save-local", action="store_true", help="save nothing in --output-dir")
    command.add_argument("--push-to-hub", action="store_true", help="push the result to --hub-repo")
    command.add_argument("--hub-repo", metavar="OWNER/NAME", help="dataset repository, made if there is none")
    command.add_argument("--private", action="store_true", help="make that repository private")
    command.add_argument(
        "--skip-unreadable", action="store_true", help="go on over the sources that can be read, and say which cannot"
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--use-weights", action="store_true", help="draw rows by weight; a source that ends starts again"
    )
    which.add_argument("--english-only", action="store_true", help="only the English sources, one after another")
    which.add_argument("--vietnamese-only", action="store_true", help="only the Vietnamese sources, one after another")


def merge(options: argparse.Namespace) -> int:
    """Draw, save, push, and print what became of the rows."""
    if options.push_to_hub and not options.hub_repo:
        options.fail("--push-to-hub needs a repository: add --hub-repo OWNER/NAME")
    if not options.push_to_hub and (options.hub_repo or options.private):
        log.warning("Nothing is pushed: --hub-repo and --private are used with --push-to-hub only")
    try:
        with _workplace(options) as work:
            draws = _merged(options, work)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. Nothing is saved: merge starts afresh, `smollm3-mix write` goes on.\n")
        return 130
    _show(draws)
    if not options.no_save_local:
        sys.stdout.write(f'Load it: datasets.load_from_disk("{options.output_dir}")\n')
    log.info("Process completed!")
    return 0


def _merged(options: argparse.Namespace, work: Path) -> RowDraws:
    """What was drawn; its texts are saved and pushed as asked for."""
    if options.push_to_hub:
        merge_output.check_hub(options.hub_repo)
    with _Bar() as bar:
        merger = DatasetMerger(
            options.config, options.use_weights, skip_unreadable=options.skip_unreadable, on_progress=bar
        )
        texts = merge_output.spill(_texts(merger, options), work / "texts.arrow")
    if merger.draws is None or not len(texts):
        raise SourceExhaustedError(_nothing(merger))
    dataset = merger.create_huggingface_dataset(texts)
    if not options.no_save_local:
        merger.save_into(dataset, options.output_dir, work)
    if options.push_to_hub:
        merger.push_to_hub(dataset, options.hub_repo, options.private)
    return merger.draws


def _texts(merger: DatasetMerger, options: argparse.Namespace) -> Iterator[Any]:
    if options.use_weights:
        log.info("Using weighted sampling mode")
        return merger.weighted(options.max_samples, options.seed)
    log.info("Using simple concatenation mode")
    return merger.concatenated(not options.vietnamese_only, not options.english_only, options.max_samples)


def _nothing(merger: DatasetMerger) -> str:
    outcome = Outcome() if merger.draws is None else merger.draws.outcome
    dropped = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(outcome.dropped.items()))
    return (
        f"{merger.recipe.file}: no texts were merged: {outcome.processed:,} rows processed, dropped: "
        f"{dropped or 'none'}. "
        "Loosen the recipe's `filters` or `where`, or raise --max-samples."
    )


def _show(draws: RowDraws) -> None:
    """The table of rows processed, kept and dropped by reason."""
    reasons = sorted(draws.outcome.dropped)
    table = [["source", "processed", "kept", *reasons]]
    for name, outcome in [*draws.outcomes.items(), ("total", draws.outcome)]:
        counts = [outcome.processed, outcome.kept, *(outcome.dropped.get(reason, 0) for reason in reasons)]
        table.append([name, *(f"{count:,}" for count in counts)])
    sys.stdout.write(plain_table(table) + "\n")


@contextmanager
def _workplace(options: argparse.Namespace) -> Iterator[Path]:
    """Where texts lie until they are saved or pushed."""
    if not options.no_save_local:
        with merge_output.workplace(options.output_dir) as work:
            yield work
    else:
        with tempfile.TemporaryDirectory(prefix="smollm3-mix-") as folder:
            yield Path(folder)


class _Bar:
    """Progress in rows: one bar for all sources that are drawn from, or one for each in turn."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._label = ""

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, label: str, rows: int, most: int | None) -> None:
        if label != self._label:
            self._close()
            self._label = label
            self._bar = tqdm(total=most, unit="row", desc=f"Processing {label}", disable=None)
        self._bar.update(rows - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
