"""A written mix recounted from its files alone, against its recipe and its tally."""

import json
import os
from pathlib import Path

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output import output_layout
from smollm3_mix.output.output_formats import BY_SOURCE, TOKEN_FORMATS
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.report.evidence import Evidence, dropped_examples
from smollm3_mix.report.html_page import html_page
from smollm3_mix.verification import recount_records, recount_sources, recount_tokens
from smollm3_mix.verification.verification_report import VerificationReport, check_files


def verify(folder: str | os.PathLike[str], evidence: Evidence | None = None) -> VerificationReport:
    """What the files of a written mix hold, and every way in which they differ from its recipe and tally.

    Checked of all: the files are those of the tally, with their sizes. Of records in Parquet: the counts of every
    source are; tokens follow from the texts; the debt of every source is within its bound after every record of every
    lane, in a curriculum within each stage, and stages end where they should; no text comes twice in a lane, where the
    recipe drops duplicates and reads sources once, nor in two lanes, where it has a dedup index; no text of validation
    is in train. Of documents by source, see `by_source.recount`; of token files, `token_files.recount`.

    Args:
        folder: the mix.
        evidence: takes in every record on the way, for a report; of records in Parquet only.

    Raises:
        OutputError: the folder holds no finished mix.
        SourceError, MissingExtraError: the tokenizer of token files cannot be read.
    """
    place = _finished(folder)
    saved = json.loads((place / output_layout.STATS).read_bytes())
    verdict = VerificationReport(
        load_recipe(place / output_layout.RECIPE), {}, MixStats.from_dict(saved["splits"]["train"]["sources"])
    )
    check_files(place / output_layout.DATA, saved["files"], verdict)
    form = output_layout.written_format(saved)
    if form == BY_SOURCE:
        recount_sources.recount(place, saved, verdict)
    elif form in TOKEN_FORMATS:
        recount_tokens.recount(place, saved, verdict, form)
    else:
        recount_records.recount(place, saved, verdict, evidence)
    return verdict


def write_report(
    folder: str | os.PathLike[str], file: str | os.PathLike[str], dropped: str | os.PathLike[str] | None = None
) -> VerificationReport:
    """What `verify` finds, also written as one page of HTML.

    Args:
        folder: the mix.
        file: where the page goes.
        dropped: folder of Parquet files with texts that were dropped, as `write --keep-dropped` makes it.

    Raises:
        OutputError: a folder does not hold what it should, or the page cannot be written.
    """
    place = _finished(folder)
    form = output_layout.written_format(json.loads((place / output_layout.STATS).read_bytes()))
    if form != "parquet":
        raise OutputError(
            f"{place} holds a mix in the format {form}, and a report shows records of one in Parquet. "
            "Verify it without --report."
        )
    gone = dropped_examples(Path(dropped)) if dropped is not None else {}
    evidence = Evidence(load_recipe(place / output_layout.RECIPE))
    verdict = verify(place, evidence)
    summary = json.loads((place / output_layout.STATS).read_bytes())
    made = html_page(verdict.recipe, summary, verdict.table, verdict.problems, evidence, gone)
    try:
        Path(file).write_text(made, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the report: {error}. Name another file.") from error
    return verdict


def _finished(folder: str | os.PathLike[str]) -> Path:
    if "://" in os.fspath(folder):
        raise OutputError(
            f"{os.fspath(folder)} is a URL, and what is verified is read several times. Copy it to a folder, and give "
            "that: docs/scaling.md says how."
        )
    place = Path(folder)
    if fault := output_layout.is_unfinished(place):
        raise OutputError(fault)
    return place
