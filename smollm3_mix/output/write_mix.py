"""All lanes written, in one process or several, and the result committed in one go."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from smollm3_mix.errors import OutputError, RecipeError
from smollm3_mix.executors.protocol import Executor
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output import dropped_documents, output_layout
from smollm3_mix.output.commit import beside, commit
from smollm3_mix.output.existing_output import open_output, open_output_in, read_finished
from smollm3_mix.output.lane_jobs import write_lanes
from smollm3_mix.output.lane_pool import ProgressListener
from smollm3_mix.output.output_formats import BY_SOURCE, FORMATS, TOKEN_FORMATS
from smollm3_mix.output.remote_output import write_remote
from smollm3_mix.output.uploads import Uploads, UploadTarget, uploaded_shards
from smollm3_mix.output.write_request import WriteContext, WriteRequest
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.storage.locations import is_local, open_store
from smollm3_mix.tokenizer.encoder import EOS
from smollm3_mix.tokenizer.recipe_tokenizer import token_counting

MAX_SHARD_BYTES = 512 << 20

OPENING = 3600.0
"""Seconds that a writer of some lanes waits for another that finds out what the sources hold."""


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
    max_shard_size: int = MAX_SHARD_BYTES,
    keep_dropped: str | os.PathLike[str] | None = None,
    format: str = "parquet",  # noqa: A002 - the word of the command line
    tokenizer: str | os.PathLike[str] | None = None,
    bos: str | None = None,
    eos: str | None = EOS,
    token: str | bool | None = None,
    accept_terms: Sequence[str] | str | None = None,
    on_progress: ProgressListener | None = None,
    outlet: UploadTarget | None = None,
    only: Sequence[int] | None = None,
    runner: Executor | None = None,
    take_over: bool = False,
) -> dict[str, MixStats]:
    """Counts by split of the mix that now lies in `output_dir`, with card, pinned recipe and tally.

    The bytes depend on the recipe, the limits and `max_shard_size` alone. After an interruption the same call goes on
    behind the last whole part of each lane; over a finished result of the same request it returns at once.

    Args:
        recipe: a `Recipe`, a path, or the name of a shipped stage.
        output_dir: new, empty, or of the same request; a folder, or a URL of fsspec, such as s3://bucket/mix.
        seed, lanes: in place of the recipe's.
        max_samples, max_tokens, max_bytes: limits of the whole mix: records, tokens, UTF-8 bytes of text.
        processes: lanes written at once, each in a process of its own if more than one.
        skip_unreadable, max_shard_size: go on over the sources that can be read; bytes of text at which a file ends.
        keep_dropped: new or empty folder for the dropped documents with their reasons; see docs/exclusion.md.
        format: parquet; by-source: to be mixed again without the sources; nanotron or megatron: token files.
        tokenizer: counts the tokens, and makes those of token files; default: as the recipe counts.
        bos, eos: token before and after each document of a token file; default: none, and the one that ends a text.
        token, accept_terms: of the Hub, default the one that is logged in; terms that you accept, see `open_mix`.
        on_progress: called in this process as the work goes on.
        outlet: takes each part as soon as it is whole, which is then removed here, such as a `hub.hub_target.Outlet`.
        only: write, and count, these lanes alone, beside other writers; the one with lane 0 writes what is held out,
            too; `finish` commits.
        runner, take_over: an `executors.ray_executor.Cluster`; whether a URL's writer is gone (docs/scaling.md).

    Raises:
        OutputError: the folder holds something else, is in use, or cannot be written.
        RecipeError, MissingExtraError, UnreadableSourcesError, SourceExhaustedError, SourceError: As the mix raises
            them.
    """
    asked = (recipe if isinstance(recipe, Recipe) else load_recipe(recipe)).replace(seed=seed, lanes=lanes)
    asked = _counted(asked, format, tokenizer, bos, eos, token=token)
    drops = None if keep_dropped is None else Path(keep_dropped)
    what = (max_samples, max_tokens, max_bytes, skip_unreadable, max_shard_size, format, drops is not None)
    means = (processes, on_progress or (lambda _: None), outlet, runner, open_store(os.fspath(output_dir), token))
    access = {"token": token, "accept_terms": accept_terms}
    writing = WriteContext(asked, WriteRequest(asked.fingerprint, *what), is_local(output_dir), drops, access, *means)
    return _write(writing, only, take_over=take_over)


def _write(writing: WriteContext, only: Sequence[int] | None, *, take_over: bool) -> dict[str, MixStats]:
    """See `write`."""
    _check_means(writing, only)
    if writing.store is not None:
        return write_remote(writing, take_over=take_over)
    return write_all(writing) if only is None else _write_some(writing, only)


def _check_means(writing: WriteContext, only: Sequence[int] | None) -> None:
    """Nothing, where all that is asked for goes together."""
    there, form = writing.store, writing.request.format
    if only is not None and writing.outlet is not None:
        raise OutputError(
            "--push-to takes a mix from one writer, and --part-of has several. "
            "Write the lanes without it, run `smollm3-mix finish`, then `smollm3-mix push`."
        )
    if only is not None and (writing.runner is not None or there is not None):
        what = "--engine ray writes all lanes itself" if there is None else f"the jobs of an array share no {there.url}"
        raise OutputError(
            f"{what}, so --part-of does not go with it. Leave --part-of out, or write to a folder that all jobs see."
        )
    if writing.outlet is not None and (writing.runner is not None or there is not None):
        raise OutputError(
            "--push-to sends what one machine writes to a folder of its own; with --engine ray or a URL, leave it out, "
            "and push the mix when it is whole, or write to hf://datasets/OWNER/NAME."
        )
    if there is not None and form == BY_SOURCE:
        raise OutputError(
            f"--by-source needs a folder, since what is stored is counted in its files; got {there.url}. "
            "Name a folder, and copy it there."
        )
    if there is not None and there.of_this_process and (writing.runner is not None or writing.processes > 1):
        raise OutputError(
            f"{there.url} is the memory of this process alone. Leave --processes and --engine out, or name another URL."
        )


def _write_some(writing: WriteContext, only: Sequence[int]) -> dict[str, MixStats]:
    """Counts by split of some lanes, now in the work folder; other processes, of other machines, write the others."""
    folder, lanes = writing.folder, writing.asked.lanes
    if not only or min(only) < 0 or max(only) >= lanes:
        raise OutputError(f"--lanes must lie in 0-{lanes - 1} with --part-of {lanes}, got {list(only)}")
    if (done := read_finished(writing)) is not None:
        return done
    with folder_lock.folder_lock(folder, shared=True) as work, ExitStack() as held:
        for lane in only:
            held.enter_context(folder_lock.folder_lock(folder, name=f"locks/{output_layout.lane_label('train', lane)}"))
        with folder_lock.folder_lock(folder, name="opening", wait=OPENING):
            if writing.drops is not None:
                dropped_documents.check(writing.drops, folder, begun=(work / output_layout.REQUEST).exists())
            mixes = open_output_in(writing, work)
        return write_lanes(writing, mixes, work, only=only)


def write_all(writing: WriteContext) -> dict[str, MixStats]:
    """See `write`; into a folder, all lanes."""
    folder, drops = writing.folder, writing.drops
    if (done := read_finished(writing)) is not None:
        return done
    if drops is not None:
        dropped_documents.check(
            drops, folder, begun=(folder / atomic_files.WORK_FOLDER / output_layout.REQUEST).exists()
        )
    with folder_lock.folder_lock(folder) as work:
        mixes = open_output(writing, work)
        all_stats = write_lanes(writing, mixes, work, shipping=_uploads(writing, mixes[0], work))
        if drops is not None:
            dropped_documents.publish(work, drops)
        commit(folder, work, mixes[0].plan, writing.request, all_stats, writing.outlet)
    output_layout.clear_folder(folder)
    return all_stats


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
    return recipe.replace(tokens=token_counting(recipe, tokenizer, bos, end, token))


def _uploads(writing: WriteContext, mix: Mix, work: Path) -> Uploads | None:
    """The thread that takes parts away, started; None where all parts stay."""
    outlet, request = writing.outlet, writing.request
    uploaded_shards(work, None if outlet is None else outlet.name)
    if outlet is None:
        return None
    if request.format != "parquet":
        raise OutputError(f"--push-to takes Parquet, not --format {request.format}. Write it, then upload the folder.")
    recipe = beside(mix.plan.recipe)
    outlet.begin(recipe, recipe.to_yaml().encode(), request.to_dict())
    shipping = Uploads(work, outlet)
    shipping.start()
    return shipping
