"""Sections of a recipe: exclusion list, decontamination and token counting."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from smollm3_mix.recipe.display_names import default_source_id
from smollm3_mix.recipe.exclusion_file import exclusions_digest, read_exclusions
from smollm3_mix.recipe.parsing import Problems, choice

HUB = "hf://"


@dataclasses.dataclass(frozen=True)
class Exclude:
    """A list of documents that must not be emitted.

    Attributes:
        file: Path of the list, tried in the recipe's folder and in the working directory, or its
            `hf://datasets/<repo>/<path>`.
        sha256: Hash of the sorted entries. Set when the recipe is read, or when the mix is opened if the list is on the
            Hub. A hash in the recipe must match the list.
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
    """One set of evaluation texts.

    Attributes:
        name: Hub repository, or a local folder, file or glob.
        config, data_dir, data_files, revision: As in a source.
        split: Split to read. Defaults to `test` of a repository and `train` (all files) of a local path.
        text_field: A column, a dotted path, or several of these, joined by `separator`, such as question and answer.
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
        """Name in records and messages: name[/config], with an absolute path from its last folder on."""
        return default_source_id(self.name, self.config)


@dataclasses.dataclass(frozen=True)
class Decontaminate:
    """Handling of documents that share a word n-gram with an evaluation text.

    Attributes:
        texts: One set, or several.
        ngram: Words per n-gram, 2 to 64.
        action: `drop` the documents, or `mark` them in `meta`.
        sha256: Hash of all n-grams. Set when the mix is opened. A hash in the recipe must match the texts.
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
            problems.append(f"texts: {twice[0]!r} is listed twice. List the columns of both in one `text_field`")
        if problems:
            raise Problems(*problems)

    @property
    def sets(self) -> tuple[Texts, ...]:
        """The sets, in order."""
        return (self.texts,) if isinstance(self.texts, Texts) else self.texts


def locate(name: str, folder: str) -> str:
    """Return the path or URL of a file in a recipe: a URL as is, a path in the folder or the working directory."""
    if "://" in name:
        return name
    if folder.startswith(HUB):
        return f"{folder.rstrip('/')}/{name}"
    path = Path(name).expanduser()
    beside = Path(folder) / path
    return str(beside if beside.is_file() else path)


def read_exclusion_file(exclude: Exclude, path: str) -> list[str]:
    """Return the entries of a local exclusion list.

    Raises:
        Problems: If the list cannot be read, is empty, or has another hash than the recipe.
    """
    file = repr(exclude.file)
    try:
        found = read_exclusions(Path(path).read_bytes())
    except FileNotFoundError:
        raise Problems(f"exclude: no file {file} beside the recipe or here. Create it or correct the path") from None
    except OSError as error:
        raise Problems(f"exclude: {file} cannot be read: {error.strerror}. Name a readable file") from None
    except ValueError as error:
        raise Problems(f"exclude: {file} {error}") from None
    if exclude.sha256 not in {None, exclusions_digest(found)}:
        raise Problems(
            f"exclude: {file} is not the list of sha256 {str(exclude.sha256)[:12]}… that the recipe is pinned to, but "
            f"of {exclusions_digest(found)[:12]}…. Restore the old list, or remove `sha256`"
        )
    return found


def pin_sections(exclude: Exclude | None, folder: str) -> Exclude | None:
    """Return `exclude` with the hash of its entries if the list is local and has no hash yet.

    Raises:
        Problems: If the list cannot be read or is empty.
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
    """Token counts by a tokenizer, including the tokens around each document.

    Attributes:
        tokenizer: A file of the package `tokenizers` (tokenizer.json), a folder that contains one, or a Hub repository.
        revision: Commit of a Hub repository, pinned when the mix is opened.
        sha256: Hash of the tokenizer's file, 64 hex digits, pinned when the mix is opened. It replaces name and
            revision in the fingerprint.
        bos: Token before each document, such as `<s>`. It is counted. None adds no token.
        eos: Token after each document, such as `</s>`. It is counted. None adds no token.
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
