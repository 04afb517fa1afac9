"""Private and undocumented names of `datasets` 3.6 to 5.x. Every other module takes these names from here.

The hooks of its builders and iterables are in `hf_builder`, the tables of its packaged modules in `register`. Importing
this module does not import `datasets`, which takes seconds.
"""

import re
from collections.abc import Mapping
from typing import Any

from smollm3_mix.compat.moved_names import find_name

TESTED, REQUIREMENT = "3.6 to 5.x", "datasets>=3.6,!=4.0.1,<6"

NAMES = (
    ("datasets.config", "HF_ENDPOINT"),
    ("datasets.data_files", "DataFilesDict"),
    ("datasets.iterable_dataset", "_BaseExamplesIterable"),
    ("datasets.utils", "tqdm"),
)
"""Modules and names that this module uses."""

STATE_KEYS = frozenset({"examples_iterable", "epoch"})
"""Keys of the state of every `IterableDataset`."""

_PACKAGED = re.compile(r"datasets\.packaged_modules\.(\w+)")


def endpoint() -> str:
    """Return the URL of the Hub that `datasets` uses. Its file systems are cached by this URL."""
    return str(_name("datasets.config", "HF_ENDPOINT"))


def examples_iterable() -> Any:
    """Return the base class of what an `IterableDataset` iterates over."""
    return _name("datasets.iterable_dataset", "_BaseExamplesIterable")


def is_dataset_state(state: Mapping[str, Any]) -> bool:
    """Return True for the state of an `IterableDataset`."""
    return state.keys() >= STATE_KEYS


def lock_progress_bars() -> None:
    """Create the class-wide lock of progress bars. At first use, tqdm creates it without regard to other threads."""
    _name("datasets.utils", "tqdm").get_lock()


def packaged_module(builder: Any) -> str | None:
    """Return the name of the packaged module of a builder, such as `parquet`, or None for another builder."""
    found = _PACKAGED.match(type(builder).__module__)
    return found[1] if found else None


def resolved_files(data_files: Any) -> list[str]:
    """Return the paths or URLs of a config's data files in all splits. Empty before `datasets` has listed the files."""
    if not isinstance(data_files, _name("datasets.data_files", "DataFilesDict")):
        return []
    return [str(file) for split in data_files.values() for file in split]


def _name(module: str, name: str) -> Any:
    return find_name(module, name, tested=TESTED, requirement=REQUIREMENT)
