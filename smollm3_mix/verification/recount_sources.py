"""Recount documents that were written by source, and mix them again."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from smollm3_mix.errors import MixError
from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output import output_layout
from smollm3_mix.output.output_formats import source_folder
from smollm3_mix.text.dedup.text_hashes import hash_texts
from smollm3_mix.text.lengths import byte_lengths, document_units
from smollm3_mix.verification.verification_report import (
    BATCH,
    Findings,
    TextHashes,
    count_problems,
    overlap_problems,
    read_batches,
)

LIMITS = ("max_samples", "max_tokens", "max_bytes")


def recount(folder: Path, saved: dict[str, Any], findings: Findings) -> None:
    """Add statistics and problems to the findings; see `verify`.

    Checks that the folder of each source has documents of that source only, with the number of documents and tokens of
    stats.json. Checks that `recipe.yaml` mixes them, with the limits of the write, into the records that stats.json
    counts, with the discrepancy of every source within its bound. Counts the validation split, and checks that none of
    its texts are stored.

    Args:
        folder: Folder of the mix.
        saved: Content of its stats.json.
        findings: Findings to extend.
    """
    hashes: dict[str, list[TextHashes]] = {"train": []}
    data = folder / output_layout.DATA
    for number, (source, expected) in enumerate(saved["stored"].items()):
        found = {"documents": 0, "tokens": 0}
        for path in sorted((data / source_folder(number, source)).glob("train-*.parquet")):
            for batch in read_batches(path, findings.problems):
                other = sorted({*pc.unique(batch["source"]).to_pylist()} - {source})
                if other:
                    name = path.relative_to(data).as_posix()
                    findings.problems.append(f"{name}: it has documents of '{other[0]}', expected only '{source}'")
                found["documents"] += batch.num_rows
                found["tokens"] += int(pc.sum(batch["tokens"]).as_py() or 0)
                hashes["train"].append(hash_texts(batch["text"]))
        for unit, counted in found.items():
            if counted != expected[unit]:
                difference = f"{counted:,} in the files and {expected[unit]:,} in {output_layout.STATS}"
                findings.problems.append(f"stored: '{source}': {unit} are {difference}")
    if "validation" in saved["splits"]:
        expected = MixStats.from_dict(saved["splits"]["validation"]["sources"])
        findings.stats["validation"], hashes["validation"] = _held_out(data, findings)
        findings.problems += count_problems("validation", findings.stats["validation"], expected)
    findings.problems += overlap_problems(hashes)
    findings.stats["train"] = MixStats.empty(source.id for source in findings.recipe.active)
    if findings.problems:
        findings.note = "The stored documents differ from those that were written, so the mix was not recounted."
        return
    try:
        _recount_mix(open_mix(findings.recipe, **{name: saved["request"][name] for name in LIMITS}), findings)
    except MixError as error:
        findings.problems.append(f"{output_layout.RECIPE} cannot mix the stored documents: {error}")
        return
    findings.problems += count_problems(
        "train", findings.stats["train"], findings.written, f"as {output_layout.RECIPE} mixes the files"
    )


def _held_out(data: Path, findings: Findings) -> tuple[MixStats, list[TextHashes]]:
    """Return the statistics of the validation split and the hashes of its texts."""
    stats, hashes = MixStats({}), [np.empty((0, 2), np.uint64)]
    for path in sorted(data.rglob("validation-*.parquet")):
        for batch in read_batches(path, findings.problems):
            hashes.append(hash_texts(batch["text"]))
            lengths, counted = byte_lengths(batch["text"]), batch["tokens"].to_numpy().astype(np.int64)
            units = document_units(findings.recipe.weigh_by, lengths, counted)
            names = np.array(batch["source"].to_pylist())
            for source in np.unique(names).tolist():
                mine, counts = names == source, stats.sources.setdefault(source, SourceStats())
                counts.emitted += int(mine.sum())
                counts.emitted_bytes += int(lengths[mine].sum())
                counts.emitted_tokens += int(counted[mine].sum())
                counts.emitted_units += int(units[mine].sum())
    return stats, hashes


def _recount_mix(mix: Mix, findings: Findings) -> None:
    """Count the mix of the stored documents, lane by lane."""
    ids = [source.id for source in mix.recipe.active]
    shares = np.array([mix.recipe.shares[source] for source in ids])
    for lane in range(mix.num_lanes):
        stream = mix.stream([lane])
        while stream.read(BATCH).num_rows:
            pass
        stats = stream.stats
        stream.close()
        findings.stats["train"] += stats
        if mix.recipe.bounded:
            bounds = discrepancy_bound(shares, np.array([stats.sources[source].longest for source in ids], np.float64))
            findings.problems += [
                f"{output_layout.lane_label('train', lane)}: the discrepancy of '{source}' is up to "
                f"{largest:,.0f} {mix.recipe.weigh_by}, but its bound is {bound:,.0f}"
                for source, bound in zip(ids, bounds, strict=True)
                if (largest := stats.sources[source].max_discrepancy) > bound * (1 + 1e-9)
            ]
