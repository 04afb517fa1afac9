"""Reading: all formats and layouts give the same rows and blocks from any position."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from sources_fixtures import blocks, expected_sizes, reader, resolved, rows, source, write

from smollm3_mix.recipe.model import Block
from smollm3_mix.sources import block_reader
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.formats import parquet
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.source_files import Cursor
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows

ENDINGS = (
    ".parquet",
    ".jsonl",
    ".jsonl.zst",
    ".json.gz",
    ".jsonl.bz2",
    ".jsonl.xz",
    ".csv",
    ".csv.gz",
    ".arrow",
    ".stream",
)


def form(path: Path) -> str:
    kinds = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow", ".stream": "arrow"}
    return next((kind for ending, kind in kinds.items() if ending in path.suffixes), "json")


TEXTS = ["", "one", "é" * 40, "zwei\nZeilen", 'quoted "word", comma', "\u2028", "x" * 300]


@pytest.mark.parametrize("ending", ENDINGS)
def test_formats_yield_the_same_rows_and_blocks(tmp_path: Path, ending: str) -> None:
    texts = [TEXTS[i % len(TEXTS)] for i in range(500)]
    path = write(tmp_path / f"a{ending}", [{"id": f"n{i}", "text": text} for i, text in enumerate(texts)], [3, 200, 1])
    rule = Block(rows=60, bytes=2000)
    found = blocks(reader(resolved(path, form=form(path)), block=rule))
    assert [text for _, _, text, _ in rows(found)] == texts
    assert [row for _, row, _, _ in rows(found)] == list(range(500))
    assert [len(block.rows) for block in found] == expected_sizes(list(texts), rule)
    assert [block.bytes for block in found] == [
        sum(len(t.encode()) for t in block.texts.to_pylist()) for block in found
    ]
    assert [name for block in found for name in block.ids.to_pylist()] == [f"n{i}" for i in range(500)]
    assert found[0].texts.type == found[0].ids.type == pa.string()
    assert found[0].meta is None


@pytest.mark.parametrize("ending", ENDINGS)
def test_reader_resumes_at_any_row(tmp_path: Path, ending: str) -> None:
    texts = [TEXTS[i % len(TEXTS)] * (i % 3) for i in range(60)]
    path = write(tmp_path / f"a{ending}", [{"text": text} for text in texts], [7, 20])
    found = resolved(path, form=form(path))
    for lanes in (1, 3):
        opened = reader(found, lane=lanes - 1, lanes=lanes, block=Block(rows=8, bytes=500))
        complete = rows(blocks(opened))
        for row in range(61):
            opened.seek(Cursor(0, row))
            assert rows(blocks(opened)) == [known for known in complete if known[1] >= row]


@pytest.mark.parametrize("ending", ENDINGS)
def test_reader_resumes_at_every_block(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a{ending}", [{"text": TEXTS[i % len(TEXTS)] + "."} for i in range(100)], [9, 30])
    opened = reader(resolved(path, form=form(path)), block=Block(rows=8, bytes=500))
    complete = blocks(opened)
    for number, block in enumerate(complete):
        assert block.next == (complete[number + 1].start if number + 1 < len(complete) else Cursor(0, 100))
        opened.seek(block.start)
        assert opened.cursor == block.start
        assert [(again.start, again.next, again.bytes) for again in blocks(opened)] == [
            (known.start, known.next, known.bytes) for known in complete[number:]
        ]
        assert opened.cursor == Cursor(1, 0)
        assert opened.read() is None


@examples(40)
@given(
    lengths=st.lists(st.integers(0, 400), min_size=1, max_size=80),
    groups=st.lists(st.integers(1, 30), max_size=6),
    rule=st.builds(Block, rows=st.integers(1, 40), bytes=st.integers(1, 2000)),
    ending=st.sampled_from([".parquet", ".arrow", ".jsonl", ".jsonl.zst"]),
)
def test_blocks_do_not_depend_on_row_groups_or_format(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], groups: list[int], rule: Block, ending: str
) -> None:
    texts = ["y" * length for length in lengths]
    path = write(tmp_path_factory.mktemp("g") / f"a{ending}", [{"text": text} for text in texts], groups)
    found = blocks(reader(resolved(path, form=form(path)), block=rule))
    assert [text for _, _, text, _ in rows(found)] == texts
    assert [len(block.rows) for block in found] == expected_sizes(list(texts), rule)


@pytest.mark.parametrize("lanes", range(1, 18))
def test_lanes_cover_the_source_once(tmp_path: Path, lanes: int) -> None:
    records = [{"text": f"{i:03} {'z' * 40}"} for i in range(400)]
    for name in ("a.parquet", "a.jsonl", "a.csv", "a.arrow", "a.jsonl.gz"):
        path = write(tmp_path / name, records, [100, 7, 200])
        found = resolved(path, form=form(path))
        lane_rows = [rows(blocks(reader(found, lane, lanes))) for lane in range(lanes)]
        assert sorted(row for lane in lane_rows for _, row, _, _ in lane) == list(range(400))
        assert all(abs(len(lane) - 400 / lanes) < 6 for lane in lane_rows), name


def test_single_row_is_in_one_lane(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.jsonl"):
        found = resolved(write(tmp_path / name, [{"text": "only"}]), form=form(Path(name)))
        lane_rows = [blocks(reader(found, lane, 16)) for lane in range(16)]
        assert sorted(map(len, lane_rows)) == [0] * 15 + [1]


def test_blocks_never_cross_files(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.parquet", [{"text": "a"}] * 5) for n in range(3)]
    found = blocks(reader(resolved(*paths)))
    assert [len(block.rows) for block in found] == [5, 5, 5]
    assert sorted(block.file for block in found) == ["data/0.parquet", "data/1.parquet", "data/2.parquet"]


def test_idle_readers_are_released_and_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", [{"text": f"{i}"} for i in range(300)], [100])
    found = resolved(path)
    monkeypatch.setattr(block_reader, "IDLE_BYTES", 2 * parquet.held_bytes(source(), found.files[0]))
    readers = [reader(found, lane, 8, Block(rows=5, bytes=10**6)) for lane in range(8)]
    read_rows: list[Any] = [[] for _ in readers]
    for _ in range(10):
        for lane, opened in enumerate(readers):
            block = opened.read()
            read_rows[lane] += rows([block] if block else [])
    assert sum(opened._decoding is not None for opened in readers) <= 2
    assert sorted(row for lane in read_rows for _, row, _, _ in lane) == list(range(300))


def test_concurrent_readers_are_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_reader, "IDLE_BYTES", 0)
    found = resolved(write(tmp_path / "a.parquet", [{"text": f"{i}"} for i in range(3000)], [1000]))
    readers = [reader(found, lane, 64, Block(rows=5, bytes=10**6)) for lane in range(64)]
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(Reader.read, readers))
    assert sum(opened._decoding is not None for opened in readers) <= 1


def test_reader_arguments_can_be_pickled(tmp_path: Path) -> None:
    found = resolved(write(tmp_path / "a.parquet", [{"text": "a"}] * 9))
    assert type(found).from_dict(json.loads(json.dumps(found.to_dict()))) == found
    parts = pickle.loads(pickle.dumps(partition_source(found, 2, 0, True)))
    opened = Reader(source(), pickle.loads(pickle.dumps(found)), parts[0], Block())
    assert len(rows(blocks(opened))) in {4, 5}


COLUMNS = [
    {
        "text": "a",
        "blob_id": 7,
        "m": {"url": "u", "n": [1, None]},
        "parts": [{"t": "p"}, {"t": None}, {"t": "q"}],
        "s": 1.5,
    },
    {"text": None, "blob_id": 8, "m": None, "parts": [], "s": None},
    {"text": "c", "blob_id": None, "m": {"url": None, "n": []}, "parts": None, "s": 3.0},
]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.arrow", "slow.jsonl"])
@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("text", ["a", None, "c"]),
        ("m.url", ["u", None, None]),
        ("parts.t", ["p|q", None, None]),
        (("text", "parts.t", "m.url"), ["a|p|q|u", None, "c"]),
        (("m.url",), ["u", None, None]),
    ],
)
def test_texts_from_columns_paths_and_lists(tmp_path: Path, name: str, field: Any, texts: list[str | None]) -> None:
    found = resolved(_columns(tmp_path / name), form=form(tmp_path / name))
    (block,) = blocks(reader(found, text_field=field, separator="|"))
    assert block.texts.to_pylist() == texts
    assert block.reasons.to_pylist() == [None if text is not None else "not_text" for text in texts]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.arrow", "slow.jsonl"])
def test_reader_returns_kept_columns_and_ids(tmp_path: Path, name: str) -> None:
    found = resolved(_columns(tmp_path / name), form=form(tmp_path / name))
    (block,) = blocks(reader(found, keep=("m", "m.url", "s")))
    assert block.ids.to_pylist() == ["7", None, None]
    assert [json.loads(meta) for meta in block.meta.to_pylist() if meta] == [
        {"m": {"url": "u", "n": [1, None]}, "m.url": "u", "s": 1.5, "blob_id": 7},
        {"m": {"url": None, "n": []}, "m.url": None, "s": 3.0, "blob_id": None},
    ]
    (block,) = blocks(reader(found, id_field="m.url"))
    assert block.ids.to_pylist() == ["u", None, None]


def _columns(path: Path) -> Path:
    """Write COLUMNS as a file. `slow` begins with a line that Arrow's JSON parser refuses."""
    write(path, COLUMNS)
    if path.name.startswith("slow"):
        path.write_bytes(path.read_bytes().replace(b'"text": "a"', b'"text": 1, "text": "a"'))
    return path


def test_column_name_may_contain_a_dot(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"meta.text": "dotted", "meta": {"text": "nested"}}])
    (block,) = blocks(reader(resolved(path), text_field="meta.text"))
    assert block.texts.to_pylist() == ["dotted"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.string_view(),
    ],
)
def test_all_string_types_become_string(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"text": pa.array(["a", None, "é"]).cast(kind)})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    paths = [tmp_path / "a.arrow"]
    if kind != pa.string_view():
        pq.write_table(table, tmp_path / "a.parquet")
        paths.append(tmp_path / "a.parquet")
    for path in paths:
        (block,) = blocks(reader(resolved(path, form=form(path))))
        assert block.texts.type == pa.string()
        assert block.texts.to_pylist() == ["a", None, "é"]


WHERE: list[tuple[tuple[str, str, Any], list[int]]] = [
    (("n", ">=", 3), [3, 4]),
    (("n", ">", 3), [4]),
    (("n", "<", 2), [0, 1]),
    (("n", "<=", 2.5), [0, 1, 2]),
    (("n", "==", 4), [4]),
    (("n", "!=", 4), [0, 1, 2, 3]),
    (("n", "in", (1, 9)), [1]),
    (("n", "not in", (1, 9)), [0, 2, 3, 4]),
    (("c", "==", "x"), [0, 2, 4]),
    (("c", "in", ("y",)), [1, 3]),
    (("c", "<", "y"), [0, 2, 4]),
    (("b", "==", True), [3, 4]),
    (("m.k", ">", 20), [3, 4]),
]


@pytest.mark.parametrize("name", ["a.parquet", "groups.parquet", "a.jsonl", "a.arrow", "slow.jsonl"])
@pytest.mark.parametrize(("where", "kept"), WHERE)
def test_where_keeps_matching_rows_and_gives_the_others_a_reason(
    tmp_path: Path, name: str, where: tuple[str, str, Any], kept: list[int]
) -> None:
    records = [{"text": f"t{i}", "n": i, "c": "xy"[i % 2], "b": i > 2, "m": {"k": i * 10}} for i in range(5)]
    records.append({"text": "null", "n": None, "c": None, "b": None, "m": None})  # type: ignore[dict-item]
    path = write(tmp_path / name, records, [1, 1, 1, 1, 1] if name.startswith("groups") else None)
    if name.startswith("slow"):
        path.write_bytes(path.read_bytes().replace(b'"n": 0', b'"n": 8, "n": 0'))
    (block,) = blocks(reader(resolved(path, form=form(path)), where=(where,), keep=("c",)))
    assert block.rows.tolist() == list(range(6))
    assert block.texts.to_pylist() == [f"t{i}" if i in kept else None for i in range(6)]
    assert block.reasons.to_pylist() == [None if i in kept else "where" for i in range(6)]
    assert [meta is not None for meta in block.meta.to_pylist()] == [i in kept for i in range(6)]


def test_where_applies_to_csv(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [{"text": f"t{i}", "n": i, "c": "xy"[i % 2]} for i in range(5)])
    for where, kept in WHERE[:11]:
        (block,) = blocks(reader(resolved(path, form="csv"), where=(where,)))
        assert block.texts.to_pylist() == [f"t{i}" if i in kept else None for i in range(5)]


def test_row_groups_without_matching_rows_are_not_decoded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"text": "t" * 1000, "n": i // 100} for i in range(400)], [100, 100, 100])
    data = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(2).column(0)
    data[chunk.dictionary_page_offset : chunk.dictionary_page_offset + 8] = b"\xff" * 8  # would not decode
    path.write_bytes(data)
    found = blocks(reader(resolved(path), where=(("n", "in", (0, 3)),), block=Block(rows=50)))
    assert [len(block.rows) for block in found] == [50] * 8
    assert [block.reasons.null_count for block in found] == [50, 50, 0, 0, 0, 0, 50, 50]


def test_only_the_needed_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"embedding": ["e" * 1000] * 100, "text": ["t"] * 100}), path, use_dictionary=False)
    data = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = (
        b"\0" * chunk.total_compressed_size
    )
    path.write_bytes(data)
    assert len(rows(blocks(reader(resolved(path))))) == 100


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".jsonl"])
def test_block_ends_with_the_row_that_fills_it_exactly(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a{ending}", [{"text": "y" * 10}] * 12, [2, 2, 1, 1, 2, 4])
    for rule, sizes in ((Block(rows=99, bytes=20), [2] * 6), (Block(rows=3, bytes=30), [3] * 4)):
        found = blocks(reader(resolved(path, form=form(path)), block=rule))
        assert [len(block.rows) for block in found] == sizes


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".jsonl"])
def test_blocks_of_a_later_lane_start_at_the_previous_next(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a{ending}", [{"text": f"text {n}"} for n in range(90)], [40, 50])
    opened = reader(resolved(path, form=form(path)), 2, 3, Block(rows=4))
    found = blocks(opened)
    assert [block.start for block in found] == [Cursor(), *(block.next for block in found[:-1])]
    assert [block.next.row for block in found] == [int(block.rows[-1]) + 1 for block in found]
    for number, block in enumerate(found):
        opened.seek(block.next)
        assert rows(blocks(opened)) == rows(found[number + 1 :])


def test_bytes_of_null_rows_do_not_count_for_blocks(tmp_path: Path) -> None:
    offsets, data = np.array([0, 10, 40, 50], np.int32), b"a" * 10 + b"h" * 30 + b"b" * 10
    texts = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(offsets), pa.py_buffer(data)])
    table = pa.table({"text": texts})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    (block,) = blocks(reader(resolved(tmp_path / "a.arrow", form="arrow"), block=Block(bytes=20)))
    assert block.texts.to_pylist() == ["a" * 10, None, "b" * 10]
    assert block.bytes == 20


def test_duplicate_of_an_index_keeps_an_earlier_reason() -> None:
    drops = DuplicateRows(np.array([3, 5], np.uint32), np.array([6], np.uint32))
    texts, reasons = pa.array([None, "b", "c", "d"]), pa.array(["where", None, None, None])
    found = block_reader._mark_duplicates(drops, texts, reasons, np.array([3, 4, 5, 6]))
    assert [each.to_pylist() for each in found] == [
        [None, "b", None, None],
        ["where", None, "duplicate", "near_duplicate"],
    ]
    assert block_reader._mark_duplicates(None, texts, reasons, np.array([3, 4, 5, 6])) == (texts, reasons)
