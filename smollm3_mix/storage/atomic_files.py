"""Write files under a temporary name, then rename them."""

import json
import os
from pathlib import Path
from typing import Any

WORK_FOLDER = ".writing"


class AtomicFile:
    """A file that gets its name after it is complete and on disk."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(path.name + ".tmp")
        self.file = self._temporary.open("wb")

    def keep(self) -> None:
        """Flush the file to disk and give it its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self._temporary.replace(self._path)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    new = AtomicFile(path)
    with new.file:
        new.file.write(content)
        new.keep()


def replace_json(path: Path, value: Any) -> None:
    """Write a value as a JSON file, atomically."""
    replace_file(path, as_json(value))


def as_json(value: Any) -> bytes:
    """Return a value as the content of a JSON file."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
