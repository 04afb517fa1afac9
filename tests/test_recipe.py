"""Recipe files: what is read, and every message whole."""

import json
import pickle
from pathlib import Path

import pytest
import yaml

from smollm3_mix.clean import Cleaning
from smollm3_mix.dedup import Dedup, Near
from smollm3_mix.errors import RecipeError
from smollm3_mix.judge import Judge
from smollm3_mix.recipe import Block, Holdout, Kind, Recipe, Source, files, find, read, shipped
from smollm3_mix.recipe.files import OLD_NAMES

FIXTURES = Path(__file__).parent / "fixtures"

WHOLE = """
description: One line.
seed: 7
lanes: 4
weigh_by: bytes
order: iid
block: {rows: 512, bytes: 1MiB}
shuffle: none
tokens: per_byte
clean: prose
judge: {min_chars: 50}
dedup: {exact: true, near: {bands: 4, rows: 2, ngram: 5}, memory: 1GiB}
holdout: {fraction: 0.001, tokens: 2.5B}
on_exhausted: stop
datasets:
  - name: HuggingFaceFW/fineweb-edu
    id: fineweb-edu
    config: sample-10BT
    data_dir: null
    revision: null
    split: train
    text_field: text
    where: [[int_score, ">=", 3], [lang, in, [en, fr]]]
    keep: [url]
    kind: {type: prose, language: en}
    license: ODC-By-1.0
    tokens_per_byte: 0.23
    weight: 0.333
    max_passes: 2
  - name: org/code
    text_field: [title, body.text]
    separator: " "
    data_files: data/*.parquet
    kind: code
    clean: {profile: code}
    judge: {max_chars: 10M}
    weight: 1e-5
  - id: pull-requests
    weight: 0.006
    unavailable: No public repository.
"""

ANYTHING = "a string, a finite number, true, false, nothing or a list of them"

SMALL = "datasets:\n  - {name: a/b, weight: 1}\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes mine.yaml into the working directory and gives its name."""
    monkeypatch.chdir(tmp_path)

    def written(text, name="mine.yaml"):
        Path(name).write_text(text, encoding="utf-8")
        return name

    return written


@pytest.fixture
def faults(write):
    def found(text, **options):
        with pytest.raises(RecipeError) as error:
            read(write(text), **options)
        assert error.value.file == "mine.yaml"
        return error.value.faults

    return found


def read_key(line):
    key = line.split(":")[0]
    return key if key.isdigit() else repr(key)


def fault_of_source(keys):
    return f"datasets:\n  - {{name: a/b, weight: 1}}\n  - {{name: c/d, {keys}}}\n"


def test_everything_written_is_read(write):
    recipe = read(write(WHOLE))
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
                judge=Judge(min_chars=50),
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
                judge=Judge(max_chars=10_000_000),
            ),
            Source(id="pull-requests", weight=0.006, unavailable="No public repository.", judge=Judge(min_chars=50)),
        ),
    )


def test_two_lines_are_a_recipe(write):
    recipe = read(write(SMALL))
    assert recipe.sources == (Source(id="a/b", weight=1.0, name="a/b"),)
    assert (recipe.seed, recipe.lanes, recipe.weigh_by, recipe.order) == (42, 16, "tokens", "exact")
    assert (recipe.block, recipe.holdout, recipe.on_exhausted) == (Block(1024, 2**20), Holdout(0.0, 10**6), "error")
    assert recipe.name == "mine"


def test_shares_are_taken_over_what_can_be_read(write):
    recipe = read(
        write("""
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
    assert recipe.statements == (
        "source 'gone' (weight 1, 55.5556% of the recipe) is not available: Withdrawn.",
        "source 'b' has weight 0 and is not read",
    )


def test_raw_sum_is_rounded_once():
    sources = tuple(Source(id=str(i), weight=0.1, name="x") for i in range(10))
    assert Recipe(sources=sources).raw_sum == 1.0


def test_a_recipe_wide_rule_is_for_sources_that_name_none(write):
    text = """
clean: math
judge: {min_chars: 9}
datasets:
  - {name: a, weight: 1, kind: code}
  - {name: b, weight: 1, clean: none, judge: {}}
  - {name: c, weight: 1, clean: null, judge: null}
"""
    one, two, three = read(write(text)).sources
    assert (one.clean, one.judge) == (Cleaning("math"), Judge(min_chars=9))
    assert (two.clean, two.judge) == (Cleaning("none"), Judge())
    assert (three.clean, three.judge) == (Cleaning("math"), Judge(min_chars=9))


def test_cleaning_goes_by_kind_where_nothing_is_said(write):
    text = "datasets:\n" + "".join(f"  - {{name: {k}, weight: 1, kind: {k}}}\n" for k in ("code", "math", "forum"))
    assert [source.clean.profile for source in read(write(text)).sources] == ["code", "math", "prose"]


@pytest.mark.parametrize(
    ("given", "near"),
    [("true", Near()), ("false", None), ("null", None), ("{bands: 3}", Near(bands=3)), ("{}", Near())],
)
def test_near_is_a_mapping_or_true_or_nothing(write, given, near):
    assert read(write(f"dedup: {{near: {given}}}\n{SMALL}")).dedup == Dedup(near=near)


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
def test_a_size_is_read_exactly(write, written, number):
    assert read(write(f"holdout: {{tokens: {written}}}\n{SMALL}")).holdout.tokens == number


@pytest.mark.parametrize("written", ["0.00001", "1e-5", "1E-5", "1.0e-05", ".00001", "10e-6", "+1e-5"])
def test_a_number_may_be_written_as_yaml_1_2_has_it(write, written):
    assert read(write(f"datasets: [{{name: a, weight: {written}}}]")).sources[0].weight == 1e-5


def test_words_that_yaml_1_1_takes_for_other_things_stay_words(write):
    text = "datasets: [{name: on, config: no, split: 2024-01-01, weight: 1, license: 1:30, kind: {language: no}}]"
    source = read(write(text)).sources[0]
    assert (source.id, source.split, source.license, source.kind.language) == ("on/no", "2024-01-01", "1:30", "no")


def test_an_alias_stands_for_what_it_names(write):
    text = """
datasets:
  - &code {name: org/code, config: a, kind: code, weight: 1, max_passes: 3}
  - {<<: *code, config: b}
"""
    assert [(s.id, s.max_passes) for s in read(write(text)).sources] == [("org/code/a", 3), ("org/code/b", 3)]


def test_the_briefs_custom_recipe_is_read_as_it_stands():
    file = FIXTURES / "custom_recipe.yaml"
    assert read(file).shares == {
        "HuggingFaceFW/fineweb-edu": 0.5,
        "HuggingFaceTB/stack-edu/python": 0.3,
        "HuggingFaceTB/finemath": 0.2,
    }
    assert sum(d["weight"] for d in yaml.safe_load(file.read_text())["datasets"]) == 1.0


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_single_fault_reads_whole(write):
    with pytest.raises(RecipeError) as error:
        read(write("datasets:\n  - {id: finemath, name: a/b, wieght: 0.5, weight: 0.5}\n"))
    assert str(error.value) == "mine.yaml: source 'finemath': unknown key 'wieght' (did you mean 'weight'?)"


def test_all_faults_of_a_file_come_in_one_error(write):
    text = """
seeed: 4
lanes: 0
weigh_by: token
dedup: {near: {bands: 0}, memory: lots}
judge: {min_char: 3}
datasets:
  - {name: a/b, weight: -0.5, splt: train}
  - {name: c/d, text_field: [a, 3]}
  - a/c
"""
    with pytest.raises(RecipeError) as error:
        read(write(text))
    assert str(error.value) == (
        "11 faults\n"
        "  mine.yaml: unknown key 'seeed' (did you mean 'seed'?)\n"
        "  mine.yaml: judge: unknown key 'min_char' (did you mean 'min_chars'?)\n"
        "  mine.yaml: dedup.near.bands: expected a whole number from 1 to 64, got 0\n"
        "  mine.yaml: dedup.memory: expected a whole number, got 'lots'\n"
        "  mine.yaml: lanes: expected 1 or more, got 0\n"
        "  mine.yaml: weigh_by: expected tokens or bytes or documents, got 'token' (did you mean 'tokens'?)\n"
        "  mine.yaml: source 'a/b': unknown key 'splt' (did you mean 'split'?)\n"
        "  mine.yaml: source 'a/b': weight: expected a finite number of 0 or more, got -0.5\n"
        "  mine.yaml: source 'c/d': text_field[1]: expected a string, got 3 (write it in quotes)\n"
        "  mine.yaml: source 'c/d': missing key 'weight' (a finite number)\n"
        "  mine.yaml: datasets[2]: expected a mapping such as {name: …, weight: …}, got 'a/c'"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty; a recipe needs `datasets:` with at least one source"),
        ("# nothing\n", "is empty; a recipe needs `datasets:` with at least one source"),
        ("- a\n", "expected a mapping with the key `datasets`, got the list ['a']"),
        ("stage1", "expected a mapping with the key `datasets`, got 'stage1'"),
        ("seed: 1\n", "missing key 'datasets' (a list of sources)"),
        ("datasets:\n", "datasets: expected a list of sources, got nothing"),
        ("datasets: []\n", "datasets: expected at least one source, got an empty list"),
        ("datasets: {name: a}\n", "datasets: expected a list of sources, got the mapping {'name': 'a'}"),
        ("a: [1\n", "not valid YAML at line 2, column 1: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c\n", "not valid YAML at line 1, column 5: mapping values are not allowed here"),
        ("a: 1\n\tb: 2\n", "not valid YAML at line 2, column 1: found character '\\t' that cannot start any token"),
        ("a: 1\n---\nb: 2\n", "not valid YAML at line 2, column 1: but found another document"),
        ("a: !!python/name:os.system\n", None),
        ("seed: 1\nseed: 2\n" + SMALL, "line 2: key 'seed' again; it stands at line 1 already"),
        ("a: &a {b: 1}\nc: {<<: [*a, *a]}\n", "line 2: << takes one alias, not a list"),
        ("[" * 500, "not a recipe: nested too deeply"),
        ("a: !!int b\n", "not valid YAML: invalid literal for int() with base 10: 'b'"),
        ("a: \x00\n", "not valid YAML: special characters are not allowed"),
    ],
)
def test_a_file_that_is_no_recipe(faults, text, fault):
    tag = "tag:yaml.org,2002:python/name:os.system"
    refused = f"not valid YAML at line 1, column 4: could not determine a constructor for the tag '{tag}'"
    assert faults(text) == [fault or refused]


def test_a_key_that_stands_twice_in_a_source_is_named_with_both_lines(faults):
    text = "datasets:\n  - name: a\n    weight: 1\n    weight: 2\n"
    assert faults(text) == ["line 4: key 'weight' again; it stands at line 3 already"]


def test_a_file_in_another_encoding(tmp_path):
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"description: caf\xe9\n")
    with pytest.raises(RecipeError) as error:
        read(file)
    assert error.value.faults == ["not valid YAML: invalid continuation byte"]


@pytest.mark.parametrize(
    ("top", "fault"),
    [
        ("seed: -1", "seed: expected 0 or more and less than 2**63, got -1"),
        ("seed: true", "seed: expected a whole number, got true"),
        ("seed: 1.5", "seed: expected a whole number, got 1.5"),
        ("seed: '7'", "seed: expected a whole number, got '7' (write it without quotes and leading zeros)"),
        ("seed: 007", "seed: expected a whole number, got '007' (write it without quotes and leading zeros)"),
        ("lanes:", "lanes: expected a whole number, got nothing (leave the key out for its default)"),
        ("lanes: 1.0005k", "lanes: expected a whole number, got '1.0005k'"),
        ("order: random", "order: expected exact or iid, got 'random'"),
        ("shuffle: blocks", "shuffle: expected block or none, got 'blocks' (did you mean 'block'?)"),
        (
            "on_exhausted: again",
            "on_exhausted: expected error or stop or renormalise or repeat, got 'again'",
        ),
        ("tokens: tokenizer", "tokens: expected per_byte, got 'tokenizer'"),
        ("block: {rows: 0}", "block.rows: expected 1 or more, got 0"),
        ("block: 5", "block: expected a mapping (keys: rows, bytes), got 5"),
        ("holdout: {fraction: 1}", "holdout.fraction: expected 0 or more and less than 1, got 1.0"),
        ("holdout: {fraction: .nan}", "holdout.fraction: expected a finite number, got nan"),
        ("dedup: {exact: 1}", "dedup.exact: expected true or false, got 1"),
        ("dedup: {near: 3}", "dedup.near: expected a mapping (keys: bands, rows, ngram), got 3"),
        ("sources: []", "unknown key 'sources' (did you mean 'datasets'?)"),
        ("file: x", None),
        ("1: x", None),
        ("num_shards: 4", "unknown key 'num_shards' (did you mean 'lanes'?)"),
        ("stopping_strategy: x", "unknown key 'stopping_strategy' (did you mean 'on_exhausted'?)"),
        ("description: [a]", "description: expected a string, got the list ['a']"),
    ],
)
def test_a_fault_at_the_top_reads_whole(faults, top, fault):
    keys = "datasets, description, seed, lanes, weigh_by, order, block, shuffle, tokens, dedup, holdout, on_exhausted"
    assert faults(f"{top}\n{SMALL}") == [fault or f"unknown key {read_key(top)} (keys: {keys}, weighted, clean, judge)"]


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("weight: .nan", "weight: expected a finite number, got nan"),
        ("weight: .inf", "weight: expected a finite number, got inf"),
        ("weight: true", "weight: expected a finite number, got true"),
        ("weight: '0.5'", "weight: expected a finite number, got '0.5' (write it without quotes and leading zeros)"),
        ("weight: half", "weight: expected a finite number, got 'half'"),
        ("weight:", "weight: expected a finite number, got nothing"),
        ("split: train", "missing key 'weight' (a finite number)"),
        ("weight: 1, config: 2019", "config: expected a string, got 2019 (write it in quotes)"),
        ("weight: 1, split: ''", "split: expected at least one character, got ''"),
        ("weight: 1, text_field: []", "text_field: expected a column or a list of columns, got the list []"),
        ("weight: 1, text_field: 3", "text_field: expected a string or a list of strings, got 3"),
        (
            "weight: 1, where: [[score, 3]]",
            "where[0]: expected a list of 3 (a string, a string, a value), got the list ['score', 3]",
        ),
        (
            "weight: 1, where: [[a, in, {}]]",
            f"where[0][2]: expected {ANYTHING}, got the mapping {{}}",
        ),
        ("weight: 1, where: [[a, in, 3]]", "where[0]: expected a list after 'in', got 3"),
        ("weight: 1, where: [[a, <, [3]]]", "where[0]: expected one value after '<', got the list [3]"),
        (
            "weight: 1, where: [[a, '=', 3]]",
            "where[0]: expected == or != or < or <= or > or >= or in or not in, got '='",
        ),
        ("weight: 1, max_passes: 0", "max_passes: expected 1 or more, got 0"),
        ("weight: 1, tokens_per_byte: 0", "tokens_per_byte: expected a number above 0, got 0.0"),
        ("weight: 1, content: swhid", "content: expected inline or swh, got 'swhid' (did you mean 'swh'?)"),
        ("weight: 1, clean: brose", "clean: profile is one of prose, code, math, none, not 'brose'"),
        ("weight: 1, repo: x", "unknown key 'repo' (did you mean 'name'?)"),
        ("weight: 1, column: x", "unknown key 'column' (did you mean 'text_field'?)"),
        ("weight: 1, Max-Passes: 3", "unknown key 'Max-Passes' (did you mean 'max_passes'?)"),
        ("weight: 1, descripton: x", "unknown key 'descripton' (did you mean 'description'?)"),
        ("weight: 1, probability: 0.5", "unknown key 'probability' (did you mean 'weight'?)"),
        ("weight: 1, gated: 'yes'", "gated: expected true or false, got 'yes'"),
        ("weight: 1, unavailable: true", "unavailable: expected a string, got true (write it in quotes)"),
    ],
)
def test_a_fault_of_a_source_reads_whole(faults, keys, fault):
    assert faults(fault_of_source(keys)) == [f"source 'c/d': {fault}"]


def test_two_words_for_a_config_that_differ(faults):
    assert faults(fault_of_source("weight: 1, subset: x, config: y")) == [
        "source 'c/d/y': subset: means the same as `config`, which is 'y'; leave it out"
    ]


def test_an_unknown_key_like_no_other_shows_every_key(faults):
    keys = (
        "id, weight, name, config, data_dir, data_files, revision, split, text_field, separator, id_field, where, keep"
    )
    keys += ", kind, license, tokens_per_byte, max_passes, clean, judge, content, gated, unavailable, deviation"
    assert faults(fault_of_source("weight: 1, xyz: 2")) == [f"source 'c/d': unknown key 'xyz' (keys: {keys})"]


def test_a_source_without_a_name(faults):
    assert faults("datasets: [{weight: 1}]") == [
        "datasets[0]: missing key 'name' (Hub repository or local path; or say why it is `unavailable`)"
    ]
    assert faults("datasets: [{weight: 1, unavailable: Gone.}]") == [
        "datasets[0]: missing key 'id' (a source without a name needs one)"
    ]


def test_an_id_with_control_characters(faults):
    assert faults('datasets: [{name: a, weight: 1, id: "a\\nb"}]') == [
        "source 'a\\nb': id: expected at least one character and no control characters, got 'a\\nb'"
    ]


def test_the_same_id_twice(faults):
    twin = "  - {name: a, config: x, weight: 1}\n"
    assert faults(f"datasets:\n{twin}  - {{name: b, weight: 1}}\n{twin}") == [
        "sources 1 and 3 have the same id 'a/x'; give one of them another, such as `id: a/x-2`",
    ]


def test_weights_that_cannot_be_shared_out(faults):
    two = "datasets:\n  - {{name: a, weight: {}}}\n  - {{name: b, weight: {}}}\n"
    assert faults(two.format(0, 0.0)) == ["all 2 weights are 0; give at least one source a weight above 0"]
    assert faults(two.format(5e-324, 1e300)) == [
        "weights from 4.94066e-324 to 1e+300 cannot be shared out; bring them nearer to each other"
    ]
    assert faults(two.format("1.7e+308", "1.7e+308")) == [
        "weights from 1.7e+308 to 1.7e+308 cannot be shared out; bring them nearer to each other"
    ]
    assert faults("datasets: [{id: a, weight: 1, unavailable: Gone.}, {name: b, weight: 0}]") == [
        "every source with a weight above 0 is unavailable; nothing is left to read"
    ]


# --- files and names --------------------------------------------------------------------------------------------------


def test_shipped_recipes_are_found_by_name_and_by_file_name():
    assert "stage1" in shipped()
    assert shipped() == sorted(shipped())
    for name in shipped():
        assert find(name) == find(f"{name}.smollm3_mix.yaml")
        recipe = read(name)
        assert (recipe.name, recipe.file) == (name, f"{name}.smollm3_mix.yaml")


def test_old_file_names_mean_shipped_recipes(write):
    for old, name in OLD_NAMES.items():
        assert find(old) == find(f"some/folder/{old}") == find(name)
    mine = write(SMALL, "smollm3_weighted_config.yaml")
    assert read(mine).shares == {"a/b": 1.0}


def test_the_old_default_name_means_stage_1_without_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, stage1 = read("datasets_config.yaml"), read("stage1")
    assert not recipe.weighted
    assert recipe.file == "datasets_config.yaml"
    assert [source.id for source in recipe.sources] == [source.id for source in stage1.sources]
    assert {source.weight for source in recipe.sources} == {1.0}
    with pytest.raises(RecipeError) as error:
        read("datasets_config.yaml", use_weights=True)
    assert str(error.value) == (
        "datasets_config.yaml: has no weights, so they cannot be used; list its sources under `datasets:` with a "
        f"`weight` each, leave --use-weights out, or take a shipped recipe: {', '.join(shipped())}"
    )


def test_a_name_that_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ", ".join(shipped())
    for name, hint in {
        "stagee1.yaml": " (did you mean 'stage1'?)",
        "configs/stage1": " (did you mean 'stage1'?)",
        "xyz": "",
    }.items():
        with pytest.raises(RecipeError) as error:
            read(name)
        assert (
            str(error.value) == f"{name}: no such file, and no shipped recipe of that name{hint}; shipped are {names}"
        )


def test_a_folder_is_not_a_recipe(tmp_path):
    with pytest.raises(RecipeError) as error:
        read(tmp_path)
    assert str(error.value) == f"{tmp_path}: is a folder; name a recipe file; it holds none"
    (tmp_path / "b.yaml").touch()
    (tmp_path / "a.yml").touch()
    with pytest.raises(RecipeError) as error:
        read(tmp_path)
    assert str(error.value) == f"{tmp_path}: is a folder; name the one you mean, of: a.yml, b.yaml"


def test_a_local_path_is_tried_beside_the_recipe_and_then_here(tmp_path, monkeypatch):
    for place in ("recipes/beside", "here", "recipes/both", "both"):
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    names = ["beside", "here", "both", "org/hub", str(tmp_path / "here")]
    entries = "".join(f"  - {{name: {name!r}, weight: 1}}\n" for name in names)
    Path("recipes/mine.yaml").write_text(f"datasets:\n{entries}  - {{id: gone, weight: 1, unavailable: Gone.}}\n")
    recipe = read("recipes/mine.yaml")
    assert [recipe.path(source) for source in recipe.sources] == [
        tmp_path / "recipes/beside",
        Path("here"),
        tmp_path / "recipes/both",
        None,
        tmp_path / "here",
        None,
    ]
    assert [source.name for source in recipe.sources][:3] == ["beside", "here", "both"]


# --- old files --------------------------------------------------------------------------------------------------------

LISTS = """
english_datasets:
  - name: HuggingFaceFW/fineweb-2
    description: English
    text_field: text
    config: eng_Latn
    split: train
    streaming: true
    categories: [general]
    verified: true
    source: SmolLM3
    note: x
  - {name: a/code, kind: {type: code, language: Python}}
vietnamese_datasets:
  - {name: HuggingFaceFW/fineweb-2, config: vie_Latn, streaming: false}
filtering:
  min_length: 100
  max_length: 1000000
  keep_keywords: [code]
  exclude_keywords:
  deduplication: {enabled: false, similarity_threshold: 0.85}
output: {push_to_hub: true}
"""


def test_the_split_list_form_is_read(write):
    recipe = read(write(LISTS))
    assert not recipe.weighted
    assert [(source.id, source.kind.language) for source in recipe.sources] == [
        ("HuggingFaceFW/fineweb-2/eng_Latn", "en"),
        ("a/code", "Python"),
        ("HuggingFaceFW/fineweb-2/vie_Latn", "vi"),
    ]
    assert [source.clean.profile for source in recipe.sources] == ["prose", "code", "prose"]
    assert {source.judge for source in recipe.sources} == {Judge(min_chars=100, max_chars=1_000_000)}
    assert recipe.dedup == Dedup(exact=False)
    assert recipe.statements == (
        "`output` is not read; what is written is said on the command line, such as --output-dir",
        "`filtering.deduplication.similarity_threshold` is not read; `dedup: {near: true}` drops near duplicates",
        "`filtering.keep_keywords` is not read; texts are judged by the rules of `judge`",
    )


def test_weights_cannot_be_used_where_there_are_none(faults):
    need = "has no weights, so they cannot be used; list its sources under `datasets:` with a `weight` each"
    assert faults(LISTS, use_weights=True) == [
        f"{need}, leave --use-weights out, or take a shipped recipe: {', '.join(shipped())}"
    ]


def test_weights_need_not_be_used(write):
    recipe = read(write(SMALL), use_weights=False)
    assert recipe.weighted
    assert recipe == read("mine.yaml", use_weights=True)


def test_faults_of_the_split_list_form(faults):
    assert faults("english_datasets: [{name: a, weight: 1}]") == [
        "source 'a': weight: this recipe has no weights; leave it out, or list all under `datasets:`"
    ]
    assert faults("english_datasets: [{name: a}]\ndatasets: []\n") == [
        "has both `datasets` and `english_datasets`; put every source under `datasets`, with a weight"
    ]
    assert faults("english_datasets: [{name: a}]\nweighted: true\n") == [
        "weighted: english_datasets has no weights; list its sources under `datasets:` with a `weight` each"
    ]
    assert faults("english_datasets:\nvietnamese_datasets: []\n") == [
        "datasets: expected at least one source, got an empty list"
    ]
    assert faults("english_datasets: 3\n") == ["english_datasets: expected a list of sources, got 3"]


def test_faults_of_old_settings(faults):
    text = """
judge: {min_chars: 5}
filtering: {min_length: ten, maxlength: 3, deduplication: {enable: true, enabled: 1}}
datasets: [{name: a, weight: 1}]
"""
    assert faults(text) == [
        "filtering: unknown key 'maxlength' (did you mean 'max_length'?)",
        "filtering.min_length: expected a whole number, got 'ten'",
        "has both `judge` and `filtering`; write min_length and max_length as min_chars and max_chars of `judge`",
        "filtering.deduplication: unknown key 'enable' (did you mean 'enabled'?)",
        "filtering.deduplication.enabled: expected true or false, got 1",
    ]
    assert faults(f"filtering: 3\n{SMALL}") == ["filtering: expected a mapping, got 3"]
    assert faults(f"filtering: {{deduplication: 3}}\n{SMALL}") == ["filtering.deduplication: expected a mapping, got 3"]


def test_the_hubs_word_for_a_config_is_read(write):
    source = read(write("datasets: [{name: a/b, subset: pull-requests, weight: 1}]")).sources[0]
    assert (source.id, source.config) == ("a/b/pull-requests", "pull-requests")


# --- copies -----------------------------------------------------------------------------------------------------------


def test_overrides_are_read_like_the_file(write):
    recipe = read(
        write(SMALL), seed=3, lanes=None, dedup={"near": True}, holdout=Holdout(fraction=0.5), block={"rows": "1k"}
    )
    assert (recipe.seed, recipe.lanes, recipe.block.rows) == (3, 16, 1000)
    assert (recipe.dedup, recipe.holdout) == (Dedup(near=Near()), Holdout(0.5))


def test_faults_of_overrides(faults):
    keys = "description, seed, lanes, weigh_by, order, block, shuffle, tokens, dedup, holdout, on_exhausted"
    assert faults(SMALL, seed="x", lanes=0, order="exakt", sede=1, clean="code") == [
        "seed: expected a whole number, got 'x'",
        "unknown key 'sede' (did you mean 'seed'?)",
        f"unknown key 'clean' (keys: {keys}, weighted)",
        "lanes: expected 1 or more, got 0",
        "order: expected exact or iid, got 'exakt' (did you mean 'exact'?)",
    ]


def test_pinned_sources_have_their_revision(write):
    recipe = read(write(WHOLE))
    pinned = recipe.pinned({"fineweb-edu": "0" * 40})
    assert [source.revision for source in pinned.sources] == ["0" * 40, None, None]
    assert recipe.differences(pinned) == [f"sources.fineweb-edu.revision: none → '{'0' * 40}'"]
    with pytest.raises(KeyError) as error:
        recipe.pinned({"x": "1"})
    assert error.value.args == ("mine.yaml has no source 'x'; it has fineweb-edu, org/code, pull-requests",)


def test_sources_may_be_left_out_but_not_all(write):
    recipe = read(write(WHOLE)).without({"org/code": "It cannot be opened."})
    assert recipe.shares == {"fineweb-edu": 1.0}
    assert (
        "source 'org/code' (weight 1e-05, 0.0029% of the recipe) is not available: It cannot be opened."
        in recipe.statements
    )
    with pytest.raises(RecipeError) as error:
        recipe.without({"fineweb-edu": "Neither can this."})
    assert str(error.value) == "mine.yaml: every source with a weight above 0 is unavailable; nothing is left to read"


def test_a_recipe_survives_pickle_and_json(write):
    recipe = read(write(WHOLE))
    assert recipe.shares
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint


def test_from_dict_is_as_strict_as_a_file(write):
    given = read(write(SMALL)).to_dict() | {"lanes": 0, "folder": "", "colour": 1}
    with pytest.raises(RecipeError) as error:
        Recipe.from_dict(given)
    assert error.value.faults[0].startswith("unknown key 'colour' (keys: datasets, ")
    assert error.value.faults[1:] == ["lanes: expected 1 or more, got 0"]
    with pytest.raises(RecipeError, match=r"^a dict: file: expected a string, got 3 \(write it in quotes\)$"):
        Recipe.from_dict(given | {"file": 3})


def test_the_written_file_is_readable(write):
    lines = read(write(WHOLE)).to_yaml().splitlines()
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
        "judge: {min_chars: 50}",
        "dedup:",
        "  exact: true",
        "  near: {bands: 4, rows: 2, ngram: 5}",
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
        "  judge: {max_chars: 10000000}",
        "- id: pull-requests",
        "  weight: 0.006",
        "  unavailable: No public repository.",
    ]


def test_a_recipe_without_weights_is_written_without_them(write):
    recipe = read(write(LISTS))
    again = read(write(recipe.to_yaml(), "again.yaml"), use_weights=False)
    assert "weighted: false" in Path("again.yaml").read_text()
    assert again.sources == recipe.sources
    assert again.fingerprint == recipe.fingerprint


# --- differences ------------------------------------------------------------------------------------------------------


def test_differences_name_keys_sources_and_order(write):
    old = read(write(WHOLE))
    text = WHOLE.replace("seed: 7", "seed: 8").replace("0.333", "0.36").replace("min_chars: 50", "min_chars: 40")
    text = text.replace("near: {bands: 4, rows: 2, ngram: 5}", "near: null").replace("id: pull-requests", "id: issues")
    assert old.differences(read(write(text))) == [
        "sources.pull-requests: weight 0.006 → absent",
        "sources.issues: absent → weight 0.006",
        "seed: 7 → 8",
        'dedup.near: {"bands": 4, "rows": 2, "ngram": 5} → none',
        "sources.fineweb-edu.weight: 0.333 → 0.36",
        "sources.fineweb-edu.judge.min_chars: 50 → 40",
    ]
    turned = old.with_(sources=old.sources[::-1])
    assert old.differences(turned) == [
        "order of sources: fineweb-edu, org/code, pull-requests → pull-requests, org/code, fineweb-edu"
    ]
    assert old.differences(old) == []


# --- rules that go by kind --------------------------------------------------------------------------------------------

BY_KIND = """
judge: {preset: kind, min_chars: 20}
datasets:
  - {name: a, weight: 1, kind: {type: prose, language: fr}}
  - {name: b, weight: 1, kind: {type: prose, language: en}}
  - {name: c, weight: 1, kind: {type: code, language: Python}}
  - {name: d, weight: 1, kind: {type: prose, language: fr}, judge: {preset: prose, language: de}}
  - {name: e, weight: 1, kind: {type: prose, language: fr}, judge: {min_chars: 5}}
"""


def test_rules_by_kind_are_filled_in(write):
    recipe = read(write(BY_KIND))
    assert [(source.judge.preset, source.judge.language) for source in recipe.sources] == [
        ("prose", "fr"),
        ("prose", "en"),
        ("code", "Python"),
        ("prose", "de"),
        (None, None),
    ]
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_rules_by_kind_are_written_short_and_read_back(write):
    recipe = read(write(BY_KIND))
    text = recipe.to_yaml()
    assert "\njudge: {preset: prose, min_chars: 20}\n" in text
    assert text.count("  judge: ") == 3
    assert read(write(text)).differences(recipe) == []


def test_a_recipe_without_weights_survives_json(write):
    recipe = read(write(LISTS + "dedup: {near: true}\n"))
    given = json.loads(json.dumps(recipe.to_dict()))
    assert not any("weight" in source for source in given["datasets"])
    assert Recipe.from_dict(given) == recipe
    assert recipe.dedup == Dedup(near=Near())


def test_recipes_are_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "smollm3_mix"
    monkeypatch.setattr(files, "__file__", str(package / "recipe" / "files.py"))
    with pytest.raises(RecipeError) as error:
        shipped()
    place = package.resolve() / "configs"
    assert str(error.value) == f"{place}: no shipped recipes are here; install the package again"
    for folder, name in ((tmp_path / "configs", "checkout"), (package / "configs", "wheel")):
        folder.mkdir(parents=True)
        (folder / f"{name}.smollm3_mix.yaml").write_text(SMALL)
        assert shipped() == [name]
        assert read(name).shares == {"a/b": 1.0}
