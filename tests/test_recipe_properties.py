"""Laws of recipes: round trips, shares, and what the fingerprint is over."""

import dataclasses
import json
import math
import random

import pytest
import yaml
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.index_scope import index_scope, of_rows
from smollm3_mix.recipe.model import Block, Holdout, Kind, Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import Decontaminate, Exclude, Texts, TokenCounting
from smollm3_mix.recipe.yaml_text import dump, load
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.filters.filter_options import FilterOptions

WORDS = st.one_of(
    st.sampled_from(
        ["no", "on", "1e-5", "0x1F", "012", "1:30", "2024-01-01", "null", "~", "true", "=", "<<", "- a", "a: b"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8),
)
IDS = WORDS.filter(str.isprintable)
WEIGHTS = st.floats(0, 1e6, allow_subnormal=False)
COUNTS = st.integers(1, 2**40)
JUDGES = st.builds(
    FilterOptions, min_chars=st.none() | st.integers(0, 10), max_chars=st.none() | st.integers(10, 10**9)
)
CLEANINGS = st.builds(Cleaning, profile=st.sampled_from(["prose", "code", "math", "none"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)
CONDITIONS = st.one_of(
    st.tuples(WORDS, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), SCALARS),
    st.tuples(WORDS, st.sampled_from(["in", "not in"]), st.lists(SCALARS, max_size=3).map(tuple)),
)
LISTS = st.lists(WORDS, min_size=1, max_size=3).map(tuple)


def sources(source_id):
    return st.builds(
        Source,
        id=st.just(source_id),
        weight=WEIGHTS,
        name=WORDS,
        config=st.none() | WORDS,
        data_dir=st.none() | WORDS,
        data_files=st.none() | LISTS,
        revision=st.none() | WORDS,
        split=WORDS,
        text_field=WORDS | LISTS,
        separator=st.text(st.sampled_from(" \n\t-é\u2028"), max_size=4),
        id_field=st.none() | WORDS,
        where=st.lists(CONDITIONS, max_size=2).map(tuple),
        keep=st.lists(WORDS, max_size=2).map(tuple),
        kind=st.builds(Kind, type=st.sampled_from(["prose", "code", "math", "no"]), language=st.none() | WORDS),
        license=st.none() | WORDS,
        tokens_per_byte=st.floats(1e-6, 10),
        tokens_field=st.none() | WORDS,
        max_passes=st.integers(1, 99),
        clean=CLEANINGS,
        filters=JUDGES,
        content=st.sampled_from(["inline", "swh", "records"]),
        gated=st.booleans(),
        unavailable=st.none() | WORDS,
        deviation=st.none() | WORDS,
    )


@st.composite
def recipes(draw):
    ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    first, *rest = [draw(sources(source_id)) for source_id in ids]
    first = dataclasses.replace(first, weight=first.weight + 1, unavailable=None)
    near = st.builds(Near, bands=st.integers(1, 20), rows=st.integers(1, 16), ngram=st.integers(1, 9))
    return Recipe(
        sources=(first, *rest),
        file=draw(WORDS),
        description=draw(WORDS),
        seed=draw(st.integers(0, 2**63 - 1)),
        lanes=draw(st.integers(1, 64)),
        weigh_by=draw(st.sampled_from(["tokens", "bytes", "documents"])),
        order=draw(st.sampled_from(["exact", "iid"])),
        block=draw(st.builds(Block, rows=COUNTS, bytes=COUNTS)),
        shuffle=draw(st.sampled_from(["block", "none"])),
        dedup=draw(st.builds(Dedup, exact=st.booleans(), near=st.none() | near, memory=COUNTS)),
        holdout=draw(st.builds(Holdout, fraction=st.floats(0, 0.99), tokens=COUNTS)),
        on_exhausted=draw(st.sampled_from(["error", "stop", "renormalize", "repeat"])),
        ignored=draw(st.lists(WORDS, max_size=2).map(tuple)),
    )


@given(recipes())
@examples(25)
def test_recipe_is_equal_after_json(recipe):
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint


@given(recipe=recipes())
@examples(25)
def test_written_recipe_is_read_back(tmp_path_factory, recipe):
    file = tmp_path_factory.mktemp("recipes") / "mine.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    again = load_recipe(file)
    assert recipe.diff(again) == []
    assert again.fingerprint == recipe.fingerprint
    assert again.replace(sources=again.sources).sources == recipe.sources
    weights = [entry["weight"] for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["datasets"]]
    assert math.fsum(weights) == recipe.raw_sum


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner), max_leaves=8))
def test_written_recipe_is_plain_yaml(value):
    text = dump(value)
    assert load(text.encode(), []) == value
    assert yaml.safe_load(text) == value


@given(recipes())
@examples(25)
def test_shares_add_up_to_one_in_proportion_to_the_weights(recipe):
    shares = recipe.shares
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert list(shares) == [source.id for source in recipe.active]
    assert all(0 < share <= 1 for share in shares.values())
    total = math.fsum(source.weight for source in recipe.active)
    assert all(shares[source.id] * total == pytest.approx(source.weight) for source in recipe.active)


@given(recipes(), st.randoms(use_true_random=False))
@examples(10)
def test_fingerprint_ignores_the_order_of_keys(recipe, rng: random.Random):
    def shuffled(value):
        if isinstance(value, list):
            return [shuffled(item) for item in value]
        if not isinstance(value, dict):
            return value
        items = [(key, shuffled(item)) for key, item in value.items()]
        rng.shuffle(items)
        return dict(items)

    assert Recipe.from_dict(shuffled(recipe.to_dict())).fingerprint == recipe.fingerprint


@given(recipes(), recipes())
@examples(10)
def test_diff_is_empty_if_and_only_if_the_fingerprints_are_equal(one, two):
    assert (one.diff(two) == []) == (one.fingerprint == two.fingerprint)


BASE = Recipe(
    sources=(
        Source(id="a", weight=0.5, name="org/a", text_field=("title", "body")),
        Source(id="b", weight=0.25, name="org/b"),
    )
)

DECIDING = {
    "seed": 1,
    "lanes": 2,
    "weigh_by": "bytes",
    "order": "iid",
    "block": Block(rows=7),
    "shuffle": "none",
    "exclude": Exclude("x", "0" * 64),
    "decontaminate": Decontaminate(Texts("x")),
    "dedup": Dedup(near=Near()),
    "holdout": Holdout(fraction=0.1),
    "on_exhausted": "repeat",
    "tokens": TokenCounting("tokenizer.json"),
    "weighted": False,
    "sources": BASE.sources[::-1],
}
NOT_DECIDING = {"file": "x", "folder": "x", "description": "x", "ignored": ("x",)}
SOURCE_DECIDING = {
    "id": "c",
    "weight": 0.6,
    "name": "x",
    "config": "x",
    "data_dir": "x",
    "data_files": ("x",),
    "revision": "x",
    "split": "x",
    "text_field": "text",
    "separator": "",
    "id_field": "x",
    "where": (("x", "==", 1),),
    "keep": ("x",),
    "tokens_per_byte": 0.2,
    "tokens_field": "x",
    "max_passes": 2,
    "clean": Cleaning("code"),
    "filters": FilterOptions(min_chars=1),
    "content": "swh",
    "unavailable": "x",
}
SOURCE_NOT_DECIDING = {"kind": Kind("code", "Python"), "license": "x", "gated": True, "deviation": "x"}


def test_every_key_is_listed_as_deciding_or_not():
    top = {*DECIDING, *NOT_DECIDING}
    assert top == {field.name for field in dataclasses.fields(Recipe)}
    assert {*SOURCE_DECIDING, *SOURCE_NOT_DECIDING} == {field.name for field in dataclasses.fields(Source)}


@pytest.mark.parametrize("key", DECIDING)
def test_fingerprint_depends_on(key):
    changed = dataclasses.replace(BASE, **{key: DECIDING[key]})
    assert changed.fingerprint != BASE.fingerprint
    assert changed.diff(BASE)


@pytest.mark.parametrize("key", NOT_DECIDING)
def test_fingerprint_ignores(key):
    assert dataclasses.replace(BASE, **{key: NOT_DECIDING[key]}).fingerprint == BASE.fingerprint


def with_first(**changes):
    return dataclasses.replace(BASE, sources=(dataclasses.replace(BASE.sources[0], **changes), BASE.sources[1]))


@pytest.mark.parametrize("key", SOURCE_DECIDING)
def test_fingerprint_depends_on_a_sources(key):
    changed = with_first(**{key: SOURCE_DECIDING[key]})
    assert changed.fingerprint != BASE.fingerprint
    assert changed.diff(BASE)


@pytest.mark.parametrize("key", SOURCE_NOT_DECIDING)
def test_fingerprint_ignores_a_sources(key):
    assert with_first(**{key: SOURCE_NOT_DECIDING[key]}).fingerprint == BASE.fingerprint


def test_fingerprint_ignores_the_reason_of_an_unavailable_source():
    assert with_first(unavailable="x").fingerprint == with_first(unavailable="y").fingerprint


def test_fingerprint_ignores_the_notation_of_a_file(tmp_path):
    texts = (
        "seed: 7\nblock: {bytes: 1MiB}\ndatasets: [{name: a, weight: 1e-5, verified: true}]\n",
        "# Why.\ndatasets:\n- weight: 0.00001\n  name: a\n  note: y\nblock:\n  bytes: 1048576\nseed: 7\n",
    )
    prints = set()
    for text in texts:
        (tmp_path / "mine.yaml").write_text(text)
        prints.add(load_recipe(tmp_path / "mine.yaml").fingerprint)
    assert len(prints) == 1


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_recipe_or_raise_recipe_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    with pytest.raises(RecipeError):
        load_recipe(file)


@given(
    st.dictionaries(
        st.sampled_from(
            ["seed", "block", "dedup", "filters", "clean", "datasets", "holdout", "filtering", "weighted", "tokens"]
        ),
        st.recursive(
            SCALARS | st.floats(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "weight", "where", "near", "rows", "kind", "min_length"]), inner
                )
            ),
            max_leaves=6,
        ),
    )
)
def test_any_values_are_a_recipe_or_raise_recipe_error(given_values):
    try:
        recipe = Recipe.from_dict(given_values)
    except RecipeError as error:
        problems = error.problems
    else:
        problems = []
        assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert all(isinstance(problem, str) and problem for problem in problems)


def test_fingerprint_covers_content_and_end_tokens_of_a_pinned_tokenizer():
    def printed(**options):
        return dataclasses.replace(BASE, tokens=TokenCounting(**{"tokenizer": "t.json", "sha256": "0" * 64} | options))

    assert printed(tokenizer="moved.json").fingerprint == printed().fingerprint
    others = ({"sha256": "1" * 64}, {"bos": "<s>"}, {"eos": "</s>"})
    assert len({printed(**options).fingerprint for options in ({}, *others)}) == 4


def test_fingerprint_ignores_the_notation_of_whole_numbers():
    assert with_first(weight=1).fingerprint == with_first(weight=1.0).fingerprint
    assert with_first(weight=1).diff(with_first(weight=1.0)) == []


SHARED_OUT = {"weight", "max_passes", "tokens_per_byte", "tokens_field", "keep"}
"""Fields of a source that decide how much of it is mixed, not which of its documents are duplicates."""
FILES = {"id", "name", "config", "data_dir", "data_files", "revision", "split"}
"""Fields of a source that decide which files are read, not what becomes of their rows."""


@pytest.mark.parametrize("key", [key for key in {**SOURCE_DECIDING, **SOURCE_NOT_DECIDING} if key != "unavailable"])
def test_index_scope_depends_on_the_processing_of_rows(key):
    changed = with_first(**{key: (SOURCE_DECIDING | SOURCE_NOT_DECIDING)[key]})
    aside = SHARED_OUT | SOURCE_NOT_DECIDING.keys()
    assert (index_scope(changed) == index_scope(BASE)) is (key in aside)
    rows = (of_rows(index_scope(recipe), recipe.sources[0].id) for recipe in (changed, BASE))
    assert (next(rows) == next(rows)) is (key in aside | FILES)


def test_index_scope_contains_the_active_sources():
    assert [source["id"] for source in index_scope(with_first(unavailable="x"))["sources"]] == ["b"]


@pytest.mark.parametrize(
    "top, bounded",
    [
        ({}, True),
        ({"on_exhausted": "stop"}, True),
        ({"on_exhausted": "renormalize"}, False),
        ({"order": "iid"}, False),
        ({"weighted": False}, False),
    ],
)
def test_discrepancy_is_bounded_in_exact_order_unless_sources_leave(top, bounded):
    assert dataclasses.replace(BASE, **top).bounded is bounded


def test_seed_must_have_at_most_63_bits():
    assert dataclasses.replace(BASE, seed=2**63 - 1).seed == 2**63 - 1
    with pytest.raises(ValueError, match=r"seed: expected 0 or more and less than 2\*\*63"):
        dataclasses.replace(BASE, seed=2**63)
