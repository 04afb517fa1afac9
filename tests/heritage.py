"""A local Software Heritage server: gzip contents by SHA-1, with latency and errors."""

import gzip
import hashlib
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from network_faults import Faults


class Heritage(ThreadingHTTPServer):
    """Serves `content/<sha1>`; `asked` counts requests by id.

    Args:
        contents: gzipped bytes by id; other ids are missing.
        faults: of the way.
        slow: ids that take `lag` seconds.
        lag: seconds.
    """

    request_queue_size = 256
    daemon_threads = True

    def __init__(
        self, contents: Mapping[str, bytes], problems: Faults, slow: Collection[str] = (), lag: float = 0.0
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents, self.problems, self.slow, self.lag = contents, problems, slow, lag

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Heritage
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.server.problems.strike(self):
            return
        blob = self.path.removeprefix("/content/")
        if blob in self.server.slow:
            time.sleep(self.server.lag)
        body = self.server.contents.get(blob)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        Faults.body(self, body or b"")

    def log_message(self, *_: Any) -> None:
        """Log no requests."""


@contextmanager
def heritage(contents: Mapping[str, bytes], **more: Any) -> Iterator[Heritage]:
    """Run a server of the given contents."""
    server = Heritage(contents, more.pop("problems", Faults()), **more)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def packed(texts: list[bytes]) -> dict[str, bytes]:
    """Return gzip contents by SHA-1, as in the bucket."""
    return {hashlib.sha1(text).hexdigest(): gzip.compress(text, mtime=0) for text in texts}
