"""`load_dataset` learns of recipe folders: the one file that knows private names of `datasets` 3.6 to 5.

`datasets` chooses the builder of a folder by the ending of its files, from tables in `datasets.packaged_modules`. This
adds one row to each: `.smollm3_mix` means `smollm3_mix.builder.mix_builder`. No other package uses the ending, so every
other folder and repository is loaded exactly as before.

`datasets` takes seconds to import, so `import smollm3_mix` does not import it: where it is not there yet, the rows are
added the moment it comes, by a finder that stands before the usual ones and looks at one module name only.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTENSION = ".smollm3_mix"
"""A recipe folder's files end in `.smollm3_mix.yaml` (or in `.smollm3_mix` alone); `datasets` looks at every suffix."""

_NAME = "smollm3_mix"
_BUILDER = "smollm3_mix.builder.mix_builder"
_TABLES = "datasets.packaged_modules"


def install() -> None:
    """Nothing; from now on, or from the import of `datasets` on, `load_dataset` knows recipe folders. Idempotent."""
    if _TABLES in sys.modules:
        add_rows(importlib.import_module(_TABLES))  # waits where another thread is still importing it
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def add_rows(tables: ModuleType) -> None:
    """Nothing; the tables of `datasets.packaged_modules` have our rows. Warns where they are not there any more."""
    names = (
        "_PACKAGED_DATASETS_MODULES",
        "_EXTENSION_TO_MODULE",
        "_MODULE_TO_EXTENSIONS",
        "_MODULE_TO_METADATA_FILE_NAMES",
    )
    missing = [name for name in names if not isinstance(getattr(tables, name, None), dict)]
    if missing:
        warnings.warn(_moved(missing), RuntimeWarning, stacklevel=2)
        return
    tables._PACKAGED_DATASETS_MODULES[_NAME] = (_BUILDER, _NAME)
    tables._EXTENSION_TO_MODULE[EXTENSION] = (_NAME, {})
    tables._MODULE_TO_EXTENSIONS[_NAME] = [EXTENSION]
    tables._MODULE_TO_METADATA_FILE_NAMES[_NAME] = []
    if hasattr(tables, "_MODULE_TO_METADATA_EXTENSIONS"):  # in later 4.x
        tables._MODULE_TO_METADATA_EXTENSIONS[_NAME] = []
    # Lists made of the tables when `datasets` was imported: up to 4.0 one in `load`, later two beside the tables
    for module, name in (
        (tables, "_ALL_EXTENSIONS"),
        (tables, "_ALL_ALLOWED_EXTENSIONS"),
        (sys.modules.get("datasets.load"), "ALL_ALLOWED_EXTENSIONS"),
    ):
        known = getattr(module, name, None)
        if known is not None and EXTENSION not in known:
            known.append(EXTENSION)


def _moved(names: list[str]) -> str:
    """The message for a `datasets` whose tables have moved."""
    version = getattr(sys.modules.get("datasets"), "__version__", "?")
    return (
        f"datasets {version} has no {', '.join(names)} in {_TABLES}, so load_dataset() cannot find the recipes of a "
        'folder or repository. Use smollm3_mix.load("<recipe>") instead, or: pip install "datasets<6"'
    )


class _Finder(MetaPathFinder):
    """Finds `datasets.packaged_modules` by the other finders, and has our rows added once it is imported."""

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
    """Another loader's work, then our rows."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader  # nothing of ours stays behind
        self.loader.exec_module(module)
        add_rows(module)


_FINDER = _Finder()
