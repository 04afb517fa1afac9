"""Parts taken away while others are written, so that a mix may be larger than the disk.

A part is taken once the state of its lane counts it. Where it went is noted before it is removed here; killed between,
it is offered again, and whoever takes it knows that it is there.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from smollm3_mix.errors import OutputError
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.storage import atomic_files

UPLOAD_RECORD = "shipped.json"
"""In the work folder: where parts go, and those that went, by name, with their bytes."""

MAX_WAITING = 4
"""Parts that may wait here for each process that writes, before it pauses."""

_POLL = 0.05
"""Seconds between two looks at the folder."""


class UploadTarget(Protocol):
    """Where the parts of a mix go while it is written."""

    @property
    def name(self) -> str:
        """What is noted of it; another name is another place."""

    def begin(self, recipe: Recipe, file: bytes, request: Mapping[str, Any]) -> None:
        """Nothing; the place is made ready for this recipe, and holds it, as its file or without paths of here."""

    def send(self, files: Mapping[str, Path]) -> None:
        """Nothing; the files are there for good, and may be removed here."""

    def finish(self, recipe: Recipe, summary: Mapping[str, Any], rest: list[Path]) -> None:
        """Nothing; the mix is whole there."""


class Uploads:
    """Takes whole parts from a work folder to an outlet, in a thread of its own.

    Args:
        work: the work folder.
        outlet: where parts go.

    Attributes:
        shipped: bytes by name of the parts that went.
        error: why it ended, None while all is well.
    """

    def __init__(self, work: Path, outlet: UploadTarget) -> None:
        self._work, self._outlet = work, outlet
        self.shipped: dict[str, int] = uploaded_shards(work, outlet.name)
        self.error: Exception | None = None
        self._ended = threading.Event()
        self._on_error: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Nothing; parts are taken from now on."""
        atomic_files.replace_json(self._work / UPLOAD_RECORD, {"to": self._outlet.name, "parts": self.shipped})
        self._thread.start()

    def on_error(self, call: Callable[[], None]) -> None:
        """Nothing; `call` is called when it ends early."""
        self._on_error = call
        if self.error is not None:
            call()

    def check(self) -> None:
        """Nothing, while all is well; else its error is raised."""
        if self.error is not None:
            raise self.error

    def end(self, *, all_of_them: bool) -> None:
        """Nothing; every whole part went if `all_of_them`, else those on their way."""
        self._ended.set()
        self._thread.join()
        if all_of_them:
            self.check()
            self._take()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                if not self._take():
                    self._ended.wait(_POLL)
        except Exception as error:  # noqa: BLE001 - raised by `check` in the thread that writes
            self.error = error
            self._on_error()

    def _take(self) -> bool:
        """Whether there were whole parts; they went, and are removed here."""
        paths = finished_shards(self._work)
        if not paths:
            return False
        named = {path.relative_to(self._work / output_layout.DATA).as_posix(): path for path in paths}
        self._outlet.send(named)
        self.shipped |= {name: path.stat().st_size for name, path in named.items()}
        atomic_files.replace_json(self._work / UPLOAD_RECORD, {"to": self._outlet.name, "parts": self.shipped})
        for path in paths:
            path.unlink()
        return True


def uploaded_shards(work: Path, name: str | None) -> dict[str, int]:
    """Bytes by name of the parts that went before a stop.

    Raises:
        OutputError: they went elsewhere than to `name`, or parts went and `name` is None.
    """
    if not (work / UPLOAD_RECORD).exists():
        return {}
    saved = json.loads((work / UPLOAD_RECORD).read_bytes())
    if saved["to"] != name:
        raise OutputError(
            f"parts of the mix in {work.parent} went to {saved['to']} already. Give the same --push-to, --config-name "
            f"and --revision again to go on, or remove {work}."
        )
    parts: dict[str, int] = saved["parts"]
    return parts


def finished_shards(work: Path) -> list[Path]:
    """The parts in the work folder that the states of their lanes count."""
    found = []
    for state in work.glob("*-[0-9][0-9][0-9][0-9][0-9].json"):
        count = json.loads(state.read_bytes())["parts"]
        parts = (work / output_layout.DATA).rglob(f"{state.stem}-*.parquet")
        found += [path for path in parts if int(path.stem.rsplit("-", 1)[1]) < count]
    return sorted(found)


def wait_for_room(work: Path, most: int, check: Callable[[], None]) -> None:
    """Nothing, once fewer than `most` whole parts wait; `check` may raise meanwhile."""
    check()
    while len(list((work / output_layout.DATA).rglob("*.parquet"))) >= most:
        check()
        time.sleep(_POLL)
