"""Check what the output folder contains, and open the mixes to write, pinned since the first call."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output import output_layout
from smollm3_mix.output.commit import keep_exclusion_list
from smollm3_mix.output.output_formats import TOKEN_FORMATS
from smollm3_mix.output.write_request import WriteContext, differences
from smollm3_mix.recipe.read_recipe import recipe_from_dict
from smollm3_mix.report.plan_table import expected_bytes
from smollm3_mix.storage import atomic_files


def read_finished(context: WriteContext) -> dict[str, MixStats] | None:
    """Return the statistics of a complete mix of the same request, or None if there is something left to write.

    Raises:
        OutputError: If the folder contains other files or another mix.
    """
    folder, request, dropped_dir = context.folder, context.request, context.dropped_dir
    unexpected = output_layout.unexpected_file(folder)
    if unexpected is not None:
        raise OutputError(
            f"{context.location} contains {unexpected!r}, which is not part of a written mix. "
            "Choose a new or empty folder with --output-dir.",
            path=context.location,
        )
    if not output_layout.is_complete(folder):
        return None
    saved = json.loads((folder / output_layout.STATS).read_bytes())
    if saved["request"] != request.to_dict():
        differ = differences(saved["request"], request.to_dict())
        raise OutputError(
            f"{context.location} already contains a different mix ({differ}). "
            "Choose another --output-dir or delete this one.",
            path=context.location,
        )
    if dropped_dir is not None and not dropped_dir.is_dir():
        raise OutputError(
            f"{context.location} is complete, but its dropped documents are not in {dropped_dir}. "
            "Name their folder with --keep-dropped, or write both again with another --output-dir.",
            path=context.location,
        )
    if (folder / atomic_files.WORK_FOLDER).exists():
        output_layout.clear_folder(folder)
    return read_stats(folder)


def read_stats(folder: Path) -> dict[str, MixStats]:
    """Return the statistics of a finished mix by split."""
    saved = json.loads((folder / output_layout.STATS).read_bytes())
    return {split: MixStats.from_dict(counts["sources"]) for split, counts in saved["splits"].items()}


def open_output(context: WriteContext, work: Path) -> list[Mix]:
    """Open the mixes of all splits, train first. Leaves no folder behind if nothing could be started."""
    try:
        return open_output_in(context, work)
    except BaseException:
        if not (work / output_layout.REQUEST).exists():
            output_layout.clear_folder(work.parent)
        raise


def open_output_in(context: WriteContext, work: Path) -> list[Mix]:
    """Open the mixes of all splits, train first. A later call uses the revisions that the first call pinned."""
    request, request_file, recipe = context.request, work / output_layout.REQUEST, context.recipe
    if request_file.exists():
        saved = json.loads(request_file.read_bytes())
        if saved["request"] != request.to_dict():
            raise OutputError(
                f"{context.location} contains an unfinished run of a different mix "
                f"({differences(saved['request'], request.to_dict())}). "
                f"Repeat that command to finish it, or delete {context.work_location}.",
                path=context.location,
            )
        recipe = recipe_from_dict(saved["recipe"])
    train = open_mix(
        recipe,
        skip_unreadable=request.skip_unreadable,
        max_samples=request.max_samples,
        max_tokens=request.max_tokens,
        max_bytes=request.max_bytes,
        **context.access,
    )
    train = replace(train, ids=request.format in TOKEN_FORMATS)
    if context.push_to is None and context.store is None:
        _check_disk_space(train, work)
    if not (work.parent / output_layout.DATA).exists():  # it exists if a commit was interrupted
        (work / output_layout.DATA).mkdir(exist_ok=True)
    if recipe.exclude is not None:
        keep_exclusion_list(train.resolved.recipe, work, context.access.get("token"))
    atomic_files.replace_json(request_file, {"request": request.to_dict(), "recipe": train.resolved.recipe.to_dict()})
    holdout = recipe.holdout
    if not holdout.fraction:
        return [train]
    held_out = {
        name: max(1, round(limit * holdout.fraction)) if limit else None
        for name, limit in train.limits.to_dict().items()
    }
    return [train, replace(train, split="validation", limits=Limits(**held_out))]


def _check_disk_space(mix: Mix, work: Path) -> None:
    """Raise OutputError if the disk is too small for the mix. Finished shards count as free space."""
    written = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    available = shutil.disk_usage(work).free + written
    needed = expected_bytes(mix.recipe, mix.resolved.sources, mix.limits.max_tokens, mix.limits.max_bytes)
    if mix.limits.max_samples is None and needed > available:
        raise OutputError(
            f"{work.parent} has {available:,} bytes available, but the mix needs about {needed:,.0f}. "
            "Set --max-tokens, --max-samples or --max-bytes, or choose another --output-dir.",
            path=str(work.parent),
        )
