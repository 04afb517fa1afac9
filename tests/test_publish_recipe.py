"""Recipes pushed to a Hub on this machine, and streamed from there."""

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
    """Return a function that writes a recipe over two repositories of the Hub."""
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
more = {"revision": "script", "trust_remote_code": True} if script else {}
found = []
for name, recipe in recipes.items():
    where = {"recipe": recipe} if script else {}
    stream = load_dataset(repository, *([] if script else [name]), split="train", streaming=True, **where, **more)
    records = list(stream)
    found.append([records == list(smollm3_mix.load(recipe)), len(records)])
print(json.dumps([found, [] if script else get_dataset_config_names(repository)]))
"""


def test_pushed_recipes_stream_live(hub, api, recipe, tmp_path):
    # `dev` and `test` are names that datasets takes for splits where the card does not say otherwise
    paths = [recipe("dev"), recipe("test", seed=5), recipe("stage9", seed=9)]
    assert push_recipes_to_hub(paths, "org/recipes", token="hf_writer") == f"{hub.endpoint}/datasets/org/recipes"
    recipes = {"test": str(paths[1]), "stage9": str(paths[2])}
    found, names = run(LIVE, tmp_path, hub.endpoint, repository="org/recipes", recipes=recipes, script=False)
    for same, records in found:
        assert same is True
        assert records > 50
    assert len(found) == 2
    assert names == ["dev", "test", "stage9"]


@pytest.mark.skipif(MAJOR >= 4, reason="datasets 4 and later run no scripts")
def test_loading_script_streams_on_datasets_3(hub, recipe, tmp_path):
    path = recipe("mine")
    push_recipes_to_hub([path], "org/smollm3_mix", loading_script=True, token="hf_writer")
    options = {"repository": "org/smollm3_mix", "recipes": {"mine": str(path)}, "script": True}
    ((same, _),), _ = run(LIVE, tmp_path, hub.endpoint, **options)
    assert same is True


def test_loading_script_is_on_a_branch_of_its_own(hub, recipe):
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


def test_push_recipes_removes_other_recipes(hub, recipe, caplog):
    push_recipes_to_hub([recipe("mine"), recipe("yours")], "org/recipes", token="hf_writer")
    assert caplog.messages == []
    push_recipes_to_hub(list_recipes(), "org/recipes", token="hf_writer")
    assert caplog.messages == [
        (
            "Removing other recipes of org/recipes: mine, yours. To keep them, push all recipes in one command. The "
            "files remain in the history of the repository."
        )
    ]
    tree = hub.repos["org/recipes"].tree()
    assert [name for name in tree if name.startswith("configs/")] == [
        f"configs/{n}.smollm3_mix.yaml" for n in list_recipes()
    ]
    card = DatasetCard(tree["README.md"].decode())
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == list_recipes()
    assert card.text.split("\n\n")[1].startswith(
        "Recipes of data mixtures, without data. After `pip install smollm3_mix`"
    )


def test_push_recipes_refuses_what_would_break_loading(hub, recipe, recipe_file, tmp_path):
    hub.create("org/taken").add("main", {"taken.py": b""})
    with pytest.raises(OutputError, match=r"org/taken contains taken\.py, and datasets 4 and later reject"):
        push_recipes_to_hub(list_recipes(), "org/taken", token="hf_writer")
    with pytest.raises(OutputError) as error:
        push_recipes_to_hub(list_recipes(), "org/smol.mix", loading_script=True, token="hf_writer")
    assert str(error.value) == (
        "org/smol.mix: a loading script cannot have a dot in its name. Name the repository org/smol_mix, or leave "
        "--loading-script out."
    )
    with pytest.raises(OutputError) as error:
        push_recipes_to_hub([recipe_file()], "org/recipes", token="hf_writer")
    assert str(error.value) == (
        f"recipe 'toy': source 'a' has local files ('{tmp_path}/sources/a'). Upload them to the Hub and name the "
        "repository as owner/name."
    )
    with pytest.raises(RecipeError, match="no such file"):
        push_recipes_to_hub(["nothing.yaml"], "org/recipes", token="hf_writer")


def test_data_and_recipes_cannot_share_a_repository(hub, recipe, recipe_file, tmp_path):
    write(recipe_file(sources={key: {"license": "CC0-1.0"} for key in "abc"}), tmp_path / "mix")
    push_to_hub(tmp_path / "mix", "org/data", token="hf_writer")
    with pytest.raises(OutputError, match=r"org/data contains toy/data/.*\.parquet, but datasets uses one builder"):
        push_recipes_to_hub([recipe("mine")], "org/data", token="hf_writer")
    push_recipes_to_hub([recipe("mine")], "org/recipes", token="hf_writer")
    with pytest.raises(
        OutputError, match=r"contains recipes \(configs/mine\.smollm3_mix\.yaml\), but datasets uses one"
    ):
        push_to_hub(tmp_path / "mix", "org/recipes", token="hf_writer")


@pytest.mark.parametrize(
    "top, problem",
    [
        ({"tokens": {"tokenizer": "TMP/tokenizer.json"}}, "tokens has the local path 'TMP/tokenizer.json'"),
        ({"decontaminate": "ours.jsonl"}, "decontaminate has the local path 'ours.jsonl'"),
        ({"dedup": {"index": "TMP/index"}}, "dedup.index has the local path 'TMP/index'"),
    ],
)
def test_push_recipes_refuses_local_paths(hub, tmp_path, top, problem):
    (tmp_path / "ours.jsonl").write_text('{"text": "a"}\n')
    mine = json.loads(json.dumps(top).replace("TMP", str(tmp_path)))
    mine |= {"datasets": [{"name": "owner/name", "weight": 1}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    with pytest.raises(OutputError) as error:
        push_recipes_to_hub([tmp_path / "mine.yaml"], "org/recipes", token="hf_writer")
    assert str(error.value) == (
        f"recipe 'mine': {problem.replace('TMP', str(tmp_path))}. Upload it to the Hub and name the repository."
    )
    assert hub.requests == 0
