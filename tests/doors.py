"""A small mix for the tests of the doors: local sources and a recipe, made on the fly."""

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
    """Three sources of one or two files, all of one word each, so that a record tells where it is from."""
    for source, files in (("alpha", 1), ("beta", 2), ("gamma", 1)):
        for number in range(files):
            path = folder / source / f"{number}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            texts = [f"{source} {number} {row} " + "word " * (1 + row % 7) for row in range(rows // files)]
            pq.write_table(pa.table({"text": texts}), path, row_group_size=50)


def write_recipe(path: Path, sources: Path, **changes: Any) -> Path:
    """A recipe over `write_sources`; it ends when the first source does."""
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
    """8.yaml and 12.yaml, of so many lanes, over sources with repeated texts, so that dedup and passes matter."""
    write_sources(folder / "sources", rows=rows)
    for lanes in (8, 12):
        sources = [
            {"id": name, "name": str(folder / "sources" / name), "weight": weight, "max_passes": passes}
            for name, weight, passes in (("alpha", 0.5, 1), ("beta", 0.3, 2), ("gamma", 0.2, 3))
        ]
        whole = {"lanes": lanes, "datasets": sources, "dedup": {"exact": True}}
        write_recipe(folder / f"{lanes}.yaml", folder / "sources", **whole, **changes)
    return folder


def stream(recipe: Path, **fields: Any) -> Any:
    """`load(recipe, **fields)`, found once and then copied, which takes a twentieth of the time."""
    return pickle.loads(_opened(recipe, tuple(fields.items())))


@functools.cache
def _opened(recipe: Path, fields: tuple[tuple[str, Any], ...]) -> bytes:
    return pickle.dumps(smollm3_mix.load(recipe, cache_dir=str(recipe.parent / "cache"), **dict(fields)))


def run(code: str, home: Path, endpoint: str | None = None, **arguments: Any) -> Any:
    """What `code` prints as JSON on its last line, run by a fresh interpreter whose caches are under `home`.

    `endpoint` is its Hub; it has none by default. `arguments` are the variables it starts with.
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
