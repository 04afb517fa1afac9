"""Every error that the package raises by design.

    MixError
    ├── RecipeError           (ValueError)    the recipe is invalid
    ├── SourceError           (OSError)       a source cannot be found, opened or read
    │   └── UnreadableSourcesError            several sources cannot be read
    ├── SourceExhaustedError  (RuntimeError)  a source ended before the mix did
    ├── StateError            (ValueError)    the state does not belong to the mix
    ├── OutputError           (OSError)       the output cannot be written or contains something else
    ├── HubError              (OSError)       the Hub refuses a request or is unreachable
    └── MissingExtraError     (ImportError)   an optional package is missing

A message says what is wrong, where, what was expected and what to type next. Each class also inherits the matching
built-in exception, so `except ValueError` works.
"""

from collections.abc import Mapping, Sequence


class MixError(Exception):
    """Base of every error that the package raises by design."""


class RecipeError(MixError, ValueError):
    """The recipe is invalid. The message lists every problem in the file.

    Attributes:
        file: Name of the recipe file.
        problems: One sentence per problem.
    """

    def __init__(self, file: str, problems: list[str]) -> None:
        self.file, self.problems = file, list(problems)
        lines = [f"{file}: {problem}" for problem in self.problems]
        super().__init__(lines[0] if len(lines) == 1 else f"{len(lines)} problems\n  " + "\n  ".join(lines))

    def __reduce__(self) -> tuple[type["RecipeError"], tuple[str, list[str]]]:
        return type(self), (self.file, self.problems)


class SourceError(MixError, OSError):
    """A source cannot be found, opened or read. The message names the source and, if known, the file and row.

    Attributes:
        source: Id of the source. Empty if unknown.
    """

    def __init__(self, message: str, *, source: str = "") -> None:
        super().__init__(message)
        self.source = source


class UnreadableSourcesError(SourceError):
    """Some sources of a recipe cannot be read. The message lists each with its share and a remedy.

    Attributes:
        problems: Reasons by source id.
    """

    def __init__(self, message: str, *, problems: Mapping[str, str] | None = None) -> None:
        super().__init__(message, source=next(iter(problems or ()), ""))
        self.problems = dict(problems or {})


class SourceExhaustedError(MixError, RuntimeError):
    """A source ended before the mix did. The message computes the remedies.

    Attributes:
        source: Id of the source. Empty if unknown.
        needed: Units that the mix needs of the source. None if unknown.
        available: Units that the source has. None if unknown.
    """

    def __init__(
        self, message: str, *, source: str = "", needed: float | None = None, available: float | None = None
    ) -> None:
        super().__init__(message)
        self.source, self.needed, self.available = source, needed, available


class StateError(MixError, ValueError):
    """The state is damaged or does not belong to the mix.

    Attributes:
        differences: Differences between the recipe of the state and the recipe of the mix.
    """

    def __init__(self, message: str, *, differences: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.differences = tuple(differences)


class OutputError(MixError, OSError):
    """The output cannot be written, contains something else, or is locked by another writer.

    Attributes:
        path: Folder, file or URL. Empty if unknown.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class HubError(MixError, OSError):
    """The Hub refuses a request or is unreachable.

    Attributes:
        repo_id: Repository as `owner/name`. Empty if unknown.
    """

    def __init__(self, message: str, *, repo_id: str = "") -> None:
        super().__init__(message)
        self.repo_id = repo_id


class MissingExtraError(MixError, ImportError):
    """An optional package is missing. The message gives the command that installs it.

    Attributes:
        package: Package that is missing. Empty if unknown.
        extra: Extra of smollm3_mix that installs it. Empty if unknown.
    """

    def __init__(self, message: str, *, package: str = "", extra: str = "") -> None:
        super().__init__(message)
        self.package, self.extra = package, extra
