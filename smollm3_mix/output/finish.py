"""Commit a mix whose lanes were written by separate calls. Opens no source."""

import json
import os
from pathlib import Path
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output import dropped_documents, output_layout
from smollm3_mix.output.commit import commit
from smollm3_mix.output.write_request import WriteRequest
from smollm3_mix.output.written_mix import WrittenMix, open_written
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.read_recipe import recipe_from_dict
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.version import __version__


def finish(output_dir: str | os.PathLike[str], *, keep_dropped: str | os.PathLike[str] | None = None) -> WrittenMix:
    """Commit a mix whose lanes were written by separate calls of `write` with `only_lanes`.

    The result is that of a single call of `write`. Over a finished mix, `finish` only opens it.

    Args:
        output_dir: Folder in which every lane was written.
        keep_dropped: Folder for the dropped documents. Required if the lanes were written with one.

    Raises:
        OutputError: If the folder has no unfinished mix, lanes are missing or being written, or the lanes were written
            by another version of the package.
    """
    folder = Path(output_dir)
    request_file = folder / atomic_files.WORK_FOLDER / output_layout.REQUEST
    if not request_file.exists():
        if output_layout.is_complete(folder):
            return open_written(folder)
        raise OutputError(
            f"{folder} has no unfinished mix. Write its lanes first: "
            f"smollm3-mix write RECIPE --output-dir {folder} --lanes 64 --only-lanes 0-15",
            path=str(folder),
        )
    saved = json.loads(request_file.read_bytes())
    requested: dict[str, Any] = {key: value for key, value in saved["request"].items() if key != "version"}
    if saved["request"]["version"] != __version__:
        raise OutputError(
            f"{folder} was written by smollm3_mix {saved['request']['version']}, but this is {__version__}. "
            "Finish it with the version that wrote it.",
            path=str(folder),
        )
    recipe, request = recipe_from_dict(saved["recipe"]), WriteRequest(**requested)
    if request.keep_dropped and keep_dropped is None:
        raise OutputError(
            f"{folder} was written with --keep-dropped. Name the same folder: finish {folder} --keep-dropped DIR",
            path=str(folder),
        )
    with folder_lock.folder_lock(folder) as work:
        all_stats = _lane_stats(folder, work, recipe)
        if keep_dropped is not None:
            dropped_dir = Path(keep_dropped)
            dropped_documents.check(dropped_dir, folder, resumed=True)
            dropped_documents.publish(work, dropped_dir)
        commit(folder, work, ResolvedRecipe(recipe), request, all_stats, None)
    output_layout.clear_folder(folder)
    return open_written(folder)


def _lane_stats(folder: Path, work: Path, recipe: AnyRecipe) -> dict[str, MixStats]:
    """Return the statistics by split. Raise OutputError if a lane is missing or incomplete."""
    lanes = [("train", lane) for lane in range(recipe.lanes)]
    if recipe.holdout.fraction:
        lanes.append(("validation", 0))
    all_stats: dict[str, MixStats] = {}
    missing = set()
    for split, lane in lanes:
        state = work / f"{output_layout.lane_label(split, lane)}.json"
        saved: dict[str, Any] = json.loads(state.read_bytes()) if state.exists() else {"done": False}
        if saved["done"]:
            all_stats[split] = all_stats.get(split, MixStats({})) + MixStats.from_dict(saved["stats"])
        else:
            missing.add(lane)
    if not missing:
        return all_stats
    listed = ", ".join(map(str, sorted(missing)[:10])) + (", …" if len(missing) > 10 else "")
    raise OutputError(
        f"{folder} lacks {len(missing)} of {recipe.lanes} lanes: {listed}. Write them, then finish: "
        f"smollm3-mix write RECIPE --output-dir {folder} --lanes {recipe.lanes} --only-lanes {min(missing)}",
        path=str(folder),
    )
