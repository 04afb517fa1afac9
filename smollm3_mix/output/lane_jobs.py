"""The lanes of a mix handed to whoever writes them, and their counts put together."""

from collections.abc import Sequence
from pathlib import Path

from smollm3_mix.mix.mix_stats import Tally
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output.lane_pool import Stopped, run
from smollm3_mix.output.lane_writer import LaneJob
from smollm3_mix.output.output_formats import BY_SOURCE, TOKEN_FORMATS, BySource, Form, Tables, Tokens
from smollm3_mix.output.uploads import WAITING, Shipping
from smollm3_mix.output.write_request import Writing
from smollm3_mix.recipe.sections import Counting
from smollm3_mix.tokenizer.recipe_tokenizer import load


def written(
    writing: Writing,
    mixes: Sequence[Mix],
    work: Path,
    *,
    shipping: Shipping | None = None,
    only: Sequence[int] | None = None,
) -> dict[str, Tally]:
    """Counts by split, once every part of every lane is in the work folder, or in that of the store.

    Args:
        writing: the call.
        mixes: of all splits.
        work: the work folder.
        shipping: takes parts away meanwhile.
        only: lanes to write; None: all.
    """
    most = None if shipping is None else WAITING * writing.processes
    size, kept = writing.request.part_bytes, writing.request.keep_dropped
    jobs = [
        LaneJob(mix, lane, str(work), size, _form(mix, writing.request.format), most, kept, writing.store)
        for mix in mixes
        for lane in range(mix.num_lanes)
        if only is None or lane in only
    ]
    done = False
    try:
        tallies = run(jobs, writing.processes, writing.listener, shipping, writing.runner)
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
