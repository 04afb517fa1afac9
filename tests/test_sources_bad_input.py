"""Bad input is counted under a reason, or raises an error with source, file and remedy."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from sources_fixtures import blocks, packed, reader, resolved, rows, source, write

from smollm3_mix.errors import SourceError
from smollm3_mix.recipe.model import Block
from smollm3_mix.sources.formats import json_lines
from smollm3_mix.sources.source_files import Cursor, SourceFault


def message(path: Path, form: str = "json", **changes: Any) -> str:
    with pytest.raises(SourceError) as error:
        blocks(reader(resolved(path, form=form), **changes))
    return str(error.value)


def texts_and_reasons(path: Path, form: str = "json", **changes: Any) -> list[tuple[str | None, str | None]]:
    return [(text, reason) for _, _, text, reason in rows(blocks(reader(resolved(path, form=form), **changes)))]


def test_null_and_other_types_get_reason_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": null}\n{}\n{"text": 3}\n{"text": {"a": 1}}\n{"text": "b"}\n')
    assert texts_and_reasons(path) == [
        ("a", None),
        (None, "not_text"),
        (None, "not_text"),
        (None, "not_text"),
        (None, "not_text"),
        ("b", None),
    ]
    for kind in (pa.null(), pa.int64(), pa.struct([("a", pa.string())])):
        pq.write_table(pa.table({"text": pa.nulls(2, kind)}), tmp_path / "a.parquet")
        assert texts_and_reasons(tmp_path / "a.parquet", "parquet") == [(None, "not_text")] * 2


def test_invalid_utf8_gets_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"text": "a", "z": "\xff"}\n{"text": "\xe9"}\n{"text": "\\ud800"}\n{"text": "b", "id": "\xff"}\n'
    )
    expected = [("a", None), (None, "invalid_utf8"), (None, "invalid_utf8"), ("b", None)]
    assert texts_and_reasons(path) == expected
    (block,) = blocks(reader(resolved(path, form="json")))
    assert block.ids.to_pylist() == [None, None, None, "\ufffd"]

    raw = pa.array([b"a", b"\xe9", None, b"b"], pa.binary())
    unsound = pa.StringArray.from_buffers(4, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    for column in (raw, unsound):
        pq.write_table(pa.table({"text": column, "url": column}), tmp_path / "a.parquet")
        assert texts_and_reasons(tmp_path / "a.parquet", "parquet") == [
            ("a", None),
            (None, "invalid_utf8"),
            (None, "not_text"),
            ("b", None),
        ]
        (block,) = blocks(reader(resolved(tmp_path / "a.parquet"), id_field="url", keep=("url",)))
        assert block.meta.to_pylist() == ['{"url": "a"}', None, None, '{"url": "b"}']

    path = tmp_path / "a.csv"
    path.write_bytes(b"text,n\na,1\n\xe9,2\n")
    assert texts_and_reasons(path, "csv") == [("a", None), (None, "invalid_utf8")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            '{"text": "b"',
            'line 2 is not valid JSON (Expecting \',\' delimiter: line 1 column 13 (char 12)): {"text": "b"',
        ),
        (
            '{"text": "b"}{"text": "c"}',
            'line 2 is not valid JSON (Extra data: line 1 column 14 (char 13)): {"text": "b"}{"text": "c"}',
        ),
        ("null", "line 2 must be a JSON object, got NoneType: None"),
        ("[1]", "line 2 must be a JSON object, got list: [1]"),
        ("12", "line 2 must be a JSON object, got int: 12"),
    ],
)
def test_line_must_be_a_json_object(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a"}}\n{line}\n   \n{{"text": "d"}}\n')
    assert message(path) == f"source 's': data/a.jsonl: {problem}"


def test_blank_lines_and_byte_order_mark_yield_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n   \n{"text": "b"}\n\n{"text": "c"}')
    found = rows(blocks(reader(resolved(path, form="json"))))
    assert [(row, text) for _, row, text, _ in found] == [(0, "a"), (3, "b"), (5, "c")]


def test_json_array_error_names_the_conversion(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ('[{"text": "a"}]', '[\n {"text": "a"},\n {"text": "b"}\n]'):
        path.write_text(text)
        assert message(path) == (
            "source 's': data/a.json: the file is one JSON array, expected one object per line. "
            "Convert it, for example: jq -c '.[]' FILE > FILE.jsonl"
        )


def test_missing_column_error_suggests_similar_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"Text": "a", "url": "u"}])
    assert (
        message(path, "parquet")
        == "source 's': data/a.parquet: no column 'text' (did you mean 'Text'?). Columns: Text, url"
    )
    assert "no column 'uri' (did you mean 'url'?), 'zzz'. Columns: Text, url" in message(
        path, "parquet", text_field="Text", where=(("uri", "==", "u"),), keep=("zzz",)
    )


def test_where_raises_when_types_differ(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [{"text": "a", "n": "7"}])
    assert message(tmp_path / "a.parquet", "parquet", where=(("n", ">=", 3),)) == (
        "source 's': data/a.parquet: where n >= 3: cannot compare column 'n' of type string with 3"
    )
    write(tmp_path / "a.jsonl", [{"text": "a", "n": "7"}])
    assert message(tmp_path / "a.jsonl", where=(("n", "in", (3, 4)),)) == (
        "source 's': data/a.jsonl: line 1: where n in (3, 4): cannot compare '7' with (3, 4)"
    )


def test_reader_raises_when_a_file_was_removed(tmp_path: Path) -> None:
    for name, form in (("a.parquet", "parquet"), ("a.jsonl", "json")):
        found = resolved(write(tmp_path / name, [{"text": "a"}]), form=form)
        (tmp_path / name).unlink()
        with pytest.raises(SourceError) as error:
            reader(found).read()
        assert str(error.value) == (
            f"source 's': data/{name} was removed after the mix was opened. Open the mix again, or restore the file."
        )


def test_reader_raises_when_a_file_was_rewritten(tmp_path: Path) -> None:
    found = resolved(write(tmp_path / "a.jsonl", [{"text": "a"}]), form="json")
    write(tmp_path / "a.jsonl", [{"text": "abc"}])
    with pytest.raises(SourceError) as error:
        reader(found).read()
    problem = "the file size changed from 14 to 16 bytes after the mix was opened. Open the mix again."
    assert str(error.value) == f"source 's': data/a.jsonl: {problem}"


def test_reader_raises_when_a_parquet_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 not really PAR1")
    assert message(path, "parquet").startswith("source 's': data/a.parquet is damaged or incomplete (")
    table = pa.table({"text": [f"{i} text" for i in range(1000)]})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1  # one bit of the text
    path.write_bytes(data)
    assert "is damaged or incomplete" in message(path, "parquet")
    path.write_bytes(data[: len(data) // 2])
    assert "is damaged or incomplete" in message(path, "parquet")
    path.write_bytes(b"")
    assert blocks(reader(resolved(path))) == []


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst", ".xz"])
def test_reader_raises_when_a_compressed_file_is_truncated(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 2**63, 20_000)
    path = tmp_path / f"a.jsonl{ending}"
    data = packed(path, "".join(f'{{"text": "{n}"}}\n' for n in noise).encode())
    path.write_bytes(data[: len(data) * 3 // 4])
    found = message(path)
    assert found.startswith(f"source 's': data/a.jsonl{ending} is damaged or incomplete (")
    assert found.endswith("). Fetch the file again, or leave it out with data_files.")


def test_reader_raises_when_junk_follows_compressed_data(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n') + b"junk")
    assert "is damaged or incomplete" in message(path)


def test_csv_reader_raises_when_a_row_has_another_number_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,n\na,1\nb\n")
    problem = "cannot parse CSV from row 0 on: CSV parse error: Row #3: Expected 2 columns, got 1: b"
    assert message(path, "csv") == f"source 's': data/a.csv: {problem}"


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz", "a.csv", "a.arrow", "a.stream"])
def test_document_of_50_mb_is_one_block(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{"text": "a"}, {"text": "long " * 10_000_000}, {"text": "b"}])
    form = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow", ".stream": "arrow"}.get(path.suffix, "json")
    found = blocks(reader(resolved(path, form=form)))
    assert [block.bytes for block in found] == [50_000_001, 1]


def test_reader_keeps_its_cursor_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' * 3 + "{\n")
    opened = reader(resolved(path, form="json"), block=Block(rows=2, bytes=14))
    assert opened.read() is not None
    for _ in range(2):
        with pytest.raises(SourceError, match="line 4 is not valid JSON"):
            blocks(opened)
    path.write_text('{"text": "a"}\n' * 3 + "{}")
    assert opened.cursor == Cursor(0, 2)
    assert [row for _, row, _, _ in rows(blocks(opened))] == [2, 3]


json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
plain = st.text(max_size=8)
typed = st.fixed_dictionaries(
    {"text": plain},
    optional={
        "id": st.integers(0, 5),
        "url": plain | st.none(),
        "n": st.integers(0, 9) | st.none(),
        "flag": st.booleans() | st.none(),
        "parts": st.none() | st.lists(st.none() | st.fixed_dictionaries({"t": plain | st.none()})),
    },
)
wild = st.dictionaries(st.sampled_from(["text", "id", "url", "n", "flag", "parts"]), json_value)
sources = st.sampled_from(
    [
        source(),
        source(keep=("url", "flag")),
        source(text_field=("text", "parts.t"), where=(("n", ">=", 3),), keep=("id", "n")),
        source(where=(("flag", "==", True),), id_field="url"),
    ]
)


@examples(300)
@given(
    st.lists(typed | typed | wild, min_size=1, max_size=6),
    sources,
    st.booleans(),
    st.sampled_from([b"", b"\xff", b"\xc3"]),
)
def test_arrow_and_json_parse_lines_to_the_same_rows(
    objects: list[dict[str, Any]], of: Any, escaped: bool, junk: bytes
) -> None:
    text = "".join(json.dumps(item, ensure_ascii=escaped) + "\n" for item in objects)
    chunk = text.encode("utf-8", "surrogatepass").replace(b"a", junk)
    numbers = np.arange(len(objects))
    first = chunk[: chunk.index(b"\n") + 1]  # types come from one line, so that other lines differ

    def parsed(slowly: bool) -> Any:
        try:
            columns, schema = json_lines._bind_sample(of, first)
            batch = json_lines._parse(chunk, numbers, columns, None if slowly else schema)
            return batch and batch.to_pylist()
        except SourceFault as problem:
            return str(problem)

    assert parsed(True) == parsed(False)
