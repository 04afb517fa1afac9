"""How the tokens of a document are counted, where they are not estimated from its bytes."""

import dataclasses

from smollm3_mix.recipe.values import Faults


@dataclasses.dataclass(frozen=True)
class Counting:
    """Tokens counted by a tokenizer, document by document, with what is put before and after each.

    Attributes:
        tokenizer: a file that the package `tokenizers` reads (tokenizer.json), a folder that holds one, or a Hub
            repository.
        revision: commit of a Hub repository; pinned when the mix is opened.
        sha256: of the tokenizer's file, 64 hex digits; pinned when the mix is opened. Once it is there, it decides the
            fingerprint in place of name and revision.
        bos: token put before each document and counted, such as `<s>`; None = none.
        eos: token put after each document and counted, such as `</s>`; None = none.
    """

    tokenizer: str
    revision: str | None = None
    sha256: str | None = None
    bos: str | None = None
    eos: str | None = None

    def __post_init__(self) -> None:
        faults = [
            f"{key}: expected at least one character, got ''"
            for key in ("tokenizer", "revision", "bos", "eos")
            if getattr(self, key) == ""
        ]
        digest = self.sha256
        if digest is not None and not (len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
            faults.append(f"sha256: expected 64 hex digits, got {digest!r}")
        if faults:
            raise Faults(*faults)
