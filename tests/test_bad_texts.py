"""Unusual texts from source to verified mix: each is counted and either emitted or dropped."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from conftest import document, examples
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.mix.block_pipeline import count_reasons, deduplicate, filter_raw_block
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import RawBlock
from smollm3_mix.sources.source_files import Cursor
from smollm3_mix.text.dedup.dedup_store import DedupStore
from smollm3_mix.verification.verify_mix import verify

QUESTION = "A train leaves the station at noon, and another one leaves (two hours later) at twice its speed. When?"

TEXTS = {
    "empty": "",
    "white space": " \t\n\u2003\u00a0 \r\n ",
    "one long line": "long " * 2_000_000,
    "one long word": "x" * 5_000_000,
    "nulls": "zero\x00bytes \x00\x00 between words " * 9,
    "right to left": "\u202eمرحبا بالعالم\u202c هذا نص طويل بما فيه الكفاية " * 9,
    "combining marks": ("e" + "\u0301" * 40 + " ") * 60,
    "emoji": "👩‍👩‍👧‍👦🇻🇳 " * 60,
    "contaminated": f"Before it. {QUESTION} After it.",
}
LINES = [json.dumps({"id": name, "text": text}, ensure_ascii=False) for name, text in TEXTS.items()]
LINES += ['{"id": "half a pair", "text": "a \\ud83d b"}', '{"id": "null", "text": null}', '{"id": "none"}']


def test_mix_handles_bad_texts_with_every_filter(tmp_path: Path) -> None:
    plain = [json.dumps({"id": f"plain-{n}", "text": document("plain", n)}) for n in range(40)]
    empty = [json.dumps({"id": f"empty-{n}", "text": ""}) for n in range(16)]  # two empty blocks
    (tmp_path / "bad.jsonl").write_text("\n".join([*LINES, *empty, *plain]), encoding="utf-8")
    (tmp_path / "evaluation.jsonl").write_text(json.dumps({"text": QUESTION}))
    (tmp_path / "list.txt").write_text("plain-3\n")
    recipe = {
        "lanes": 1,
        "on_exhausted": "renormalize",
        "block": {"rows": 8},
        "dedup": {"near": True},
        "exclude": "list.txt",
        "decontaminate": "evaluation.jsonl",
        "filters": {"gopher_repetition": True, "min_chars": 1},
        "datasets": [{"id": "bad", "name": "bad.jsonl", "weight": 1}],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    total = write(tmp_path / "mine.yaml", tmp_path / "out", keep_dropped=tmp_path / "drops").stats["train"].total
    assert total.read == len(LINES) + 56 == total.emitted + sum(total.dropped.values())
    found = {name: total.dropped[name] for name in ("empty", "invalid_utf8", "not_text", "excluded", "contaminated")}
    assert found == {"empty": 18, "invalid_utf8": 1, "not_text": 2, "excluded": 1, "contaminated": 1}
    assert verify(tmp_path / "out").problems == ()


def test_source_raises_with_reasons_when_every_block_is_dropped(
    recipe_file: Callable[..., Path], tmp_path: Path
) -> None:
    from smollm3_mix.errors import SourceExhaustedError

    path = recipe_file(sources={"c": {"filters": {"min_chars": 10_000}}})
    with pytest.raises(
        SourceExhaustedError, match=r"'c' has no accepted document in lane 0 of 2 \(\d+ rows read, dropped: too_short"
    ):
        write(path, tmp_path / "out", keep_dropped=tmp_path / "drops")
    assert not (tmp_path / "drops").exists()


STRICT = Recipe.from_dict(
    {
        "file": "strict",
        "dedup": {"exact": True, "near": {"bands": 4, "rows": 2, "ngram": 2}},
        "holdout": {"fraction": 0.1},
        "datasets": [{"id": "bad", "name": "bad", "weight": 1, "filters": {"min_chars": 3, "gopher_repetition": True}}],
    }
)
PIECES = [
    "the same words of a text ",
    "and that it was ",
    "\u202eمرحبا\u202c ",
    "e\u0301\u0301 ",
    "\x00",
    "\n",
    "ab. ",
    "混合物",
]
ROWS = st.lists(
    st.one_of(st.none(), st.text(max_size=9), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)), max_size=12
)


def decisions(texts: list[str | None], cuts: list[int]) -> tuple[list[str | None], list[str | None]]:
    """Return the cleaned texts and the reason of each row for rows in these blocks. Checks the counts."""
    store, found, cleaned = DedupStore(STRICT.dedup, 1 << 20), [], []
    for begin, end in pairwise([0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]):
        if begin == end:
            continue
        block = pa.array(texts[begin:end], pa.string())
        unread = pa.array([None if text is not None else "not_text" for text in texts[begin:end]], pa.string())
        cursors = Cursor(0, begin), Cursor(0, end)
        raw = RawBlock(block, unread, None, None, None, None, "bad", np.arange(begin, end), *cursors, block.nbytes)
        prepared = filter_raw_block(raw, STRICT, STRICT.active[0], "train")
        reasons = deduplicate(prepared, store)
        assert sum(count_reasons(reasons).values()) + reasons.null_count == end - begin
        found += reasons.to_pylist()
        cleaned += prepared.texts.to_pylist()
    assert len(store) == found.count(None)
    return cleaned, found


@examples(200)
@given(ROWS, st.lists(st.integers(0, 12), max_size=4))
def test_cleaning_and_filtering_are_idempotent_for_any_blocks(texts: list[str | None], cuts: list[int]) -> None:
    cleaned, reasons = decisions(texts, [])
    assert decisions(texts, cuts) == (cleaned, reasons)
    kept = [text for text, reason in zip(cleaned, reasons, strict=True) if reason is None]
    assert decisions(kept, []) == (kept, [None] * len(kept))
