"""`content: swh` fetches texts by their ids, many at a time, in the order of a sequential fetch."""

import gzip
import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import document
from heritage import Heritage, heritage, packed
from network_faults import Faults
from sources_fixtures import blocks, resolved, source

from smollm3_mix.cli.main import main
from smollm3_mix.errors import SourceError, StateError, UnreadableSourcesError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.network import retry
from smollm3_mix.recipe.model import Block
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.software_heritage.contents import ENDPOINT, folder

TEXTS = [f"{document('code', number)}\nprint({number})\n".encode() for number in range(300)]
IDS = [hashlib.sha1(text).hexdigest() for text in TEXTS]
MISSING = set(IDS[::33])
SLOW = set(IDS[5::20])


def ids(path: Path, rows: list[tuple[str, str, int]]) -> Path:
    """Write a file with the columns and types of Stack-Edu."""
    kind = pa.large_string()
    table = pa.table(
        {
            "blob_id": pa.array([row[0] for row in rows], kind),
            "language": pa.array(["Python"] * len(rows), kind),
            "repo_name": pa.array([f"me/r{number}" for number in range(len(rows))], kind),
            "path": pa.array([f"/{number}.py" for number in range(len(rows))], kind),
            "src_encoding": pa.array([row[1] for row in rows], kind),
            "length_bytes": pa.array([row[2] for row in rows], pa.int64()),
            "score": pa.array([3.5] * len(rows), pa.float64()),
            "int_score": pa.array([4] * len(rows), pa.int64()),
            "detected_licenses": pa.array([["MIT"]] * len(rows), pa.list_(kind)),
            "license_type": pa.array(["permissive"] * len(rows), kind),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=70)
    return path


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a cache and terms markers of this test."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Heritage]]:
    running = []

    def start(contents: dict[str, bytes], **more: Any) -> Heritage:
        running.append(heritage(contents, **more))
        server = running[-1].__enter__()
        monkeypatch.setenv(ENDPOINT, server.endpoint)
        return server

    yield start
    for one in running:
        one.__exit__(None, None, None)


def reader(path: Path, block: Block | None = None, **changes: Any) -> Reader:
    found = resolved(path)
    return Reader(source(content="swh", **changes), found, partition_source(found, 1, 0, True)[0], block or Block())


def rows(opened: Reader) -> list[tuple[int, str | None, str | None]]:
    return [
        row
        for block in blocks(opened)
        for row in zip(block.rows.tolist(), block.texts.to_pylist(), block.reasons.to_pylist(), strict=True)
    ]


def sequentially(endpoint: str) -> list[tuple[int, str | None, str | None]]:
    """Return the rows of a sequential fetch."""
    found: list[tuple[int, str | None, str | None]] = []
    for number, blob in enumerate(IDS):
        try:
            with urllib.request.urlopen(f"{endpoint}/content/{blob}") as answer:
                found.append((number, gzip.decompress(answer.read()).decode(), None))
        except urllib.error.HTTPError as error:  # noqa: PERF203 - the plainest loop
            error.close()
            found.append((number, None, "blob_missing"))
    return found


def test_concurrent_fetch_matches_a_sequential_fetch_and_is_faster(
    tmp_path: Path, serve: Callable[..., Heritage]
) -> None:
    path = ids(tmp_path / "a.parquet", [(blob, "UTF-8", len(text)) for blob, text in zip(IDS, TEXTS, strict=True)])
    contents = {blob: body for blob, body in packed(TEXTS).items() if blob not in MISSING}
    server = serve(contents, problems=Faults(latency=0.005), slow=SLOW, lag=0.15)
    started = time.monotonic()
    expected = sequentially(server.endpoint)
    slow = time.monotonic() - started
    started = time.monotonic()
    assert rows(reader(path, Block(rows=50))) == expected
    assert time.monotonic() - started < slow * 0.75  # bench/heritage.py has the figure
    assert sum(reason == "blob_missing" for _, _, reason in expected) == len(MISSING) == 10


def test_transient_errors_are_retried(tmp_path: Path, serve: Callable[..., Heritage]) -> None:
    path = ids(tmp_path / "a.parquet", [(blob, "UTF-8", 9) for blob in IDS[:100]])
    problems = Faults(0.2, seed=3)
    serve(packed(TEXTS[:100]), problems=problems)
    assert rows(reader(path)) == [(n, text.decode(), None) for n, text in enumerate(TEXTS[:100])]
    assert problems.struck > 10


def test_lasting_error_names_source_file_and_blob(tmp_path: Path, serve: Callable[..., Heritage]) -> None:
    path = ids(tmp_path / "a.parquet", [(blob, "UTF-8", 9) for blob in IDS[:3]])
    problems = Faults(lasting=(IDS[1],))
    serve(packed(TEXTS[:3]), problems=problems)
    opened = reader(path)
    with pytest.raises(SourceError) as error:
        opened.read()
    assert str(error.value).startswith(
        f"source 's': data/a.parquet: blob {IDS[1]} cannot be fetched from Software Heritage ("
    )
    assert "503" in str(error.value)
    assert str(error.value).endswith(
        "). Check the network and SMOLLM3_MIX_SWH_ENDPOINT, then try again: the mix resumes at the same record."
    )
    problems._lasting = ()
    assert [text for _, text, _ in rows(opened)] == [text.decode() for text in TEXTS[:3]]


def test_encodings_are_decoded_or_get_a_reason(tmp_path: Path, serve: Callable[..., Heritage]) -> None:
    texts = {
        "ISO-8859-1": "é",
        "UTF-16": "naïve",
        "Shift_JIS": "日本",
        "UTF-8": "\ufefföl",
        "no-such": "a",
        "base64": "b",
    }
    raw = [texts[name].encode(name if name in ("UTF-16", "Shift_JIS", "ISO-8859-1") else "UTF-8") for name in texts]
    raw += [b"\xff\xfe\xff", b"flipped", b"cut"]
    contents = packed(raw)
    names = [hashlib.sha1(text).hexdigest() for text in raw]
    body = bytearray(contents[names[-2]])
    body[12] ^= 255
    contents[names[-2]], contents[names[-1]] = bytes(body), contents[names[-1]][:-9]
    serve(contents)
    records = list(zip(names, [*texts, "UTF-8", "UTF-8", "UTF-8"], [9] * 9, strict=True))
    found = rows(reader(ids(tmp_path / "a.parquet", records)))
    assert [text for _, text, _ in found] == ["é", "naïve", "日本", "\ufefföl", *[None] * 5]
    assert [reason for _, _, reason in found] == [None] * 4 + ["undecodable"] * 5


def test_block_sizes_use_listed_lengths(tmp_path: Path, serve: Callable[..., Heritage]) -> None:
    path = ids(tmp_path / "a.parquet", [(blob, "UTF-8", 100) for blob in IDS[:90]])
    serve({blob: body for blob, body in packed(TEXTS[:90]).items() if blob not in MISSING})
    found = blocks(reader(path, Block(rows=64, bytes=1000)))
    assert [len(block.rows) for block in found] == [10] * 9
    assert sum(block.bytes for block in found) == sum(
        len(text) for text, blob in zip(TEXTS[:90], IDS, strict=False) if blob not in MISSING
    )


def test_cached_contents_need_no_request_and_seeking_works(tmp_path: Path, serve: Callable[..., Heritage]) -> None:
    path = ids(tmp_path / "a.parquet", [(blob, "UTF-8", 100) for blob in IDS[:90]])
    problems = Faults()
    serve(packed(TEXTS[:90]), problems=problems)
    opened = reader(path, Block(rows=7))
    first = blocks(opened)
    assert sorted(problems.asked) == sorted(f"GET /content/{blob}" for blob in IDS[:90])
    opened.seek(first[5].start)
    assert [block.texts for block in blocks(opened)] == [block.texts for block in first[5:]]
    assert len(problems.asked) == 90
    kept = [file for file in (tmp_path / "home/smollm3_mix/swh").rglob("*") if file.is_file()]
    assert sorted(file.name for file in kept) == sorted(IDS[:90])
    kept[0].write_bytes(kept[0].read_bytes()[:-3])  # a damaged one is fetched again
    opened.seek(first[0].start)
    assert [block.texts for block in blocks(opened)] == [block.texts for block in first]
    assert len(problems.asked) == 91


def test_missing_id_gets_a_reason_and_invalid_id_raises(tmp_path: Path, serve: Callable[..., Heritage]) -> None:
    serve(packed(TEXTS[:2]))
    records: list[Any] = [(IDS[0], "UTF-8", 9), (None, "UTF-8", None), (IDS[1], None, 9)]
    assert [reason for _, _, reason in rows(reader(ids(tmp_path / "a.parquet", records)))] == [None, "not_text", None]
    with pytest.raises(SourceError) as error:
        rows(reader(ids(tmp_path / "b.parquet", [("../../etc/passwd", "UTF-8", 9)])))
    assert str(error.value) == (
        "source 's': data/b.parquet: blob_id must be a SHA-1 of 40 hex digits, got '../../etc/passwd'"
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    ids(tmp_path / "code/0.parquet", [(blob, "UTF-8", len(text)) for blob, text in zip(IDS, TEXTS, strict=True)])
    mine = {
        "lanes": 2,
        "on_exhausted": "stop",
        "block": {"rows": 20},
        "datasets": [
            {"name": "./code", "id": "code", "content": "swh", "kind": "code", "weight": 1, "keep": ["repo_name"]}
        ],
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(mine), encoding="utf-8")
    return path


TERMS = """\
mine.yaml: 1 of 1 sources (100 % of the weight) cannot be read
  'code' (100 %): it has blob ids of Software Heritage. Its terms, listed below, must be accepted.
These texts come from Software Heritage, blob by blob. Software Heritage and The Stack v2 require:
  * Bulk download needs an agreement with Software Heritage and Inria: write to datasets@softwareheritage.org \
(https://huggingface.co/datasets/bigcode/the-stack-v2).
  * A language model trained on the texts follows the principles of \
https://www.softwareheritage.org/2023/10/19/swh-statement-on-llm-for-code: the model is open, its training data is \
identified by SWHIDs (blob ids stay in each record's `meta`), and authors can have their code removed before training \
(`exclude:`).
  * The license of each file applies, attribution included (`detected_licenses` in `meta`).
  * Removals apply: update to the newest usable version of the ids, and do not keep removed files.
To accept these terms, add --accept-terms softwareheritage (accept_terms="softwareheritage"). Accept them once per \
machine.
Fix these sources. The recipe has no other source to read."""


def test_first_use_requires_the_terms(recipe: Path, serve: Callable[..., Heritage]) -> None:
    serve(packed(TEXTS))
    with pytest.raises(UnreadableSourcesError) as error:
        open_mix(recipe)
    assert str(error.value) == TERMS.replace("mine.yaml", str(recipe), 1)
    with pytest.raises(ValueError, match=r"unknown terms 'swh'\. Known terms: softwareheritage"):
        open_mix(recipe, accept_terms="swh")
    first = list(open_mix(recipe, accept_terms="softwareheritage").stream())
    assert list(open_mix(recipe).stream()) == first
    by_id = {record["id"]: record for record in first}
    assert {blob: by_id[blob]["text"].strip() for blob in IDS[:9]} == {
        blob: text.decode().strip() for blob, text in zip(IDS[:9], TEXTS, strict=False)
    }
    assert json.loads(by_id[IDS[7]]["meta"]) == {
        "repo_name": "me/r7",
        "blob_id": IDS[7],
        "detected_licenses": ["MIT"],
        "license_type": "permissive",
    }


def test_command_line_accepts_the_terms(
    recipe: Path, serve: Callable[..., Heritage], capsys: pytest.CaptureFixture[str]
) -> None:
    serve({blob: body for blob, body in packed(TEXTS).items() if blob not in MISSING})
    assert main(["take", str(recipe), "--max-samples", "3"]) == 1
    assert "write to datasets@softwareheritage.org" in capsys.readouterr().err
    assert main(["take", str(recipe), "--accept-terms", "softwareheritage"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 290
    assert "blob_missing" in shown.err


def test_stream_resumes_and_raises_when_a_blob_was_removed(recipe: Path, serve: Callable[..., Heritage]) -> None:
    serve(packed(TEXTS))
    mix = open_mix(recipe, accept_terms="softwareheritage")
    whole = list(mix.stream())
    stream = mix.stream()
    for place, record in enumerate(stream):
        assert record == whole[place]
        if place in {0, 13, 77, 250}:
            fresh = mix.stream()
            fresh.load_state_dict(stream.state_dict())
            assert list(fresh) == whole[place + 1 :]
    stream = mix.stream()
    for _ in range(5):
        record = next(iter(stream))
    state = stream.state_dict()
    stream.close()
    for file in (folder()).rglob("*"):
        if file.is_file():
            file.unlink()
    serve({blob: body for blob, body in packed(TEXTS).items() if blob != record["id"]})
    with pytest.raises(StateError) as error:
        mix.stream().load_state_dict(state)
    assert str(error.value).endswith(
        "has 1 rows without a text (blob_missing) that had one when the state was saved. Start again without the state."
    )
    assert os.environ[ENDPOINT].startswith("http://127.0.0.1")
