"""Imports go down only, and each room imports the outside packages its law allows."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "smollm3_mix"

FLOORS = [
    ["errors", "schema", "kernels"],
    ["measure"],
    ["clean", "judge", "dedup", "merge", "tokens", "tally", "exclude", "decontaminate", "pack"],
    ["recipe", "twin"],
    ["sources", "tokenizer"],
    ["mix"],
    ["report"],
    ["write"],
    ["verify", "index"],
    ["builder", "legacy", "loader", "packing", "publish", "engine"],
    ["cli"],
    ["__main__"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

PURE = {"numpy", "pyarrow"}
OUTSIDE = {
    "errors": set(),
    "schema": {"pyarrow"},
    "kernels": {"numpy", "hatchling", "packaging"},  # the last two build the wheel
    "clean": PURE | {"ftfy"},
    "dedup": PURE | {"xxhash"},
    **dict.fromkeys(("measure", "judge", "merge", "tokens", "tally", "exclude", "decontaminate", "pack"), PURE),
    "recipe": {"yaml"},
    "sources": PURE | {"datasets", "huggingface_hub", "fsspec"},
    "tokenizer": PURE | {"tokenizers", "huggingface_hub"},
    "twin": PURE | {"tokenizers", "tiktoken"},
    "mix": PURE,
    "report": PURE,
    "write": PURE | {"yaml", "huggingface_hub"},
    "engine": {"ray"},
    "verify": PURE,
    "index": PURE | {"huggingface_hub"},
    "builder": PURE | {"datasets", "huggingface_hub"},
    "legacy": PURE | {"datasets", "huggingface_hub"},
    "publish": {"huggingface_hub"},
    "packing": PURE,
    "loader": PURE | {"torch", "fsspec"},
    "cli": {"tqdm"},
    "__main__": set(),
}


def rooms():
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        room = relative.parts[0].removesuffix(".py")
        if room not in ("__init__", "register"):
            yield room, path


def imports(path):
    """Dotted names that a file imports at run time."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaches(room, path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "smollm3_mix":
            other = parts[1] if len(parts) > 1 else "__init__"
            if other in ("__version__", "register"):
                continue
            if other != room and FLOOR.get(other, 99) >= FLOOR[room]:
                yield f"{path.name} ({room}) imports {name}"
        elif parts[0] not in sys.stdlib_module_names and parts[0] not in OUTSIDE[room]:
            yield f"{path.name} ({room}) imports {name}"


def test_every_room_has_a_floor():
    assert {room for room, _ in rooms()} <= set(FLOOR)


def test_imports_go_down():
    assert [breach for room, path in rooms() for breach in breaches(room, path)] == []


@pytest.mark.parametrize("planted", ["from smollm3_mix.mix import Mix", "import torch", "import smollm3_mix.cli"])
def test_a_planted_breach_is_caught(tmp_path, planted):
    file = tmp_path / "planted.py"
    file.write_text(planted + "\n")
    assert list(breaches("recipe", file))


def test_files_and_functions_are_short():
    long_files = [str(p) for _, p in rooms() if len(p.read_text(encoding="utf-8").splitlines()) > 400]
    long_functions = [
        f"{path.name}:{node.name}"
        for _, path in rooms()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert (long_files, long_functions) == ([], [])
