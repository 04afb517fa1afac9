"""Register recipe folders with `load_dataset`, using private names of `datasets` 3.6 to 5.

`datasets` selects the builder of a folder by the extension of its files, from tables in `datasets.packaged_modules`.
This module adds one row to each table: `.smollm3_mix` selects `smollm3_mix.builder.mix_builder`. No other package uses
this extension, so other folders and repositories are loaded as before.

`datasets` takes seconds to import, so `import smollm3_mix` does not import it. If it is not imported yet, a finder at
the start of `sys.meta_path` adds the rows when it is. The finder handles one module name only.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from smollm3_mix.compat.hf_datasets import REQUIREMENT, TESTED
from smollm3_mix.compat.moved_names import moved_message

EXTENSION = ".smollm3_mix"
"""Extension of recipe files, as in `.smollm3_mix.yaml` or `.smollm3_mix`. `datasets` checks every suffix of a name."""

NAMES = (
    "_PACKAGED_DATASETS_MODULES",
    "_EXTENSION_TO_MODULE",
    "_MODULE_TO_EXTENSIONS",
    "_MODULE_TO_METADATA_FILE_NAMES",
)
"""Tables of `datasets.packaged_modules` that get a row."""

_NAME = "smollm3_mix"
_BUILDER = "smollm3_mix.builder.mix_builder"
_TABLES = "datasets.packaged_modules"


def install() -> None:
    """Register recipe folders with `load_dataset`, now or when `datasets` is imported. Safe to call more than once."""
    if _TABLES in sys.modules:
        add_rows(importlib.import_module(_TABLES))  # waits if another thread is importing it
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def add_rows(tables: ModuleType) -> None:
    """Add our rows to the tables of `datasets.packaged_modules`. Warns if a table is missing."""
    missing = [name for name in NAMES if not isinstance(getattr(tables, name, None), dict)]
    if missing:
        warnings.warn(_moved(missing), RuntimeWarning, stacklevel=2)
        return
    tables._PACKAGED_DATASETS_MODULES[_NAME] = (_BUILDER, _NAME)
    tables._EXTENSION_TO_MODULE[EXTENSION] = (_NAME, {})
    tables._MODULE_TO_EXTENSIONS[_NAME] = [EXTENSION]
    tables._MODULE_TO_METADATA_FILE_NAMES[_NAME] = []
    if hasattr(tables, "_MODULE_TO_METADATA_EXTENSIONS"):  # in later 4.x
        tables._MODULE_TO_METADATA_EXTENSIONS[_NAME] = []
    # Lists that are derived from the tables on import: up to 4.0 one in `load`, later two next to the tables.
    for module, name in (
        (tables, "_ALL_EXTENSIONS"),
        (tables, "_ALL_ALLOWED_EXTENSIONS"),
        (sys.modules.get("datasets.load"), "ALL_ALLOWED_EXTENSIONS"),
    ):
        known = getattr(module, name, None)
        if known is not None and EXTENSION not in known:
            known.append(EXTENSION)


def _moved(names: list[str]) -> str:
    """Return the warning for a version of `datasets` without these tables."""
    message = moved_message("datasets", f"{', '.join(names)} in packaged_modules", TESTED, REQUIREMENT)
    return f"load_dataset() cannot find recipes: {message}. Until then, use smollm3_mix.load()."


class _Finder(MetaPathFinder):
    """Finder of `datasets.packaged_modules` that delegates to the other finders and adds our rows after the import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _TABLES:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in others if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loader that delegates to another loader, then adds our rows."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader  # restore the original loader
        self.loader.exec_module(module)
        add_rows(module)


_FINDER = _Finder()
