"""A local Hub with dataset repositories: the responses that readers need, with network errors on request."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from network_faults import Faults

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(
    repository: str, root: Path, *, others: Mapping[str, Path] | None = None, problems: Faults | None = None
) -> Iterator[str]:
    """Run a Hub and yield its HF_ENDPOINT. The main branch of `repository` is the folder `root`, likewise `others`."""

    class Handler(_Handler):
        pass

    Handler.repositories, Handler.problems = {repository: root, **(others or {})}, problems or Faults()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    repositories: Mapping[str, Path]
    problems: Faults
    repository: str = ""
    root: Path = Path()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.problems.strike(self):
            return
        url = urlsplit(self.path)
        path = unquote(url.path)
        self._choose(path)
        api = f"/api/datasets/{self.repository}"
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
        if self.problems.strike(self):
            return
        self._choose(unquote(self.path))
        paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        self._json([self._entry(self.root / path) for path in paths if (self.root / path).exists()])

    def log_message(self, *_: Any) -> None:
        """Log no requests."""

    def _choose(self, path: str) -> None:
        """Select the repository of a path."""
        named = path.removeprefix("/api").removeprefix("/datasets/") + "/"
        found = [item for item in self.repositories.items() if named.startswith(item[0] + "/")]
        self.repository, self.root = found[0] if found else ("", Path())

    def _file(self, path: str) -> None:
        if not (self.root / path).is_file():
            self._reply(404, error="EntryNotFound")
            return
        body = (self.root / path).read_bytes()
        etag, wanted = hashlib.sha1(body).hexdigest(), self.headers.get("Range")
        if wanted and self.command == "GET":
            start, stop = wanted.removeprefix("bytes=").split("-")
            self._reply(206, body[int(start) : int(stop) + 1 if stop else None], etag=etag)
        else:
            self._reply(200, body, etag=etag)

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
        entry = {"type": "file", "path": path, "oid": hashlib.sha1(body).hexdigest(), "size": len(body)}
        if file.suffix not in (".md", ".yaml"):
            entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
        return entry

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
            self.problems.body(self, body)
