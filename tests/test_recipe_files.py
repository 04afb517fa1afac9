"""Recipe files: where they are found, and those of merge_datasets.py."""

import json
from pathlib import Path

import pytest
from recipes import LISTS, SMALL, faults_of

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe import shipped
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.shipped import MERGE_CONFIG_NAMES, find_recipe, list_recipes
from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.filters.filter_options import FilterOptions


def test_shipped_recipes_are_found_by_name_and_by_file_name():
    assert "stage1" in list_recipes()
    assert list_recipes() == sorted(list_recipes())
    for name in list_recipes():
        assert find_recipe(name) == find_recipe(f"{name}.smollm3_mix.yaml")
        recipe = load_recipe(name)
        assert (recipe.name, recipe.file) == (name, f"{name}.smollm3_mix.yaml")


def test_old_file_names_find_shipped_recipes(recipe_text):
    for old, name in MERGE_CONFIG_NAMES.items():
        assert find_recipe(old) == find_recipe(f"some/folder/{old}") == find_recipe(name)
    mine = recipe_text(SMALL, "smollm3_weighted_config.yaml")
    assert load_recipe(mine).shares == {"a/b": 1.0}


def test_old_default_name_finds_stage_1_without_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, stage1 = load_recipe("datasets_config.yaml"), load_recipe("stage1")
    assert not recipe.weighted
    assert recipe.file == "datasets_config.yaml"
    assert [source.id for source in recipe.sources] == [source.id for source in stage1.sources]
    assert {source.weight for source in recipe.sources} == {1.0}
    with pytest.raises(RecipeError) as error:
        load_recipe("datasets_config.yaml", use_weights=True)
    assert str(error.value) == (
        "datasets_config.yaml: has no weights to use. List its sources under `datasets:` with a "
        f"`weight` each, remove --use-weights, or use a shipped recipe: {', '.join(list_recipes())}"
    )


def test_find_recipe_rejects_an_unknown_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ", ".join(list_recipes())
    for name, hint in {
        "stagee1.yaml": " (did you mean 'stage1'?)",
        "configs/stage1": " (did you mean 'stage1'?)",
        "xyz": "",
    }.items():
        with pytest.raises(RecipeError) as error:
            load_recipe(name)
        problem = f"no such file, and no shipped recipe of that name{hint}. Shipped recipes: {names}"
        assert str(error.value) == f"{name}: {problem}"


def test_find_recipe_suggests_a_file_with_an_ending(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("datasets: []")
    for name, expected in {
        "mine": "mine.yaml",
        "mine.yml": "mine.yaml",
        f"{tmp_path}/mien.yaml": f"{tmp_path}/mine.yaml",
    }.items():
        with pytest.raises(RecipeError) as error:
            load_recipe(name)
        hint = f"(did you mean {expected!r}?). Shipped recipes: curriculum"
        assert str(error.value).startswith(f"{name}: no such file, and no shipped recipe of that name {hint}")


@pytest.mark.parametrize("name", ["my-org/recipes", "hf://datasets/my-org/recipes/configs/mine.smollm3_mix.yaml"])
def test_find_recipe_explains_recipes_of_a_repository(name):
    with pytest.raises(RecipeError) as error:
        load_recipe(name)
    assert str(error.value).endswith(
        '. Recipes of a repository are streamed by load_dataset("OWNER/NAME", RECIPE, streaming=True), or '
        "downloaded: hf download OWNER/NAME --repo-type dataset --local-dir DIR"
    )


def test_find_recipe_rejects_a_folder(tmp_path):
    with pytest.raises(RecipeError) as error:
        load_recipe(tmp_path)
    assert str(error.value) == f"{tmp_path}: is a folder. Name a recipe file. The folder has none"
    (tmp_path / "b.yaml").touch()
    (tmp_path / "a.yml").touch()
    with pytest.raises(RecipeError) as error:
        load_recipe(tmp_path)
    assert str(error.value) == f"{tmp_path}: is a folder. Name the one you mean, of: a.yml, b.yaml"


def test_local_path_is_tried_in_the_recipe_folder_first(tmp_path, monkeypatch):
    for place in ("recipes/beside", "here", "recipes/both", "both", "far"):
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    names = ["beside", "here", "both", "org/hub", str(tmp_path / "far")]
    entries = "".join(f"  - {{name: {name!r}, weight: 1}}\n" for name in names)
    Path("recipes/mine.yaml").write_text(f"datasets:\n{entries}  - {{id: gone, weight: 1, unavailable: Gone.}}\n")
    recipe = load_recipe("recipes/mine.yaml")
    assert [recipe.path(source) for source in recipe.sources] == [
        tmp_path / "recipes/beside",
        Path("here"),
        tmp_path / "recipes/both",
        None,
        tmp_path / "far",
        None,
    ]
    assert recipe.sources[4].id == "far"  # only its last folder, the others are private
    assert [source.name for source in recipe.sources][:3] == ["beside", "here", "both"]


def test_language_lists_of_merge_datasets_are_read(recipe_text):
    recipe = load_recipe(recipe_text(LISTS))
    assert not recipe.weighted
    assert [(source.id, source.kind.language) for source in recipe.sources] == [
        ("HuggingFaceFW/fineweb-2/eng_Latn", "en"),
        ("a/code", "Python"),
        ("HuggingFaceFW/fineweb-2/vie_Latn", "vi"),
    ]
    assert [source.clean.profile for source in recipe.sources] == ["prose", "code", "prose"]
    assert {source.filters for source in recipe.sources} == {FilterOptions(min_chars=100, max_chars=1_000_000)}
    assert recipe.dedup == Dedup(exact=False)
    assert recipe.warnings == (
        "`output` is not used. Set the output on the command line, for example with --output-dir",
        "`filtering.deduplication.similarity_threshold` is not used. `dedup: {near: true}` drops near duplicates",
        "`filtering.keep_keywords` is not used. `filters` decides which texts are kept",
    )


def test_use_weights_rejects_a_recipe_without_weights():
    need = "has no weights to use. List its sources under `datasets:` with a `weight` each"
    assert faults_of(LISTS, use_weights=True) == [
        f"{need}, remove --use-weights, or use a shipped recipe: {', '.join(list_recipes())}"
    ]


def test_use_weights_may_be_false_for_a_weighted_recipe(recipe_text):
    recipe = load_recipe(recipe_text(SMALL), use_weights=False)
    assert recipe.weighted
    assert recipe == load_recipe("mine.yaml", use_weights=True)


def test_problems_of_language_lists_are_reported():
    assert faults_of("english_datasets: [{name: a, weight: 1}]") == [
        "source 'a': weight: this recipe has no weights. Leave it out, or list all under `datasets:`"
    ]
    assert faults_of("english_datasets: [{name: a}]\ndatasets: []\n") == [
        "has both `datasets` and `english_datasets`. Put every source under `datasets`, with a weight"
    ]
    assert faults_of("english_datasets: [{name: a}]\nweighted: true\n") == [
        "weighted: english_datasets has no weights. List its sources under `datasets:` with a `weight` each"
    ]
    assert faults_of("english_datasets:\nvietnamese_datasets: []\n") == [
        "datasets: expected at least one source, got an empty list"
    ]
    assert faults_of("english_datasets: 3\n") == ["english_datasets: expected a list of sources, got 3"]


def test_problems_of_merge_settings_are_reported():
    text = """
filters: {min_chars: 5}
filtering: {min_length: ten, maxlength: 3, deduplication: {enable: true, enabled: 1}}
datasets: [{name: a, weight: 1}]
"""
    assert faults_of(text) == [
        "filtering: unknown key 'maxlength' (did you mean 'max_length'?)",
        "filtering.min_length: expected a whole number, got 'ten'",
        "has both `filters` and `filtering`. Write min_length and max_length as min_chars and max_chars of `filters`",
        "filtering.deduplication: unknown key 'enable' (did you mean 'enabled'?)",
        "filtering.deduplication.enabled: expected true or false, got 1",
    ]
    assert faults_of(f"filtering: 3\n{SMALL}") == ["filtering: expected a mapping, got 3"]
    assert faults_of(f"filtering: {{deduplication: 3}}\n{SMALL}") == [
        "filtering.deduplication: expected a mapping, got 3"
    ]


def test_subset_is_read_as_config(recipe_text):
    source = load_recipe(recipe_text("datasets: [{name: a/b, subset: pull-requests, weight: 1}]")).sources[0]
    assert (source.id, source.config) == ("a/b/pull-requests", "pull-requests")


def test_recipe_without_weights_survives_json(recipe_text):
    recipe = load_recipe(recipe_text(LISTS + "dedup: {near: true}\n"))
    given = json.loads(json.dumps(recipe.to_dict()))
    assert not any("weight" in source for source in given["datasets"])
    assert Recipe.from_dict(given) == recipe
    assert recipe.dedup == Dedup(near=Near())


def test_recipes_are_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "smollm3_mix"
    monkeypatch.setattr(shipped, "__file__", str(package / "recipe" / "files.py"))
    with pytest.raises(RecipeError) as error:
        list_recipes()
    place = package.resolve() / "configs"
    assert str(error.value) == f"{place}: there are no shipped recipes here. Install the package again"
    for folder, name in ((tmp_path / "configs", "checkout"), (package / "configs", "wheel")):
        folder.mkdir(parents=True)
        (folder / f"{name}.smollm3_mix.yaml").write_text(SMALL)
        assert list_recipes() == [name]
        assert load_recipe(name).shares == {"a/b": 1.0}


def test_folder_does_not_hide_a_shipped_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert find_recipe("demo").name == "demo.smollm3_mix.yaml"
