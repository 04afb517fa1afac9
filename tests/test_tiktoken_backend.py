"""The tiktoken backend returns the ids of its tokenizer for every text. Without a proof there is no backend."""

import json
import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from conftest import document, examples
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.tokenizer.encoder import Tokenizer
from smollm3_mix.tokenizer.tiktoken_backend import (
    ALPHABET,
    CHARACTERS,
    CLASSES,
    MAX_SPACES,
    PATTERN_HEADS,
    PATTERN_TAIL,
    TiktokenBackend,
    load_backend,
)

tokenizers = pytest.importorskip("tokenizers", reason="the tests compare its ids: pip install tokenizers")
pytest.importorskip("tiktoken", reason="the backend needs it: pip install tiktoken")

GPT2 = PATTERN_HEADS[1]
TEXTS = [
    *(document("a", number) for number in range(30)),
    "I'll they've  we're\tIT'S ſ's 'ſ\n\n  if x:\n        return 1234567\r\n",
    "déjà vu — Тест 中文字符 ひらがな 한국어 १२३ ½ ² 😀👩‍👩‍👧 \u00a0\u2003\u0085\u200b",
]
PIECES = [
    "'s",
    "'LL",
    "'ſ",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u00a0",
    "\u2028",
    "1",
    "23",
    "٣",
    "ab",
    "É",
    "中",
    "😀",
    "́",
]
PIECES += ["<|end|>", "<think>", "<", "|", "!?", "\0", "\x1c", "\u180e", "word", "words", "Word"]


def trained(path, head, *, whole=False):
    """Train a small tokenizer that splits by `head`, with a special token and one that is matched in text."""
    from tokenizers import AddedToken, Regex, models, pre_tokenizers, trainers

    made = tokenizers.Tokenizer(models.BPE(ignore_merges=whole))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=head == GPT2)
    split = pre_tokenizers.Split(Regex(head + PATTERN_TAIL), "isolated")
    made.pre_tokenizer = level if head == GPT2 else pre_tokenizers.Sequence([split, level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = {"special_tokens": ["<|end|>"], "initial_alphabet": alphabet, "show_progress": False}
    made.train_from_iterator(
        [*TEXTS, "aaaa aa aaa  " * 9, "        " * 9], trainers.BpeTrainer(vocab_size=600, **words)
    )
    made.add_tokens([AddedToken("<think>", special=False)])
    made.save(str(path))
    return Tokenizer(str(path))


@pytest.fixture(scope="module", params=range(3), ids=["llama3", "gpt2", "llama3 whole"])
def tokenizer(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("load_backend") / "tokenizer.json"
    return trained(path, PATTERN_HEADS[request.param % 2], whole=request.param == 2)


def ids(tokenizer, texts):
    """Return the ids of `tokenizers` alone."""
    found = tokenizer._encoder.encode_batch_fast(texts, add_special_tokens=False)
    return [each.ids for each in found]


def same(tokenizer, texts):
    assert isinstance(tokenizer._backend, TiktokenBackend)
    expected = ids(tokenizer, texts)
    encoded = tokenizer.encode(pa.array(texts, pa.string()))
    assert encoded.type == pa.large_list(pa.int32())
    if encoded.to_pylist() != expected:
        wrong = next(n for n, (a, b) in enumerate(zip(encoded.to_pylist(), expected, strict=True)) if a != b)
        raise AssertionError(f"{texts[wrong]!r}: {encoded[wrong].as_py()} instead of {expected[wrong]}")
    assert tokenizer.count(pa.array(texts, pa.string())).tolist() == list(map(len, expected))


def test_backend_ids_match_on_ordinary_texts(tokenizer):
    same(tokenizer, [*TEXTS, ""])
    assert tokenizer._backend.supports(pa.array(TEXTS)).all()


@examples(60)
@given(texts=st.lists(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join), max_size=40))
def test_backend_ids_match_on_any_text(tokenizer, texts):
    same(tokenizer, texts)


@pytest.mark.parametrize("tokenizer", [0, 1], ids=["llama3", "gpt2"], indirect=True)
def test_backend_ids_match_on_every_character(tokenizer, request):
    great = ("CJK UNIFIED", "CJK COMPAT", "HANGUL SYLLABLE", "EGYPTIAN", "TANGUT", "KHITAN", "NUSHU", "CUNEIFORM")
    assigned = (
        char for char in map(chr, range(sys.maxunicode)) if unicodedata.category(char) not in ("Cn", "Cs", "Co")
    )
    chars = [char for n, char in enumerate(assigned) if not unicodedata.name(char, "").startswith(great) or n % 50 == 0]
    assert len(chars) > 30_000
    some = chars if request.config.getoption("all") else chars[::5]
    same(tokenizer, ["".join(text) for char in some for text in (char, f"'{char}1", f" {char}a")])


@pytest.mark.slow
def test_engines_agree_on_characters_that_are_not_compared(tmp_path):
    """Letters, numbers and spaces of the whole of Unicode, for the versions installed."""
    import tiktoken

    others = "".join(map(chr, sorted({*range(0xD800), *range(0xE000, 0x110000)} - set(map(ord, CHARACTERS)))))
    assert len(others) + len(CHARACTERS) == 0x110000 - 0x800
    alone = {bytes([byte]): byte for byte in range(256)}
    for characters in CLASSES:
        rust = tiktoken.Encoding("x", pat_str=characters, mergeable_ranks=alone, special_tokens={})
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(characters + "+"), "removed", invert=True)
        onig = "".join(run for run, _ in split.pre_tokenize_str(others))
        assert bytes(rust.encode_ordinary(others)).decode() == onig


@pytest.mark.parametrize("tokenizer", [0], ids=["llama3"], indirect=True)
@pytest.mark.parametrize("text", [" ", "x", "\n", "1", "中", "^", " \t", " \n"])
def test_backend_ids_match_on_long_runs(tokenizer, text):
    length = 1_100_000 if not text.strip(" \t") else 200_000  # more white space than tiktoken supports
    same(tokenizer, [text * (length // len(text)) + "x", text * 999 + "x"])


def test_only_long_white_space_goes_to_the_tokenizer(tokenizer):
    texts = pa.array(
        ["x" * (MAX_SPACES + 9), " " * (MAX_SPACES + 1) + "x", " " * MAX_SPACES + "x", "a <think> b", "a <|end|> b"]
    )
    assert tokenizer._backend.supports(texts).tolist() == [True, False, True, False, True]


def test_characters_unknown_to_one_engine_go_to_the_tokenizer():
    known = TiktokenBackend({bytes([byte]): byte for byte in range(256)}, GPT2, {"\U0001e4d0", "a.b"})
    assert known.supports(pa.array(["\U0001e4d1", "\U0001e4d0", "axb", "a.b"])).tolist() == [True, False, True, False]


def test_bos_and_eos_match_with_and_without_the_backend(tokenizer, monkeypatch):
    texts = pa.array([*TEXTS, "", "x <think> y"])
    ended = Tokenizer(tokenizer._path, bos="<think>", eos="<|end|>")
    fast, counts = ended.encode(texts), ended.count(texts)
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    alone = Tokenizer(tokenizer._path, bos="<think>", eos="<|end|>")
    slow = alone.encode(texts)
    assert alone._backend is None
    assert fast.equals(slow)
    assert (counts == np.diff(slow.offsets.to_numpy())).all()
    assert [row[0] for row in slow.to_pylist()] == [ended.bos] * len(texts)
    assert [row[-1] for row in slow.to_pylist()] == [ended.eos] * len(texts)


def written(path, vocab, merges, *, whole=False, **more):
    """Write a tokenizer.json with these tokens besides the bytes, and return its backend."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokens = {char: number for number, char in enumerate(sorted(ALPHABET))} | vocab
    model = {"type": "BPE", "vocab": tokens, "merges": merges, "ignore_merges": whole, "dropout": None}
    described = {"version": "1.0", "added_tokens": [], "pre_tokenizer": level, "model": model, **more}
    path.write_text(json.dumps(described))
    return Tokenizer(str(path))


def test_vocabulary_with_other_merges_has_no_backend(tmp_path):
    falling = written(tmp_path / "a.json", {"ab": 300, "bc": 299}, [["a", "b"], ["b", "c"]])
    unlisted = written(tmp_path / "b.json", {"ab": 300}, [], whole=True)
    assert falling._backend is None
    assert unlisted._backend is None
    assert (
        ids(falling, ["abc"])
        == falling.encode(pa.array(["abc"])).to_pylist()
        == [[300, falling._encoder.token_to_id("c")]]
    )
    assert len(ids(unlisted, ["xab"])[0]) == 3
    unmade = written(tmp_path / "c.json", {"ab": 300, "<|x|>": 301}, [])
    assert unmade._backend is not None
    same(unmade, ["ab", "xab", "<|x|>"])


@pytest.mark.parametrize(
    "more",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": None},
    ],
)
def test_other_steps_have_no_backend(tmp_path, more):
    made = written(tmp_path / "t.json", {"ab": 300}, [["a", "b"]], **more)
    assert made._backend is None
    assert made.encode(pa.array(["Ab ab"])).to_pylist() == ids(made, ["Ab ab"])


@st.composite
def vocabularies(draw):
    """Draw tokens that are pairs of others, with merges of some of their halves, in id order or any other."""
    words = ["a", "b", "c"]
    for _ in range(draw(st.integers(0, 9))):
        words.append(draw(st.sampled_from(words)) + draw(st.sampled_from(words)))
    words = list(dict.fromkeys(words))
    halves = [[[word[:n], word[n:]] for n in range(1, len(word)) if {word[:n], word[n:]} <= {*words}] for word in words]
    merges = [pair for each in halves for pair in draw(st.permutations(each)) if draw(st.integers(0, 5))]
    if draw(st.integers(0, 2)) == 0:
        merges = draw(st.permutations(merges))
    return {word: 300 + n for n, word in enumerate(words[3:])}, merges


@examples(150)
@given(
    vocabulary=vocabularies(),
    whole=st.booleans(),
    texts=st.lists(st.text("abc ", max_size=14), min_size=30, max_size=30),
)
def test_every_backend_returns_the_same_ids(tmp_path_factory, vocabulary, whole, texts):
    made = written(tmp_path_factory.getbasetemp() / "any.json", *vocabulary, whole=whole)
    if load_backend(made._path, made._encoder) is not None:
        same(made, texts)
