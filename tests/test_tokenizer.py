"""Tokens are counted with a tokenizer or taken from a column of counts."""

import json
import sys

import numpy as np
import pyarrow as pa
import pytest
import yaml
from conftest import document, parquet
from small_tokenizer import save

from smollm3_mix.errors import MissingExtraError, SourceError, StateError, UnreadableSourcesError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import TokenCounting

TEXTS = [document("a", number) for number in range(20)]


@pytest.fixture
def tokenizer_file(tmp_path):
    pytest.importorskip("tokenizers", reason="counts with a tokenizer of its own: pip install tokenizers")
    return save(tmp_path / "tokenizer.json")


def test_missing_package_error_names_the_extra(tmp_path, recipe_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    (tmp_path / "tokenizer.json").write_text("{}")
    recipe = recipe_file(tokens={"tokenizer": "tokenizer.json"})
    with pytest.raises(MissingExtraError) as error:
        open_mix(recipe).lane(0)
    assert str(error.value) == (
        "Counting tokens with a tokenizer requires tokenizers. Install it: pip install 'smollm3_mix[tokenizers]'. "
        "Or count with `tokens: per_byte`."
    )


def test_missing_tokenizer_error_names_it(recipe_file):
    with pytest.raises(SourceError) as error:
        open_mix(recipe_file(tokens={"tokenizer": "no/such/tokenizer.json"}))
    assert str(error.value) == (
        "no tokenizer found at 'no/such/tokenizer.json'. Pass a tokenizer.json, a folder that contains one, or a Hub "
        "repository as owner/name."
    )


def test_invalid_tokenizer_file_is_rejected(tmp_path, recipe_file, tokenizer_file):
    tokenizer_file.write_text('{"model": 1}')
    with pytest.raises(SourceError, match=r"tokenizer\.json is not a valid tokenizer: .* Pass a tokenizer\.json"):
        open_mix(recipe_file(tokens={"tokenizer": "tokenizer.json"})).lane(0)


def test_unknown_token_error_names_it(tokenizer_file, recipe_file):
    mix = open_mix(recipe_file(tokens={"tokenizer": "tokenizer.json", "eos": "</s>"}))
    with pytest.raises(SourceError) as error:
        mix.lane(0)
    assert str(error.value) == (
        f"tokenizer {tokenizer_file}: eos: no token '</s>' in the vocabulary. "
        "Special tokens: <|endoftext|>, <|start|>. "
        "Name a token of the vocabulary, or `none`."
    )


@pytest.mark.parametrize("problems", [{"eos": ""}, {"sha256": "abc"}, {"tokeniser": "x"}])
def test_problems_of_tokens_are_problems_of_the_recipe(recipe_file, problems):
    with pytest.raises(ValueError, match="tokens"):
        load_recipe(recipe_file(tokens={"tokenizer": "t.json", **problems}))


def test_records_count_the_tokenizers_tokens(tokenizer_file, recipe_file):
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(tokenizer_file))
    plain = list(open_mix(recipe_file(tokens={"tokenizer": "tokenizer.json"})).stream())
    assert len(plain) > 100
    assert [each["tokens"] for each in plain] == [len(encoder.encode(each["text"])) for each in plain]
    ends = {"tokenizer": "tokenizer.json", "bos": "<|start|>", "eos": "<|endoftext|>"}
    ended = {each["id"]: each["tokens"] for each in open_mix(recipe_file(tokens=ends)).stream()}
    assert all(ended[each["id"]] == each["tokens"] + 2 for each in plain if each["id"] in ended)


def test_shares_are_exact_on_counted_tokens(tokenizer_file, recipe_file):
    mix = open_mix(recipe_file(tokens={"tokenizer": "tokenizer.json"}, lanes=1))
    given = dict.fromkeys("abc", 0)
    longest = 0
    for record in mix.stream():
        given[record["source"]] += record["tokens"]
        longest = max(longest, record["tokens"])
        total = sum(given.values())
        for source, share in mix.recipe.shares.items():
            assert abs(share * total - given[source]) <= longest + share * 3 * longest


def test_special_tokens_in_a_text_are_plain_text(tokenizer_file):
    from smollm3_mix.tokenizer.encoder import Tokenizer

    tokenizer = Tokenizer(str(tokenizer_file), eos="<|endoftext|>")
    ids = tokenizer.encode(pa.array(["one <|endoftext|> two", ""]))
    assert ids.type == pa.large_list(pa.int32())
    assert ids[0].as_py().count(tokenizer.eos) == 1
    assert ids[0].as_py()[-1] == tokenizer.eos
    assert ids[1].as_py() == [tokenizer.eos]


def test_batches_contain_ids_on_request(tokenizer_file, recipe_file):
    from dataclasses import replace

    mix = replace(open_mix(recipe_file(tokens={"tokenizer": "tokenizer.json"})), ids=True)
    stream = mix.stream()
    batch = stream.read(50)
    assert np.diff(batch["ids"].offsets.to_numpy()).tolist() == batch["tokens"].to_pylist()
    assert "ids" not in next(iter(stream))


def test_tokenizer_digest_decides_the_fingerprint(tmp_path, tokenizer_file, recipe_file):
    recipe = load_recipe(recipe_file(tokens={"tokenizer": "tokenizer.json"}))
    pinned = open_mix(recipe).recipe
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    save(moved / "tokenizer.json")
    assert open_mix(recipe.replace(tokens=TokenCounting(str(moved)))).recipe.fingerprint == pinned.fingerprint
    save(moved / "tokenizer.json", vocab=300)
    other = open_mix(recipe.replace(tokens=TokenCounting(str(moved)))).recipe
    assert other.fingerprint != pinned.fingerprint
    assert pinned.diff(other)[0].startswith("tokens.sha256: ")
    assert Recipe.from_dict(json.loads(json.dumps(pinned.to_dict()))) == pinned
    assert yaml.safe_load(pinned.to_yaml())["tokens"]["sha256"] == pinned.tokens.sha256


def test_changed_tokenizer_is_rejected(tokenizer_file, recipe_file):
    pinned = open_mix(recipe_file(tokens={"tokenizer": "tokenizer.json"})).recipe
    was = pinned.tokens.sha256
    save(tokenizer_file, vocab=300)
    with pytest.raises(SourceError) as error:
        open_mix(pinned)
    assert f"but the recipe is pinned to {was[:12]}…. Restore the old file, or remove `sha256`" in str(error.value)


def test_state_resumes_only_with_the_same_tokenizer(tokenizer_file, recipe_file):
    recipe = load_recipe(recipe_file(tokens={"tokenizer": "tokenizer.json"}))
    stream = open_mix(recipe).stream()
    records = iter(stream)
    for _ in range(37):
        next(records)
    state = json.loads(json.dumps(stream.state_dict()))
    rest = [each["id"] for each in records]
    again = open_mix(recipe).stream()
    again.load_state_dict(state)
    assert [each["id"] for each in again] == rest
    save(tokenizer_file, vocab=300)
    with pytest.raises(StateError, match=r"tokens\.sha256"):
        open_mix(recipe).stream().load_state_dict(state)


COUNTS = [3 + 5 * (number % 4) for number in range(20)]


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_column_of_counts_is_used_unchanged(tmp_path, form):
    if form == "parquet":
        parquet(tmp_path / "s", TEXTS, count=COUNTS)
    elif form == "jsonl":
        (tmp_path / "s").mkdir()
        lines = [json.dumps({"text": text, "count": count}) for text, count in zip(TEXTS, COUNTS, strict=True)]
        (tmp_path / "s" / "all.jsonl").write_text("\n".join(lines))
    else:
        (tmp_path / "s").mkdir()
        lines = ["text,count", *(f"{text},{count}" for text, count in zip(TEXTS, COUNTS, strict=True))]
        (tmp_path / "s" / "all.csv").write_text("\n".join(lines))
    source = {"name": "s", "weight": 1, "tokens_field": "count"}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"tokens": "column", "lanes": 1, "datasets": [source]}))
    mix = open_mix(load_recipe(tmp_path / "r.yaml", on_exhausted="stop"))
    expected = dict(zip(TEXTS, COUNTS, strict=True))
    given = list(mix.stream())
    assert len(given) == 20
    assert all(record["tokens"] == expected[record["text"]] for record in given)


def test_column_without_counts_is_rejected(tmp_path):
    parquet(tmp_path / "s", TEXTS, count=[str(count) for count in COUNTS])
    source = {"name": "s", "weight": 1, "tokens_field": "count"}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"tokens": "column", "datasets": [source]}))
    with pytest.raises(
        UnreadableSourcesError, match=r"tokens_field: column 'count' has type string, expected whole numbers"
    ):
        open_mix(tmp_path / "r.yaml")


def test_empty_or_negative_count_is_rejected(tmp_path):
    for bad, value in ((None, "an empty value"), (-3, "-3")):
        parquet(tmp_path / f"s{bad}", TEXTS, count=[*COUNTS[:-1], bad])
        source = {"name": f"s{bad}", "weight": 1, "tokens_field": "count"}
        (tmp_path / "r.yaml").write_text(yaml.safe_dump({"tokens": "column", "lanes": 1, "datasets": [source]}))
        with pytest.raises(SourceError, match=rf"tokens_field: column 'count' contains {value}, expected a number of"):
            list(open_mix(tmp_path / "r.yaml").stream())


def test_column_of_counts_requires_a_field_in_every_source(recipe_file):
    with pytest.raises(ValueError, match=r"column needs a `tokens_field` in every source. It is missing in 'a', 'b'"):
        load_recipe(recipe_file(tokens="column"))


def test_line_without_a_count_is_rejected(tmp_path):
    (tmp_path / "s").mkdir()
    lines = [{"text": text} | ({"count": 5} if number else {"count": None}) for number, text in enumerate(TEXTS)]
    (tmp_path / "s" / "all.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = {"name": "s", "weight": 1, "tokens_field": "count"}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"tokens": "column", "lanes": 1, "datasets": [source]}))
    with pytest.raises(SourceError, match=r"tokens_field: column 'count' contains an empty value"):
        list(open_mix(tmp_path / "r.yaml").stream())
