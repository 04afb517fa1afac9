"""Imports go down the layers, without cycles, and each package imports the outside packages that it may."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "smollm3_mix"

LAYERS: list[list[set[str]]] = [
    [{"errors", "messages", "sizes", "table_format", "version"}, {"schema"}],
    [{"text"}, {"compat"}, {"network"}, {"storage"}, {"executors"}],
    [{"recipe"}],
    [{"tokenizer"}, {"sources"}],
    [{"mix"}],
    [{"report"}, {"output"}],
    [
        {"builder", "dedup_index", "merge_datasets", "packing", "verification"},
        {"hub", "torch_loader"},
        {"integrations"},
    ],
    [{"cli"}, {"__init__", "__main__"}],
]
"""Layers from the bottom up. Inside a layer, a group may import those before it. Members of one group do not import
each other."""

RANK = {
    name: (layer, group) for layer, groups in enumerate(LAYERS) for group, names in enumerate(groups) for name in names
}

ARROW = {"numpy", "pyarrow"}
HUB = {"huggingface_hub", "fsspec"}
OUTSIDE: dict[str, set[str]] = {
    "schema": {"pyarrow"},
    "text": ARROW | {"xxhash", "ftfy", "hatchling", "packaging"},  # the last two build the wheel
    "compat": {"datasets", "huggingface_hub", "torchdata"},
    "network": HUB,
    "storage": HUB,
    "executors": {"ray"},
    "recipe": {"yaml"},
    "tokenizer": ARROW | {"tokenizers", "tiktoken", "huggingface_hub"},
    "sources": ARROW | HUB | {"datasets"},
    "mix": ARROW,
    "report": ARROW | {"yaml"},
    "output": ARROW | {"yaml", "huggingface_hub", "datasets"},
    "builder": ARROW | {"datasets", "huggingface_hub"},
    "hub": {"huggingface_hub"},
    "verification": ARROW,
    "dedup_index": ARROW | {"huggingface_hub"},
    "merge_datasets": ARROW | {"datasets", "huggingface_hub"},
    "packing": ARROW,
    "torch_loader": ARROW | {"torch", "fsspec"},
    "integrations": ARROW | {"torch"},
    "cli": {"tqdm"},
}
"""Packages that may be imported, besides the standard library and this package. Others import none."""


FOR_ANNOTATIONS = {"typing_extensions"}
"""Packages that every module may import under TYPE_CHECKING."""


TORCH = ("torch_loader.torch_format", "integrations.")
"""Beginnings of the names of the modules that may import torch."""


@functools.cache
def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name below `smollm3_mix`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def imports(path: Path, *, for_annotations: bool = False) -> Iterator[str]:
    """Yield the dotted names that a file imports, also inside functions and under TYPE_CHECKING.

    Args:
        path: Python file.
        for_annotations: Whether to yield only names that are imported under TYPE_CHECKING.
    """
    tree: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    if for_annotations:
        tests = (
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        tree = ast.Module([statement for node in tests for statement in node.body], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(module: str) -> str:
    """Return the top-level package or module that a module belongs to. Every `__main__` is an entry point."""
    return "__main__" if module.endswith(".__main__") else module.partition(".")[0]


def target_of(name: str, known: dict[str, Path]) -> str | None:
    """Return the module that an imported name of this package is in, None for a name of the root."""
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts) or None


def breaches(module: str, path: Path) -> Iterator[str]:
    """Yield a sentence for every import of a module that its layer does not allow."""
    known, package = modules(), package_of(module)
    for name in imports(path):
        outside = name.partition(".")[0]
        if outside != "smollm3_mix":
            allowed = OUTSIDE.get(package, set()) | sys.stdlib_module_names
            if outside in FOR_ANNOTATIONS and name in imports(path, for_annotations=True):
                continue
            if outside not in allowed:
                yield f"{module} imports {name}"
            continue
        target = target_of(name, known)
        other = package_of(target) if target else "__init__"
        if other != package and not RANK[other] < RANK[package]:
            yield f"{module} imports {name}"


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the cycles of an import graph, each as its modules, by depth-first search."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
            return
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, [*way, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def test_every_package_has_a_layer() -> None:
    assert {package_of(module) for module in modules()} == RANK.keys() & {package_of(m) for m in modules()}


def test_imports_go_down_the_layers() -> None:
    assert [breach for module, path in modules().items() for breach in breaches(module, path)] == []


def imports_torch(path: Path) -> bool:
    """Return True if a module imports torch."""
    return any(name.partition(".")[0] == "torch" for name in imports(path))


def test_torch_is_imported_by_the_torch_format_and_integrations_only() -> None:
    importers = [module for module, path in modules().items() if imports_torch(path)]
    assert "torch_loader.torch_format" in importers
    assert [module for module in importers if not module.startswith(TORCH)] == []


@pytest.mark.parametrize(
    "planted",
    [
        "from smollm3_mix.mix.mix import Mix",
        "import torch",
        "import smollm3_mix.cli.main",
        "from smollm3_mix import load",
        "from typing_extensions import Unpack",
        "def f():\n    from smollm3_mix.output.write_mix import write",
        "if TYPE_CHECKING:\n    from smollm3_mix.sources.resolve import resolve",
    ],
)
def test_breaches_contain_a_planted_import(tmp_path: Path, planted: str) -> None:
    file = tmp_path / "planted.py"
    file.write_text(planted + "\n")
    assert list(breaches("recipe.planted", file))


def test_modules_have_no_import_cycles() -> None:
    known = modules()
    graph = {module: {t for n in imports(path) if (t := target_of(n, known))} for module, path in known.items()}
    assert cycles(graph) == []


def test_cycles_contain_a_planted_cycle() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]


def test_inner_packages_are_docstrings_only() -> None:
    inner = [path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    assert [path for path in inner if len(ast.parse(path.read_text(encoding="utf-8")).body) != 1] == []


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring, which may describe many arguments."""
    first, *_ = function.body
    docstring = first if ast.get_docstring(function) is not None else None
    assert function.end_lineno is not None
    assert first.end_lineno is not None
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if docstring else 0)


def test_code_lines_leave_out_the_docstring() -> None:
    (function,) = ast.parse('def f(\n    a,\n):\n    """One.\n\n    Two."""\n    return a\n').body
    assert isinstance(function, ast.FunctionDef)
    assert code_lines(function) == 4


def test_files_and_functions_are_short() -> None:
    long_files = [m for m, p in modules().items() if len(p.read_text(encoding="utf-8").splitlines()) > 400]
    long_functions = [
        f"{module}:{node.name}"
        for module, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > 60
    ]
    assert (long_files, long_functions) == ([], [])
