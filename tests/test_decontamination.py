"""`decontaminate:` drops or marks documents that share a word n-gram with evaluation texts."""

import itertools
import json
import pickle
import random
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import WORDS, document
from hypothesis import given
from hypothesis import strategies as st
from recipes import faults_of

from smollm3_mix.errors import RecipeError, UnreadableSourcesError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.sections import Decontaminate, Texts
from smollm3_mix.text.decontamination import NONE, EvaluationNgrams, NgramCollector, hash_ngrams, normalized_words
from smollm3_mix.verification.verify_mix import verify

Make = Callable[..., Path]


def collect(*sets: list[str], ngram: int = 13) -> EvaluationNgrams:
    collection = NgramCollector(ngram)
    for number, texts in enumerate(sets):
        collection.begin(f"set {number}")
        collection.add(pa.array(texts, pa.string()))
    return collection.evaluation_ngrams()


def normalized(text: str) -> list[str]:
    found = normalized_words(pa.array([text]))
    return [bytes(found.data[a:b]).decode() for a, b in zip(found.starts, found.ends, strict=True)]


def plain_words(text: str) -> list[str]:
    """Return the words of ASCII text in plain Python."""
    return re.sub(f"[^{string.ascii_lowercase}{string.digits}]", " ", text.lower()).split()


QUESTION = "A train leaves the station at noon, and another one leaves (two hours later) at twice its speed. When?"


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        QUESTION.upper(),
        f"Before. {QUESTION} After.",
        QUESTION.replace(",", "").replace(" ", "\n\t"),
        QUESTION.replace(" ", " — ").replace("(", "«"),
        QUESTION.replace(" ", "\u3000\u200b"),
    ],
)
def test_decontamination_ignores_case_punctuation_and_white_space(text: str) -> None:
    assert collect([QUESTION]).search(pa.array([text])).tolist() == [0]


def test_decontamination_requires_thirteen_consecutive_words() -> None:
    words = plain_words(QUESTION)
    found = collect([QUESTION])
    twelve, thirteen = " ".join(words[2:14]), " ".join(words[2:15])
    gap = " ".join([*words[:7], "really", *words[7:14]])
    assert found.search(pa.array([twelve, thirteen, gap, "", None])).tolist() == [NONE, 0, NONE, NONE, NONE]


def test_ngram_does_not_span_two_documents() -> None:
    words = plain_words(QUESTION)
    halves = pa.array([" ".join(words[:7]), " ".join(words[7:])])
    assert collect([QUESTION]).search(halves).tolist() == [NONE, NONE]


def test_search_returns_first_matching_set() -> None:
    one, two = document("a", 100), document("b", 120)
    found = collect([two], [one, two])
    assert found.search(pa.array([f"{one} {two}", one, two, "x"])).tolist() == [0, 1, 0, NONE]


def test_texts_shorter_than_an_ngram_are_counted_and_never_match() -> None:
    collection = NgramCollector(13)
    collection.begin("x")
    collection.add(pa.array(["What is two and two?", QUESTION, ""]))
    assert (collection.texts, collection.short) == (3, 2)
    assert collection.evaluation_ngrams().search(pa.array(["What is two and two?"])).tolist() == [NONE]


CHINESE = "小明有三个苹果,他给了小红一个,又从商店买了五个,请问他现在一共有多少个苹果呢?"
THAI = "นักเรียนคนหนึ่งมีหนังสืออยู่สิบเล่มเขาให้เพื่อนไปสามเล่มแล้วซื้อเพิ่มอีกห้าเล่มตอนนี้เขามีหนังสือกี่เล่ม"


@pytest.mark.parametrize(("text", "n"), [(CHINESE, 26), (THAI, 52)])
def test_unspaced_scripts_use_character_ngrams(text: str, n: int) -> None:
    found = collect([text, QUESTION])
    assert [grams.n for grams in found.ngrams] == [13, n]
    parts = normalized(text)
    assert all(len(part) == 1 for part in parts)
    exactly, fewer = "".join(parts[1 : n + 1]), "".join(parts[1:n])
    english = " ".join(WORDS * 20)
    texts = [exactly, fewer, f"{english} {text} {english}", english, f"{text[:9]} {QUESTION}"]
    assert found.search(pa.array(texts)).tolist() == [0, NONE, 0, NONE, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Đây là « Văn bản » – THỨ hai…", ["đây", "là", "văn", "bản", "thứ", "hai"]),
        ("ÉTÉ,été", ["été", "été"]),
        ("مرحبا، كيف؟", ["مرحبا", "كيف"]),
        ("नमस्ते। दुनिया", ["नमस्ते", "दुनिया"]),
        ("ab中文c。d", ["ab", "中", "文", "c", "d"]),
        ("x²+y≠z\x00w", ["x²", "y", "z", "w"]),
        ("\U0001d538 \U0001f600 z", ["\U0001d538", "\U0001f600", "z"]),
        ("--- ...", []),
    ],
)
def test_normalized_words_of_other_scripts(text: str, words: list[str]) -> None:
    assert normalized(text) == words


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_normalized_words_of_ascii_are_runs_of_letters_and_digits(text: str) -> None:
    assert normalized(text) == plain_words(text)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(2, 20))
def test_ngram_hashes_are_equal_only_for_equal_ngrams(values: list[int], n: int) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 4, dtype=np.uint64)[np.array(values, dtype=np.int64)]
    plain = [tuple(values[i : i + n]) for i in range(len(values) - n + 1)]
    found = hash_ngrams(hashes, n).tolist()
    assert len(found) == len(plain)
    assert len(set(zip(plain, found, strict=True))) == len(set(plain)) == len(set(found))


texts = st.lists(
    st.lists(st.sampled_from(["a", "B,", "ç", "中文", "d—e", "\n"]), max_size=12).map(" ".join) | st.none(), max_size=8
)


@given(texts, st.lists(st.sampled_from(["a", "b", "ç", "中", "文", "d"]), min_size=3, max_size=9), st.integers(0, 8))
def test_decontamination_does_not_depend_on_the_block(rows: list[str | None], words: list[str], cut: int) -> None:
    found = collect([" ".join(words)], ngram=2)
    block = pa.array(rows, pa.string())
    alone = [found.search(pa.array([row], pa.string()))[0] for row in rows]
    assert found.search(block).tolist() == alone
    assert [*found.search(block.slice(0, cut)), *found.search(block.slice(cut))] == alone


def ngrams_of(text: str, n: int) -> set[tuple[str, ...]]:
    """Return the word n-grams of ASCII text."""
    words = plain_words(text)
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_decontamination_matches_reference() -> None:
    draw = random.Random(1)
    evaluation = [" ".join(draw.choices(WORDS[:6], k=draw.randrange(40))) for _ in range(30)]
    rows = [", ".join(draw.choices(WORDS[:6], k=draw.randrange(120))).upper() for _ in range(300)]

    bad = set().union(*(ngrams_of(text, 5) for text in evaluation))
    expected = [bool(ngrams_of(row, 5) & bad) for row in rows]
    assert 10 < sum(expected) < 290
    assert (collect(evaluation, ngram=5).search(pa.array(rows)) != NONE).tolist() == expected


# In a mix

QUESTIONS = {f"{document('a', 30)}\n\nYes.", f"{document('b', 44)}\n\nNo."}


def contaminated(texts: set[str]) -> set[str]:
    """Return the texts that share 13 consecutive words with QUESTIONS. The toy sources contain some duplicates."""
    bad = set().union(*(ngrams_of(text, 13) for text in QUESTIONS))
    return {text for text in texts if ngrams_of(text, 13) & bad}


def write_evaluation_texts(folder: Path, name: str = "questions.jsonl", **changes: Any) -> str:
    """Write evaluation texts, one of which is in documents 30 of `a` and 44 of `b`."""
    rows = [{"question": document("a", 30), "answer": "Yes."}, {"question": document("b", 44), "answer": "No."}]
    (folder / name).write_text("".join(json.dumps({**row, **changes}) + "\n" for row in rows), encoding="utf-8")
    return name


def decontaminate_options(name: str, **more: Any) -> dict[str, Any]:
    return {"texts": {"name": name, "text_field": ["question", "answer"]}, **more}


def test_mix_drops_and_counts_contaminated_documents(recipe_file: Make, tmp_path: Path) -> None:
    path = recipe_file(
        decontaminate=decontaminate_options(write_evaluation_texts(tmp_path)), on_exhausted="renormalize"
    )
    stream = open_mix(path).stream()
    out = {record["text"] for record in stream}
    total = stream.stats.total
    assert total.read == total.emitted + total.pending + sum(total.dropped.values())
    plain = {record["text"] for record in open_mix(recipe_file("plain", on_exhausted="renormalize")).stream()}
    assert {document("a", 30), document("b", 44)} <= contaminated(plain)
    assert plain - out == contaminated(plain)
    assert len(contaminated(plain)) <= total.dropped["contaminated"] < len(plain) / 10  # duplicates are counted too


def test_contaminated_documents_name_their_set_after_resume(recipe_file: Make, tmp_path: Path) -> None:
    action = decontaminate_options(write_evaluation_texts(tmp_path), action="mark")
    path = recipe_file(decontaminate=action, on_exhausted="renormalize", sources={"b": {"keep": ["id"]}})
    mix = open_mix(path)
    records = list(mix.stream())
    marked = {r["text"]: json.loads(r["meta"]) for r in records if "contaminated" in r["meta"]}
    assert set(marked) == contaminated({record["text"] for record in records})
    mark = {"contaminated": True, "contaminated_by": "questions.jsonl"}
    assert marked[document("a", 30)] == mark
    assert marked[document("b", 44)] == {"id": "own-44"} | mark
    stream = mix.stream()
    for start in range(0, len(records), 25):
        assert list(itertools.islice(stream, 25)) == records[start : start + 25]
        state = json.loads(json.dumps(stream.state_dict()))
        stream = mix.stream()
        stream.load_state_dict(state)


def test_workers_receive_the_ngrams_with_the_plan(recipe_file: Make, tmp_path: Path) -> None:
    path = recipe_file(decontaminate=decontaminate_options(write_evaluation_texts(tmp_path)))
    mix = open_mix(path)
    expected = list(mix.stream())
    (tmp_path / "questions.jsonl").unlink()
    assert list(pickle.loads(pickle.dumps(mix)).stream()) == expected


def test_written_mix_is_pinned_to_its_evaluation_texts(recipe_file: Make, tmp_path: Path) -> None:
    write_evaluation_texts(tmp_path)
    path = recipe_file(decontaminate=decontaminate_options(str(tmp_path / "questions.jsonl")))
    write(path, tmp_path / "one", num_proc=2)
    assert verify(tmp_path / "one").problems == ()
    pinned = load_recipe(tmp_path / "one" / "recipe.yaml")
    write(pinned, tmp_path / "two")
    one, two = ([p.read_bytes() for p in sorted((tmp_path / n / "data").iterdir())] for n in ("one", "two"))
    assert one == two
    questions = (tmp_path / "questions.jsonl").read_text()
    (tmp_path / "questions.jsonl").write_text(questions.replace(" the ", " teh ", 1))
    with pytest.raises(RecipeError) as error:
        open_mix(pinned)
    assert re.fullmatch(
        r"\S+recipe.yaml: decontaminate: the texts have sha256 [0-9a-f]{12}…, but the recipe is pinned to "
        r"[0-9a-f]{12}…\. Restore the old texts, or remove `sha256`\.",
        str(error.value),
    )


def test_open_mix_raises_when_an_evaluation_set_is_missing(recipe_file: Make, tmp_path: Path) -> None:
    path = recipe_file(decontaminate={"texts": [write_evaluation_texts(tmp_path), str(tmp_path / "gone.jsonl")]})
    with pytest.raises(UnreadableSourcesError) as error:
        open_mix(path, skip_unreadable=True)
    first, *lines, last = str(error.value).splitlines()
    assert first == f"{path}: decontaminate: 2 of 2 evaluation sets cannot be read"
    assert lines[0].startswith("  'questions.jsonl': no column 'text'")
    assert lines[1].startswith(f"  'gone.jsonl': no local file or folder '{tmp_path}/gone.jsonl', and")
    assert last == "Fix these sets, or remove them from `decontaminate`."


def test_texts_without_an_ngram_are_reported(
    recipe_file: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = write_evaluation_texts(tmp_path, "short.jsonl", question="How many?")
    path = recipe_file(decontaminate=decontaminate_options(short))
    with pytest.raises(RecipeError) as error:
        open_mix(path)
    assert str(error.value) == (
        f"{path}: decontaminate: none of the 2 texts of 'short.jsonl' has 13 words, so none can be "
        "matched. Name more columns in its `text_field` (for example question and answer), or lower `ngram`."
    )
    with (tmp_path / "short.jsonl").open("a") as file:
        file.write(json.dumps({"question": document("a", 30)}))
    open_mix(path)
    assert "2 of 3 texts of 'short.jsonl' have fewer than 13 words and cannot be matched" in caplog.text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("{texts: []}", "decontaminate.texts: expected at least one set, got an empty list"),
        ("{texts: a, ngram: 1}", "decontaminate.ngram: expected 2 to 64, got 1"),
        ("{texts: a, action: keep}", "decontaminate.action: expected drop or mark, got 'keep'"),
        (
            "{texts: [a, a]}",
            "decontaminate.texts: 'a' is listed twice. List the columns of both in one `text_field`",
        ),
        ("{ngram: 13}", "decontaminate: missing key 'texts' (a mapping"),
    ],
)
def test_invalid_decontaminate_options_are_rejected(options: str, problem: str) -> None:
    (found,) = faults_of(f"decontaminate: {options}\ndatasets:\n  - {{name: a/b, weight: 1}}\n")
    assert found.startswith(problem)


def test_other_evaluation_texts_change_the_fingerprint(recipe_file: Make, tmp_path: Path) -> None:
    write_evaluation_texts(tmp_path)
    recipes = [
        load_recipe(
            recipe_file(
                **({"decontaminate": decontaminate_options("questions.jsonl", **more)} if more is not None else {})
            )
        )
        for more in (None, {}, {"ngram": 10}, {"action": "mark"})
    ]
    assert len({recipe.fingerprint for recipe in recipes}) == 4
    opened = open_mix(recipes[1]).recipe
    assert opened.fingerprint != recipes[1].fingerprint
    assert type(opened).from_dict(json.loads(json.dumps(opened.to_dict()))) == opened
    (tmp_path / "again.yaml").write_text(opened.to_yaml())
    assert load_recipe(tmp_path / "again.yaml").fingerprint == opened.fingerprint


def test_symbols_between_unspaced_characters_are_not_words():
    assert normalized("カナ・カ x・y") == ["カ", "ナ", "カ", "x", "y"]
    assert normalized("・") == []


def test_ngrams_do_not_span_two_evaluation_texts() -> None:
    words = plain_words(QUESTION)
    halves = [" ".join(words[:15]), " ".join(words[15:])]
    assert collect(halves, ngram=4).search(pa.array([" ".join(words[13:17]), *halves])).tolist() == [NONE, 0, 0]


def test_collector_counts_restart_with_each_set() -> None:
    collection = NgramCollector(3)
    for texts, counts in ((["one two three", "one two"], (2, 1)), (["one", "a b c", "a b c d"], (3, 1))):
        collection.begin("x")
        collection.add(pa.array(texts))
        assert (collection.texts, collection.short) == counts


def test_digest_depends_on_sets() -> None:
    one, two = document("a", 100), document("b", 120)
    assert collect([one], [two]).digest != collect([one, two]).digest
    assert collect([one, two]).digest == collect([two, one]).digest


def test_text_half_in_unspaced_script_uses_word_ngrams() -> None:
    words = "a b 中 文"  # two of four are characters
    assert [grams.n for grams in collect([words], ngram=3).ngrams] == [3]
    assert [grams.n for grams in collect([words + " 我 们"], ngram=3).ngrams] == [6]


def test_ngram_length_must_be_from_2_to_64() -> None:
    assert [Decontaminate(Texts("x"), ngram=n).ngram for n in (2, 64)] == [2, 64]
    for n in (1, 65):
        with pytest.raises(ValueError, match=f"ngram: expected 2 to 64, got {n}"):
            Decontaminate(Texts("x"), ngram=n)
