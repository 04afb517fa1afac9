"""Upload finished shards while others are written, so that a mix may be larger than the disk.

A shard is uploaded after the state of its lane counts it. The upload is recorded before the local file is deleted.
After a crash between the two steps, the file is offered again and the upload target skips it.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from smollm3_mix.errors import OutputError
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.storage import atomic_files

UPLOAD_RECORD = "uploads.json"
"""File of the work folder with the name of the target and the bytes of the uploaded shards by name."""

MAX_PENDING = 4
"""Number of finished shards per writing process at which the process waits for uploads."""

_POLL = 0.05
"""Seconds between two checks of the folder."""


class UploadTarget(Protocol):
    """Receiver of the shards of a mix while it is written."""

    @property
    def name(self) -> str:
        """Name of the target. A resumed write must have a target of the same name."""

    def check(self, recipe: AnyRecipe) -> None:
        """Raise unless the target accepts a mix of this recipe. Called before any source is opened."""

    def begin(self, recipe: AnyRecipe, file: bytes, request: Mapping[str, Any]) -> None:
        """Prepare the target and upload the recipe.

        Args:
            recipe: Recipe of the written mix.
            file: Content of its `recipe.yaml`.
            request: Request of the write, as JSON.
        """

    def send(self, files: Mapping[str, Path]) -> None:
        """Upload files by their paths below `data`. They may be deleted here afterwards."""

    def finish(self, recipe: AnyRecipe, summary: Mapping[str, Any], other_files: list[Path]) -> None:
        """Complete the mix at the target.

        Args:
            recipe: Recipe of the written mix.
            summary: Content of `stats.json`.
            other_files: Files of the mix other than data and recipe.
        """


class Uploads:
    """Thread that uploads the finished shards of a work folder.

    Args:
        work: Work folder.
        target: Receiver of the shards.

    Attributes:
        uploaded: Bytes of the uploaded shards by name.
        error: Error that stopped the thread, or None.
    """

    def __init__(self, work: Path, target: UploadTarget) -> None:
        self._work, self._target = work, target
        self.uploaded: dict[str, int] = uploaded_shards(work, target.name)
        self.error: Exception | None = None
        self._ended = threading.Event()
        self._on_error: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        atomic_files.replace_json(self._work / UPLOAD_RECORD, {"to": self._target.name, "shards": self.uploaded})
        self._thread.start()

    def on_error(self, call: Callable[[], None]) -> None:
        """Set a function to call if the thread stops with an error."""
        self._on_error = call
        if self.error is not None:
            call()

    def check(self) -> None:
        """Raise the error of the thread, if there is one."""
        if self.error is not None:
            raise self.error

    def stop(self, *, finish: bool) -> None:
        """Stop the thread after its current upload. With `finish`, upload all remaining finished shards first."""
        self._ended.set()
        self._thread.join()
        if finish:
            self.check()
            self._upload()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                if not self._upload():
                    self._ended.wait(_POLL)
        except Exception as error:  # noqa: BLE001 - `check` raises it in the writing thread
            self.error = error
            self._on_error()

    def _upload(self) -> bool:
        """Upload and delete the finished shards. Return False if there were none."""
        paths = finished_shards(self._work)
        if not paths:
            return False
        named = {path.relative_to(self._work / output_layout.DATA).as_posix(): path for path in paths}
        self._target.send(named)
        self.uploaded |= {name: path.stat().st_size for name, path in named.items()}
        atomic_files.replace_json(self._work / UPLOAD_RECORD, {"to": self._target.name, "shards": self.uploaded})
        for path in paths:
            path.unlink()
        return True


def uploaded_shards(work: Path, name: str | None) -> dict[str, int]:
    """Return the bytes of the shards that an earlier call has uploaded, by name.

    Raises:
        OutputError: If they were uploaded to another target than `name`.
    """
    if not (work / UPLOAD_RECORD).exists():
        return {}
    saved = json.loads((work / UPLOAD_RECORD).read_bytes())
    if saved["to"] != name:
        raise OutputError(
            f"Shards of the mix in {work.parent} were already uploaded to {saved['to']}. Repeat the command with the "
            f"same --push-to, --config-name and --revision to resume, or delete {work}.",
            path=str(work.parent),
        )
    shards: dict[str, int] = saved["shards"]
    return shards


def finished_shards(work: Path) -> list[Path]:
    """Return the shards in the work folder that the states of their lanes count."""
    found = []
    for state in work.glob("*-[0-9][0-9][0-9][0-9][0-9].json"):
        count = json.loads(state.read_bytes())["shards"]
        shards = (work / output_layout.DATA).rglob(f"{state.stem}-*.parquet")
        found += [path for path in shards if int(path.stem.rsplit("-", 1)[1]) < count]
    return sorted(found)


def wait_for_uploads(work: Path, max_pending: int, check: Callable[[], None]) -> None:
    """Block until fewer than `max_pending` finished shards wait for upload. `check` may raise meanwhile."""
    check()
    while len(list((work / output_layout.DATA).rglob("*.parquet"))) >= max_pending:
        check()
        time.sleep(_POLL)
