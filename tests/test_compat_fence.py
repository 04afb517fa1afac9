"""Only `compat` uses private or undocumented names of `datasets`, `huggingface_hub` and `torchdata`."""

import ast
from collections.abc import Iterator

import datasets
import huggingface_hub
import pytest
from doors import ROOT

from smollm3_mix.compat import hf_builder, hf_datasets, hf_hub, register, torchdata

PACKAGE = ROOT / "smollm3_mix"

DOCUMENTED: dict[str, set[str]] = {
    "datasets": {
        *("BuilderConfig", "Dataset", "DatasetDict", "DatasetInfo", "Features", "IterableDataset"),
        *("IterableDatasetDict", "SplitGenerator", "Version", "load_dataset", "load_dataset_builder"),
    },
    "huggingface_hub": {
        *("CommitOperationAdd", "CommitOperationCopy", "CommitOperationDelete", "DatasetCard", "HfApi", "HfFileSystem"),
        *("hf_hub_download", "hf_hub_url"),
    },
    "huggingface_hub.errors": {
        *("EntryNotFoundError", "GatedRepoError", "HFValidationError", "HfHubHTTPError", "LocalEntryNotFoundError"),
        *("LocalTokenNotFoundError", "OfflineModeIsEnabled", "RepositoryNotFoundError", "RevisionNotFoundError"),
    },
    "huggingface_hub.hf_api": {"RepoFile"},
    "huggingface_hub.utils": {"are_progress_bars_disabled", "disable_progress_bars", "enable_progress_bars"},
}
"""Names in the reference documentation of these packages that this package uses, by module."""

DOCUMENTED_HOOKS = {"_info", "_split_generators", "_generate_examples", "_generate_tables"}
"""Methods that the documentation of `datasets` tells authors of builders to define."""

STRINGS = {
    *hf_datasets.STATE_KEYS - {"epoch"},
    *(f"{module}.{name}" for module, name in hf_datasets.NAMES),
    *(name for _, name in hf_datasets.NAMES if name.startswith("_")),
    *hf_builder.BUILDER_HOOKS,
    *hf_builder.BUILDER_ATTRIBUTES,
    *hf_hub.NAMES,
    *register.NAMES,
    "datasets.packaged_modules",
    torchdata.STEPS_SINCE_SNAPSHOT,
} - {"tqdm"}
"""Strings through which such a name could be reached."""


def private_members() -> set[str]:
    """Return the private members of the classes of these packages that this package extends or uses."""
    classes = [
        *(datasets.GeneratorBasedBuilder, datasets.ArrowBasedBuilder, datasets.BuilderConfig, datasets.IterableDataset),
        *(datasets.Dataset, hf_datasets.examples_iterable(), huggingface_hub.HfApi, huggingface_hub.HfFileSystem),
    ]
    names = {name for each in classes for name in dir(each)} | {*hf_builder.BUILDER_ATTRIBUTES, "_state_dict"}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


PRIVATE = private_members()


def is_fenced(name: str) -> bool:
    """Return True for a package or module of one of the three packages."""
    return name.partition(".")[0] in {"datasets", "huggingface_hub", "torchdata"}


def imported_names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield module and name of everything that is imported from one of the packages, or reached as its attribute."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_fenced(alias.name):
                    name = alias.name if alias.asname else alias.name.partition(".")[0]
                    bound[alias.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and is_fenced(node.module or ""):
            for alias in node.names:
                yield str(node.module), alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            path = ast.unparse(node.value)
            first, _, rest = path.partition(".")
            module = ".".join(filter(None, (bound.get(first), rest)))
            if first in bound and (module == bound[first] or module in DOCUMENTED):
                yield module, node.attr


def own_names(tree: ast.AST) -> set[str]:
    """Return the names that a module defines: functions, classes, variables and attributes of `self`."""
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return own


def extends_fenced(node: ast.ClassDef) -> bool:
    """Return True for a class with a base from one of the packages, or from `compat`."""
    return any(
        is_fenced(ast.unparse(base)) or ast.unparse(base) in {"BuilderBase", "ExamplesBase"} for base in node.bases
    )


def leaks(tree: ast.AST) -> Iterator[str]:
    """Yield every private or undocumented name of the packages that a module outside `compat` uses."""
    for module, name in imported_names(tree):
        if name not in DOCUMENTED.get(module, set()) and f"{module}.{name}" not in DOCUMENTED:
            yield f"{module}.{name}"
    own = own_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and extends_fenced(node):
            yield from sorted(own_names(node) & PRIVATE - DOCUMENTED_HOOKS)
        elif isinstance(node, ast.Attribute) and node.attr in PRIVATE - own - DOCUMENTED_HOOKS:
            yield node.attr
        elif isinstance(node, ast.Constant) and node.value in STRINGS:
            yield str(node.value)


def test_only_compat_uses_private_and_undocumented_names() -> None:
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "compat" and (names := sorted(leaks(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("planted", "leak"),
    [
        (
            "from datasets.iterable_dataset import _BaseExamplesIterable",
            "datasets.iterable_dataset._BaseExamplesIterable",
        ),
        ("from datasets.utils.py_utils import classproperty", "datasets.utils.py_utils.classproperty"),
        ("def f():\n    import datasets\n    return datasets.config.HF_ENDPOINT", "datasets.config"),
        ("import datasets as hf\nhf.packaged_modules", "datasets.packaged_modules"),
        ("from huggingface_hub import constants", "huggingface_hub.constants"),
        ("import huggingface_hub.utils\nhuggingface_hub.utils.http_backoff", "huggingface_hub.utils.http_backoff"),
        ("from huggingface_hub.utils import get_session", "huggingface_hub.utils.get_session"),
        ("from torchdata.stateful_dataloader import worker", "torchdata.stateful_dataloader.worker"),
        ("class A(datasets.GeneratorBasedBuilder):\n    def _prepare_split_single(self): ...", "_prepare_split_single"),
        ("def f(builder):\n    return builder._cache_dir", "_cache_dir"),
        ("getattr(builder, '_build_cache_dir')()", "_build_cache_dir"),
        ("state.get('_steps_since_snapshot')", "_steps_since_snapshot"),
        ("sys.modules['datasets.packaged_modules']", "datasets.packaged_modules"),
    ],
)
def test_planted_leak_is_found(planted: str, leak: str) -> None:
    assert leak in set(leaks(ast.parse(planted)))


def test_each_name_is_used_by_one_module_of_compat() -> None:
    modules = {path.name: path.read_text(encoding="utf-8") for path in sorted((PACKAGE / "compat").glob("*.py"))}
    names = [*hf_hub.NAMES, *hf_hub.CONSTANTS, *register.NAMES, torchdata.STEPS_SINCE_SNAPSHOT]
    names += [*hf_builder.BUILDER_HOOKS] + [name for _, name in hf_datasets.NAMES]
    users = {name: [module for module, text in modules.items() if f'"{name}"' in text] for name in names}
    assert {name: found for name, found in users.items() if len(found) != 1 and name != "tqdm"} == {}


def test_documented_names_are_in_use() -> None:
    used: set[str] = set()
    for path in (path for path in PACKAGE.rglob("*.py") if path.parent.name != "compat"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        used |= {name for _, name in imported_names(tree)}
    assert {name for names in DOCUMENTED.values() for name in names} - used == set()
