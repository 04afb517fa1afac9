"""A Hub on this machine with one dataset repository: the answers that reading it takes."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repository: str, root: Path) -> Iterator[str]:
    """Its endpoint, for HF_ENDPOINT; the repository's main branch is the folder `root`."""

    class Handler(_Handler):
        pass

    Handler.repository, Handler.root = repository, root
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    repository: str
    root: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, api = unquote(url.path), f"/api/datasets/{self.repository}"
        if path.startswith(f"/datasets/{self.repository}/resolve/"):
            self._file(path.removeprefix(f"/datasets/{self.repository}/resolve/").split("/", 1)[1])
        elif path.startswith(f"{api}/tree/"):
            self._tree(path.removeprefix(f"{api}/tree/").partition("/")[2], "recursive=true" in url.query.lower())
        elif path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            files = [
                {"rfilename": self._entry(file)["path"]} for file in sorted(self.root.rglob("*")) if file.is_file()
            ]
            self._json({"id": self.repository, "sha": COMMIT, "siblings": files, "tags": [], "private": False})
        else:
            self._reply(404, b"{}", error="RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        self._json([self._entry(self.root / path) for path in paths if (self.root / path).exists()])

    def log_message(self, *_: Any) -> None:
        """Nothing: requests are no news."""

    def _file(self, path: str) -> None:
        if not (self.root / path).is_file():
            self._reply(404, error="EntryNotFound")
            return
        body = (self.root / path).read_bytes()
        self._reply(200, body, etag=hashlib.sha1(body).hexdigest())

    def _tree(self, path: str, recursive: bool) -> None:
        folder = self.root / path
        if not folder.is_dir():
            self._reply(404, error="EntryNotFound")
            return
        self._json([self._entry(file) for file in sorted(folder.rglob("*") if recursive else folder.iterdir())])

    def _entry(self, file: Path) -> dict[str, Any]:
        path = file.relative_to(self.root).as_posix()
        if file.is_dir():
            return {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
        body = file.read_bytes()
        return {"type": "file", "path": path, "oid": hashlib.sha1(body).hexdigest(), "size": len(body)}

    def _json(self, value: Any) -> None:
        self._reply(200, json.dumps(value).encode())

    def _reply(self, status: int, body: bytes = b"", *, etag: str = "", error: str = "") -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, "X-Error-Code": error}
        for name, value in (headers | {"ETag": f'"{etag}"' if etag else ""}).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
