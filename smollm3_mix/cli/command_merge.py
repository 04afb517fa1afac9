"""`smollm3-mix merge`: the command of `merge_datasets.py`, with its flags and log lines."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from smollm3_mix.cli.mix_options import add_source_options
from smollm3_mix.cli.size_arguments import count_argument
from smollm3_mix.errors import SourceExhaustedError
from smollm3_mix.merge_datasets import merge_output
from smollm3_mix.merge_datasets.dataset_merger import DatasetMerger
from smollm3_mix.merge_datasets.row_draws import Outcome, RowDraws
from smollm3_mix.table_format import plain_table

log = logging.getLogger("smollm3_mix")

SUMMARY = "Merge sources as merge_datasets.py does: rows drawn by weight (--use-weights), or one source after another."
EPILOG = (
    "With --use-weights, the source of each row is drawn at random before filtering, as in "
    "datasets.interleave_datasets. `smollm3-mix write` has exact token shares after filtering, at every prefix, and "
    "resumes after an interruption."
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    command.epilog = EPILOG
    command.set_defaults(fail=command.error)
    command.add_argument(
        "--config",
        default="datasets_config.yaml",
        metavar="FILE",
        help="recipe file, shipped recipe, or config name such as smollm3_stage2_config.yaml (default %(default)s)",
    )
    command.add_argument(
        "--max-samples",
        type=count_argument,
        metavar="N",
        help="rows to process, including dropped rows: in total with --use-weights, else per source",
    )
    command.add_argument("--seed", type=int, help="seed of the draws (default: the recipe's, or 42)")
    command.add_argument(
        "--output-dir",
        default="./merged_dataset",
        metavar="DIR",
        help="output folder for datasets.load_from_disk (default %(default)s)",
    )
    command.add_argument("--no-save-local", action="store_true", help="do not save to --output-dir")
    command.add_argument("--push-to-hub", action="store_true", help="push the result to --hub-repo")
    command.add_argument("--hub-repo", metavar="OWNER/NAME", help="dataset repository; created if it does not exist")
    command.add_argument("--private", action="store_true", help="make the repository private")
    add_source_options(command)
    which = command.add_mutually_exclusive_group()
    which.add_argument("--use-weights", action="store_true", help="draw rows by weight; repeat sources that end")
    which.add_argument("--english-only", action="store_true", help="merge only the English sources, one after another")
    which.add_argument(
        "--vietnamese-only", action="store_true", help="merge only the Vietnamese sources, one after another"
    )


def merge(arguments: argparse.Namespace) -> int:
    """Merge, save and push, and print the processed, kept and dropped rows."""
    if arguments.push_to_hub and not arguments.hub_repo:
        arguments.fail("--push-to-hub needs a repository: add --hub-repo OWNER/NAME")
    if not arguments.push_to_hub and (arguments.hub_repo or arguments.private):
        log.warning("--hub-repo and --private have no effect without --push-to-hub.")
    try:
        with _work_folder(arguments) as work:
            draws = _merge(arguments, work)
    except KeyboardInterrupt:
        sys.stderr.write(
            "Interrupted. Nothing was saved. A new merge starts from the beginning. `smollm3-mix write` can resume.\n"
        )
        return 130
    _print_outcomes(draws)
    if not arguments.no_save_local:
        sys.stdout.write(f'Load it: datasets.load_from_disk("{arguments.output_dir}")\n')
    log.info("Process completed!")
    return 0


def _merge(arguments: argparse.Namespace, work: Path) -> RowDraws:
    """Merge, save and push the texts as requested, and return the draws."""
    if arguments.push_to_hub:
        merge_output.check_hub(arguments.hub_repo)
    with _ProgressBar() as bar:
        merger = DatasetMerger(
            arguments.config,
            arguments.use_weights,
            skip_unreadable=arguments.skip_unreadable,
            accept_terms=arguments.accept_terms,
            on_progress=bar,
        )
        texts = merge_output.spill(_texts(merger, arguments), work / "texts.arrow")
    if merger.draws is None or not len(texts):
        raise SourceExhaustedError(_no_texts_message(merger))
    dataset = merger.create_huggingface_dataset(texts)
    if not arguments.no_save_local:
        merger.save_into(dataset, arguments.output_dir, work)
    if arguments.push_to_hub:
        merger.push_to_hub(dataset, arguments.hub_repo, arguments.private)
    return merger.draws


def _texts(merger: DatasetMerger, arguments: argparse.Namespace) -> Iterator[Any]:
    if arguments.use_weights:
        log.info("Using weighted sampling mode")
        return merger.weighted(arguments.max_samples, arguments.seed)
    log.info("Using simple concatenation mode")
    return merger.concatenated(not arguments.vietnamese_only, not arguments.english_only, arguments.max_samples)


def _no_texts_message(merger: DatasetMerger) -> str:
    outcome = Outcome() if merger.draws is None else merger.draws.outcome
    dropped = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(outcome.dropped.items()))
    return (
        f"{merger.recipe.file}: no texts were merged. Rows processed: {outcome.processed:,}. Dropped: "
        f"{dropped or 'none'}. "
        "Relax the recipe's `filters` or `where`, or raise --max-samples."
    )


def _print_outcomes(draws: RowDraws) -> None:
    """Print the rows processed, kept and dropped by reason."""
    reasons = sorted(draws.outcome.dropped)
    table = [["source", "processed", "kept", *reasons]]
    for name, outcome in [*draws.outcomes.items(), ("total", draws.outcome)]:
        counts = [outcome.processed, outcome.kept, *(outcome.dropped.get(reason, 0) for reason in reasons)]
        table.append([name, *(f"{count:,}" for count in counts)])
    sys.stdout.write(plain_table(table) + "\n")


@contextmanager
def _work_folder(arguments: argparse.Namespace) -> Iterator[Path]:
    """Yield a folder for texts until they are saved or pushed."""
    if not arguments.no_save_local:
        with merge_output.work_folder(arguments.output_dir) as work:
            yield work
    else:
        with tempfile.TemporaryDirectory(prefix="smollm3-mix-") as folder:
            yield Path(folder)


class _ProgressBar:
    """Number of processed rows: one bar for weighted draws, or one bar per source."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._label = ""

    def __enter__(self) -> "_ProgressBar":
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
