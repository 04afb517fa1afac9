"""All lanes written, in one process or several, and the result committed in one go."""

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smollm3_mix import __version__
from smollm3_mix.errors import OutputError, RecipeError
from smollm3_mix.mix import Mix, open_mix
from smollm3_mix.recipe import Counting, Curriculum, Recipe, read
from smollm3_mix.report.plan import expected_bytes
from smollm3_mix.sources import Plan
from smollm3_mix.sources.exclusion import entries_of
from smollm3_mix.tally import Tally
from smollm3_mix.tokenizer import EOS, encoded, load
from smollm3_mix.write import dropped, layout, stored
from smollm3_mix.write.card import card
from smollm3_mix.write.forms import BY_SOURCE, FORMATS, TOKEN_FORMATS, BySource, Form, Tables, Tokens
from smollm3_mix.write.note import note
from smollm3_mix.write.parts import LaneJob
from smollm3_mix.write.processes import Listener, Stopped, run
from smollm3_mix.write.shipping import WAITING, Outlet, Shipping, noted
from smollm3_mix.write.stages import counted

PART_BYTES = 512 << 20

OPENING = 3600.0
"""Seconds that a writer of some lanes waits for another that finds out what the sources hold."""


@dataclass(frozen=True)
class Request:
    """What a user asked to be written; two equal requests may share a folder.

    Attributes:
        fingerprint: of the recipe as asked for, before its sources are pinned.
        max_samples: records of the whole mix.
        max_tokens: tokens of the whole mix.
        max_bytes: UTF-8 bytes of text of the whole mix.
        skip_unreadable: whether unreadable sources are left out.
        part_bytes: bytes of text in a part.
        format: one of forms.FORMATS, or by-source.
        keep_dropped: whether the dropped documents are written, too; where they go is nobody's business.
    """

    fingerprint: str
    max_samples: int | None
    max_tokens: int | None
    max_bytes: int | None
    skip_unreadable: bool
    part_bytes: int
    format: str = "parquet"
    keep_dropped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON."""
        asked = {key: value for key, value in self.__dict__.items() if key != "keep_dropped" or value}
        return {**asked, "version": __version__}


def write(  # noqa: D417 - arguments of one kind share a line
    recipe: Recipe | str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    seed: int | None = None,
    lanes: int | None = None,
    max_samples: int | None = None,
    max_tokens: int | None = None,
    max_bytes: int | None = None,
    processes: int = 1,
    skip_unreadable: bool = False,
    part_bytes: int = PART_BYTES,
    keep_dropped: str | os.PathLike[str] | None = None,
    format: str = "parquet",  # noqa: A002 - the word of the command line
    tokenizer: str | os.PathLike[str] | None = None,
    bos: str | None = None,
    eos: str | None = EOS,
    token: str | bool | None = None,
    accept_terms: Sequence[str] | str | None = None,
    listener: Listener | None = None,
    outlet: Outlet | None = None,
    only: Sequence[int] | None = None,
) -> dict[str, Tally]:
    """Counts by split of the mix that now lies in `output_dir`, with card, pinned recipe and tally.

    The bytes depend on the recipe, the limits and `part_bytes` alone. After an interruption the same call goes on
    behind the last whole part of each lane; over a finished result of the same request it returns at once.

    Args:
        recipe: a `Recipe`, a path, or the name of a shipped stage.
        output_dir: new, empty, or of the same request.
        seed, lanes: in place of the recipe's.
        max_samples, max_tokens, max_bytes: limits of the whole mix: records, tokens, UTF-8 bytes of text.
        processes: lanes written at once, each in a process of its own if more than one.
        skip_unreadable: go on over the sources that can be read.
        part_bytes: bytes of text at which a file ends.
        keep_dropped: new or empty folder for the dropped documents with their reasons; see docs/exclusion.md.
        format: parquet; by-source: to be mixed again without the sources; nanotron or megatron: token files.
        tokenizer: counts the tokens, and makes those of token files; default: as the recipe counts.
        bos: token before each document of a token file; default: none.
        eos: token after each document of a token file; default: the one of the vocabulary that ends a text.
        token: of the Hub; default: the one that is logged in.
        accept_terms: terms that you accept; see `open_mix`.
        listener: called in this process as the work goes on.
        outlet: takes each part as soon as it is whole, which is then removed here, such as a `publish.Outlet`.
        only: write these lanes and commit nothing, beside other writers of other lanes; `finish` commits. The one
            with lane 0 writes what is held out, too. What is returned counts these lanes.

    Raises:
        OutputError: the folder holds something else, is in use, or cannot be written.
        RecipeError, MissingExtra, Unreadable, SourceExhausted, SourceError: as the mix raises them.
    """
    asked = (recipe if isinstance(recipe, Recipe) else read(recipe)).with_(seed=seed, lanes=lanes)
    asked = _counted(asked, format, tokenizer, bos, eos, token=token)
    drops = None if keep_dropped is None else Path(keep_dropped)
    limits = (max_samples, max_tokens, max_bytes)
    request = Request(asked.fingerprint, *limits, skip_unreadable, part_bytes, format, drops is not None)
    access = {"token": token, "accept_terms": accept_terms}
    asked_of = (asked, request, (Path(output_dir), drops), access, processes, listener or (lambda _: None), outlet)
    return write_all(*asked_of) if only is None else _write_some(*asked_of, only)


def _write_some(  # noqa: PLR0917 - called in one place only
    asked: Recipe,
    request: Request,
    folders: tuple[Path, Path | None],
    access: dict[str, Any],
    processes: int,
    listener: Listener,
    outlet: Outlet | None,
    only: Sequence[int],
) -> dict[str, Tally]:
    """Counts by split of some lanes, now in the work folder; other processes, of other machines, write the others."""
    folder, drops = folders
    if outlet is not None:
        raise OutputError(
            "--push-to takes a mix from one writer, and --part-of has several. "
            "Write the lanes without it, run `smollm3-mix finish`, then `smollm3-mix push`."
        )
    if not only or min(only) < 0 or max(only) >= asked.lanes:
        raise OutputError(f"--lanes must lie in 0-{asked.lanes - 1} with --part-of {asked.lanes}, got {list(only)}")
    if (done := _finished(folder, request, drops)) is not None:
        return done
    with layout.locked(folder, shared=True) as work, ExitStack() as held:
        for lane in only:
            held.enter_context(layout.locked(folder, name=f"locks/{layout.label('train', lane)}"))
        with layout.locked(folder, name="opening", wait=OPENING):
            if drops is not None:
                dropped.check(drops, folder, begun=(work / layout.REQUEST).exists())
            mixes = _opened_in(work, asked, request, access, bounded=False)
        return _written(mixes, work, request, processes, listener, None, only)


def write_all(  # noqa: PLR0917 - called by `write` and `finish` only
    asked: Recipe,
    request: Request,
    folders: tuple[Path, Path | None],
    access: dict[str, Any],
    processes: int,
    listener: Listener,
    outlet: Outlet | None,
) -> dict[str, Tally]:
    """See `write`; the folders are of the mix, and of what is dropped."""
    folder, drops = folders
    if (done := _finished(folder, request, drops)) is not None:
        return done
    if drops is not None:
        dropped.check(drops, folder, begun=(folder / layout.WORK / layout.REQUEST).exists())
    with layout.locked(folder) as work:
        mixes = _opened(asked, work, request, bounded=outlet is not None, **access)
        shipping = _shipping(outlet, mixes[0], work, request)
        tallies = _written(mixes, work, request, processes, listener, shipping)
        if drops is not None:
            dropped.publish(work, drops)
        commit(folder, work, mixes[0].plan, request, tallies, outlet)
    layout.clear(folder)
    return tallies


def _counted(
    recipe: Recipe,
    form: str,
    tokenizer: str | os.PathLike[str] | None,
    bos: str | None,
    eos: str | None,
    *,
    token: str | bool | None,
) -> Recipe:
    """The recipe with the tokenizer that is asked for; a table has no token after a document unless one is named."""
    if form not in (*FORMATS, BY_SOURCE):
        raise ValueError(f"format must be one of {', '.join((*FORMATS, BY_SOURCE))}, got {form!r}")
    if form == BY_SOURCE and isinstance(recipe, Curriculum):
        raise RecipeError(recipe.file, ["is a curriculum; write the recipe of each stage by source, in its own folder"])
    if form not in TOKEN_FORMATS and tokenizer is None:
        return recipe
    end = eos if form in TOKEN_FORMATS or eos != EOS else None
    return recipe.with_(tokens=encoded(recipe, tokenizer, bos, end, token))


def _shipping(outlet: Outlet | None, mix: Mix, work: Path, request: Request) -> Shipping | None:
    """The thread that takes parts away, started; None where all parts stay."""
    noted(work, None if outlet is None else outlet.name)
    if outlet is None:
        return None
    if request.format != "parquet":
        raise OutputError(f"--push-to takes Parquet, not --format {request.format}. Write it, then upload the folder.")
    recipe = _beside(mix.plan.recipe)
    outlet.begin(recipe, recipe.to_yaml().encode(), request.to_dict())
    shipping = Shipping(work, outlet)
    shipping.start()
    return shipping


def _written(  # noqa: PLR0917 - called in one place only
    mixes: Sequence[Mix],
    work: Path,
    request: Request,
    processes: int,
    listener: Listener,
    shipping: Shipping | None,
    only: Sequence[int] | None = None,
) -> dict[str, Tally]:
    """Counts by split, once every part of every lane is in the work folder."""
    most = None if shipping is None else WAITING * processes
    jobs = [
        LaneJob(mix, lane, str(work), request.part_bytes, _form(mix, request.format), most, request.keep_dropped)
        for mix in mixes
        for lane in range(mix.num_lanes)
        if only is None or lane in only
    ]
    done = False
    try:
        tallies = run(jobs, processes, listener, shipping)
        done = True
    except Stopped:
        if shipping is not None:
            shipping.check()
        raise
    finally:
        if shipping is not None:
            shipping.end(all_of_them=done)
    by_split: dict[str, Tally] = {}
    for job, tally in zip(jobs, tallies, strict=True):
        by_split[job.mix.split] = by_split.get(job.mix.split, Tally({})) + tally
    return by_split


def _form(mix: Mix, form: str) -> Form:
    """The files of a part. What is held out of a mix by source is a plain table: nobody mixes it anew."""
    if form == BY_SOURCE and mix.split == "train":
        return BySource(tuple(source.id for source in mix.recipe.active))
    encoder = load(mix.recipe, mix.plan.token)
    if form in TOKEN_FORMATS and encoder is not None and isinstance(mix.recipe.tokens, Counting):
        return Tokens(form, encoder.vocab, mix.recipe.tokens.tokenizer)
    return Tables()


def _finished(folder: Path, request: Request, drops: Path | None) -> dict[str, Tally] | None:
    """The tallies of a whole mix of the same request, None where there is still something to write."""
    stranger = layout.occupant(folder)
    if stranger is not None:
        raise OutputError(
            f"{folder} holds {stranger!r}, which is no part of a written mix. "
            "Choose an empty or new folder with --output-dir."
        )
    if not layout.complete(folder):
        return None
    saved = json.loads((folder / layout.TALLY).read_bytes())
    if saved["request"] != request.to_dict():
        raise OutputError(
            f"{folder} holds another mix: it was asked for with {_differing(saved['request'], request.to_dict())}. "
            "Choose another --output-dir, or remove that one."
        )
    if drops is not None and not drops.is_dir():
        raise OutputError(
            f"{folder} is finished, and its dropped documents are not in {drops}. "
            "Name the folder they went to with --keep-dropped, or write both again with another --output-dir."
        )
    if (folder / layout.WORK).exists():
        layout.clear(folder)
    return tallies_of(folder)


def tallies_of(folder: Path) -> dict[str, Tally]:
    """Counts by split of a finished mix."""
    saved = json.loads((folder / layout.TALLY).read_bytes())
    return {split: Tally.from_dict(counts["sources"]) for split, counts in saved["splits"].items()}


def _opened(asked: Recipe, work: Path, request: Request, *, bounded: bool, **access: Any) -> list[Mix]:
    """The mixes of all splits, train first; where nothing could be begun, nothing is left behind."""
    try:
        return _opened_in(work, asked, request, access, bounded=bounded)
    except BaseException:
        if not (work / layout.REQUEST).exists():
            layout.clear(work.parent)
        raise


def _opened_in(work: Path, asked: Recipe, request: Request, access: dict[str, Any], *, bounded: bool) -> list[Mix]:
    """The mixes of all splits, train first; on a second run pinned to what the first one found."""
    note = work / layout.REQUEST
    recipe = asked
    if note.exists():
        saved = json.loads(note.read_bytes())
        if saved["request"] != request.to_dict():
            raise OutputError(
                f"{work.parent} holds the unfinished write of another mix: it was asked for with "
                f"{_differing(saved['request'], request.to_dict())}. "
                f"Run that command again to finish it, or remove {work}."
            )
        recipe = Recipe.from_dict(saved["recipe"])
    limits = {name: getattr(request, name) for name in ("max_samples", "max_tokens", "max_bytes")}
    train = open_mix(recipe, skip_unreadable=request.skip_unreadable, **access, **limits)
    train = replace(train, ids=request.format in TOKEN_FORMATS)
    if not bounded:
        _check_room(train, work)
    if not (work.parent / layout.DATA).exists():  # there if a commit was interrupted
        (work / layout.DATA).mkdir(exist_ok=True)
    if recipe.exclude is not None:
        _keep_list(train.plan.recipe, work, access["token"])
    layout.replace_json(note, {"request": request.to_dict(), "recipe": train.plan.recipe.to_dict()})
    holdout = recipe.holdout
    if not holdout.fraction:
        return [train]
    held: dict[str, Any] = {
        key: max(1, round(limit * holdout.fraction)) if limit else None for key, limit in limits.items()
    }
    return [train, replace(train, split="validation", **held)]


def _check_room(mix: Mix, work: Path) -> None:
    """Nothing, where the disk has room for the mix and what is written already counts.

    Raises:
        OutputError: it has not.
    """
    there = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    room = shutil.disk_usage(work).free + there
    needed = expected_bytes(mix.recipe, mix.plan.resolved, mix.max_tokens, mix.max_bytes)
    if mix.max_samples is None and needed > room:
        raise OutputError(
            f"{work.parent} has room for {room:,} bytes, and the mix would take about {needed:,.0f}. "
            "Give --max-tokens, --max-samples or --max-bytes, or another --output-dir."
        )


def _differing(was: dict[str, Any], now: dict[str, Any]) -> str:
    return ", ".join(f"{key}={was.get(key)!r}, not {value!r}" for key, value in now.items() if was.get(key) != value)


def commit(  # noqa: PLR0917 - called by `write_all` and `finish` only
    folder: Path,
    work: Path,
    plan: Plan,
    request: Request,
    tallies: dict[str, Tally],
    outlet: Outlet | None,
) -> None:
    """Write card, recipe and tally, then move everything into place; opens nothing but the work folder."""
    data = folder / layout.DATA if (folder / layout.DATA).exists() else work / layout.DATA
    files = {name: (data / name).stat().st_size for name in layout.data_files(data)}
    files = dict(sorted((files | noted(work, None if outlet is None else outlet.name)).items()))
    summary: dict[str, Any] = {
        "name": plan.recipe.name,
        "request": request.to_dict(),
        "recipe": plan.recipe.fingerprint,
        "skipped": plan.skipped,
        "files": files,
        **counted(plan.recipe, work, tallies),
    }
    recipe = _beside(plan.recipe)
    if request.format == BY_SOURCE:
        summary["stored"] = stored.counted(recipe, data)
        recipe = stored.recipe_over(recipe, data)
    layout.replace(work / layout.RECIPE, recipe.to_yaml().encode())
    text = card(recipe, summary) if request.format == "parquet" else note(recipe, summary)
    layout.replace(work / layout.CARD, text.encode())
    layout.replace_json(work / layout.TALLY, summary)
    if outlet is not None:
        outlet.finish(recipe, summary, layout.beside(work))
    layout.publish(folder)


def _keep_list(recipe: Recipe, work: Path, token: str | bool | None) -> None:
    """Keep what the recipe excludes beside the mix, where `finish` needs no other place to find it."""
    layout.replace(work / layout.LIST, "".join(f"{entry}\n" for entry in entries_of(recipe, token)).encode())


def _beside(recipe: Recipe) -> Recipe:
    """The recipe as it lies beside the mix, and its list of exclusions, if it has one, beside it."""
    return recipe if recipe.exclude is None else recipe.with_(exclude=replace(recipe.exclude, file=layout.LIST))
