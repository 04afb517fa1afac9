"""A Hub on this machine that datasets can be pushed to: the answers that `huggingface_hub` and `datasets` take."""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".parquet", ".arrow")
TOKENS = {"hf_writer": ("writer", True), "hf_reader": ("reader", False)}
"""Name and write access of each token; `writer` may write to its own repositories and to those of `org`."""


@dataclass
class Repo:
    """A repository: its branches, each the commits from the first to the last, as content by path."""

    private: bool = False
    gated: bool = False
    branches: dict[str, list[tuple[str, dict[str, bytes]]]] = field(default_factory=dict)

    def tree(self, revision: str = "main") -> dict[str, bytes]:
        """Content by path at a branch or commit; raises KeyError where there is none."""
        if revision in self.branches:
            return self.branches[revision][-1][1]
        return next(tree for commits in self.branches.values() for name, tree in commits if name == revision)

    def head(self, revision: str) -> str:
        return self.branches[revision][-1][0] if revision in self.branches else revision

    def add(self, branch: str, tree: dict[str, bytes]) -> str:
        commits = self.branches.setdefault(branch, [])
        commits.append((hashlib.sha1(f"{branch} {len(commits)} {time.time_ns()}".encode()).hexdigest(), tree))
        return commits[-1][0]


class Hub:
    """Contents of a Hub, and the requests that changed it.

    Attributes:
        repos: by `owner/name`.
        blobs: large files by SHA-256.
        sent: SHA-256 and bytes of each upload that arrived, complete or cut.
        commits: number of files in each commit.
        faults: statuses to answer the next commits with.
        slow: bytes a second of an upload, or None.
        requests: how many came.
        requested: method and path of each request.
        received: bytes of their bodies.
        cuts: uploads that are under way when it changes are lost, as where a machine has lost its power: of a process
            that was killed, the machine still sends what it has in its buffers.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.sent: list[tuple[str, int]] = []
        self.commits: list[int] = []
        self.problems: list[int] = []
        self.slow: float | None = None
        self.requests = 0
        self.requested: list[str] = []
        self.received = 0
        self.cuts = 0
        self.endpoint = ""
        self.lock = threading.RLock()

    def create(self, name: str, private: bool = False) -> Repo:
        self.repos[name] = Repo(private)
        self.repos[name].add("main", {".gitattributes": b"*.parquet filter=lfs\n"})
        return self.repos[name]


@contextmanager
def writable_hub() -> Iterator[Hub]:
    """The Hub; its `endpoint` is for HF_ENDPOINT or HfApi."""
    state = Hub()

    class Handler(_Handler):
        hub = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


class _Refused(Exception):
    def __init__(self, status: int, code: str = "", message: str = "no") -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Do not log requests."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.read = False
        self.hub.requests += 1
        self.hub.requested.append(f"{self.command} {self.path}")
        try:
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()
            if token and token not in TOKENS:
                raise _Refused(401, message="Invalid credentials in Authorization header")
            self.user, self.writes = TOKENS.get(token, (None, False))
            self._route(unquote(url.path).strip("/").split("/"), url.path)
        except _Refused as refused:
            if not self.read:
                self._body()
            self._reply(
                refused.status,
                json.dumps({"error": refused.message}).encode(),
                **{"X-Error-Code": refused.code, "X-Error-Message": refused.message},
            )
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _route(self, path: list[str], raw: str) -> None:
        if path == ["api", "whoami-v2"]:
            if self.user is None:
                raise _Refused(401, message="Invalid username or password.")
            self._json({"name": self.user, "type": "user", "orgs": [{"name": "org"}], "auth": {"type": "access_token"}})
        elif path == ["api", "validate-yaml"]:
            self._body()
            self._json({"errors": [], "warnings": []})
        elif path == ["api", "repos", "create"]:
            self._create(json.loads(self._body()))
        elif path[:2] == ["api", "datasets"] and len(path) >= 4:
            self._api(f"{path[2]}/{path[3]}", path[4:])
        elif path[:2] == ["api", "datasets"]:  # HfFileSystem also looks for a repository without an owner
            raise _Refused(404, "RepoNotFound", "Repository not found")
        elif path[0] == "datasets" and len(path) > 5 and path[3] == "resolve":
            self._file(f"{path[1]}/{path[2]}", path[4], "/".join(path[5:]))
        elif path[0] == "datasets" and path[-2:] == ["objects", "batch"]:
            self._batch(f"{path[1]}/{path[2].removesuffix('.git')}")
        elif path[0] == "upload":
            self._upload(path[1])
        else:
            raise _Refused(404, message=f"no such page: {raw}")

    def _repo(self, name: str, write: bool = False) -> Repo:
        repo = self.hub.repos.get(name)
        mine = self.user is not None and name.split("/", maxsplit=1)[0] in (self.user, "org")
        if repo is None or (repo.private and not mine):
            raise _Refused(401 if self.user is None else 404, "RepoNotFound", "Repository not found")
        if write and not (mine and self.writes):
            raise _Refused(403, message="You must use a write token to upload to a repository.")
        return repo

    def _create(self, options: dict[str, Any]) -> None:
        name = f"{options.get('organization') or self.user}/{options['name']}"
        if not self.writes or name.split("/", maxsplit=1)[0] not in (self.user, "org"):
            raise _Refused(403, message="You don't have the rights to create a dataset under this namespace")
        if name in self.hub.repos:
            raise _Refused(409, message="You already created this dataset repo")
        self.hub.create(name, options.get("visibility") == "private" or bool(options.get("private")))
        self._json({"url": f"{self.hub.endpoint}/datasets/{name}", "name": name, "id": "0"})

    def _api(self, name: str, rest: list[str]) -> None:
        verb = rest[0] if rest else "revision"
        repo = self._repo(name, write=verb in ("preupload", "commit", "branch"))
        revision = rest[1] if len(rest) > 1 else "main"
        if verb == "branch":
            if revision in repo.branches:
                raise _Refused(409, message="Reference already exists")
            self._body()
            repo.add(revision, dict(repo.tree()))
            self._json({})
            return
        try:
            tree = repo.tree(revision)
        except StopIteration:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}") from None
        if verb == "revision":
            found = {"id": name, "sha": repo.head(revision), "private": repo.private, "tags": []}
            found["gated"] = "auto" if repo.gated else False
            self._json(found | {"siblings": [{"rfilename": path} for path in sorted(tree)]})
        elif verb == "tree":
            self._tree(tree, "/".join(rest[2:]), self.query.get("recursive", "").lower() == "true")
        elif verb == "paths-info":
            body = self._body().decode()
            paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
            self._json([entry for path in paths for entry in _entries(tree, path)])
        elif verb == "preupload":
            files = json.loads(self._body())["files"]
            self._json(
                {"files": [{"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False} for f in files]}
            )
        elif verb == "commit":
            self._commit(name, repo, revision)
        elif verb == "refs":
            branches = [{"name": b, "ref": f"refs/heads/{b}", "targetCommit": repo.head(b)} for b in repo.branches]
            self._json({"branches": branches, "tags": [], "converts": []})
        else:
            raise _Refused(404, message=f"no such verb: {verb}")

    def _commit(self, name: str, repo: Repo, branch: str) -> None:
        lines = [json.loads(line) for line in self._body().splitlines() if line.strip()]
        with self.hub.lock:
            if self.hub.problems:
                raise _Refused(self.hub.problems.pop(0), message="the Hub is not well")
            tree = dict(repo.tree(branch))
            for line in lines:
                value = line["value"]
                if line["key"] == "header" and value.get("parentCommit") not in (None, repo.head(branch)):
                    raise _Refused(412, message="A commit has happened since.")
                if line["key"] == "file":
                    tree[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    tree[value["path"]] = self.hub.blobs[value["oid"]]
                elif line["key"].startswith("deleted"):
                    gone = value["path"].rstrip("/")
                    tree = {
                        path: body for path, body in tree.items() if path != gone and not path.startswith(gone + "/")
                    }
            self.hub.commits.append(sum(line["key"] in ("file", "lfsFile") for line in lines))
            commit = repo.add(branch, tree)
        self._json(
            {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.endpoint}/datasets/{name}/commit/{commit}"}
        )

    def _batch(self, name: str) -> None:
        self._repo(name, write=True)
        objects = json.loads(self._body())["objects"]
        where = {"href": f"{self.hub.endpoint}/upload/"}
        self._json(
            {
                "transfer": "basic",
                "objects": [
                    each
                    if each["oid"] in self.hub.blobs
                    else each | {"actions": {"upload": {"href": where["href"] + each["oid"]}}}
                    for each in objects
                ],
            }
        )

    def _upload(self, oid: str) -> None:
        size, body, cuts = int(self.headers["Content-Length"]), bytearray(), self.hub.cuts
        self.read = True
        try:
            while len(body) < size and cuts == self.hub.cuts:
                piece = self.rfile.read(min(4096 if self.hub.slow else 65_536, size - len(body)))
                if not piece:
                    break
                body += piece
                self.hub.received += len(piece)
                if self.hub.slow:
                    time.sleep(len(piece) / self.hub.slow)
        finally:
            self.hub.sent.append((oid, len(body)))
        if cuts != self.hub.cuts:
            raise ConnectionAbortedError
        if hashlib.sha256(body).hexdigest() != oid:
            raise _Refused(400, message="what came has another digest")
        self.hub.blobs[oid] = bytes(body)
        self._reply(200)

    def _file(self, name: str, revision: str, path: str) -> None:
        repo = self._repo(name)
        if repo.gated and not self.writes:  # no other token has access
            raise _Refused(403 if self.user else 401, "GatedRepo", f"Access to dataset {name} is restricted.")
        try:
            body = repo.tree(revision)[path]
        except (KeyError, StopIteration):
            raise _Refused(404, "EntryNotFound", "Entry not found") from None
        headers = {"ETag": f'"{_blob_id(body)}"', "X-Repo-Commit": repo.head(revision), "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            self._reply(200, body, **headers)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or len(body) - 1), len(body) - 1)
        self._reply(206, body[start : end + 1], **headers, **{"Content-Range": f"bytes {start}-{end}/{len(body)}"})

    def _tree(self, tree: dict[str, bytes], folder: str, recursive: bool) -> None:
        below = folder + "/" if folder else ""
        inside = sorted(path for path in tree if path.startswith(below))
        if folder and not inside:
            raise _Refused(404, "EntryNotFound", f"{folder} does not exist")
        folders = {
            below + "/".join(parts[:n])
            for p in inside
            for parts in [p[len(below) :].split("/")]
            for n in range(1, len(parts))
        }
        paths = [path for path in sorted([*inside, *folders]) if recursive or "/" not in path[len(below) :]]
        self._json([entry for path in paths for entry in _entries(tree, path)])

    def _body(self) -> bytes:
        self.read, body = True, b""
        if (self.headers.get("Transfer-Encoding") or "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.received += len(body)
        return body

    def _json(self, value: Any) -> None:
        self._reply(200, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def _reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _mode(path: str) -> str:
    return "lfs" if path.endswith(LARGE) else "regular"


def _blob_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _entries(tree: dict[str, bytes], path: str) -> list[dict[str, Any]]:
    """The entry of a file or folder, in a list; none where there is neither."""
    path = path.strip("/")
    if path not in tree:
        inside = any(other.startswith(path + "/") for other in tree)
        return [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0}] if inside else []
    body = tree[path]
    entry = {"type": "file", "path": path, "oid": _blob_id(body), "size": len(body)}
    if _mode(path) == "lfs":
        entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
    return [entry]
