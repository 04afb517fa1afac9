"""What a recipe keeps out beside what is judged: a list of what must not come out, and texts of evaluations."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from smollm3_mix.recipe.display_names import default_source_id
from smollm3_mix.recipe.parsing import Problems, choice
from smollm3_mix.text.exclusion import exclusions_digest, read_exclusions

HUB = "hf://"


@dataclasses.dataclass(frozen=True)
class Exclude:
    """A list of what must not come out.

    Attributes:
        file: path of the list, tried beside the recipe and then here, or its `hf://datasets/<repo>/<path>`.
        sha256: of its entries, sorted; filled in when the recipe is read, or when the mix is opened if the list is on
            the Hub. What stands in a recipe already must be that of the list.
    """

    SHORTHAND: ClassVar[str] = "file"
    file: str
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.file:
            raise Problems("file: expected the path of a list, got ''")


ACTIONS = ("drop", "mark")


@dataclasses.dataclass(frozen=True)
class Texts:
    """One set of texts that a model will be evaluated on.

    Attributes:
        name: Hub repository, or a local folder, file or glob.
        config, data_dir, data_files, revision: as of a source.
        split: default: `test` of a repository, `train` (all there is) of anything local.
        text_field: a column, a dotted path, or several of these, joined by `separator`: question and answer, say.
    """

    SHORTHAND: ClassVar[str] = "name"
    name: str
    config: str | None = None
    data_dir: str | None = None
    data_files: tuple[str, ...] | None = None
    revision: str | None = None
    split: str | None = None
    text_field: str | tuple[str, ...] = "text"
    separator: str = "\n\n"

    def __post_init__(self) -> None:
        if not self.name:
            raise Problems("name: expected a Hub repository or a local path, got ''")

    @property
    def id(self) -> str:
        """What the set is called in records and messages: name[/config], an absolute path from its last folder on."""
        return default_source_id(self.name, self.config)


@dataclasses.dataclass(frozen=True)
class Decontaminate:
    """What becomes of documents that share a run of words with a text of an evaluation.

    Attributes:
        texts: one set, or several.
        ngram: words in a run, 2 to 64.
        action: `drop` them, or `mark` them in `meta`.
        sha256: of all runs; filled in when the mix is opened. What stands in a recipe must be that of the texts.
    """

    SHORTHAND: ClassVar[str] = "texts"
    texts: Texts | tuple[Texts, ...]
    ngram: int = 13
    action: str = "drop"
    sha256: str | None = None

    def __post_init__(self) -> None:
        problems = list(choice("action", self.action, ACTIONS))
        if not 2 <= self.ngram <= 64:
            problems.append(f"ngram: expected 2 to 64, got {self.ngram}")
        ids = [texts.id for texts in self.sets]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if not ids:
            problems.append("texts: expected at least one set, got an empty list")
        if twice:
            problems.append(f"texts: {twice[0]!r} stands there twice; list the columns of both in one `text_field`")
        if problems:
            raise Problems(*problems)

    @property
    def sets(self) -> tuple[Texts, ...]:
        """The sets, in order."""
        return (self.texts,) if isinstance(self.texts, Texts) else self.texts


def locate(name: str, folder: str) -> str:
    """The path or URL of a file that a recipe names: as it is, else beside the recipe, else here."""
    if "://" in name:
        return name
    if folder.startswith(HUB):
        return f"{folder.rstrip('/')}/{name}"
    given = Path(name).expanduser()
    beside = Path(folder) / given
    return str(beside if beside.is_file() else given)


def read_exclusion_file(exclude: Exclude, path: str) -> list[str]:
    """The entries of a list that lies at a local path.

    Raises:
        Faults: it cannot be read, lists nothing, or is not the one the recipe is pinned to.
    """
    shown = repr(exclude.file)
    try:
        found = read_exclusions(Path(path).read_bytes())
    except FileNotFoundError:
        raise Problems(f"exclude: no file {shown} beside the recipe or here; make it, or mend the path") from None
    except OSError as error:
        raise Problems(f"exclude: {shown} cannot be read: {error.strerror}; name a file that can") from None
    except ValueError as error:
        raise Problems(f"exclude: {shown} {error}") from None
    if exclude.sha256 not in {None, exclusions_digest(found)}:
        raise Problems(
            f"exclude: {shown} is not the list of sha256 {str(exclude.sha256)[:12]}… that the recipe is pinned to, but "
            f"of {exclusions_digest(found)[:12]}…; put the old list back, or take `sha256` out"
        )
    return found


def pin_sections(exclude: Exclude | None, folder: str) -> Exclude | None:
    """The same with the digest of its entries, if it lies on this machine and has none.

    Raises:
        Faults: it cannot be read, or lists nothing.
    """
    if exclude is None or exclude.sha256 is not None:
        return exclude
    path = locate(exclude.file, folder)
    return (
        exclude
        if "://" in path
        else dataclasses.replace(exclude, sha256=exclusions_digest(read_exclusion_file(exclude, path)))
    )


@dataclasses.dataclass(frozen=True)
class TokenCounting:
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
        problems = [
            f"{key}: expected at least one character, got ''"
            for key in ("tokenizer", "revision", "bos", "eos")
            if getattr(self, key) == ""
        ]
        digest = self.sha256
        if digest is not None and not (len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
            problems.append(f"sha256: expected 64 hex digits, got {digest!r}")
        if problems:
            raise Problems(*problems)
