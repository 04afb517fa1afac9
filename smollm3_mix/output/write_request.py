"""What a call of `write` is asked to do: the mix, which two calls may share, and where and how this one writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smollm3_mix.executors.protocol import Executor
from smollm3_mix.output.lane_pool import ProgressListener
from smollm3_mix.output.uploads import UploadTarget
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.storage.atomic_files import WORK_FOLDER
from smollm3_mix.storage.url_store import UrlStore
from smollm3_mix.version import __version__


@dataclass(frozen=True)
class WriteRequest:
    """What a user asked to be written; two equal requests may share a folder.

    Attributes:
        fingerprint: of the recipe as asked for, before its sources are pinned.
        max_samples: records of the whole mix.
        max_tokens: tokens of the whole mix.
        max_bytes: UTF-8 bytes of text of the whole mix.
        skip_unreadable: whether unreadable sources are left out.
        max_shard_size: bytes of text in a part.
        format: one of forms.FORMATS, or by-source.
        keep_dropped: whether the dropped documents are written, too; where they go is nobody's business.
    """

    fingerprint: str
    max_samples: int | None
    max_tokens: int | None
    max_bytes: int | None
    skip_unreadable: bool
    max_shard_size: int
    format: str = "parquet"
    keep_dropped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON."""
        asked = {key: value for key, value in self.__dict__.items() if key != "keep_dropped" or value}
        return {**asked, "version": __version__}


@dataclass(frozen=True)
class WriteContext:
    """One call of `write`.

    Attributes:
        asked: the recipe, before its sources are pinned.
        request: what decides on the files.
        folder: of the mix; of this call alone where there is a store.
        drops: folder of the dropped documents; None: they are not kept.
        access: token, and terms that are accepted.
        processes: lanes written at once.
        on_progress: hears how far the lanes are.
        outlet: takes parts while others are written.
        runner: writes the lanes, on other machines too.
        store: where the mix goes instead of a folder.
    """

    asked: Recipe
    request: WriteRequest
    folder: Path
    drops: Path | None
    access: dict[str, Any]
    processes: int
    on_progress: ProgressListener
    outlet: UploadTarget | None = None
    runner: Executor | None = None
    store: UrlStore | None = None

    @property
    def place(self) -> str:
        """The folder or URL, for messages."""
        return str(self.folder) if self.store is None else self.store.url

    @property
    def begun(self) -> str:
        """What to remove to begin anew, for messages."""
        return str(self.folder / WORK_FOLDER) if self.store is None else f"{self.store.url}/{WORK_FOLDER}"


def differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What two requests differ in."""
    return ", ".join(f"{key}={was.get(key)!r}, not {value!r}" for key, value in now.items() if was.get(key) != value)
