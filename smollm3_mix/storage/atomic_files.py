"""Files written aside and renamed into place."""

import json
import os
from pathlib import Path
from typing import Any

WORK_FOLDER = ".writing"


class AtomicFile:
    """A file written beside its name, which it gets when it is whole and on disk."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, path.with_name(path.name + ".tmp")
        self.file = self._aside.open("wb")

    def keep(self) -> None:
        """Flush the file to disk and name it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self._aside.replace(self._path)


def replace_file(path: Path, content: bytes) -> None:
    """The file with this content, never seen half-written."""
    aside = AtomicFile(path)
    with aside.file:
        aside.file.write(content)
        aside.keep()


def replace_json(path: Path, value: Any) -> None:
    """The file with this value as JSON, never seen half-written."""
    replace_file(path, as_json(value))


def as_json(value: Any) -> bytes:
    """The content of a JSON file."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
