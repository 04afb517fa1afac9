"""Remote files need one request per range, with retries and clear errors. Uses two local servers."""

import re
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sources_fixtures import blocks, packed, rows, source

from smollm3_mix.errors import SourceError
from smollm3_mix.network.urls import unreachable_message
from smollm3_mix.recipe.model import Block
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.formats import byte_ranges
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.source_files import ResolvedSource, SourceFile

DATA = "".join(f'{{"text": "document {n}"}}\n' for n in range(200_000)).encode()


class Server(ThreadingHTTPServer):
    """Serves ranges of DATA or redirects. `replies` has the responses to the next requests."""

    def __init__(self, storage: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.storage, self.requested, self.replies, self.data = storage, [], [], DATA
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    requested: list[tuple[str, str | None]]
    replies: list[int | str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        requested = self.headers["range"]
        self.server.requested.append((requested, self.headers["authorization"]))
        reply = self.server.replies.pop(0) if self.server.replies else 206
        if isinstance(reply, int) and reply >= 400:
            self._answer(reply, b"", {})
        elif self.server.storage:
            self._answer(302, b"", {"location": f"{self.server.storage}/signed?n={len(self.server.requested)}"})
        else:
            start, stop = (int(number) for number in requested.removeprefix("bytes=").split("-"))
            body = self.server.data if reply == 200 else self.server.data[start : stop + 1]
            self._answer(200 if reply == 200 else 206, body, {}, cut=reply == "short")

    def _answer(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body) - 3 * cut)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) - 3 * cut])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Run a Hub that redirects to its storage."""
    import huggingface_hub

    storage = Server()
    front = Server(storage.url)
    monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda *args, **kwargs: f"{front.url}/file")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    threads = [threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True) for one in (front, storage)]
    for thread in threads:
        thread.start()
    yield front, storage
    for one in (front, storage):
        one.shutdown()
        one.server_close()


def listed(data: bytes = DATA) -> SourceFile:
    return SourceFile("org/web@c0ffee/a.jsonl", "hf://datasets/org/web@c0ffee/a.jsonl", len(data))


def opened(file: SourceFile) -> Reader:
    found = ResolvedSource("s", "json", "c0ffee", (file,))
    return Reader(
        source(), found, partition_source(found, 1, 0, True)[0], Block(rows=10**9, bytes=10**9), token="hf_secret"
    )


def test_ranges_after_the_first_go_to_storage(hub: tuple[Server, Server]) -> None:
    front, storage = hub
    (block,) = blocks(opened(listed()))
    assert len(block.rows) == 200_000
    assert [authorization for _, authorization in front.requested] == ["Bearer hf_secret"]
    assert {authorization for _, authorization in storage.requested} == {None}
    sizes = [
        int(stop) - int(start) + 1
        for start, stop in (a.removeprefix("bytes=").split("-") for a, _ in storage.requested)
    ]
    assert sizes[:4] == [1 << 18, 1 << 19, 1 << 20, 1 << 21]
    assert sum(sizes) == len(DATA)


def test_expired_signature_is_requested_again(hub: tuple[Server, Server]) -> None:
    front, storage = hub
    storage.replies = [206, 403, 206]
    (block,) = blocks(opened(listed()))
    assert len(block.rows) == 200_000
    assert len(front.requested) == 2


@pytest.mark.parametrize("plan", [["short"], [503, 503], [429], [206, "short", 500, 206, "short"], [200]])
def test_transient_errors_are_retried(hub: tuple[Server, Server], plan: list[int | str]) -> None:
    hub[1].replies = plan
    (block,) = blocks(opened(listed()))
    assert block.texts[199_999].as_py() == "document 199999"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            401,
            r"cannot be read: access denied \(.*401.*\)\. Log in with `hf auth login` or set HF_TOKEN, then continue\.",
        ),
        (
            403,
            r"cannot be read: access denied \(.*403.*\)\. Log in with `hf auth login` or set HF_TOKEN, then continue\.",
        ),
        (404, r"was removed after the mix was opened\. Open the mix again, or restore the file\."),
        (
            416,
            (
                r"cannot be read \(.*416.*\)\. Try again: the mix resumes at the same record\. "
                r"If the error persists, the file is damaged\."
            ),
        ),
    ],
)
def test_refusal_raises_without_retries(hub: tuple[Server, Server], status: int, expected: str) -> None:
    hub[0].replies = [status] * 9
    with pytest.raises(SourceError) as error:
        opened(listed()).read()
    assert re.fullmatch(f"source 's': org/web@c0ffee/a.jsonl {expected}", str(error.value))
    assert len(hub[0].requested) == 1


def test_token_error_needs_a_401_response(hub: tuple[Server, Server]) -> None:
    hub[0].replies = [401]
    with pytest.raises(SourceError) as error:
        opened(listed()).read()
    assert unreachable_message(error.value).startswith("the Hub refuses the token (401 Unauthorized). Log in again")
    message = unreachable_message(ConnectionError("no answer from 127.0.0.1:40139"))
    assert message.startswith("the Hub cannot be reached (no answer from 127.0.0.1:40139). Check the network")


def test_reader_raises_when_responses_stay_short(hub: tuple[Server, Server]) -> None:
    hub[1].replies = ["short"] * 9
    with pytest.raises(SourceError, match=r"got 262,141 bytes, expected bytes 0 to 262144"):
        opened(listed()).read()


def test_compressed_remote_file_can_be_read_and_sought(hub: tuple[Server, Server]) -> None:
    from pathlib import Path

    hub[1].data = packed(Path("a.gz"), DATA)
    reader = opened(listed(hub[1].data))
    (block,) = blocks(reader)
    assert len(block.rows) == 200_000
    reader.seek(block.start._replace(row=199_990))
    assert [row for _, row, _, _ in rows(blocks(reader))] == list(range(199_990, 200_000))


def test_other_urls_are_read_with_fsspec() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe("/web/a.jsonl", DATA)
    file = SourceFile("memory://web/a.jsonl", "memory://web/a.jsonl", len(DATA))
    (block,) = blocks(opened(file))
    assert len(block.rows) == 200_000
    assert byte_ranges.RangedFile(file).read(9) == DATA[:9]


def test_idle_read_ahead_file_keeps_little_more_than_unread_bytes(tmp_path: Path) -> None:
    path, size = tmp_path / "a.jsonl", 1 << 20
    path.write_bytes(DATA[:size])
    tracemalloc.start()
    try:
        ahead = byte_ranges.ReadAheadFile(byte_ranges.RangedFile(SourceFile("a.jsonl", str(path), size)), size, size)
        checksums = [zlib.crc32(ahead.read(1 << 16)) for _ in range(12)]
        assert tracemalloc.get_traced_memory()[0] < size // 2
    finally:
        tracemalloc.stop()
    assert checksums == [zlib.crc32(DATA[start : start + (1 << 16)]) for start in range(0, 12 << 16, 1 << 16)]
    assert ahead.peek(6) == DATA[12 << 16 :][:6]
    assert ahead.read() == DATA[12 << 16 : size]
