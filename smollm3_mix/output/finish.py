"""A mix whose lanes several writers have written, committed; nothing but its folder is opened."""

import json
import os
from pathlib import Path
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output import dropped_documents, output_layout
from smollm3_mix.output.commit import commit
from smollm3_mix.output.existing_output import read_stats
from smollm3_mix.output.write_request import WriteRequest
from smollm3_mix.recipe.read_recipe import recipe_from_dict
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.version import __version__


def finish(
    output_dir: str | os.PathLike[str], *, keep_dropped: str | os.PathLike[str] | None = None
) -> dict[str, MixStats]:
    """Counts by split of the mix that now lies in `output_dir`, as `write` alone would have left it.

    Args:
        output_dir: where `write` with `only` has written every lane.
        keep_dropped: the folder for dropped documents, where the lanes were written with one.

    Raises:
        OutputError: nothing is there to finish, another version began it, lanes are missing, or one is being written.
    """
    folder = Path(output_dir)
    note = folder / atomic_files.WORK_FOLDER / output_layout.REQUEST
    if not note.exists():
        if output_layout.is_complete(folder):
            return read_stats(folder)
        raise OutputError(
            f"{folder} holds no unfinished mix. Write its lanes first: "
            f"smollm3-mix write RECIPE --output-dir {folder} --lanes 0-15 --part-of 64"
        )
    saved = json.loads(note.read_bytes())
    asked: dict[str, Any] = {key: value for key, value in saved["request"].items() if key != "version"}
    if saved["request"]["version"] != __version__:
        raise OutputError(
            f"{folder} was written by smollm3_mix {saved['request']['version']}, and this is {__version__}. "
            "Finish it with the version that wrote it."
        )
    recipe, request = recipe_from_dict(saved["recipe"]), WriteRequest(**asked)
    if request.keep_dropped and keep_dropped is None:
        raise OutputError(
            f"{folder} was written with --keep-dropped. Name that folder again: finish {folder} --keep-dropped DIR"
        )
    with folder_lock.folder_lock(folder) as work:
        all_stats = _lane_stats(folder, work, recipe)
        if keep_dropped is not None:
            drops = Path(keep_dropped)
            dropped_documents.check(drops, folder, begun=True)
            dropped_documents.publish(work, drops)
        commit(folder, work, ResolvedRecipe(recipe), request, all_stats, None)
    output_layout.clear_folder(folder)
    return all_stats


def _lane_stats(folder: Path, work: Path, recipe: Recipe) -> dict[str, MixStats]:
    """Counts by split, where every lane is written to its end."""
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
    named = ", ".join(map(str, sorted(missing)[:10])) + (", …" if len(missing) > 10 else "")
    raise OutputError(
        f"{folder} lacks {len(missing)} of {recipe.lanes} lanes: {named}. Write them, then finish it: "
        f"smollm3-mix write RECIPE --output-dir {folder} --lanes {min(missing)} --part-of {recipe.lanes}"
    )
