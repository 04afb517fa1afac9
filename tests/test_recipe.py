"""Recipes: what is read, its copies, what is written, and where two differ."""

import json
import pickle
from pathlib import Path

import pytest
import yaml
from recipes import LISTS, SMALL, WHOLE, faults_of

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.model import Block, Holdout, Kind, Source
from smollm3_mix.recipe.read_recipe import check_recipe, load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.filters.filter_options import FilterOptions

FIXTURES = Path(__file__).parent / "fixtures"


def test_recipe_reads_every_key(recipe_text):
    recipe = load_recipe(recipe_text(WHOLE))
    assert recipe == Recipe(
        file="mine.yaml",
        folder=str(Path.cwd()),
        description="One line.",
        seed=7,
        lanes=4,
        weigh_by="bytes",
        order="iid",
        block=Block(rows=512, bytes=2**20),
        shuffle="none",
        dedup=Dedup(exact=True, near=Near(bands=4, rows=2, ngram=5), memory=2**30),
        holdout=Holdout(fraction=0.001, tokens=2_500_000_000),
        on_exhausted="stop",
        sources=(
            Source(
                id="fineweb-edu",
                weight=0.333,
                name="HuggingFaceFW/fineweb-edu",
                config="sample-10BT",
                where=(("int_score", ">=", 3), ("lang", "in", ("en", "fr"))),
                keep=("url",),
                kind=Kind("prose", "en"),
                license="ODC-By-1.0",
                tokens_per_byte=0.23,
                max_passes=2,
                filters=FilterOptions(min_chars=50),
            ),
            Source(
                id="org/code",
                weight=1e-5,
                name="org/code",
                text_field=("title", "body.text"),
                separator=" ",
                data_files=("data/*.parquet",),
                kind=Kind("code"),
                clean=Cleaning("code"),
                filters=FilterOptions(max_chars=10_000_000),
            ),
            Source(
                id="pull-requests",
                weight=0.006,
                unavailable="No public repository.",
                filters=FilterOptions(min_chars=50),
            ),
        ),
    )


def test_recipe_needs_two_lines_only(recipe_text):
    recipe = load_recipe(recipe_text(SMALL))
    assert recipe.sources == (Source(id="a/b", weight=1.0, name="a/b"),)
    assert (recipe.seed, recipe.lanes, recipe.weigh_by, recipe.order) == (42, 16, "tokens", "exact")
    assert (recipe.block, recipe.holdout, recipe.on_exhausted) == (Block(1024, 2**20), Holdout(0.0, 10**6), "error")
    assert recipe.name == "mine"


def test_shares_count_available_sources_only(recipe_text):
    recipe = load_recipe(
        recipe_text("""
datasets:
  - {name: a, weight: 0.6}
  - {id: gone, weight: 1.0, unavailable: Withdrawn.}
  - {name: b, weight: 0}
  - {name: c, weight: 0.2}
""")
    )
    assert recipe.shares == {"a": pytest.approx(0.75), "c": pytest.approx(0.25)}
    assert [source.id for source in recipe.active] == ["a", "c"]
    assert recipe.raw_sum == pytest.approx(1.8)
    assert recipe.unavailable_share == pytest.approx(1.0 / 1.8)
    assert recipe.warnings == (
        "source 'gone' (weight 1, 55.5556% of the recipe) is not available: Withdrawn.",
        "source 'b' has weight 0 and is not read",
    )


def test_raw_sum_is_rounded_once():
    sources = tuple(Source(id=str(i), weight=0.1, name="x") for i in range(10))
    assert Recipe(sources=sources).raw_sum == 1.0


def test_rules_of_a_recipe_apply_to_sources_without_their_own(recipe_text):
    text = """
clean: math
filters: {min_chars: 9}
datasets:
  - {name: a, weight: 1, kind: code}
  - {name: b, weight: 1, clean: none, filters: {}}
  - {name: c, weight: 1, clean: null, filters: null}
"""
    one, two, three = load_recipe(recipe_text(text)).sources
    assert (one.clean, one.filters) == (Cleaning("math"), FilterOptions(min_chars=9))
    assert (two.clean, two.filters) == (Cleaning("none"), FilterOptions())
    assert (three.clean, three.filters) == (Cleaning("math"), FilterOptions(min_chars=9))


def test_cleaning_defaults_to_the_kind_of_text(recipe_text):
    text = "datasets:\n" + "".join(f"  - {{name: {k}, weight: 1, kind: {k}}}\n" for k in ("code", "math", "forum"))
    assert [source.clean.profile for source in load_recipe(recipe_text(text)).sources] == ["code", "math", "prose"]


@pytest.mark.parametrize(
    ("given", "near"),
    [("true", Near()), ("false", None), ("null", None), ("{bands: 3}", Near(bands=3)), ("{}", Near())],
)
def test_near_accepts_a_mapping_true_or_nothing(recipe_text, given, near):
    assert load_recipe(recipe_text(f"dedup: {{near: {given}}}\n{SMALL}")).dedup == Dedup(near=near)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        *(("1MiB", 2**20), ("1GiB", 2**30), ("64 KiB", 2**16), ("10M", 10**7), ("2.5B", 25 * 10**8), ("1k", 1000)),
        *(
            ("3MB", 3 * 10**6),
            ("1.1T", 11 * 10**11),
            ("1_000_000", 10**6),
            ("1e6", 10**6),
            ("5", 5),
            ("1_5.5k", 15_500),
        ),
    ],
)
def test_sizes_are_read_exactly(recipe_text, written, number):
    assert load_recipe(recipe_text(f"holdout: {{tokens: {written}}}\n{SMALL}")).holdout.tokens == number


@pytest.mark.parametrize("written", ["0.00001", "1e-5", "1E-5", "1.0e-05", ".00001", "10e-6", "+1e-5"])
def test_numbers_of_yaml_1_2_are_read(recipe_text, written):
    assert load_recipe(recipe_text(f"datasets: [{{name: a, weight: {written}}}]")).sources[0].weight == 1e-5


def test_words_with_another_meaning_in_yaml_1_1_stay_words(recipe_text):
    text = "datasets: [{name: on, config: no, split: 2024-01-01, weight: 1, license: 1:30, kind: {language: no}}]"
    source = load_recipe(recipe_text(text)).sources[0]
    assert (source.id, source.split, source.license, source.kind.language) == ("on/no", "2024-01-01", "1:30", "no")


def test_yaml_aliases_are_resolved(recipe_text):
    text = """
datasets:
  - &code {name: org/code, config: a, kind: code, weight: 1, max_passes: 3}
  - {<<: *code, config: b}
"""
    assert [(s.id, s.max_passes) for s in load_recipe(recipe_text(text)).sources] == [
        ("org/code/a", 3),
        ("org/code/b", 3),
    ]


def test_custom_recipe_of_merge_datasets_is_read_unchanged():
    file = FIXTURES / "custom_recipe.yaml"
    assert load_recipe(file).shares == {
        "HuggingFaceFW/fineweb-edu": 0.5,
        "HuggingFaceTB/stack-edu/python": 0.3,
        "HuggingFaceTB/finemath": 0.2,
    }
    assert sum(d["weight"] for d in yaml.safe_load(file.read_text())["datasets"]) == 1.0


def test_replace_reads_values_like_a_file(recipe_text):
    mine = recipe_text(SMALL)
    recipe = load_recipe(
        mine, seed=3, lanes=None, dedup={"near": True}, holdout=Holdout(fraction=0.5), block={"rows": "1k"}
    )
    assert (recipe.seed, recipe.lanes, recipe.block.rows) == (3, 16, 1000)
    assert (recipe.dedup, recipe.holdout) == (Dedup(near=Near()), Holdout(0.5))


def test_replace_reports_every_problem():
    keys = "description, seed, lanes, weigh_by, order, block, shuffle, tokens, exclude, decontaminate, dedup, holdout"
    keys += ", on_exhausted"
    assert faults_of(SMALL, seed="x", lanes=0, order="exakt", sede=1, clean="code") == [
        "seed: expected a whole number, got 'x'",
        "unknown key 'sede' (did you mean 'seed'?)",
        f"unknown key 'clean' (keys: {keys}, weighted)",
        "lanes: expected 1 or more, got 0",
        "order: expected exact or iid, got 'exakt' (did you mean 'exact'?)",
    ]


def test_pin_sets_revisions(recipe_text):
    recipe = load_recipe(recipe_text(WHOLE))
    pinned = recipe.pin({"fineweb-edu": "0" * 40})
    assert [source.revision for source in pinned.sources] == ["0" * 40, None, None]
    assert recipe.diff(pinned) == [f"sources.fineweb-edu.revision: none → '{'0' * 40}'"]
    with pytest.raises(KeyError) as error:
        recipe.pin({"x": "1"})
    assert error.value.args == ("mine.yaml has no source 'x'. Sources: fineweb-edu, org/code, pull-requests",)


def test_mark_unavailable_requires_a_readable_source(recipe_text):
    recipe = load_recipe(recipe_text(WHOLE)).mark_unavailable({"org/code": "It cannot be opened."})
    assert recipe.shares == {"fineweb-edu": 1.0}
    assert (
        "source 'org/code' (weight 1e-05, 0.0029% of the recipe) is not available: It cannot be opened."
        in recipe.warnings
    )
    with pytest.raises(RecipeError) as error:
        recipe.mark_unavailable({"fineweb-edu": "Neither can this."})
    assert str(error.value) == "mine.yaml: every source with a weight above 0 is unavailable. Nothing is left to read"


def test_recipe_survives_pickle_and_json(recipe_text):
    recipe = load_recipe(recipe_text(WHOLE))
    assert recipe.shares
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint


def test_from_dict_is_as_strict_as_a_file(recipe_text):
    given = load_recipe(recipe_text(SMALL)).to_dict() | {"lanes": 0, "folder": "", "colour": 1}
    with pytest.raises(RecipeError) as error:
        Recipe.from_dict(given)
    assert error.value.problems[0].startswith("unknown key 'colour' (keys: datasets, ")
    assert error.value.problems[1:] == ["lanes: expected 1 or more, got 0"]
    with pytest.raises(RecipeError, match=r"^a dict: file: expected a string, got 3 \(write it in quotes\)$"):
        Recipe.from_dict(given | {"file": 3})


def test_to_yaml_is_readable(recipe_text):
    lines = load_recipe(recipe_text(WHOLE)).to_yaml().splitlines()
    assert lines[0].startswith("# smollm3_mix recipe; fingerprint ")
    assert lines[1:] == [
        "description: One line.",
        "seed: 7",
        "lanes: 4",
        "weigh_by: bytes",
        "order: iid",
        "block: {rows: 512, bytes: 1048576}",
        "shuffle: none",
        "tokens: per_byte",
        "filters: {min_chars: 50}",
        "dedup:",
        "  exact: true",
        "  near: {bands: 4, rows: 2, ngram: 5, jaccard: 0.0}",
        "  memory: 1073741824",
        "holdout: {fraction: 0.001, tokens: 2500000000}",
        "on_exhausted: stop",
        "datasets:",
        "- name: HuggingFaceFW/fineweb-edu",
        "  id: fineweb-edu",
        "  weight: 0.333",
        "  config: sample-10BT",
        "  where:",
        "  - [int_score, '>=', 3]",
        "  - - lang",
        "    - in",
        "    - [en, fr]",
        "  keep: [url]",
        "  kind: {language: en}",
        "  license: ODC-By-1.0",
        "  tokens_per_byte: 0.23",
        "  max_passes: 2",
        "- name: org/code",
        "  weight: 1.0e-05",
        "  data_files: [data/*.parquet]",
        "  text_field: [title, body.text]",
        "  separator: ' '",
        "  kind: {type: code}",
        "  filters: {max_chars: 10000000}",
        "- id: pull-requests",
        "  weight: 0.006",
        "  unavailable: No public repository.",
    ]


def test_to_yaml_omits_weights_of_an_unweighted_recipe(recipe_text):
    recipe = load_recipe(recipe_text(LISTS))
    again = load_recipe(recipe_text(recipe.to_yaml(), "again.yaml"), use_weights=False)
    assert "weighted: false" in Path("again.yaml").read_text()
    assert again.sources == recipe.sources
    assert again.fingerprint == recipe.fingerprint


def test_diff_names_keys_sources_and_order(recipe_text):
    old = load_recipe(recipe_text(WHOLE))
    text = WHOLE.replace("seed: 7", "seed: 8").replace("0.333", "0.36").replace("min_chars: 50", "min_chars: 40")
    text = text.replace("near: {bands: 4, rows: 2, ngram: 5}", "near: null").replace("id: pull-requests", "id: issues")
    assert old.diff(load_recipe(recipe_text(text))) == [
        "sources.pull-requests: weight 0.006 → absent",
        "sources.issues: absent → weight 0.006",
        "seed: 7 → 8",
        'dedup.near: {"bands": 4, "rows": 2, "ngram": 5, "jaccard": 0.0} → none',
        "sources.fineweb-edu.weight: 0.333 → 0.36",
        "sources.fineweb-edu.filters.min_chars: 50 → 40",
    ]
    turned = old.replace(sources=old.sources[::-1])
    assert old.diff(turned) == [
        "order of sources: fineweb-edu, org/code, pull-requests → pull-requests, org/code, fineweb-edu"
    ]
    assert old.diff(old) == []


BY_KIND = """
filters: {preset: kind, min_chars: 20}
datasets:
  - {name: a, weight: 1, kind: {type: prose, language: fr}}
  - {name: b, weight: 1, kind: {type: prose, language: en}}
  - {name: c, weight: 1, kind: {type: code, language: Python}}
  - {name: d, weight: 1, kind: {type: prose, language: fr}, filters: {preset: prose, language: de}}
  - {name: e, weight: 1, kind: {type: prose, language: fr}, filters: {min_chars: 5}}
"""


def test_preset_kind_is_filled_in(recipe_text):
    recipe = load_recipe(recipe_text(BY_KIND))
    assert [(source.filters.preset, source.filters.language) for source in recipe.sources] == [
        ("prose", "fr"),
        ("prose", "en"),
        ("code", "Python"),
        ("prose", "de"),
        (None, None),
    ]
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_preset_kind_is_written_short_and_read_back(recipe_text):
    recipe = load_recipe(recipe_text(BY_KIND))
    text = recipe.to_yaml()
    assert "\nfilters: {preset: prose, min_chars: 20}\n" in text
    assert text.count("  filters: ") == 3
    assert load_recipe(recipe_text(text)).diff(recipe) == []


def test_recipe_repr_shows_what_identifies_it(recipe_text):
    recipe = load_recipe(recipe_text(WHOLE))
    sizes = f"{len(recipe.sources)} sources, {recipe.lanes} lanes, seed=7"
    assert repr(recipe) == f"Recipe({recipe.name!r}, {sizes}, fingerprint={recipe.fingerprint[:7]!r})"
    assert recipe._repr_html_().count("<tr>") == len(recipe.sources) + 1


def test_replace_source_changes_one_source_and_checks_the_value(recipe_text):
    recipe = load_recipe(recipe_text(WHOLE))
    changed = recipe.replace_source("fineweb-edu", weight=0.5, max_passes=9)
    assert [line.partition(":")[0] for line in recipe.diff(changed)] == [
        "sources.fineweb-edu.weight",
        "sources.fineweb-edu.max_passes",
    ]
    with pytest.raises(RecipeError, match=r"source 'fineweb-edu': weight: expected a finite number, got 'x'"):
        recipe.replace_source("fineweb-edu", weight="x")
    with pytest.raises(KeyError, match="no source 'x'"):
        recipe.replace_source("x", weight=1)


def test_check_recipe_returns_every_problem():
    assert check_recipe("demo") == []
    assert check_recipe({"seed": "x", "lanes": 0}) == [
        "missing key 'datasets' (a list of sources)",
        "seed: expected a whole number, got 'x'",
        "lanes: expected 1 or more, got 0",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("judge: prose", "unknown key 'judge' (did you mean 'filters'?)"),
        ("on_exhausted: renormalise", "(did you mean 'renormalize'?)"),
        ("dedup: {index: {at: idx}}", "dedup.index: unknown key 'at' (did you mean 'path'?)"),
    ],
)
def test_renamed_keys_and_values_are_suggested(recipe_text, text, expected):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_text(f"{text}\ndatasets: [{{name: a/b, weight: 1}}]\n"))
    assert any(expected in problem for problem in caught.value.problems)


def test_filters_take_the_name_of_a_preset(recipe_text):
    recipe = load_recipe(recipe_text("filters: prose\ndatasets: [{name: a/b, weight: 1}]\n"))
    assert recipe.sources[0].filters.preset == "prose"
