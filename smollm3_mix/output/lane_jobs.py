"""Write the lanes of a mix, in processes or on an executor, and add up their statistics."""

from collections.abc import Sequence
from pathlib import Path

from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.lane_pool import StoppedError, run_jobs
from smollm3_mix.output.lane_writer import LaneJob
from smollm3_mix.output.output_formats import BY_SOURCE, TOKEN_FORMATS, BySource, OutputFormat, Tables, Tokens
from smollm3_mix.output.uploads import MAX_PENDING, Uploads
from smollm3_mix.output.write_request import WriteContext
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.tokenizer.recipe_tokenizer import load_tokenizer


def write_lanes(
    context: WriteContext,
    mixes: Sequence[Mix],
    work: Path,
    *,
    uploads: Uploads | None = None,
    only_lanes: Sequence[int] | None = None,
) -> dict[str, MixStats]:
    """Write every shard of every lane to the work folder or to the store, and return the statistics by split.

    Args:
        context: Call of `write`.
        mixes: Mixes of all splits.
        work: Work folder.
        uploads: Uploads finished shards meanwhile.
        only_lanes: Lanes to write. All lanes by default.
    """
    max_pending = None if uploads is None else MAX_PENDING * context.num_proc
    size, keep_dropped = context.request.max_shard_size, context.request.keep_dropped
    jobs = [
        LaneJob(
            mix,
            lane,
            str(work),
            size,
            _output_format(mix, context.request.format),
            max_pending,
            keep_dropped,
            context.store,
        )
        for mix in mixes
        for lane in range(mix.num_lanes)
        if only_lanes is None or lane in only_lanes
    ]
    done = False
    try:
        all_stats = run_jobs(jobs, context.num_proc, context.on_progress, uploads, context.executor)
        done = True
    except StoppedError:
        if uploads is not None:
            uploads.check()
        raise
    finally:
        if uploads is not None:
            uploads.stop(finish=done)
    by_split: dict[str, MixStats] = {}
    for job, stats in zip(jobs, all_stats, strict=True):
        by_split[job.mix.split] = by_split.get(job.mix.split, MixStats({})) + stats
    return by_split


def _output_format(mix: Mix, name: str) -> OutputFormat:
    """Return the format of the shards. The validation split of a by-source mix is plain Parquet."""
    if name == BY_SOURCE and mix.split == "train":
        return BySource(tuple(source.id for source in mix.recipe.active))
    encoder = load_tokenizer(mix.recipe, mix.resolved.token)
    if name in TOKEN_FORMATS and encoder is not None and isinstance(mix.recipe.tokens, TokenCounting):
        return Tokens(name, encoder.vocab, mix.recipe.tokens.tokenizer)
    return Tables()
