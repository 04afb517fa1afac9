"""Every error that the package raises by design.

    MixError
    ├── RecipeError           (ValueError)    the recipe is invalid
    ├── SourceError           (OSError)       a source cannot be found, opened or read
    │   └── UnreadableSourcesError            several sources cannot be read
    ├── SourceExhaustedError  (RuntimeError)  a source ended before the mix did
    ├── StateError            (ValueError)    the state does not belong to the mix
    ├── OutputError           (OSError)       the output cannot be written or contains something else
    └── MissingExtraError     (ImportError)   an optional package is missing

A message says what is wrong, where, what was expected and what to type next. Each class also inherits the matching
built-in exception, so `except ValueError` works.
"""


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
    """A source cannot be found, opened or read. The message names the source and, if known, the file and row."""


class UnreadableSourcesError(SourceError):
    """Some sources of a recipe cannot be read. The message lists each with its share and a remedy."""


class SourceExhaustedError(MixError, RuntimeError):
    """A source ended before the mix did. The message computes the remedies."""


class StateError(MixError, ValueError):
    """The state is damaged or does not belong to the mix."""


class OutputError(MixError, OSError):
    """The output cannot be written, contains something else, or is locked by another writer."""


class MissingExtraError(MixError, ImportError):
    """An optional package is missing. The message gives the command that installs it."""
