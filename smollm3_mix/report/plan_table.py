"""What a mix would take of each source, from sizes known before anything is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from smollm3_mix.network.urls import Token, endpoint
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.preflight import COMPRESSION_RATIO, text_density
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.table_format import Table


@dataclass(frozen=True)
class SourceNeeds:
    """What a mix would take of one source.

    Attributes:
        source: of the recipe.
        found: its files; None where it was not looked at, or cannot be read.
        tokens: asked of it, or None.
        text: bytes of text that hold them.
        passes: runs through it that give so much; None where that is not known.
        read: bytes read for it.
        known: whether passes and bytes go by a footer, and not by what such files usually are.
    """

    source: Source
    found: ResolvedSource | None
    tokens: float | None
    text: float | None
    passes: int | None
    read: float | None
    known: bool


def source_needs(
    recipe: Recipe, resolved: Mapping[str, ResolvedSource], tokens: int | None, token: Token = None
) -> list[SourceNeeds]:
    """What a mix of so many tokens takes of each active source, if nothing of it is dropped.

    Args:
        recipe: what is planned.
        resolved: files by source id; may lack sources.
        tokens: of the whole mix, or None.
        token: for the Hub.
    """
    found = []
    for source in recipe.active:
        files = resolved.get(source.id)
        asked = None if tokens is None else recipe.shares[source.id] * tokens
        text = None if asked is None else asked / source.tokens_per_byte
        passes, read, known = None, None, False
        if files is not None and files.bytes and text is not None:
            held, cost, known = text_density(source, files, token)
            read = text * cost
            passes = None if held is None else ceil(text / (files.bytes * held))
        found.append(SourceNeeds(source, files, asked, text, passes, read, known))
    return found


def plan_table(recipe: Recipe, found: Sequence[SourceNeeds]) -> Table:
    """Share, files and size of each source, and what is needed of it; first row the headings. `~`: by a usual size."""
    table = [["source", "weight", "share", "files", "on disk", "tokens", "text", "passes", "of", "to read"]]
    for need in found:
        about = "" if need.known else "~"
        table.append(
            [
                need.source.id,
                f"{need.source.weight:g}",
                f"{recipe.shares[need.source.id]:.4%}",
                "" if need.found is None else f"{len(need.found.files):,}",
                "" if need.found is None else format_bytes(need.found.bytes),
                "" if need.tokens is None else f"{need.tokens:,.0f}",
                "" if need.text is None else format_bytes(need.text),
                "" if need.passes is None else f"{about}{need.passes:,}",
                str(need.source.max_passes),
                "" if need.read is None else about + format_bytes(need.read),
            ]
        )
    return table


def memory_line(recipe: Recipe) -> str:
    """What dedup can remember in the recipe's memory, and how often it is wrong by chance; empty without dedup."""
    asked = recipe.dedup
    if not asked.keys:
        return ""
    if asked.index is not None:
        return f"Dedup looks rows up in the index at {asked.index.path}, over all lanes, and remembers nothing."
    each = asked.capacity(recipe.lanes)
    return (
        f"Dedup remembers {each * recipe.lanes:,} documents in {asked.memory:,} bytes, {each:,} in each of "
        f"{recipe.lanes} lanes, and stops with an error when a lane is full. Until then, a document is taken for "
        f"another by chance with a false-positive rate of at most {asked.false_positive_rate(each):.1g}."
    )


def summary(recipe: Recipe, found: Sequence[SourceNeeds], problems: Mapping[str, str], rate: float) -> list[str]:
    """Sentences on the whole: what is read and for how long, what is gated, what cannot be read, what is missing.

    Args:
        recipe: what is planned.
        found: of `needs`.
        problems: what is wrong, by source id.
        rate: bytes read in a second.
    """
    said = []
    read = sum(need.read or 0 for need in found)
    if read:
        files = sum(len(need.found.files) for need in found if need.found is not None)
        disk = sum((need.text or 0) / COMPRESSION_RATIO for need in found if need.found is not None)
        said.append(
            f"To read: about {format_bytes(read)} of {files:,} files, {_time(read / rate)} at {format_bytes(rate)}/s. "
            f"A written mix takes about {format_bytes(disk)} of disk."
        )
    if all(need.tokens is None for need in found):
        said.append("Give --tokens N to see what a mix of N tokens takes: text, passes, bytes, hours and disk.")
    short = [n for n in found if n.passes is not None and n.passes > n.source.max_passes]
    if short:
        named = ", ".join(f"{n.source.id} (needs {n.passes:,}, may {n.source.max_passes:,})" for n in short)
        said.append(f"Too few passes allowed, if sizes are as listed: {named}.")
    gated = [n.source for n in found if n.source.gated]
    if gated:
        pages = dict.fromkeys(f"{endpoint()}/datasets/{source.name}" for source in gated)
        said.append(f"Gated on the Hub: {_part(recipe, gated)}; ask for access at {', '.join(pages)}.")
    fetched = [n.source for n in found if n.source.content == "swh"]
    if fetched:
        said.append(f"Of Software Heritage (--accept-terms softwareheritage): {_part(recipe, fetched)}.")
    return said + _unreadable(recipe, problems) + [f"Note: {statement}" for statement in recipe.warnings]


def _part(recipe: Recipe, sources: Sequence[Source]) -> str:
    """How many sources, and their share."""
    share = sum(recipe.shares[source.id] for source in sources)
    return f"{len(sources)} source{'s' * (len(sources) != 1)}, {share:.4%}"


def _unreadable(recipe: Recipe, problems: Mapping[str, str]) -> list[str]:
    """A line for each reason, with every source that it keeps away; first, where there are several, their number."""
    by_reason: dict[str, list[str]] = {}
    for id_, fault in problems.items():
        by_reason.setdefault(fault, []).append(f"{id_!r} ({recipe.shares[id_]:.4%})")
    lines = [f"Cannot be read: {', '.join(named)}: {fault}" for fault, named in by_reason.items()]
    if len(problems) > 1:
        away = [source for source in recipe.active if source.id in problems]
        lines.insert(0, f"Of {len(recipe.active)} sources cannot be read: {_part(recipe, away)}.")
    return lines


def _time(seconds: float) -> str:
    """Seconds as people say them: 3.5 hours, 12 minutes."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 100 else f"{seconds:.1f} seconds"


def format_bytes(count: float) -> str:
    """Bytes as people say them, to three digits: 1.23 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"


def expected_bytes(
    recipe: Recipe, resolved: Mapping[str, ResolvedSource], tokens: int | None, size: int | None
) -> float:
    """Bytes on disk that a written mix will take, roughly: text is taken to shrink as it does in its sources.

    Args:
        recipe: what is written.
        resolved: files of every source that is read.
        tokens: limit of the mix, or None.
        size: limit in bytes of text, or None; text is then taken not to shrink at all.
    """
    stored = {source.id: resolved[source.id].bytes * source.max_passes for source in recipe.active}
    if not recipe.weighted or recipe.on_exhausted == "renormalize":
        whole = float(sum(stored.values()))
        return whole if size is None else min(whole, size)
    # Tokens of the mix at which each source ends.
    ends = [stored[source.id] * source.tokens_per_byte / recipe.shares[source.id] for source in recipe.active]
    end = max(ends) if recipe.on_exhausted == "repeat" else min(ends)
    if tokens is not None:
        end = tokens if recipe.on_exhausted == "repeat" else min(end, tokens)
    whole = sum(end * _per_token(recipe, source) for source in recipe.active)
    return whole if size is None else min(whole, size)


def _per_token(recipe: Recipe, source: Source) -> float:
    """Bytes of a source in a token of the mix."""
    return recipe.shares[source.id] / source.tokens_per_byte
