"""Token files for nanotron and Megatron, recounted."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smollm3_mix.errors import SourceError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output import output_layout
from smollm3_mix.output.output_formats import MEGATRON_MAGIC, Tokens, megatron_index
from smollm3_mix.tokenizer import recipe_tokenizer
from smollm3_mix.tokenizer.encoder import Tokenizer
from smollm3_mix.verification.verification_report import VerificationReport

Ints = npt.NDArray[np.int64]

PIECE = 1 << 22
"""Tokens looked at at once."""


def recount(place: Path, saved: dict[str, Any], verdict: VerificationReport, form: str) -> None:
    """Add counts and faults to the verdict; see `verify`.

    Checked: the indexes are those of the token files, to the byte; every token is one of the tokenizer's; every
    document begins and ends with the tokens that the recipe puts there; documents and tokens of each split are those of
    the tally. Which source a document is of stands in no token file.

    Args:
        place: folder of the mix.
        saved: what its stats.json holds.
        verdict: takes them.
        form: nanotron or megatron.

    Raises:
        SourceError, MissingExtraError: the tokenizer cannot be read.
    """
    encoder = recipe_tokenizer.load_tokenizer(verdict.recipe)
    if encoder is None:
        raise SourceError(
            f"{place / output_layout.RECIPE} names no tokenizer, and {form} files are written with one. "
            "Put the recipe back that was written."
        )
    ending = ".bin" if form == "megatron" else ".ds"
    of = Tokens(form, encoder.vocab, "")
    for split, counts in saved["splits"].items():
        expected = MixStats.from_dict(counts["sources"])
        documents = tokens = 0
        for path in sorted((place / output_layout.DATA / split).glob(f"*{ending}")):
            part = _Part(path, of, encoder, f"{split}/{path.name}")
            verdict.problems += part.problems
            documents, tokens = documents + len(part.ends), tokens + part.tokens
        for what, counted, wanted in (
            ("documents", documents, expected.total.emitted),
            ("tokens", tokens, expected.total.emitted_tokens),
        ):
            if counted != wanted:
                where = f"in the files and {wanted:,} in {output_layout.STATS}"
                verdict.problems.append(f"{split}: {what} are {counted:,} {where}")
        verdict.all_stats[split] = expected
    verdict.note = (
        "Documents and tokens were counted. Token files do not say of which source a document is: "
        f"the table is that of {output_layout.STATS}."
    )


class _Part:
    """One token file with what lies beside it.

    Attributes:
        tokens: how many it holds.
        ends: int64[documents], where each ends, in tokens; none where the index is damaged.
        problems: what is wrong.
    """

    def __init__(self, path: Path, form: Tokens, encoder: Tokenizer, name: str) -> None:
        self.problems: list[str] = []
        self._name = name
        self.tokens = path.stat().st_size // form.size
        kind = "<u2" if form.size == 2 else "<i4"
        line = np.memmap(path, kind, "r", shape=self.tokens) if self.tokens else np.empty(0, kind)
        read = self._megatron if form.format == "megatron" else self._nanotron
        self.ends = read(path, form.size)
        self._check_ids(line, encoder)
        if len(self.ends):
            starts = np.concatenate([[0], self.ends[:-1]])
            self._check_around(line, starts, encoder.bos, "begin")
            self._check_around(line, self.ends - 1, encoder.eos, "end")

    def _nanotron(self, path: Path, size: int) -> Ints:
        index, note = (path.with_name(path.name + ending) for ending in (".index", ".metadata"))
        if (content := self._beside(index)) is None or (about := self._beside(note)) is None:
            return np.empty(0, np.int64)
        ends = np.frombuffer(content[: len(content) // 8 * 8], "<u8").astype(np.int64)
        lines = about.decode(errors="replace").split("\n")
        if not lines[0].endswith(f"|{size}") or lines[1:2] != [str(self.tokens)]:
            said = " and ".join(lines[:2])
            self._fault(f"its .metadata says {said!r}; expected {size} bytes a token and {self.tokens} tokens")
        return self._sound(ends, ".index", exact=len(content) % 8 == 0)

    def _megatron(self, path: Path, size: int) -> Ints:
        content = self._beside(path.with_suffix(".idx"))
        if content is None:
            return np.empty(0, np.int64)
        head = len(MEGATRON_MAGIC) + 25
        count = int.from_bytes(content[head - 16 : head - 8], "little")
        room = max(len(content) - head, 0) // 4
        lengths = np.frombuffer(content, "<i4", min(count, room), head) if room else np.empty(0, "<i4")
        exact = content == megatron_index(lengths.astype(np.int64), size)
        return self._sound(np.cumsum(lengths, dtype=np.int64), ".idx", exact=exact)

    def _beside(self, path: Path) -> bytes | None:
        """Content of a file beside the tokens; that it is missing is said where files are compared with the tally."""
        return path.read_bytes() if path.exists() else None

    def _sound(self, ends: Ints, ending: str, *, exact: bool) -> Ints:
        """The ends, if they can be those of documents that fill the file; else none, and a fault."""
        last = int(ends[-1]) if len(ends) else 0
        if last != self.tokens:
            self._fault(f"it holds {self.tokens:,} tokens; its {ending} ends at {last:,}")
        elif not exact or bool((np.diff(ends, prepend=0) < 1).any()):
            self._fault(f"its {ending} is damaged: it is not the index of documents one after another")
        else:
            return ends
        return np.empty(0, np.int64)

    def _check_ids(self, line: npt.NDArray[Any], encoder: Tokenizer) -> None:
        for start in range(0, len(line), PIECE):
            piece = line[start : start + PIECE]
            wrong = np.flatnonzero((piece < 0) | (piece >= encoder.vocab))
            if len(wrong):
                at = start + int(wrong[0])
                self._fault(f"token {at:,} is {int(line[at])}; the tokenizer has {encoder.vocab:,} ids")
                return

    def _check_around(self, line: npt.NDArray[Any], places: Ints, wanted: int | None, where: str) -> None:
        if wanted is None:
            return
        wrong = np.flatnonzero(line[places] != wanted)
        if len(wrong):
            first = int(wrong[0])
            self._fault(
                f"{len(wrong):,} documents do not {where} with token {wanted}; the first is number {first:,}, "
                f"with {int(line[places[first]])}"
            )

    def _fault(self, what: str) -> None:
        self.problems.append(f"{self._name}: {what}")
