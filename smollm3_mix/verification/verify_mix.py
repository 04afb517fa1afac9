"""Recount a written mix from its files, and compare it with its recipe and statistics."""

import json
import os
from pathlib import Path
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output import output_layout
from smollm3_mix.output.output_formats import BY_SOURCE, TOKEN_FORMATS
from smollm3_mix.output.written_mix import WrittenMix
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.report.evidence import Evidence, dropped_examples
from smollm3_mix.report.html_page import html_page
from smollm3_mix.verification import recount_records, recount_sources, recount_tokens
from smollm3_mix.verification.verification_report import Findings, VerificationReport, check_files, finished_report


def verify(
    output_dir: WrittenMix | str | os.PathLike[str],
    *,
    report: str | os.PathLike[str] | None = None,
    dropped: str | os.PathLike[str] | None = None,
) -> VerificationReport:
    """Recount a written mix from its files and compare the counts with its recipe. Optionally write an HTML report.

    Checks for all formats that the files are those of stats.json, with their sizes. For records in Parquet, checks that

    - the counts of every source are those of stats.json, and tokens follow from the texts,
    - the discrepancy of every source is within its bound after every record of every lane, in a curriculum within each
      stage, and stages end at their tokens,
    - no text is repeated within a lane if the recipe has dedup and reads sources once, nor across lanes with a dedup
      index,
    - no text of the validation split is in train.

    For documents by source, checks the documents and tokens of every source, then mixes the stored documents again and
    checks the counts and the discrepancies. For token files, checks that every index fits its file, that every token is
    an id of the tokenizer, that documents start and end with the tokens of the recipe, and the counts of each split.

    Args:
        output_dir: Written mix, or its folder.
        report: File for an HTML page with shares, discrepancies, drops, lengths and examples. Parquet only.
        dropped: Folder of dropped documents that `write` has kept, for examples in the HTML page.

    Raises:
        OutputError: If the folder has no finished mix, or the page cannot be written.
        SourceError: If the tokenizer of token files cannot be read.
        MissingExtraError: If `tokenizers` is not installed.
    """
    folder = _finished_folder(output_dir)
    summary = json.loads((folder / output_layout.STATS).read_bytes())
    if report is None:
        return finished_report(_recount(folder, summary, None))
    format_name = output_layout.written_format(summary)
    if format_name != "parquet":
        raise OutputError(
            f"{folder} has format {format_name!r}, but a report needs Parquet. Verify it without --report (report=)."
        )
    examples = {} if dropped is None else dropped_examples(Path(dropped))
    evidence = Evidence(load_recipe(folder / output_layout.RECIPE))
    result = finished_report(_recount(folder, summary, evidence))
    page = html_page(result.recipe, summary, result.rows, result.problems, evidence, examples)
    try:
        Path(report).write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the report: {error}. Name another file.") from error
    return result


def _recount(folder: Path, saved: dict[str, Any], evidence: Evidence | None) -> Findings:
    recipe = load_recipe(folder / output_layout.RECIPE)
    findings = Findings(recipe, MixStats.from_dict(saved["splits"]["train"]["sources"]))
    check_files(folder / output_layout.DATA, saved["files"], findings)
    format_name = output_layout.written_format(saved)
    if format_name == BY_SOURCE:
        recount_sources.recount(folder, saved, findings)
    elif format_name in TOKEN_FORMATS:
        recount_tokens.recount(folder, saved, findings, format_name)
    else:
        recount_records.recount(folder, saved, findings, evidence)
    return findings


def _finished_folder(output_dir: WrittenMix | str | os.PathLike[str]) -> Path:
    """Return the folder of a finished mix."""
    location = os.fspath(output_dir)
    if "://" in location:
        raise OutputError(
            f"{location} is a URL, but verify reads every file several times. Copy the mix to a folder first "
            "(docs/scaling.md)."
        )
    folder = Path(location)
    if problem := output_layout.unfinished_reason(folder):
        raise OutputError(problem)
    return folder
