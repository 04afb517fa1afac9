"""Finds all sources of a recipe at once: files, formats, pinned commits; and says of each that cannot be read, why."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from smollm3_mix.errors import UnreadableSourcesError
from smollm3_mix.network.urls import Token, unreachable_message
from smollm3_mix.sources import local_sources
from smollm3_mix.sources.dedup_lookup import pin_index
from smollm3_mix.sources.evaluation_texts import pin_texts
from smollm3_mix.sources.exclusion_list import pin_exclusions
from smollm3_mix.sources.formats.byte_ranges import broken, failure_reason
from smollm3_mix.sources.hub_files.listing import (
    FORMATS,
    HubListing,
    MisnamedFault,
    NoAnswerFault,
    gated,
    list_hub_files,
)
from smollm3_mix.sources.partition import count_stored_lanes
from smollm3_mix.sources.preflight import preflight
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.sources.software_heritage.terms import SOFTWARE_HERITAGE, TERMS, UNACCEPTED, accepted_terms
from smollm3_mix.sources.source_files import ResolvedSource, SourceFault, SourceFile

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe, Source

THREADS = 16
"""Sources looked up at once: hides a network's latency and stays far below the Hub's rate limits."""

log = logging.getLogger("smollm3_mix")


def resolve(
    recipe: Recipe,
    *,
    skip_unreadable: bool = False,
    token: Token = None,
    accept_terms: Sequence[str] | str | None = None,
) -> ResolvedRecipe:
    """The recipe pinned, with the files of every source, found by `datasets` and checked to hold the columns asked for.

    All sources are looked up at once; those of one repository are pinned to one commit. Of the data, only the footer
    or the first lines of one file of each source are read.

    Args:
        recipe: its active sources are looked up.
        skip_unreadable: go on over the sources that can be read; the others are logged and become unavailable.
        token: for the Hub; None uses the saved login or `HF_TOKEN`.
        accept_terms: names of terms that are accepted, such as `softwareheritage`; see `terms`.

    Raises:
        ValueError: there are no terms of that name.
        RecipeError: the recipe's list of what must not come out, or its dedup index, cannot be had or is another one.
        UnreadableSourcesError: lists every source, or every set of evaluation texts, that cannot be read, and what to do.
    """
    recipe, excluded = pin_exclusions(recipe, token)
    agreed = accepted_terms(SOFTWARE_HERITAGE, accept_terms)
    recipe, evaluation_ngrams = pin_texts(recipe, lambda texts: inspect(texts, token, agreed=agreed), token)
    found, problems = inspect(recipe, token, agreed=agreed)
    if problems and (not skip_unreadable or len(problems) == len(recipe.active)):
        raise UnreadableSourcesError(_message(recipe, problems))
    for id_, fault in problems.items():
        log.warning(
            "%s: source %r (%s of the weight) is left out: %s", recipe.file, id_, _number(recipe.shares[id_]), fault
        )
    resolved = {source.id: found[source.id] for source in recipe.active if source.id not in problems}
    pinned = (recipe.without(problems) if problems else recipe).pinned(
        {id_: one.revision for id_, one in resolved.items()}
    )
    pinned, dropped = pin_index(pinned, token)
    return ResolvedRecipe(pinned, resolved, token, excluded, evaluation_ngrams, dropped)


def inspect(
    recipe: Recipe, token: Token = None, *, agreed: bool = True
) -> tuple[dict[str, ResolvedSource], dict[str, str]]:
    """What was found of each active source, and what is wrong with each that cannot be read, by id in recipe order.

    Args:
        recipe: its active sources are looked up.
        token: for the Hub.
        agreed: whether the terms of Software Heritage are accepted, without which its sources cannot be read.
    """
    found: dict[str, ResolvedSource] = {}
    problems: dict[str, str] = {}
    with _quiet(), ThreadPoolExecutor(THREADS) as pool:
        for answers in pool.map(lambda group: _find(recipe, group, token, agreed), _groups(recipe)):
            for id_, answer in answers.items():
                if isinstance(answer, ResolvedSource):
                    found[id_] = answer
                else:
                    problems[id_] = answer
        listed = [source for source in recipe.active if source.id in found]
        checked = pool.map(lambda s: _check(s, found[s.id], token) or _stored(s, found[s.id], recipe.lanes), listed)
        for source, fault in zip(listed, checked, strict=True):
            if fault is not None:
                problems[source.id] = fault
    return found, {source.id: problems[source.id] for source in recipe.active if source.id in problems}


def _groups(recipe: Recipe) -> list[list[Source]]:
    """Sources that can share a listing together, the largest group first."""
    groups: dict[tuple[str | None, str | None], list[Source]] = {}
    for source in recipe.active:
        groups.setdefault((source.name, source.revision), []).append(source)
    return sorted(groups.values(), key=len, reverse=True)


def _find(recipe: Recipe, group: Sequence[Source], token: Token, agreed: bool) -> dict[str, ResolvedSource | str]:
    """What was found of sources with the same name and revision, or what is wrong, by id."""
    found: dict[str, ResolvedSource | str] = {}
    listing: HubListing | None = None
    for source in group:
        try:
            if source.content == "swh" and not agreed:
                raise SourceFault(UNACCEPTED)
            place = local_sources.find_local(recipe, source)
            if place is not None and place.files is not None:
                found[source.id] = _single(source, place)
                continue
            hub = place is None and not (source.name in FORMATS and source.data_files)
            if listing is None:
                listing = HubListing(
                    str(place.root) if place else source.name or "", source.revision if hub else None, token, hub=hub
                )
            try:
                found[source.id] = _listed(source, listing, place, token)
            except MisnamedFault as fault:
                found[source.id] = str(fault) + _further(source, fault.near, listing, place, token)
        except NoAnswerFault as fault:  # a name with an ending is rather that of a file, and a wrong one
            ending = Path(source.name or "").suffix[1:2].isalpha()
            found[source.id] = f"no file {source.name!r} is here, and {fault}" if ending else str(fault)
        except SourceFault as fault:
            found[source.id] = str(fault)
    return found


def _further(source: Source, near: str, listing: HubListing, folder: local_sources.Place | None, token: Token) -> str:
    """What else is wrong once the config is mended, so that one error says all; empty if nothing is."""
    mended = dataclasses.replace(source, config=near)
    try:
        fault = _check(mended, _listed(mended, listing, folder, token), token)
    except SourceFault as error:
        fault = str(error)
    return f"; and with `config: {near}`: {fault}" if fault else ""


def _listed(source: Source, listing: HubListing, folder: local_sources.Place | None, token: Token) -> ResolvedSource:
    """What `datasets` finds: in a folder, a repository, or by `data_files` alone."""
    form, paths, delimiter = listing.files(source)
    shown = folder.shown if folder else ""
    if listing.commit:
        files = list_hub_files(paths, token)
    elif repos := [path for path in paths if path.startswith("hf://")]:
        raise SourceFault(
            f"{repos[0]} is in no pinned commit; give the repository as `name` and its paths as `data_files`"
        )
    elif any("://" in path for path in paths):
        files = tuple(_elsewhere(path) for path in paths)
    else:
        root = folder.root if folder else Path().resolve()
        files = local_sources.files(shown, [Path(path) for path in paths], root, source)
    return ResolvedSource(source.id, form, listing.commit or _pin(source, files, shown), files, delimiter)


def _single(source: Source, place: local_sources.Place) -> ResolvedSource:
    """One local file, or those of a glob."""
    given = {"config": source.config, "data_dir": source.data_dir, "data_files": source.data_files}
    if senseless := [key for key, value in given.items() if value]:
        raise SourceFault(f"{source.name} names files, so {', '.join(senseless)} cannot be used with it; take that out")
    if source.split != "train":
        raise SourceFault(f"no split {source.split!r}; single files are split 'train'")
    paths = place.files or []
    form, delimiter = local_sources.file_format(paths)
    files = local_sources.files(place.shown, paths, place.root, source)
    return ResolvedSource(source.id, form, _pin(source, files, place.shown), files, delimiter)


def _elsewhere(url: str) -> SourceFile:
    """A file at a path or URL of any kind."""
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
        return SourceFile(url, url, int(fs.info(path)["size"]))
    except (OSError, ImportError, KeyError, TypeError) as error:
        raise SourceFault(f"{url} cannot be opened, or does not say its size: {error}") from error


def _pin(source: Source, files: Sequence[SourceFile], shown: str) -> str:
    """The revision of local files, which must be the one the recipe names, if it names one."""
    found = local_sources.folder_revision(files, shown)
    if source.revision not in {None, found}:
        raise SourceFault(
            f"its files are not those of revision {source.revision}, but of {found}: they have changed since it was "
            "pinned; put them back, or take `revision` out"
        )
    return found


def _check(source: Source, resolved: ResolvedSource, token: Token) -> str | None:
    """What is wrong inside a source's files, None if nothing is."""
    from huggingface_hub.errors import GatedRepoError

    file = resolved.files[0] if resolved.files else None
    try:
        preflight(source, resolved, token)
    except SourceFault as fault:
        return str(fault)
    except GatedRepoError:
        return gated(source.name or "")
    except broken() as error:
        return f"{file.path} {failure_reason(error, file)}" if file else unreachable_message(error)
    return None


def _stored(source: Source, resolved: ResolvedSource, lanes: int) -> str | None:
    """What is wrong with the files of `content: records`, None if nothing is."""
    if source.content != "records":
        return None
    there = count_stored_lanes(resolved) if resolved.format == "parquet" else 0
    if not there:
        return (
            f"content: records: {resolved.files[0].path} is no file that `write` made, named SPLIT-LANE-PART.parquet; "
            "leave `content` out"
        )
    if lanes > there:
        return f"its records were stored in {there} lanes and the recipe has {lanes}; set `lanes: {there}` or fewer"
    return None


def _message(recipe: Recipe, problems: dict[str, str]) -> str:
    share = sum(recipe.shares[id_] for id_ in problems)
    head = f"{recipe.file}: {len(problems)} of {len(recipe.active)} sources ({_number(share)} of the weight) cannot be read"
    lines = [f"{id_!r} ({_number(recipe.shares[id_])}): {fault}" for id_, fault in problems.items()]
    rest = "Mend these; or go on over the others, whose shares then grow, with --skip-unreadable (skip_unreadable=True)"
    if len(problems) == len(recipe.active):
        rest = "Mend these: there is no other source to go on with"
    terms = [TERMS[SOFTWARE_HERITAGE]] if UNACCEPTED in problems.values() else []
    return "\n".join(["\n  ".join([head, *lines]), *terms, f"{rest}."])


def _number(share: float) -> str:
    return f"{100 * share:.3g} %"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of `datasets` and `huggingface_hub`: sixteen at once are noise."""
    import datasets.utils
    import huggingface_hub.utils

    # tqdm makes its class-wide lock at first use, which is no thing to do in sixteen threads at once
    datasets.utils.tqdm.get_lock()
    huggingface_hub.utils.tqdm.get_lock()  # type: ignore[attr-defined]
    shown = [room for room in (datasets.utils, huggingface_hub.utils) if not room.are_progress_bars_disabled()]
    for room in shown:
        room.disable_progress_bars()
    try:
        yield
    finally:
        for room in shown:
            room.enable_progress_bars()
