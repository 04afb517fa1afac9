"""What is there already where a mix is to go, and the mixes that are written there, pinned at the first time."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output import output_layout
from smollm3_mix.output.commit import keep_list
from smollm3_mix.output.output_formats import TOKEN_FORMATS
from smollm3_mix.output.write_request import WriteContext, differing
from smollm3_mix.recipe.read_recipe import recipe_from_dict
from smollm3_mix.report.plan_table import expected_bytes
from smollm3_mix.storage import atomic_files


def read_finished(writing: WriteContext) -> dict[str, MixStats] | None:
    """The tallies of a whole mix of the same request, None where there is still something to write."""
    folder, request, drops = writing.folder, writing.request, writing.drops
    stranger = output_layout.unexpected_file(folder)
    if stranger is not None:
        raise OutputError(
            f"{writing.place} holds {stranger!r}, which is no part of a written mix. "
            "Choose an empty or new folder with --output-dir."
        )
    if not output_layout.is_complete(folder):
        return None
    saved = json.loads((folder / output_layout.STATS).read_bytes())
    if saved["request"] != request.to_dict():
        differs = differing(saved["request"], request.to_dict())
        raise OutputError(
            f"{writing.place} holds another mix: it was asked for with {differs}. "
            "Choose another --output-dir, or remove that one."
        )
    if drops is not None and not drops.is_dir():
        raise OutputError(
            f"{writing.place} is finished, and its dropped documents are not in {drops}. "
            "Name the folder they went to with --keep-dropped, or write both again with another --output-dir."
        )
    if (folder / atomic_files.WORK_FOLDER).exists():
        output_layout.clear_folder(folder)
    return read_stats(folder)


def read_stats(folder: Path) -> dict[str, MixStats]:
    """Counts by split of a finished mix."""
    saved = json.loads((folder / output_layout.STATS).read_bytes())
    return {split: MixStats.from_dict(counts["sources"]) for split, counts in saved["splits"].items()}


def open_output(writing: WriteContext, work: Path) -> list[Mix]:
    """The mixes of all splits, train first; where nothing could be begun, nothing is left behind."""
    try:
        return open_output_in(writing, work)
    except BaseException:
        if not (work / output_layout.REQUEST).exists():
            output_layout.clear_folder(work.parent)
        raise


def open_output_in(writing: WriteContext, work: Path) -> list[Mix]:
    """The mixes of all splits, train first; on a second run pinned to what the first one found."""
    request, note, recipe = writing.request, work / output_layout.REQUEST, writing.asked
    if note.exists():
        saved = json.loads(note.read_bytes())
        if saved["request"] != request.to_dict():
            raise OutputError(
                f"{writing.place} holds the unfinished write of another mix: it was asked for with "
                f"{differing(saved['request'], request.to_dict())}. "
                f"Run that command again to finish it, or remove {writing.begun}."
            )
        recipe = recipe_from_dict(saved["recipe"])
    limits = {name: getattr(request, name) for name in ("max_samples", "max_tokens", "max_bytes")}
    train = open_mix(recipe, skip_unreadable=request.skip_unreadable, **writing.access, **limits)
    train = replace(train, ids=request.format in TOKEN_FORMATS)
    if writing.outlet is None and writing.store is None:
        _check_room(train, work)
    if not (work.parent / output_layout.DATA).exists():  # there if a commit was interrupted
        (work / output_layout.DATA).mkdir(exist_ok=True)
    if recipe.exclude is not None:
        keep_list(train.plan.recipe, work, writing.access["token"])
    atomic_files.replace_json(note, {"request": request.to_dict(), "recipe": train.plan.recipe.to_dict()})
    holdout = recipe.holdout
    if not holdout.fraction:
        return [train]
    held_out = {
        name: max(1, round(limit * holdout.fraction)) if limit else None
        for name, limit in train.limits.to_dict().items()
    }
    return [train, replace(train, split="validation", limits=Limits(**held_out))]


def _check_room(mix: Mix, work: Path) -> None:
    """Nothing, where the disk has room for the mix and what is written already counts.

    Raises:
        OutputError: it has not.
    """
    there = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    room = shutil.disk_usage(work).free + there
    needed = expected_bytes(mix.recipe, mix.plan.resolved, mix.limits.max_tokens, mix.limits.max_bytes)
    if mix.limits.max_samples is None and needed > room:
        raise OutputError(
            f"{work.parent} has room for {room:,} bytes, and the mix would take about {needed:,.0f}. "
            "Give --max-tokens, --max-samples or --max-bytes, or another --output-dir."
        )
