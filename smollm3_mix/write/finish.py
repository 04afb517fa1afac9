"""A mix whose lanes several writers have written, committed."""

import json
import os
from pathlib import Path
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.recipe import Recipe
from smollm3_mix.tally import Tally
from smollm3_mix.write import layout
from smollm3_mix.write.run import Request, tallies_of, write_all


def finish(
    output_dir: str | os.PathLike[str],
    *,
    keep_dropped: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    accept_terms: list[str] | str | None = None,
) -> dict[str, Tally]:
    """Counts by split of the mix that now lies in `output_dir`, as `write` alone would have left it.

    Args:
        output_dir: where `write` with `only` has written every lane.
        keep_dropped: the folder for dropped documents, where the lanes were written with one.
        token: of the Hub.
        accept_terms: terms that you accept; see `open_mix`.

    Raises:
        OutputError: nothing is there to finish, lanes are missing, or one is being written.
        RecipeError, Unreadable, SourceError: as the mix raises them when it is opened.
    """
    folder = Path(output_dir)
    note = folder / layout.WORK / layout.REQUEST
    if not note.exists():
        if layout.complete(folder):
            return tallies_of(folder)
        raise OutputError(
            f"{folder} holds no unfinished mix. Write its lanes first: "
            f"smollm3-mix write RECIPE --output-dir {folder} --lanes 0-15 --part-of 64"
        )
    saved = json.loads(note.read_bytes())
    recipe = Recipe.from_dict(saved["recipe"])
    asked: dict[str, Any] = {key: value for key, value in saved["request"].items() if key != "version"}
    request = Request(**asked)
    if request.keep_dropped and keep_dropped is None:
        raise OutputError(
            f"{folder} was written with --keep-dropped. Name that folder again: finish {folder} --keep-dropped DIR"
        )
    _check_lanes(folder, recipe)
    drops = None if keep_dropped is None else Path(keep_dropped)
    access = {"token": token, "accept_terms": accept_terms}
    return write_all(recipe, request, (folder, drops), access, 1, lambda _: None, None)


def _check_lanes(folder: Path, recipe: Recipe) -> None:
    """Nothing, where every lane is written to its end."""
    work = folder / layout.WORK
    missing = [lane for lane in range(recipe.lanes) if not _done(work, "train", lane)]
    if recipe.holdout.fraction and not _done(work, "validation", 0) and 0 not in missing:
        missing.insert(0, 0)
    if missing:
        named = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        raise OutputError(
            f"{folder} lacks {len(missing)} of {recipe.lanes} lanes: {named}. Write them, then finish it: "
            f"smollm3-mix write RECIPE --output-dir {folder} --lanes {missing[0]} --part-of {recipe.lanes}"
        )


def _done(work: Path, split: str, lane: int) -> bool:
    state = work / f"{layout.label(split, lane)}.json"
    return state.exists() and bool(json.loads(state.read_bytes())["done"])
