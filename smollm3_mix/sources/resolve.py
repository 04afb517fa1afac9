"""Find all sources of a recipe at once: files, formats, pinned commits, and the problem of each unreadable source."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from smollm3_mix.compat import hf_datasets, hf_hub
from smollm3_mix.errors import UnreadableSourcesError
from smollm3_mix.network.urls import Token, unreachable_message
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.model import Source
from smollm3_mix.sources import local_sources
from smollm3_mix.sources.dedup_lookup import pin_index
from smollm3_mix.sources.evaluation_texts import pin_texts
from smollm3_mix.sources.exclusion_list import pin_exclusions
from smollm3_mix.sources.formats.byte_ranges import failure_reason, read_errors
from smollm3_mix.sources.hub_files.listing import (
    FORMATS,
    HubListing,
    MisnamedFault,
    NoAnswerFault,
    gated,
    list_hub_files,
)
from smollm3_mix.sources.local_sources import LocalSource
from smollm3_mix.sources.partition import count_stored_lanes
from smollm3_mix.sources.preflight import preflight
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.sources.software_heritage.terms import SOFTWARE_HERITAGE, TERMS, UNACCEPTED, accepted_terms
from smollm3_mix.sources.source_files import ResolvedSource, SourceFault, SourceFile

THREADS = 16
"""Sources to look up at once. Hides the latency of the network and stays far below the Hub's rate limits."""

log = logging.getLogger("smollm3_mix")


def resolve(
    recipe: AnyRecipe,
    *,
    skip_unreadable: bool = False,
    token: Token = None,
    accept_terms: Sequence[str] | str | None = None,
) -> ResolvedRecipe:
    """Find the files of every source, check their columns, and pin the recipe to the revisions found.

    All sources are looked up at once with `datasets`. Sources of one repository are pinned to one commit. Of the data,
    only the footer or the first lines of one file per source are read.

    Args:
        recipe: Recipe whose active sources are looked up.
        skip_unreadable: Skip sources that cannot be read. They are logged and become unavailable.
        token: Hugging Face access token. Defaults to the saved login or `HF_TOKEN`.
        accept_terms: Names of the terms of use to accept, for example `softwareheritage`.

    Raises:
        ValueError: If there are no terms of a given name.
        RecipeError: If the exclusion list or dedup index is unreachable or differs from the pinned one.
        UnreadableSourcesError: If sources or evaluation sets cannot be read. Lists all of them with remedies.
    """
    recipe, excluded = pin_exclusions(recipe, token)
    accepted = accepted_terms(SOFTWARE_HERITAGE, accept_terms)
    recipe, evaluation_ngrams = pin_texts(recipe, lambda texts: inspect(texts, token, accepted=accepted), token)
    found, problems = inspect(recipe, token, accepted=accepted)
    if problems and (not skip_unreadable or len(problems) == len(recipe.active)):
        raise UnreadableSourcesError(_message(recipe, problems), problems=problems)
    for id_, problem in problems.items():
        weight = _percent(recipe.shares[id_])
        log.warning("%s: skipped source %r (%s of the weight): %s", recipe.file, id_, weight, problem)
    resolved = {source.id: found[source.id] for source in recipe.active if source.id not in problems}
    pinned = (recipe.mark_unavailable(problems) if problems else recipe).pin(
        {id_: one.revision for id_, one in resolved.items()}
    )
    pinned, dedup_index = pin_index(pinned, token)
    return ResolvedRecipe(pinned, resolved, token, excluded, evaluation_ngrams, dedup_index)


def inspect(
    recipe: AnyRecipe, token: Token = None, *, accepted: bool = True
) -> tuple[dict[str, ResolvedSource], dict[str, str]]:
    """Return the files of each active source, and the problem of each that cannot be read, by id in recipe order.

    Args:
        recipe: Recipe whose active sources are looked up.
        token: Hugging Face access token.
        accepted: True if the terms of Software Heritage are accepted. Its sources cannot be read otherwise.
    """
    found: dict[str, ResolvedSource] = {}
    problems: dict[str, str] = {}
    with _quiet(), ThreadPoolExecutor(THREADS) as pool:
        for answers in pool.map(lambda group: _find(recipe, group, token, accepted), _groups(recipe)):
            for id_, answer in answers.items():
                if isinstance(answer, ResolvedSource):
                    found[id_] = answer
                else:
                    problems[id_] = answer
        listed = [source for source in recipe.active if source.id in found]
        checked = pool.map(
            lambda s: _check(s, found[s.id], token) or _check_stored(s, found[s.id], recipe.lanes), listed
        )
        for source, problem in zip(listed, checked, strict=True):
            if problem is not None:
                problems[source.id] = problem
    return found, {source.id: problems[source.id] for source in recipe.active if source.id in problems}


def _groups(recipe: AnyRecipe) -> list[list[Source]]:
    """Return groups of sources that share a listing, the largest group first."""
    groups: dict[tuple[str | None, str | None], list[Source]] = {}
    for source in recipe.active:
        groups.setdefault((source.name, source.revision), []).append(source)
    return sorted(groups.values(), key=len, reverse=True)


def _find(recipe: AnyRecipe, group: Sequence[Source], token: Token, accepted: bool) -> dict[str, ResolvedSource | str]:
    """Return the files or the problem of each source of a group, by id."""
    found: dict[str, ResolvedSource | str] = {}
    listing: HubListing | None = None
    for source in group:
        try:
            if source.content == "swh" and not accepted:
                raise SourceFault(UNACCEPTED)
            local = local_sources.find_local(recipe, source)
            if local is not None and local.files is not None:
                found[source.id] = _single(source, local)
                continue
            hub = local is None and not (source.name in FORMATS and source.data_files)
            if listing is None:
                listing = HubListing(
                    str(local.root) if local else source.name or "", source.revision if hub else None, token, hub=hub
                )
            try:
                found[source.id] = _listed(source, listing, local, token)
            except MisnamedFault as problem:
                found[source.id] = str(problem) + _next_problem(source, problem.near, listing, local, token)
        except NoAnswerFault as problem:  # a name with a file ending is probably a misspelled path
            ending = Path(source.name or "").suffix[1:2].isalpha()
            found[source.id] = f"no local file {source.name!r}, and {problem}" if ending else str(problem)
        except SourceFault as problem:
            found[source.id] = str(problem)
    return found


def _next_problem(source: Source, near: str, listing: HubListing, folder: LocalSource | None, token: Token) -> str:
    """Return the next problem once the config is corrected, so that one error lists both. Empty if there is none."""
    fixed = dataclasses.replace(source, config=near)
    try:
        problem = _check(fixed, _listed(fixed, listing, folder, token), token)
    except SourceFault as error:
        problem = str(error)
    return f". With `config: {near}`: {problem}" if problem else ""


def _listed(source: Source, listing: HubListing, folder: LocalSource | None, token: Token) -> ResolvedSource:
    """Return the files that `datasets` finds in a folder or repository, or by `data_files` alone."""
    format_, paths, delimiter = listing.files(source)
    display_name = folder.display_name if folder else ""
    if listing.commit:
        files = list_hub_files(paths, token)
    elif repos := [path for path in paths if path.startswith("hf://")]:
        raise SourceFault(
            f"{repos[0]} has no pinned commit. Give the repository as `name` and its paths as `data_files`."
        )
    elif any("://" in path for path in paths):
        files = tuple(_url_file(path) for path in paths)
    else:
        root = folder.root if folder else Path().resolve()
        files = local_sources.files(display_name, [Path(path) for path in paths], root, source)
    return ResolvedSource(source.id, format_, listing.commit or _pin(source, files, display_name), files, delimiter)


def _single(source: Source, local: LocalSource) -> ResolvedSource:
    """Return one local file, or the files of a glob."""
    options = {"config": source.config, "data_dir": source.data_dir, "data_files": source.data_files}
    if unused := [key for key, value in options.items() if value]:
        raise SourceFault(f"{source.name} names files, so {', '.join(unused)} cannot be used with it. Remove the key.")
    if source.split != "train":
        raise SourceFault(f"no split {source.split!r}. Single files have split 'train' only.")
    paths = local.files or []
    format_, delimiter = local_sources.file_format(paths)
    files = local_sources.files(local.display_name, paths, local.root, source)
    return ResolvedSource(source.id, format_, _pin(source, files, local.display_name), files, delimiter)


def _url_file(url: str) -> SourceFile:
    """Return a file at a path or URL of any kind."""
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
        return SourceFile(url, url, int(fs.info(path)["size"]))
    except (OSError, ImportError, KeyError, TypeError) as error:
        raise SourceFault(f"{url} cannot be opened, or its size is unknown: {error}") from error


def _pin(source: Source, files: Sequence[SourceFile], display_name: str) -> str:
    """Return the revision of local files.

    Raises:
        SourceFault: If the recipe is pinned to another revision.
    """
    found = local_sources.folder_revision(files, display_name)
    if source.revision not in {None, found}:
        raise SourceFault(
            f"its files have revision {found}, but the recipe is pinned to {source.revision}. "
            "Restore the old files, or remove `revision`."
        )
    return found


def _check(source: Source, resolved: ResolvedSource, token: Token) -> str | None:
    """Return the problem inside a source's files, or None if there is none."""
    from huggingface_hub.errors import GatedRepoError

    file = resolved.files[0] if resolved.files else None
    try:
        preflight(source, resolved, token)
    except SourceFault as problem:
        return str(problem)
    except GatedRepoError:
        return gated(source.name or "")
    except read_errors() as error:
        return f"{file.path} {failure_reason(error, file)}" if file else unreachable_message(error)
    return None


def _check_stored(source: Source, resolved: ResolvedSource, lanes: int) -> str | None:
    """Return the problem with the files of `content: records`, or None if there is none."""
    if source.content != "records":
        return None
    stored = count_stored_lanes(resolved) if resolved.format == "parquet" else 0
    if not stored:
        return (
            f"content: records: {resolved.files[0].path} was not written by `write`, expected a name like "
            "SPLIT-LANE-SHARD.parquet. Remove `content`."
        )
    if lanes > stored:
        return f"its records were stored in {stored} lanes, but the recipe has {lanes}. Set `lanes: {stored}` or fewer."
    return None


def _message(recipe: AnyRecipe, problems: dict[str, str]) -> str:
    share = sum(recipe.shares[id_] for id_ in problems)
    count = f"{len(problems)} of {len(recipe.active)} sources ({_percent(share)} of the weight)"
    head = f"{recipe.file}: {count} cannot be read"
    lines = [f"{id_!r} ({_percent(recipe.shares[id_])}): {problem}" for id_, problem in problems.items()]
    remedy = (
        "Fix these sources, or skip them with --skip-unreadable (skip_unreadable=True). The other shares then grow."
    )
    if len(problems) == len(recipe.active):
        remedy = "Fix these sources. The recipe has no other source to read."
    terms = [TERMS[SOFTWARE_HERITAGE]] if UNACCEPTED in problems.values() else []
    return "\n".join(["\n  ".join([head, *lines]), *terms, remedy])


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress bars of `datasets` and `huggingface_hub`. Sixteen at once are not readable."""
    import datasets
    import huggingface_hub.utils

    hf_datasets.lock_progress_bars()
    hf_hub.lock_progress_bars()
    noisy = [utils for utils in (datasets, huggingface_hub.utils) if not utils.are_progress_bars_disabled()]
    for utils in noisy:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        for utils in noisy:
            utils.enable_progress_bars()
