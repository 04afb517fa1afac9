"""Recipes published to a Hub on this machine, and streamed from there."""

import json

import datasets
import pytest
import yaml
from conftest import document
from doors import run
from huggingface_hub import DatasetCard

from smollm3_mix.errors import OutputError, RecipeError
from smollm3_mix.hub.push_mix import push_to_hub
from smollm3_mix.hub.push_recipes import push_recipes_to_hub
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.shipped import list_recipes

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # raised inside huggingface_hub
MAJOR = int(datasets.__version__.split(".")[0])


@pytest.fixture
def recipe(hub, tmp_path):
    """Writes a recipe over two repositories of the Hub."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("one", "two"):
        file = io.BytesIO()
        pq.write_table(pa.table({"text": [document(name, n) for n in range(200)]}), file)
        hub.create(f"data/{name}").add("main", {"data/train-0.parquet": file.getvalue()})

    def make(name, **more):
        sources = [{"name": f"data/{each}", "weight": weight} for each, weight in (("one", 0.7), ("two", 0.3))]
        content = {"description": f"The {name}.", "lanes": 2, "on_exhausted": "stop", **more, "datasets": sources}
        path = tmp_path / f"{name}.smollm3_mix.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return make


LIVE = """
import smollm3_mix
from datasets import get_dataset_config_names, load_dataset
more = {"revision": "script", "trust_remote_code": True} if legacy else {}
found = []
for name, recipe in recipes.items():
    where = {"recipe": recipe} if legacy else {}
    stream = load_dataset(repository, *([] if legacy else [name]), split="train", streaming=True, **where, **more)
    records = list(stream)
    found.append([records == list(smollm3_mix.load(recipe)), len(records)])
print(json.dumps([found, [] if legacy else get_dataset_config_names(repository)]))
"""


def test_published_recipes_stream_live(hub, api, recipe, tmp_path):
    # `dev` and `test` are names that datasets takes for splits where the card does not say otherwise
    paths = [recipe("dev"), recipe("test", seed=5), recipe("stage9", seed=9)]
    assert (
        push_recipes_to_hub(list_recipes(), "org/recipes", paths, token="hf_writer")
        == f"{hub.endpoint}/datasets/org/recipes"
    )
    recipes = {"test": str(paths[1]), "stage9": str(paths[2])}
    found, names = run(LIVE, tmp_path, hub.endpoint, repository="org/recipes", recipes=recipes, legacy=False)
    for same, records in found:
        assert same is True
        assert records > 50
    assert len(found) == 2
    assert names == ["dev", "test", "stage9"]


@pytest.mark.skipif(MAJOR >= 4, reason="datasets 4 and later run no scripts")
def test_the_script_branch_streams_on_datasets_3(hub, recipe, tmp_path):
    path = recipe("mine")
    push_recipes_to_hub([path], "org/smollm3_mix", loading_script=True, token="hf_writer")
    asked = {"repository": "org/smollm3_mix", "recipes": {"mine": str(path)}, "legacy": True}
    ((same, _),), _ = run(LIVE, tmp_path, hub.endpoint, **asked)
    assert same is True


def test_the_script_is_on_its_own_branch_only_when_asked(hub, recipe):
    path = recipe("mine")
    push_recipes_to_hub([path], "org/smollm3_mix", token="hf_writer")
    assert list(hub.repos["org/smollm3_mix"].branches) == ["main"]
    push_recipes_to_hub([path], "org/smollm3_mix", loading_script=True, token="hf_writer")
    assert set(hub.repos["org/smollm3_mix"].tree("script")) == {
        ".gitattributes",
        "README.md",
        "configs/mine.smollm3_mix.yaml",
        "smollm3_mix.py",
    }
    assert "smollm3_mix.py" not in hub.repos["org/smollm3_mix"].tree()


def test_all_shipped_recipes_by_default_and_no_others(hub, recipe, caplog):
    push_recipes_to_hub([recipe("mine"), recipe("yours")], "org/recipes", token="hf_writer")
    assert caplog.messages == []
    push_recipes_to_hub(list_recipes(), "org/recipes", token="hf_writer")
    assert caplog.messages == [
        (
            "org/recipes had other recipes, which are taken away: mine, yours. To keep them, name all its recipes in "
            "one command; the files are in the repository's history."
        )
    ]
    tree = hub.repos["org/recipes"].tree()
    assert [name for name in tree if name.startswith("configs/")] == [
        f"configs/{n}.smollm3_mix.yaml" for n in list_recipes()
    ]
    card = DatasetCard(tree["README.md"].decode())
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == list_recipes()
    assert card.text.split("\n\n")[1].startswith("Recipes of data mixtures, no data: `pip install smollm3_mix`")


def test_what_would_break_loading_is_refused(hub, recipe, recipe_file, tmp_path):
    hub.create("org/taken").add("main", {"taken.py": b""})
    with pytest.raises(OutputError, match=r"org/taken holds taken\.py: datasets 4 and later refuse"):
        push_recipes_to_hub(list_recipes(), "org/taken", token="hf_writer")
    with pytest.raises(OutputError) as refused:
        push_recipes_to_hub(list_recipes(), "org/smol.mix", loading_script=True, token="hf_writer")
    assert str(refused.value) == (
        "org/smol.mix: a loading script cannot be imported under a name with a dot in it. Name the repository "
        "org/smol_mix, or leave out --legacy-script."
    )
    with pytest.raises(OutputError) as refused:
        push_recipes_to_hub([recipe_file()], "org/recipes", token="hf_writer")
    assert str(refused.value) == (
        f"recipe 'toy': source 'a' reads '{tmp_path}/sources/a' on this machine, which nobody else has. Put it "
        "on the Hub and name it as owner/name."
    )
    with pytest.raises(RecipeError, match="no such file"):
        push_recipes_to_hub(["nothing.yaml"], "org/recipes", token="hf_writer")


def test_data_and_recipes_do_not_share_a_repository(hub, recipe, recipe_file, tmp_path):
    write(recipe_file(sources={key: {"license": "CC0-1.0"} for key in "abc"}), tmp_path / "mix")
    push_to_hub(tmp_path / "mix", "org/data", token="hf_writer")
    with pytest.raises(OutputError, match=r"org/data holds toy/data/.*\.parquet: datasets chooses one builder"):
        push_recipes_to_hub([recipe("mine")], "org/data", token="hf_writer")
    push_recipes_to_hub([recipe("mine")], "org/recipes", token="hf_writer")
    with pytest.raises(
        OutputError, match=r"holds recipes \(configs/mine\.smollm3_mix\.yaml\), and datasets chooses one"
    ):
        push_to_hub(tmp_path / "mix", "org/recipes", token="hf_writer")


@pytest.mark.parametrize(
    "top, said",
    [
        ({"tokens": {"tokenizer": "TMP/tokenizer.json"}}, "tokens names 'TMP/tokenizer.json'"),
        ({"decontaminate": "ours.jsonl"}, "decontaminate names 'ours.jsonl'"),
        ({"dedup": {"index": "TMP/index"}}, "dedup.index names 'TMP/index'"),
    ],
)
def test_what_else_is_on_this_machine_is_refused(hub, tmp_path, top, said):
    (tmp_path / "ours.jsonl").write_text('{"text": "a"}\n')
    mine = json.loads(json.dumps(top).replace("TMP", str(tmp_path)))
    mine |= {"datasets": [{"name": "owner/name", "weight": 1}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    with pytest.raises(OutputError) as refused:
        push_recipes_to_hub([tmp_path / "mine.yaml"], "org/recipes", token="hf_writer")
    assert str(refused.value) == (
        f"recipe 'mine': {said.replace('TMP', str(tmp_path))} on this machine, which nobody else has. Put it on the "
        "Hub and name it there."
    )
    assert hub.requests == 0
