"""SmolLM3's own recipes, published on a Hub on this machine and streamed from it, over small stand-ins for sources.

Runs on every supported `datasets`: by the recipe repository, and on `datasets` 3 by its script.
"""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from doors import ROOT, run
from heritage import heritage
from stage_repositories import repositories, texts

from smollm3_mix.hub.push_recipes import push_recipes_to_hub
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.sources.software_heritage import contents

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # raised inside huggingface_hub
SCRIPTS = int(datasets.__version__.split(".")[0]) < 4

LIVE = """
import smollm3_mix
from datasets import load_dataset
more = {"lanes": 2, "accept_terms": "softwareheritage"}
if scripts:
    more |= {"revision": "script", "trust_remote_code": True}
if scripts and own:  # the script has the recipes of the package; others are named by their URL
    more["recipe"] = f"hf://datasets/{repository}/configs/{name}.smollm3_mix.yaml"
stream = load_dataset(repository, *([] if "recipe" in more else [name]), split="train", streaming=True, **more)
print(json.dumps(list(stream.take(count))))
"""


def every_source(folder: Path) -> Path:
    """Stage 3 with its sources in equal parts, to see all of them soon, and DCLM from its jsonl.zst files."""
    content = yaml.safe_load((ROOT / "configs/stage3.smollm3_mix.yaml").read_text(encoding="utf-8"))
    for source in content["datasets"]:
        source["weight"] = 1
        if source["id"] == "dclm":
            source["name"] = "mlfoundations/dclm-baseline-1.0"
    path = folder / "every.smollm3_mix.yaml"
    path.write_text(yaml.safe_dump(content | {"on_exhausted": "stop"}, sort_keys=False), encoding="utf-8")
    return path


def live(hub: Any, api: Any, recipe: Path | str, home: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> Any:
    """The first records that `load_dataset` streams of a recipe from its repository."""
    described = load_recipe(recipe)
    found, blobs = repositories(list(described.active))
    for name, files in found.items():
        hub.create(name).add("main", files)
    push_recipes_to_hub([recipe], "org/smollm3_mix", loading_script=SCRIPTS, token="hf_writer")
    with heritage(blobs) as server:
        monkeypatch.setenv(contents.ENDPOINT, server.endpoint)
        options = {"name": described.name, "own": isinstance(recipe, Path), "count": count}
        return run(LIVE, home, hub.endpoint, repository="org/smollm3_mix", scripts=SCRIPTS, **options)


def test_shipped_stage_2_streams_live(hub, api, tmp_path, monkeypatch):
    records = live(hub, api, "stage2", tmp_path, monkeypatch, 24)
    expected = {source.id: texts(source) for source in load_recipe("stage2").active}
    assert len(records) == 24
    assert [record["id"] for record in records if record["text"] not in expected[record["source"]]] == []
    assert {"fineweb-edu", "dclm"} < {record["source"] for record in records}


def test_every_kind_of_source_of_the_stages_streams_live(hub, api, tmp_path, monkeypatch):
    recipe = every_source(tmp_path)
    records = live(hub, api, recipe, tmp_path, monkeypatch, 1000)
    emitted: dict[str, set[str]] = {}
    for record in records:
        emitted.setdefault(record["source"], set()).add(record["text"])
    for source in load_recipe(recipe).active:
        assert emitted[source.id] <= set(texts(source)), source.id
    endings = {record["file"].rpartition("/")[2].partition(".")[2] for record in records}
    assert endings == {"parquet", "json.gz", "jsonl", "jsonl.zst"}
    metas = {record["source"]: json.loads(record["meta"]) for record in records}
    assert len(metas["stack-edu-real-shuffled-Rust"]["blob_id"]) == 40
