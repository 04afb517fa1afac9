"""The lanes of a mix handed to whoever writes them, and their counts put together."""

from collections.abc import Sequence
from pathlib import Path

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output.lane_pool import Stopped, run_jobs
from smollm3_mix.output.lane_writer import LaneJob
from smollm3_mix.output.output_formats import BY_SOURCE, TOKEN_FORMATS, BySource, OutputFormat, Tables, Tokens
from smollm3_mix.output.uploads import MAX_WAITING, Uploads
from smollm3_mix.output.write_request import WriteContext
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.tokenizer.recipe_tokenizer import load_tokenizer


def write_lanes(
    writing: WriteContext,
    mixes: Sequence[Mix],
    work: Path,
    *,
    shipping: Uploads | None = None,
    only: Sequence[int] | None = None,
) -> dict[str, MixStats]:
    """Counts by split, once every part of every lane is in the work folder, or in that of the store.

    Args:
        writing: the call.
        mixes: of all splits.
        work: the work folder.
        shipping: takes parts away meanwhile.
        only: lanes to write; None: all.
    """
    most = None if shipping is None else MAX_WAITING * writing.processes
    size, kept = writing.request.max_shard_size, writing.request.keep_dropped
    jobs = [
        LaneJob(mix, lane, str(work), size, _form(mix, writing.request.format), most, kept, writing.store)
        for mix in mixes
        for lane in range(mix.num_lanes)
        if only is None or lane in only
    ]
    done = False
    try:
        all_stats = run_jobs(jobs, writing.processes, writing.on_progress, shipping, writing.runner)
        done = True
    except Stopped:
        if shipping is not None:
            shipping.check()
        raise
    finally:
        if shipping is not None:
            shipping.end(all_of_them=done)
    by_split: dict[str, MixStats] = {}
    for job, stats in zip(jobs, all_stats, strict=True):
        by_split[job.mix.split] = by_split.get(job.mix.split, MixStats({})) + stats
    return by_split


def _form(mix: Mix, form: str) -> OutputFormat:
    """The files of a part. What is held out of a mix by source is a plain table: nobody mixes it anew."""
    if form == BY_SOURCE and mix.split == "train":
        return BySource(tuple(source.id for source in mix.recipe.active))
    encoder = load_tokenizer(mix.recipe, mix.plan.token)
    if form in TOKEN_FORMATS and encoder is not None and isinstance(mix.recipe.tokens, TokenCounting):
        return Tokens(form, encoder.vocab, mix.recipe.tokens.tokenizer)
    return Tables()
