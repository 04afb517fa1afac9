"""Small real sources made on the fly, the options of the suite, and a guard that keeps the tests off the network."""

import functools
import gc
import itertools
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("quick", COMMON, max_examples=40)
settings.register_profile("all", COMMON, max_examples=100)
HOME = pytest.StashKey[str]()

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "it",
    "was",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "from",
    "have",
    "or",
    "by",
    "one",
    "had",
    "not",
    "but",
    "what",
    "all",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all`."""
    text = "also run tests marked `slow`, and all examples of the property tests"
    parser.addoption("--all", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how much is run, and give this process caches of its own before `huggingface_hub` is imported.

    Variables of the Hub would change what its client does: HF_HUB_OFFLINE even refuses the Hubs on this machine.
    """
    config.addinivalue_line("markers", "slow: takes long for what it may find; run with --all")
    settings.load_profile("all" if config.getoption("all") else "quick")
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGINGFACE_"))]:
        del os.environ[name]
    config.stash[HOME] = os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="smollm3-mix-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the caches."""
    shutil.rmtree(config.stash[HOME])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect slow tests, unless they are asked for with `--all`."""
    if config.getoption("all"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_collection_finish() -> None:
    """Exempt what has been imported from garbage collection, which saves a tenth of the processor time.

    Hypothesis registers its generator in its first test. Older versions warn if its references are frozen by then.
    """
    given(st.none())(settings(max_examples=1)(lambda _: None))()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _off_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anything but this machine fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@functools.cache
def document(source: str, number: int) -> str:
    """A text of 5 to about 150 words that no other document has."""
    length = 5 + (number * 7919 + len(source) * 31) % 140
    return f"{source} {number}: " + " ".join([WORDS[(number * 13 + i * i) % len(WORDS)] for i in range(length)])


def parquet(folder: Path, texts: list[str], files: int = 2, group: int = 7, **columns: list[Any]) -> Path:
    """A folder of Parquet files with these texts, dealt to files in order."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"text": texts, **columns})
    size = -(-len(texts) // files)
    for number in range(files):
        part = table.slice(number * size, size)
        pq.write_table(part, folder / f"part-{number:02d}.parquet", row_group_size=group)
    return folder


def jsonl(folder: Path, texts: list[str]) -> Path:
    """A folder with one file of JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(
        json.dumps({"text": text, "id": f"own-{n}"}, ensure_ascii=False) + "\n" for n, text in enumerate(texts)
    )
    (folder / "all.jsonl").write_text(lines, encoding="utf-8")
    return folder


def use_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Make `endpoint` the Hub of this process, as HF_ENDPOINT does for a new one."""
    from huggingface_hub import constants, file_download

    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    # Before version 1, this module has the template by a name of its own.
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Hub on this machine that can be written, and the Hub of this process."""
    from huggingface_hub import constants
    from writable_hub import writable_hub

    from smollm3_mix.network import retry

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    with writable_hub() as state:
        use_hub(monkeypatch, state.endpoint)
        yield state


@pytest.fixture
def api(hub: Any) -> Any:
    """A client of that Hub whose token may write."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.endpoint, token="hf_writer")


@pytest.fixture
def recipe_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a recipe's text into the working directory, as mine.yaml, and gives its name."""
    monkeypatch.chdir(tmp_path)

    def written(text: str, name: str = "mine.yaml") -> str:
        Path(name).write_text(text, encoding="utf-8")
        return name

    return written


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a new bucket of a server on this machine that speaks S3; servers of a process share their buckets."""
    import logging

    import fsspec

    s3fs = pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    port = server.get_host_and_port()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    s3fs.S3FileSystem.clear_instance_cache()  # those of an earlier test ask its server
    fsspec.filesystem("s3").mkdir(f"bucket{port}")
    yield f"s3://bucket{port}/mix"
    server.stop()


def resumes_everywhere(mix: Any, few: int) -> int:
    """Records of a mix whose stream is resumed at every position: to the end at every twentieth, else a few records."""
    stream, whole = mix.stream(), list(mix.stream())
    records = iter(stream)
    for position in range(len(whole) + 1):
        resumed = mix.stream()
        resumed.load_state_dict(json.loads(json.dumps(stream.state_dict())))
        assert resumed.stats == stream.stats
        rest = len(whole) - position if position % 20 == 0 else few
        assert list(itertools.islice(resumed, rest)) == whole[position : position + rest], f"position {position}"
        resumed.close()
        next(records, None)
    return len(whole)


def recipe_maker(home: Path) -> Callable[..., Path]:
    """A function that writes a recipe into `home`, over sources there; see `recipe_file`."""

    def make(
        name: str = "toy",
        sources: dict[str, Any] | None = None,
        sizes: tuple[int, int, int] = (400, 200, 60),
        **top: Any,
    ) -> Path:
        folder = home / "sources"
        if not folder.exists():
            texts = {key: [document(key, n) for n in range(size)] for key, size in zip("abc", sizes, strict=True)}
            texts["a"][50], texts["b"][10] = texts["a"][3], texts["a"][4]
            texts["b"][20] = ""
            parquet(folder / "a", texts["a"], files=5)
            jsonl(folder / "b", texts["b"])
            parquet(folder / "c", texts["c"], files=1)
        weights = {"a": 0.6, "b": 0.3, "c": 0.1}
        datasets = [
            {"name": str(folder / key), "id": key}
            | ({"weight": weight} if top.get("weighted", True) else {})
            | (sources or {}).get(key, {})
            for key, weight in weights.items()
        ]
        content = {
            "description": "Three toy sources.",
            "seed": 7,
            "lanes": 2,
            "block": {"rows": 8, "bytes": 4000},
            "on_exhausted": "stop",
            **top,
            "datasets": datasets,
        }
        path = home / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return make


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe over `a` (Parquet, 400 documents), `b` (JSON lines, 200) and `c` (Parquet, 60)."""
    return recipe_maker(tmp_path)


@pytest.fixture(scope="module")
def shared_recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The same for all tests of a module, which leave the sources as they are. Recipes of one name are one file."""
    return recipe_maker(tmp_path_factory.mktemp("recipes"))


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often a process is killed before it may finish its work."""
    return int(os.environ.get("SMOLLM3_MIX_KILLS", "4" if request.config.getoption("all") else "2"))


def examples(most: int) -> settings:
    """Settings of a property test: `most` examples with --all, and 40 % of them without."""
    return settings(max_examples=most * settings().max_examples // 100)
