"""Description of one call of `write`: the request, which two calls may share, and where and how to write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smollm3_mix.executors.protocol import Executor
from smollm3_mix.mix.limits import Limits
from smollm3_mix.output.lane_pool import ProgressListener
from smollm3_mix.output.uploads import UploadTarget
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.storage.atomic_files import WORK_FOLDER
from smollm3_mix.storage.url_store import UrlStore
from smollm3_mix.version import __version__


@dataclass(frozen=True)
class WriteRequest:
    """Values that determine the bytes of a written mix. Calls with equal requests may continue the same folder.

    Attributes:
        fingerprint: Fingerprint of the recipe before its sources are pinned.
        max_samples: Maximum number of records in the whole mix.
        max_tokens: Maximum number of tokens in the whole mix.
        max_bytes: Maximum number of UTF-8 bytes of text in the whole mix.
        skip_unreadable: Whether to skip sources that cannot be read.
        max_shard_size: UTF-8 bytes of text per shard.
        format: One of `output_formats.FORMATS`.
        keep_dropped: Whether to write the dropped documents. Their folder is not part of the request.
    """

    fingerprint: str
    max_samples: int | None
    max_tokens: int | None
    max_bytes: int | None
    skip_unreadable: bool
    max_shard_size: int
    format: str = "parquet"
    keep_dropped: bool = False

    @property
    def limits(self) -> Limits:
        """Limits of the whole mix."""
        return Limits(self.max_samples, self.max_tokens, self.max_bytes)

    def to_dict(self) -> dict[str, Any]:
        """Return the request as JSON, with the version of the package."""
        values = {key: value for key, value in self.__dict__.items() if key != "keep_dropped" or value}
        return {**values, "version": __version__}


@dataclass(frozen=True)
class WriteContext:
    """One call of `write`.

    Attributes:
        recipe: Recipe before its sources are pinned.
        request: What decides the bytes.
        folder: Folder of the mix. With a store, a temporary folder of this call.
        dropped_dir: Folder for the dropped documents. None if they are not kept.
        access: Token and accepted terms, as keyword arguments of `open_mix`.
        num_proc: Number of lanes to write in parallel.
        on_progress: Callback for the progress of each lane.
        push_to: Receiver of finished shards.
        executor: Runs the lanes, possibly on other machines.
        store: Object store of the mix, in place of a folder.
    """

    recipe: AnyRecipe
    request: WriteRequest
    folder: Path
    dropped_dir: Path | None = None
    access: dict[str, Any] = field(default_factory=dict)
    num_proc: int = 1
    on_progress: ProgressListener = lambda _: None
    push_to: UploadTarget | None = None
    executor: Executor | None = None
    store: UrlStore | None = None

    @property
    def location(self) -> str:
        """Folder or URL of the mix, for messages."""
        return str(self.folder) if self.store is None else self.store.url

    @property
    def work_location(self) -> str:
        """Work folder of the mix, for messages."""
        return str(self.folder / WORK_FOLDER) if self.store is None else f"{self.store.url}/{WORK_FOLDER}"


def differences(earlier: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Return the differences of two requests, such as `max_tokens: 10 → 20`."""
    changed = ((key, earlier.get(key), value) for key, value in current.items() if earlier.get(key) != value)
    return ", ".join(f"{key}: {old!r} → {new!r}" for key, old, new in changed)
