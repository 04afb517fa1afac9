"""A small mix for the tests of entry points: local sources and a recipe."""

import functools
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import smollm3_mix
import smollm3_mix.builder.load

LANES = 4
ROOT = Path(__file__).resolve().parents[1]


WITHOUT_EXTRAS = """
import importlib.abc, os, sys
os.environ["USE_TORCH"] = "0"  # `datasets` looks for torch otherwise
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in ("torch", "tokenizers", "tiktoken", "ray"):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
sys.meta_path.insert(0, Missing())
"""
"""Code for `run` that hides the packages of the extras."""


def write_sources(folder: Path, rows: int = 600) -> None:
    """Write three sources of one or two files. Each text names its source, file and row."""
    for source, files in (("alpha", 1), ("beta", 2), ("gamma", 1)):
        for number in range(files):
            path = folder / source / f"{number}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            texts = [f"{source} {number} {row} " + "word " * (1 + row % 7) for row in range(rows // files)]
            pq.write_table(pa.table({"text": texts}), path, row_group_size=50)


def write_recipe(path: Path, sources: Path, **changes: Any) -> Path:
    """Write a recipe over the sources of `write_sources`. The mix ends with the first source."""
    recipe = {
        "description": "Three local sources.",
        "seed": 7,
        "lanes": LANES,
        "block": {"rows": 16},
        "filters": {"min_chars": 1},
        "on_exhausted": "stop",
        "datasets": [
            {"id": name, "name": str(sources / name), "weight": weight}
            for name, weight in (("alpha", 0.5), ("beta", 0.3), ("gamma", 0.2))
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe | changes), encoding="utf-8")
    return path


def write_lanes(folder: Path, rows: int, **changes: Any) -> Path:
    """Write 8.yaml and 12.yaml with 8 and 12 lanes. The sources have duplicates and several passes."""
    write_sources(folder / "sources", rows=rows)
    for lanes in (8, 12):
        sources = [
            {"id": name, "name": str(folder / "sources" / name), "weight": weight, "max_passes": passes}
            for name, weight, passes in (("alpha", 0.5, 1), ("beta", 0.3, 2), ("gamma", 0.2, 3))
        ]
        fields = {"lanes": lanes, "datasets": sources, "dedup": {"exact": True}}
        write_recipe(folder / f"{lanes}.yaml", folder / "sources", **fields, **changes)
    return folder


def stream(recipe: Path, **fields: Any) -> Any:
    """Return `load(recipe, **fields)`. Opens the recipe once and copies the result, which is 20 times faster."""
    return pickle.loads(_opened(recipe, tuple(fields.items())))


@functools.cache
def _opened(recipe: Path, fields: tuple[tuple[str, Any], ...]) -> bytes:
    return pickle.dumps(smollm3_mix.load(recipe, cache_dir=str(recipe.parent / "cache"), **dict(fields)))


def run(code: str, home: Path, endpoint: str | None = None, **arguments: Any) -> Any:
    """Run `code` in a new interpreter and return the JSON on the last line of its output.

    Args:
        code: Python code.
        home: Folder of its caches.
        endpoint: URL of its Hub. No Hub by default.
        **arguments: Variables that the code starts with.
    """
    package = str(Path(smollm3_mix.__file__).parents[1])
    hub = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"} if endpoint else {"HF_HUB_OFFLINE": "1"}
    environment = os.environ | hub | {"HF_HOME": str(home), "PYTHONPATH": package}
    script = f"import json\nglobals().update(json.loads({json.dumps(arguments, default=str)!r}))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=home, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
