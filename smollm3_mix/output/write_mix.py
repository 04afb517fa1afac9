"""Write a mix as files: all lanes in one or several processes, then one commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from smollm3_mix.errors import OutputError, RecipeError
from smollm3_mix.executors.open_executor import open_executor
from smollm3_mix.executors.protocol import Executor
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.options import MixOptions, check_options, requested_recipe
from smollm3_mix.output import dropped_documents, output_layout
from smollm3_mix.output.commit import commit, written_recipe
from smollm3_mix.output.existing_output import open_output, open_output_in, read_finished
from smollm3_mix.output.lane_jobs import write_lanes
from smollm3_mix.output.lane_pool import ProgressListener
from smollm3_mix.output.output_formats import BY_SOURCE, FORMATS, TOKEN_FORMATS, Format
from smollm3_mix.output.remote_output import write_remote
from smollm3_mix.output.uploads import Uploads, UploadTarget, uploaded_shards
from smollm3_mix.output.write_request import WriteContext, WriteRequest
from smollm3_mix.output.written_mix import WrittenMix, open_written
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum, RecipeLike
from smollm3_mix.sizes import ByteSize, parse_bytes, parse_count
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.storage.locations import local_path, open_store
from smollm3_mix.tokenizer.encoder import EOS
from smollm3_mix.tokenizer.recipe_tokenizer import token_counting

if TYPE_CHECKING:
    from typing_extensions import Unpack

MAX_SHARD_SIZE = "512MiB"

OPENING_SECONDS = 3600.0
"""Seconds that a writer of some lanes waits while another writer resolves the sources."""

ARGUMENTS = (
    *("output_dir", "num_proc", "format", "max_shard_size", "tokenizer", "bos", "eos", "keep_dropped", "only_lanes"),
    *("push_to", "executor", "take_over", "on_progress"),
)
"""Keyword arguments of `write` other than the mix options."""


def write(
    recipe: RecipeLike,
    output_dir: str | os.PathLike[str],
    *,
    num_proc: int = 1,
    format: Format = "parquet",  # noqa: A002 - the name of the flag
    max_shard_size: ByteSize = MAX_SHARD_SIZE,
    tokenizer: str | os.PathLike[str] | None = None,
    bos: str | None = None,
    eos: str | None = EOS,
    keep_dropped: str | os.PathLike[str] | None = None,
    only_lanes: Sequence[int] | None = None,
    push_to: UploadTarget | None = None,
    executor: Executor | Literal["ray"] | None = None,
    take_over: bool = False,
    on_progress: ProgressListener | None = None,
    **options: Unpack[MixOptions],
) -> WrittenMix:
    """Write a mix as files, with a dataset card, the pinned recipe and statistics.

    The same call resumes an interrupted run after the last finished shard of each lane. Over a finished mix of the same
    request it only opens the mix. The bytes depend on the recipe, the limits, `format` and `max_shard_size` alone.

    Args:
        recipe: Recipe or curriculum, or its path, URL or shipped name.
        output_dir: Folder or fsspec URL, such as `s3://bucket/mix`. It must be new, empty, or have an unfinished run of
            the same request.
        num_proc: Number of lanes to write in parallel, each in a process of its own.
        format: `"parquet"`; `"by-source"`, which other weights can mix again without the sources; `"nanotron"` or
            `"megatron"` token files.
        max_shard_size: Bytes of text after which a shard ends, such as `"256MiB"`.
        tokenizer: Tokenizer that counts the tokens, and makes those of token files. Defaults to the recipe's.
        bos: Token before each document of a token file. None by default.
        eos: Token after each document of a token file. By default the end-of-document token of the tokenizer.
        keep_dropped: New or empty folder for the dropped documents with their reasons.
        only_lanes: Lanes to write beside other writers. The writer of lane 0 also writes the validation split. `finish`
            commits the mix. All lanes by default.
        push_to: Receives every finished shard, which is then deleted here, for example a `HubTarget`.
        executor: Runs the lanes elsewhere, for example a `RayExecutor`. `"ray"` starts or joins Ray for this call.
        take_over: Whether to replace the lock of another writer of a URL that is no longer running.
        on_progress: Called in this process with the statistics of a lane after each of its row groups.
        **options: Options of `open_mix`. `write` covers all splits and keeps its own states, so `split`,
            `continue_from` and `dedup_state_dir` are not accepted.

    Returns:
        The written mix. With `only_lanes`, its statistics are those of these lanes and `files` is empty.

    Raises:
        OutputError: If the folder contains something else, is in use or cannot be written, or options are incompatible.
        HubError: If the Hub refuses an upload or is unreachable.
        RecipeError: If the recipe is missing or invalid.
        UnreadableSourcesError: If sources cannot be read.
        SourceExhaustedError: If a source ends before the limits are reached.
        SourceError: If a source cannot be read on the way.
        MissingExtraError: If an optional package is missing.
        TypeError: If an argument is unknown or has the wrong type.
        ValueError: If a size, a limit or `format` is invalid.
    """
    _check_write_options(options)
    loaded = requested_recipe(recipe, options.get("seed"), options.get("lanes"), options.get("total_tokens"))
    token = options.get("token")
    loaded = _with_tokenizer(loaded, format, tokenizer, bos, eos, token=token)
    skip_unreadable = options.get("skip_unreadable", False)
    limits = Limits.parse(options.get("max_samples"), options.get("max_tokens"), options.get("max_bytes"))
    context = WriteContext(
        recipe=loaded,
        request=WriteRequest(
            fingerprint=loaded.fingerprint,
            **limits.to_dict(),
            skip_unreadable=skip_unreadable,
            max_shard_size=parse_bytes(max_shard_size, "max_shard_size"),
            format=format,
            keep_dropped=keep_dropped is not None,
        ),
        folder=local_path(output_dir),
        dropped_dir=None if keep_dropped is None else Path(keep_dropped),
        access={"token": token, "accept_terms": options.get("accept_terms")},
        num_proc=parse_count(num_proc, "num_proc"),
        on_progress=on_progress or (lambda _: None),
        push_to=push_to,
        store=open_store(os.fspath(output_dir), token),
    )
    with ExitStack() as stack:
        if executor is not None:
            context = replace(context, executor=stack.enter_context(open_executor(executor, num_proc)))
        stats = _write(context, only_lanes, take_over=take_over)
    if only_lanes is not None:
        return WrittenMix(os.fspath(output_dir), loaded, stats, {}, format, loaded.name)
    return open_written(output_dir, token=token)


def _check_write_options(options: MixOptions) -> None:
    """Raise if an option is unknown, or is one that `write` does not accept."""
    check_options("write", options, ARGUMENTS)
    if options.get("split", "train") != "train":
        raise ValueError("write() writes all splits. Leave split out, and load one split of the written mix.")
    if options.get("dedup_state_dir") is not None:
        raise ValueError("write() keeps the dedup state in its output folder. Leave dedup_state_dir out.")
    if options.get("continue_from") is not None:
        raise ValueError(
            "write() cannot continue from a state. Leave continue_from out, or read the mix with open_mix."
        )


def _write(context: WriteContext, only_lanes: Sequence[int] | None, *, take_over: bool) -> dict[str, MixStats]:
    """Write all lanes, or some of them, and return the statistics by split."""
    _check_compatible(context, only_lanes)
    if context.push_to is not None:
        context.push_to.check(context.recipe)
    if context.store is not None:
        return write_remote(context, take_over=take_over)
    return write_all(context) if only_lanes is None else _write_some(context, only_lanes)


def _check_compatible(context: WriteContext, only_lanes: Sequence[int] | None) -> None:
    """Raise OutputError if the requested options are incompatible."""
    store, executor = context.store, context.executor
    if only_lanes is not None and context.push_to is not None:
        raise OutputError(
            "--push-to needs a single writer, but --only-lanes has several. "
            "Write the lanes without --push-to, run `smollm3-mix finish`, then `smollm3-mix push`."
        )
    if only_lanes is not None and executor is not None:
        raise OutputError("--executor ray writes all lanes itself. Leave --only-lanes out.")
    if only_lanes is not None and store is not None:
        raise OutputError(
            f"--only-lanes needs a folder that all writers see, got {store.url}. Name a shared folder.", path=store.url
        )
    if context.push_to is not None and (executor is not None or store is not None):
        raise OutputError(
            "--push-to needs a local folder and no --executor. Push the finished mix with `smollm3-mix push`, "
            "or write to hf://datasets/OWNER/NAME."
        )
    if store is not None and context.request.format == BY_SOURCE:
        raise OutputError(
            f"--format by-source needs a local folder, got {store.url}. Name a folder, then copy it to the URL.",
            path=store.url,
        )
    if store is not None and store.in_process_memory and (executor is not None or context.num_proc > 1):
        raise OutputError(
            f"{store.url} is visible to this process only. Leave --num-proc and --executor out, or name another URL.",
            path=store.url,
        )


def _write_some(context: WriteContext, only_lanes: Sequence[int]) -> dict[str, MixStats]:
    """Write some lanes into the work folder, beside writers of other lanes. Return the statistics by split."""
    folder, lanes = context.folder, context.recipe.lanes
    if not only_lanes or min(only_lanes) < 0 or max(only_lanes) >= lanes:
        raise OutputError(
            f"--only-lanes must be within 0-{lanes - 1} (the mix has {lanes} lanes), got {list(only_lanes)}",
            path=str(folder),
        )
    if (finished := read_finished(context)) is not None:
        return finished
    with folder_lock.folder_lock(folder, shared=True) as work, ExitStack() as locks:
        for lane in only_lanes:
            locks.enter_context(
                folder_lock.folder_lock(folder, name=f"locks/{output_layout.lane_label('train', lane)}")
            )
        with folder_lock.folder_lock(folder, name="opening", wait=OPENING_SECONDS):
            if context.dropped_dir is not None:
                resumed = (work / output_layout.REQUEST).exists()
                dropped_documents.check(context.dropped_dir, folder, resumed=resumed)
            mixes = open_output_in(context, work)
        return write_lanes(context, mixes, work, only_lanes=only_lanes)


def write_all(context: WriteContext) -> dict[str, MixStats]:
    """Write all lanes into a folder, commit the mix, and return the statistics by split."""
    folder, dropped_dir = context.folder, context.dropped_dir
    if (finished := read_finished(context)) is not None:
        return finished
    if dropped_dir is not None:
        resumed = (folder / atomic_files.WORK_FOLDER / output_layout.REQUEST).exists()
        dropped_documents.check(dropped_dir, folder, resumed=resumed)
    with folder_lock.folder_lock(folder) as work:
        mixes = open_output(context, work)
        all_stats = write_lanes(context, mixes, work, uploads=_start_uploads(context, mixes[0], work))
        if dropped_dir is not None:
            dropped_documents.publish(work, dropped_dir)
        commit(folder, work, mixes[0].resolved, context.request, all_stats, context.push_to)
    output_layout.clear_folder(folder)
    return all_stats


def _with_tokenizer(
    recipe: AnyRecipe,
    format_name: str,
    tokenizer: str | os.PathLike[str] | None,
    bos: str | None,
    eos: str | None,
    *,
    token: str | bool | None,
) -> AnyRecipe:
    """Return the recipe with the requested tokenizer. Parquet has no end-of-document token unless one is named."""
    if format_name not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format_name!r}.")
    if format_name == BY_SOURCE and isinstance(recipe, Curriculum):
        raise RecipeError(
            recipe.file, ["a curriculum cannot be written by source. Write the recipe of each stage to its own folder"]
        )
    if format_name not in TOKEN_FORMATS and tokenizer is None:
        return recipe
    end = eos if format_name in TOKEN_FORMATS or eos != EOS else None
    return recipe.replace(tokens=token_counting(recipe, tokenizer, bos, end, token))


def _start_uploads(context: WriteContext, mix: Mix, work: Path) -> Uploads | None:
    """Start the thread that uploads finished shards. Return None if all shards stay here."""
    target, request = context.push_to, context.request
    uploaded_shards(work, None if target is None else target.name)
    if target is None:
        return None
    if request.format != "parquet":
        raise OutputError(
            f"--push-to supports Parquet, got --format {request.format}. Leave --push-to out, then upload the folder."
        )
    recipe = written_recipe(mix.resolved.recipe)
    target.begin(recipe, recipe.to_yaml().encode(), request.to_dict())
    uploads = Uploads(work, target)
    uploads.start()
    return uploads
