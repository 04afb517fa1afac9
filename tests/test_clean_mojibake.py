"""The option `mojibake`: repaired text, unchanged text, and the error without ftfy."""

import sys

import pyarrow as pa
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.errors import MissingExtraError
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.clean.cleaning_options import Cleaning

REPAIR = Cleaning(mojibake=True)
WORDS = (
    "déjà vu",
    "größer",
    "“quoted” — text",
    "Việt Nam",
    "Привет, мир",
    "Ελληνικά",
    "中文",
    "한국어",
    "हिन्दी",
    "фарсі ґ",
)


def repaired(texts):
    pytest.importorskip("ftfy")
    return clean_texts(pa.array(texts), REPAIR)


def test_clean_texts_raises_when_ftfy_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(MissingExtraError) as caught:
        clean_texts(pa.array(["plain"]), REPAIR)
    assert str(caught.value) == (
        "clean: mojibake requires ftfy, which is not installed. Run: pip install 'smollm3_mix[mojibake]'. "
        "Or remove mojibake"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1251"])
@pytest.mark.parametrize("text", WORDS)
def test_mojibake_of_other_encodings_is_repaired(text, encoding):
    ftfy = pytest.importorskip("ftfy")
    wrong = text.encode().decode(encoding, errors="replace")
    expected = clean_texts(pa.array([ftfy.fix_encoding(wrong)]), Cleaning()).to_pylist()
    assert repaired([wrong]).to_pylist() == expected


def test_mojibake_repair_changes_affected_lines_only():
    text = "Ã©tÃ© — caf\x85\nмир “quotes” &amp; ﬁ\nplain  x"
    assert repaired([text, None]).to_pylist() == ["été — caf…\nмир “quotes” &amp; ﬁ\nplain x", None]


def test_mojibake_repair_returns_same_array_when_nothing_changes():
    pytest.importorskip("ftfy")
    texts = pa.array([*WORDS, "l’été à Paris : « oui »", "Ärger über Öl", "", None])
    assert clean_texts(texts, REPAIR) is texts


def test_repaired_row_does_not_depend_on_its_block():
    texts = ["é", "Ã©", "Ã", "œ", "a", "Â ", "°", "€", "â€™", "вЂ", "中", "\x9d", "", "Å b\nÅ\ufffd"]
    alone = [repaired([text])[0].as_py() for text in texts]
    for before, new_before in zip(texts, alone, strict=True):
        pairs = repaired([part for text in texts for part in (before, text)])
        assert pairs.to_pylist() == [part for text in alone for part in (new_before, text)]


@examples(100)
@given(
    st.lists(st.sampled_from([*"ÃÂâ€™©®\xa0\x85\xad °œ \ta\n\x00", "Ã ", "\u200b", "вЂ", "é", "e\u0301"])).map("".join)
)
def test_mojibake_repair_is_idempotent(text):
    once = repaired([text])
    assert clean_texts(once, REPAIR) is once


def test_mojibake_repair_repeats_until_stable():
    ftfy = pytest.importorskip("ftfy")
    twice = "Ã\x00©tÃ\u200b©"  # mojibake only after other characters are removed
    assert ftfy.fix_encoding(twice) == twice
    assert repaired([twice]).to_pylist() == ["été"]
