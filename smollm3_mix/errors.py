"""Every error the package raises by design.

    MixError
    ├── RecipeError      (ValueError)    a recipe file says something it cannot mean
    ├── SourceError      (OSError)       a source cannot be resolved, opened or read
    │   └── UnreadableSourcesError                   several sources cannot be read; lists them all
    ├── SourceExhaustedError  (RuntimeError)  a source ended before the mix did
    ├── StateError       (ValueError)    a saved state does not belong to this mix
    ├── OutputError      (OSError)       a folder cannot be written, or holds something else
    └── MissingExtraError     (ImportError)   an optional package is needed

A message says where, what came, what was expected, and the next thing to type. Each class also inherits the built-in
that fits, so `except ValueError` keeps working.
"""


class MixError(Exception):
    """Base of every error the package raises by design."""


class RecipeError(MixError, ValueError):
    """A recipe that cannot be meant as written. Lists all faults of one file.

    Attributes:
        file: where the recipe came from.
        faults: one sentence for each fault.
    """

    def __init__(self, file: str, problems: list[str]) -> None:
        self.file, self.problems = file, list(problems)
        lines = [f"{file}: {fault}" for fault in self.problems]
        super().__init__(lines[0] if len(lines) == 1 else f"{len(lines)} faults\n  " + "\n  ".join(lines))

    def __reduce__(self) -> tuple[type["RecipeError"], tuple[str, list[str]]]:
        return type(self), (self.file, self.problems)


class SourceError(MixError, OSError):
    """A source cannot be resolved, opened or read; the message names the source and, where known, file and row."""


class UnreadableSourcesError(SourceError):  # noqa: N818 - says what happened
    """Some sources of a recipe cannot be read. The message lists each with its share and what to do."""


class SourceExhaustedError(MixError, RuntimeError):  # noqa: N818 - says what happened
    """A source ended before the mix did; the message computes the remedies."""


class StateError(MixError, ValueError):
    """A saved state that does not belong to this mix, or is damaged."""


class OutputError(MixError, OSError):
    """An output folder that cannot be written, holds something else, or is in use by another writer."""


class MissingExtraError(MixError, ImportError):  # noqa: N818 - says what happened
    """An optional package is needed; the message says what to install and for which step."""
