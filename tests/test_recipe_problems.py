"""Every problem of a recipe file, each message whole."""

import pytest
from recipes import SMALL, faults_of

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.read_recipe import load_recipe

ANYTHING = "a string, a finite number, true, false, nothing or a list of them"


def read_key(line):
    key = line.split(":")[0]
    return key if key.isdigit() else repr(key)


def fault_of_source(keys):
    return f"datasets:\n  - {{name: a/b, weight: 1}}\n  - {{name: c/d, {keys}}}\n"


def test_single_problem_has_a_complete_message(recipe_text):
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe_text("datasets:\n  - {id: finemath, name: a/b, wieght: 0.5, weight: 0.5}\n"))
    assert str(error.value) == "mine.yaml: source 'finemath': unknown key 'wieght' (did you mean 'weight'?)"


def test_one_error_lists_every_problem_of_a_file(recipe_text):
    text = """
seeed: 4
lanes: 0
weigh_by: token
dedup: {near: {bands: 0}, memory: lots}
filters: {min_char: 3}
datasets:
  - {name: a/b, weight: -0.5, splt: train}
  - {name: c/d, text_field: [a, 3]}
  - a/c
"""
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe_text(text))
    assert str(error.value) == (
        "11 problems\n"
        "  mine.yaml: unknown key 'seeed' (did you mean 'seed'?)\n"
        "  mine.yaml: filters: unknown key 'min_char' (did you mean 'min_chars'?)\n"
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
    ("text", "problem"),
    [
        ("", "is empty. A recipe needs `datasets:` with at least one source"),
        ("# nothing\n", "is empty. A recipe needs `datasets:` with at least one source"),
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
        ("seed: 1\nseed: 2\n" + SMALL, "line 2: key 'seed' is repeated. It is already in line 1"),
        ("a: &a {b: 1}\nc: {<<: [*a, *a]}\n", "line 2: << takes one alias, not a list"),
        ("[" * 500, "not a recipe: nested too deeply"),
        ("[a]: b\n", "not valid YAML at line 1, column 1: found unhashable key"),
        ("a: !!int b\n", "not valid YAML: invalid literal for int() with base 10: 'b'"),
        ("a: \x00\n", "not valid YAML: special characters are not allowed"),
    ],
)
def test_load_recipe_rejects_other_files(text, problem):
    tag = "tag:yaml.org,2002:python/name:os.system"
    refused = f"not valid YAML at line 1, column 4: could not determine a constructor for the tag '{tag}'"
    assert faults_of(text) == [problem or refused]


def test_repeated_key_of_a_source_is_reported_with_both_lines():
    text = "datasets:\n  - name: a\n    weight: 1\n    weight: 2\n"
    assert faults_of(text) == ["line 4: key 'weight' is repeated. It is already in line 3"]


def test_load_recipe_rejects_other_encodings(tmp_path):
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"description: caf\xe9\n")
    with pytest.raises(RecipeError) as error:
        load_recipe(file)
    assert error.value.problems == ["not UTF-8 at byte 16: invalid continuation byte. Save it as UTF-8"]


@pytest.mark.parametrize(
    ("top", "problem"),
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
            "on_exhausted: expected error or stop or renormalize or repeat, got 'again'",
        ),
        ("tokens: tokenizer", "tokens: expected per_byte, column or {tokenizer: FILE}, got 'tokenizer'"),
        ("block: {rows: 0}", "block.rows: expected 1 or more, got 0"),
        ("block: 5", "block: expected a mapping (keys: rows, bytes), got 5"),
        ("holdout: {fraction: 1}", "holdout.fraction: expected 0 or more and less than 1, got 1.0"),
        ("holdout: {fraction: .nan}", "holdout.fraction: expected a finite number, got nan"),
        ("dedup: {exact: 1}", "dedup.exact: expected true or false, got 1"),
        ("dedup: {near: 3}", "dedup.near: expected a mapping (keys: bands, rows, ngram, jaccard), got 3"),
        ("sources: []", "unknown key 'sources' (did you mean 'datasets'?)"),
        ("file: x", "unknown key 'file' (did you mean 'filters'?)"),
        ("1: x", None),
        ("num_shards: 4", "unknown key 'num_shards' (did you mean 'lanes'?)"),
        ("stopping_strategy: x", "unknown key 'stopping_strategy' (did you mean 'on_exhausted'?)"),
        ("description: [a]", "description: expected a string, got the list ['a']"),
    ],
)
def test_problem_of_a_top_level_key_has_a_complete_message(top, problem):
    keys = "datasets, description, seed, lanes, weigh_by, order, block, shuffle, tokens, exclude, decontaminate"
    assert faults_of(f"{top}\n{SMALL}") == [
        problem or f"unknown key {read_key(top)} (keys: {keys}, dedup, holdout, on_exhausted, weighted, clean, filters)"
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
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
        ("weight: 1, content: swhid", "content: expected inline or swh or records, got 'swhid' (did you mean 'swh'?)"),
        ("weight: 1, clean: brose", "clean: profile must be one of prose, code, math, none, got 'brose'"),
        ("weight: 1, repo: x", "unknown key 'repo' (did you mean 'name'?)"),
        ("weight: 1, column: x", "unknown key 'column' (did you mean 'text_field'?)"),
        ("weight: 1, Max-Passes: 3", "unknown key 'Max-Passes' (did you mean 'max_passes'?)"),
        ("weight: 1, descripton: x", "unknown key 'descripton' (did you mean 'description'?)"),
        ("weight: 1, probability: 0.5", "unknown key 'probability' (did you mean 'weight'?)"),
        ("weight: 1, gated: 'yes'", "gated: expected true or false, got 'yes'"),
        ("weight: 1, unavailable: true", "unavailable: expected a string, got true (write it in quotes)"),
    ],
)
def test_problem_of_a_source_has_a_complete_message(keys, problem):
    assert faults_of(fault_of_source(keys)) == [f"source 'c/d': {problem}"]


def test_config_and_subset_must_be_equal():
    assert faults_of(fault_of_source("weight: 1, subset: x, config: y")) == [
        "source 'c/d/y': subset: means the same as `config`, which is 'y'. Leave it out"
    ]


def test_unknown_key_without_a_near_match_lists_all_keys():
    keys = (
        "id, weight, name, config, data_dir, data_files, revision, split, text_field, separator, id_field, where, keep"
    )
    keys += ", kind, license, tokens_per_byte, tokens_field, max_passes, clean, filters, content, gated"
    keys += ", unavailable, deviation"
    assert faults_of(fault_of_source("weight: 1, xyz: 2")) == [f"source 'c/d': unknown key 'xyz' (keys: {keys})"]


def test_source_requires_a_name():
    assert faults_of("datasets: [{weight: 1}]") == [
        "datasets[0]: missing key 'name' (Hub repository or local path, or give the reason in `unavailable`)"
    ]
    assert faults_of("datasets: [{weight: 1, unavailable: Gone.}]") == [
        "datasets[0]: missing key 'id' (a source without a name needs one)"
    ]


def test_id_rejects_control_characters():
    assert faults_of('datasets: [{name: a, weight: 1, id: "a\\nb"}]') == [
        "source 'a\\nb': id: expected at least one character and no control characters, got 'a\\nb'"
    ]


def test_repeated_id_is_rejected():
    copy = "  - {name: a, config: x, weight: 1}\n"
    assert faults_of(f"datasets:\n{copy}  - {{name: b, weight: 1}}\n{copy}") == [
        "sources 1 and 3 have the same id 'a/x'. Give one of them another, such as `id: a/x-2`",
    ]


def test_weights_too_far_apart_are_rejected():
    two = "datasets:\n  - {{name: a, weight: {}}}\n  - {{name: b, weight: {}}}\n"
    assert faults_of(two.format(0, 0.0)) == ["all 2 weights are 0. Give at least one source a weight above 0"]
    assert faults_of(two.format(5e-324, 1e300)) == [
        "weights from 4.94066e-324 to 1e+300 are too far apart. Bring them closer together"
    ]
    assert faults_of(two.format("1.7e+308", "1.7e+308")) == [
        "weights from 1.7e+308 to 1.7e+308 are too far apart. Bring them closer together"
    ]
    assert faults_of("datasets: [{id: a, weight: 1, unavailable: Gone.}, {name: b, weight: 0}]") == [
        "every source with a weight above 0 is unavailable. Nothing is left to read"
    ]
