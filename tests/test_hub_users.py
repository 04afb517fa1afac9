"""Use of the Hub: moving branches, gated repositories, offline mode, proxies."""

import io
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import document
from doors import run

from smollm3_mix.builder.prepared_cache import link_prepared
from smollm3_mix.hub.push_recipes import push_recipes_to_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=':DeprecationWarning")  # raised inside huggingface_hub

LOADED = """
import logging, time
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, 0.02))  # other tests cover the waits
import smollm3_mix
output = []


class Kept(logging.Handler):
    def emit(self, record):
        output.append(record.getMessage())


logging.getLogger("smollm3_mix").addHandler(Kept())


def loaded(streaming):
    try:
        mix = smollm3_mix.load(recipe, streaming=streaming)
        return [sorted(record["text"] for record in mix), "" if streaming else mix.cache_files[0]["filename"], output]
    except smollm3_mix.MixError as error:
        return str(error)


"""
PREPARE = LOADED + "print(json.dumps(loaded(streaming)))"


def data(name, start=0):
    file = io.BytesIO()
    pq.write_table(pa.table({"text": [document(name, start + n) for n in range(40)]}), file)
    return {"data/train-0.parquet": file.getvalue()}


@pytest.fixture
def recipe(hub, tmp_path):
    """Write a recipe of two unpinned repositories, one of them by its branch."""
    for name in ("one", "two"):
        hub.create(f"data/{name}").add("main", data(name))
    sources = [{"name": "data/one", "weight": 0.6}, {"name": "data/two", "weight": 0.4, "revision": "main"}]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"lanes": 1, "on_exhausted": "stop", "datasets": sources}))
    return path


def test_cache_of_another_commit_is_not_used(hub, recipe, tmp_path):
    def prepared(endpoint=hub.endpoint):
        return run(PREPARE, tmp_path, endpoint, recipe=recipe, streaming=False)

    first, folder, _ = prepared()
    before = len(hub.requested)
    assert prepared()[:2] == [first, folder]
    assert sorted(each for each in hub.requested[before:] if "/datasets/" in each) == [
        "GET /api/datasets/data/one?expand=sha&expand=gated",
        "GET /api/datasets/data/two/revision/main?expand=sha&expand=gated",
    ]
    hub.repos["data/two"].add("main", data("two", 1000))
    second, other, _ = prepared()
    assert second != first
    assert other != folder
    offline = prepared(None)
    assert offline[:2] == [second, other]
    assert offline[2] == [f"The Hub is unreachable. Using the cached dataset at {other.split('/')[-3]}."]


def test_offline_error_names_the_mode_without_a_cache(recipe, tmp_path):
    streamed, prepared = run(LOADED + "print(json.dumps([loaded(True), loaded(False)]))", tmp_path, recipe=recipe)
    assert streamed == prepared
    assert streamed.splitlines()[1:] == [
        f"  'data/{name}' ({share} %): HF_HUB_OFFLINE is set, but its texts are on the Hub. Unset it, or write the mix "
        "while you are online (`smollm3-mix write`) and load the written mix"
        for name, share in (("one", 60), ("two", 40))
    ] + ["Fix these sources. The recipe has no other source to read."]


def test_missing_file_error_mentions_the_local_path(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("lanes: 1\ndatasets:\n  - {name: data/gone.jsonl, weight: 1}\n")
    output = run(PREPARE, tmp_path, "http://127.0.0.1:1", recipe=file, streaming=True)
    assert "'data/gone.jsonl' (100 %): no local file 'data/gone.jsonl', and the Hub cannot be reached (" in output


TOKENIZER = """
import smollm3_mix
try:
    smollm3_mix.open_packed("demo", tokenizer="org/none")
except smollm3_mix.SourceError as error:
    print(json.dumps(str(error)))
"""


def test_unavailable_tokenizer_error_has_complete_sentences(tmp_path):
    output = run(TOKENIZER, tmp_path)
    assert output.startswith("no local tokenizer 'org/none', and it cannot be fetched from the Hub: ")
    assert output.endswith(". Pass a tokenizer.json, a folder that contains one, or a repository that you can read.")
    assert ".." not in output


TOKENS = """
import os
found = []
for token in ("", "hf_reader", "hf_writer"):
    os.environ["HF_TOKEN"] = token
    found.append(loaded(True))
print(json.dumps(found))
"""


def test_gated_repository_error_names_page_and_share(hub, recipe, tmp_path):
    hub.repos["data/two"].gated = True
    anonymous, reader, writer = run(LOADED + TOKENS, tmp_path, hub.endpoint, recipe=recipe)
    assert (
        anonymous
        == reader
        == (
            f"{recipe}: 1 of 2 sources (40 % of the weight) cannot be read\n"
            f"  'data/two' (40 %): it is gated. Request access at {hub.endpoint}/datasets/data/two, then log in with "
            "`hf auth login` or set HF_TOKEN.\n"
            "Fix these sources, or skip them with --skip-unreadable (skip_unreadable=True). The other shares then grow."
        )
    )
    assert len(writer[0]) > 20


@pytest.fixture
def proxy(hub, monkeypatch):
    """Run a proxy that forwards http://hub.example to the Hub, and return the list of its requests."""
    proxied = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            proxied.append(f"{self.command} {self.path}")
            url = self.path.replace("http://hub.example", hub.endpoint)
            kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "accept-encoding", "connection")}
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            request = urllib.request.Request(url, sent, kept, method=self.command)
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                answer = opener.open(request)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                body = answer.read()
                self.send_response(answer.status)
                for key, value in answer.headers.items():
                    if key.lower() not in ("connection", "transfer-encoding"):
                        self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def do_CONNECT(self):
            proxied.append(f"{self.command} {self.path}")
            self.send_error(502)

        def log_message(self, *_):
            """Log no requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    yield proxied
    server.shutdown()
    server.server_close()


def test_all_requests_use_the_proxy(recipe, tmp_path, proxy):
    records, _, _ = run(PREPARE, tmp_path, "http://hub.example", recipe=recipe, streaming=True)
    assert len(records) > 20
    assert any(each.endswith(".parquet") for each in proxy)
    assert "GET http://hub.example/api/datasets/data/one?expand=sha&expand=gated" in proxy


def test_https_requests_use_their_proxy(recipe, tmp_path, proxy):
    output = run(PREPARE, tmp_path, "https://hub.example", recipe=recipe, streaming=True)
    assert set(proxy) == {"CONNECT hub.example:443"}
    assert "'data/one' (60 %): the Hub cannot be reached (" in output


BY_NAME = """
from datasets import load_dataset
import smollm3_mix
found = []
for fields in ({}, {"seed": 9}):
    mix = load_dataset("org/recipes", "mine", split="train", **fields)
    found.append([record["text"] for record in mix])
print(json.dumps(found))
"""


def test_config_is_found_by_name_when_offline(hub, recipe, tmp_path):
    """Offline, `datasets` finds a cache folder only by the config's name or the name of its fields."""
    push_recipes_to_hub([recipe], "org/recipes", token="hf_writer")
    first = run(BY_NAME, tmp_path, hub.endpoint)
    assert first[0] != first[1]  # other orders
    assert run(BY_NAME, tmp_path) == first
    hub.repos["data/two"].add("main", data("two", 1000))
    second = run(BY_NAME, tmp_path, hub.endpoint)
    assert second != first  # online, a name is not enough
    assert run(BY_NAME, tmp_path) == second  # offline, the last one is used


def test_failed_link_is_logged(tmp_path, caplog):
    made = tmp_path / "org___recipes/mine-0123/0.1.0/ab"
    made.mkdir(parents=True)
    (tmp_path / "org___recipes/mine").write_text("in the way")
    link_prepared(str(made), "mine")
    (output,) = caplog.messages
    assert output.startswith(
        f"Offline, load_dataset will not find {made}, because a link to it cannot be made ([Errno "
    )


def test_existing_folder_of_the_same_name_is_kept(tmp_path):
    for name in ("mine-0123", "mine"):
        (tmp_path / f"org___recipes/{name}/0.1.0/ab").mkdir(parents=True)
    link_prepared(str(tmp_path / "org___recipes/mine-0123/0.1.0/ab"), "mine")
    assert not (tmp_path / "org___recipes/mine/0.1.0/ab").is_symlink()
