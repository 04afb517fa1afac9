"""Recount token files for nanotron and Megatron."""

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
from smollm3_mix.verification.verification_report import Findings

Ints = npt.NDArray[np.int64]

PIECE = 1 << 22
"""Number of tokens checked at once."""


def recount(folder: Path, saved: dict[str, Any], findings: Findings, format_name: str) -> None:
    """Add statistics and problems to the findings; see `verify`.

    Checks that the indexes fit the token files to the byte, that every token is an id of the tokenizer, that every
    document starts and ends with the tokens of the recipe, and that the documents and tokens of each split are those of
    stats.json. Token files have no sources.

    Args:
        folder: Folder of the mix.
        saved: Content of its stats.json.
        findings: Findings to extend.
        format_name: `"nanotron"` or `"megatron"`.

    Raises:
        SourceError: If the tokenizer cannot be read.
        MissingExtraError: If `tokenizers` is not installed.
    """
    encoder = recipe_tokenizer.load_tokenizer(findings.recipe)
    if encoder is None:
        raise SourceError(
            f"{folder / output_layout.RECIPE} names no tokenizer, but {format_name} files need one. "
            "Restore the recipe that was written."
        )
    ending = ".bin" if format_name == "megatron" else ".ds"
    token_format = Tokens(format_name, encoder.vocab, "")
    for split, counts in saved["splits"].items():
        expected = MixStats.from_dict(counts["sources"])
        documents = tokens = 0
        for path in sorted((folder / output_layout.DATA / split).glob(f"*{ending}")):
            file = _TokenFile(path, token_format, encoder, f"{split}/{path.name}")
            findings.problems += file.problems
            documents, tokens = documents + len(file.ends), tokens + file.tokens
        for unit, counted, written in (
            ("documents", documents, expected.total.emitted),
            ("tokens", tokens, expected.total.emitted_tokens),
        ):
            if counted != written:
                difference = f"{counted:,} in the files and {written:,} in {output_layout.STATS}"
                findings.problems.append(f"{split}: {unit} are {difference}")
        findings.stats[split] = expected
    findings.note = (
        "Documents and tokens were counted. Token files have no sources, so the table is from "
        f"{output_layout.STATS} and was not verified."
    )


class _TokenFile:
    """One token file with its index.

    Attributes:
        tokens: Number of tokens.
        ends: End of each document in tokens, int64[documents]. Empty if the index is damaged.
        problems: Problems of the file.
    """

    def __init__(self, path: Path, token_format: Tokens, encoder: Tokenizer, name: str) -> None:
        self.problems: list[str] = []
        self._name = name
        self.tokens = path.stat().st_size // token_format.size
        kind = "<u2" if token_format.size == 2 else "<i4"
        tokens = np.memmap(path, kind, "r", shape=self.tokens) if self.tokens else np.empty(0, kind)
        read = self._megatron if token_format.format == "megatron" else self._nanotron
        self.ends = read(path, token_format.size)
        self._check_ids(tokens, encoder)
        if len(self.ends):
            starts = np.concatenate([[0], self.ends[:-1]])
            self._check_boundaries(tokens, starts, encoder.bos, "start")
            self._check_boundaries(tokens, self.ends - 1, encoder.eos, "end")

    def _nanotron(self, path: Path, size: int) -> Ints:
        index, metadata = (path.with_name(path.name + ending) for ending in (".index", ".metadata"))
        if (content := self._read_if_exists(index)) is None or (about := self._read_if_exists(metadata)) is None:
            return np.empty(0, np.int64)
        ends = np.frombuffer(content[: len(content) // 8 * 8], "<u8").astype(np.int64)
        lines = about.decode(errors="replace").split("\n")
        if not lines[0].endswith(f"|{size}") or lines[1:2] != [str(self.tokens)]:
            found = " and ".join(lines[:2])
            self._add_problem(f"its .metadata has {found!r}, expected {size} bytes per token and {self.tokens} tokens")
        return self._checked_ends(ends, ".index", exact=len(content) % 8 == 0)

    def _megatron(self, path: Path, size: int) -> Ints:
        content = self._read_if_exists(path.with_suffix(".idx"))
        if content is None:
            return np.empty(0, np.int64)
        head = len(MEGATRON_MAGIC) + 25
        count = int.from_bytes(content[head - 16 : head - 8], "little")
        available = max(len(content) - head, 0) // 4
        lengths = np.frombuffer(content, "<i4", min(count, available), head) if available else np.empty(0, "<i4")
        exact = content == megatron_index(lengths.astype(np.int64), size)
        return self._checked_ends(np.cumsum(lengths, dtype=np.int64), ".idx", exact=exact)

    def _read_if_exists(self, path: Path) -> bytes | None:
        """Return the content of an index file, or None. `check_files` reports missing files."""
        return path.read_bytes() if path.exists() else None

    def _checked_ends(self, ends: Ints, ending: str, *, exact: bool) -> Ints:
        """Return the ends if they are valid for the file. Otherwise add a problem and return an empty array."""
        last = int(ends[-1]) if len(ends) else 0
        if last != self.tokens:
            self._add_problem(f"it has {self.tokens:,} tokens, but its {ending} ends at {last:,}")
        elif not exact or bool((np.diff(ends, prepend=0) < 1).any()):
            self._add_problem(f"its {ending} is damaged: it is not an index of consecutive documents")
        else:
            return ends
        return np.empty(0, np.int64)

    def _check_ids(self, tokens: npt.NDArray[Any], encoder: Tokenizer) -> None:
        for start in range(0, len(tokens), PIECE):
            piece = tokens[start : start + PIECE]
            wrong = np.flatnonzero((piece < 0) | (piece >= encoder.vocab))
            if len(wrong):
                position = start + int(wrong[0])
                self._add_problem(
                    f"token {position:,} is {int(tokens[position])}, but the tokenizer has {encoder.vocab:,} ids"
                )
                return

    def _check_boundaries(self, tokens: npt.NDArray[Any], positions: Ints, expected: int | None, edge: str) -> None:
        if expected is None:
            return
        wrong = np.flatnonzero(tokens[positions] != expected)
        if len(wrong):
            first = int(wrong[0])
            self._add_problem(
                f"{len(wrong):,} documents do not {edge} with token {expected}. The first is number {first:,}, "
                f"with {int(tokens[positions[first]])}"
            )

    def _add_problem(self, problem: str) -> None:
        self.problems.append(f"{self._name}: {problem}")
