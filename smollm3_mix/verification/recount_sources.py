"""Documents that were stored by source, recounted, and mixed once more."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from smollm3_mix.errors import MixError
from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output import output_layout
from smollm3_mix.output.output_formats import source_folder
from smollm3_mix.text.dedup.text_hashes import hash_texts
from smollm3_mix.text.lengths import byte_lengths, document_units
from smollm3_mix.verification.verification_report import BATCH, Prints, VerificationReport, against, batches, disjoint

LIMITS = ("max_samples", "max_tokens", "max_bytes")


def recount(place: Path, saved: dict[str, Any], verdict: VerificationReport) -> None:
    """Add counts and faults to the verdict; see `verify`.

    Checked: each source's folder holds documents of that source alone, as many and with as many tokens as the tally
    says are stored; `recipe.yaml` mixes them, under the limits they were written with, into the records that the tally
    counts, every source's debt within its bound; what is held out is counted, and no text of it is stored.

    Args:
        place: folder of the mix.
        saved: what its stats.json holds.
        verdict: takes them.
    """
    prints: dict[str, list[Prints]] = {"train": []}
    data = place / output_layout.DATA
    for number, (source, expected) in enumerate(saved["stored"].items()):
        found = {"documents": 0, "tokens": 0}
        for path in sorted((data / source_folder(number, source)).glob("train-*.parquet")):
            for batch in batches(path, verdict.problems):
                strangers = sorted({*pc.unique(batch["source"]).to_pylist()} - {source})
                if strangers:
                    where = path.relative_to(data).as_posix()
                    verdict.problems.append(f"{where}: it holds documents of '{strangers[0]}', not of '{source}' alone")
                found["documents"] += batch.num_rows
                found["tokens"] += int(pc.sum(batch["tokens"]).as_py() or 0)
                prints["train"].append(hash_texts(batch["text"]))
        for what, counted in found.items():
            if counted != expected[what]:
                there = f"in the files and {expected[what]:,} in {output_layout.STATS}"
                verdict.problems.append(f"stored: '{source}': {what} are {counted:,} {there}")
    if "validation" in saved["splits"]:
        expected = MixStats.from_dict(saved["splits"]["validation"]["sources"])
        verdict.all_stats["validation"], prints["validation"] = _held_out(data, verdict)
        verdict.problems += against("validation", verdict.all_stats["validation"], expected)
    verdict.problems += disjoint(prints)
    verdict.all_stats["train"] = MixStats.empty(source.id for source in verdict.recipe.active)
    if verdict.problems:
        verdict.note = "What is stored is not what was written, so it was not mixed to count what was given."
        return
    try:
        _mixed(open_mix(verdict.recipe, **{name: saved["request"][name] for name in LIMITS}), verdict)
    except MixError as error:
        verdict.problems.append(f"{output_layout.RECIPE} does not mix what is stored: {error}")
        return
    verdict.problems += against(
        "train", verdict.all_stats["train"], verdict.written, f"as {output_layout.RECIPE} mixes the files"
    )


def _held_out(data: Path, verdict: VerificationReport) -> tuple[MixStats, list[Prints]]:
    """Counts of the validation split, and fingerprints of its texts."""
    stats, prints = MixStats({}), [np.empty((0, 2), np.uint64)]
    for path in sorted(data.rglob("validation-*.parquet")):
        for batch in batches(path, verdict.problems):
            prints.append(hash_texts(batch["text"]))
            lengths, counted = byte_lengths(batch["text"]), batch["tokens"].to_numpy().astype(np.int64)
            units = document_units(verdict.recipe.weigh_by, lengths, counted)
            names = np.array(batch["source"].to_pylist())
            for source in np.unique(names).tolist():
                mine, counts = names == source, stats.sources.setdefault(source, SourceStats())
                counts.emitted += int(mine.sum())
                counts.emitted_bytes += int(lengths[mine].sum())
                counts.emitted_tokens += int(counted[mine].sum())
                counts.emitted_units += int(units[mine].sum())
    return stats, prints


def _mixed(mix: Mix, verdict: VerificationReport) -> None:
    """Count the mix of what is stored, lane by lane."""
    ids = [source.id for source in mix.recipe.active]
    shares = np.array([mix.recipe.shares[source] for source in ids])
    for lane in range(mix.num_lanes):
        stream = mix.stream([lane])
        while stream.read(BATCH).num_rows:
            pass
        stats = stream.stats
        stream.close()
        verdict.all_stats["train"] += stats
        if mix.recipe.bounded:
            bounds = discrepancy_bound(shares, np.array([stats.sources[source].longest for source in ids], np.float64))
            verdict.problems += [
                f"{output_layout.lane_label('train', lane)}: the debt of '{source}' reached {largest:,.0f} "
                f"{mix.recipe.weigh_by}; its bound is {bound:,.0f}"
                for source, bound in zip(ids, bounds, strict=True)
                if (largest := stats.sources[source].max_discrepancy) > bound * (1 + 1e-9)
            ]
