"""Requests to the Hub: transient errors change nothing, permanent ones are named, and workers list no files again."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import document
from doors import run
from hub import COMMIT, hub
from network_faults import Faults

from smollm3_mix.network import rate_limit, retry

SOURCES = 12

READ = """
import hashlib, time
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, 0.02))  # other tests cover the waits
from smollm3_mix import open_mix
try:
    mix = open_mix(recipe)
    records = list(mix.stream())
    found = [len(records), hashlib.sha256(json.dumps(records).encode()).hexdigest()]
except Exception as error:
    found = [type(error).__name__, str(error)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return twelve repositories: Parquet, JSON lines, and configs of a dataset card, in turn."""
    base, found = tmp_path_factory.mktemp("repositories"), {}
    for number in range(SOURCES):
        root = base / f"r{number}"
        texts = [document(f"s{number}", row) for row in range(60)]
        if number % 3 == 0:
            (root / "data").mkdir(parents=True)
            for part in range(2):
                some = pa.table({"text": texts[part * 30 : part * 30 + 30]})
                pq.write_table(some, root / f"data/train-{part}.parquet", row_group_size=20)
        elif number % 3 == 1:
            root.mkdir()
            (root / "all.jsonl.gz").write_bytes(gzip.compress(lines(texts)))
        else:
            for config in ("x", "y"):
                (root / config).mkdir(parents=True)
                pq.write_table(pa.table({"text": texts if config == "y" else texts[:3]}), root / config / "0.parquet")
            card = "- {config_name: x, data_files: x/*.parquet}\n- {config_name: y, data_files: y/0.parquet}"
            (root / "README.md").write_text(f"---\nconfigs:\n{card}\n---\n")
        found[f"org/r{number}"] = root
    return found


def lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def write_recipe(folder: Path, names: list[str], **top: Any) -> Path:
    sources = [
        {"name": name, "weight": 1 + number / 10} | ({"config": "y"} if number % 3 == 2 else {})
        for number, name in enumerate(names)
    ]
    recipe = {"lanes": 2, "on_exhausted": "stop", "block": {"rows": 16}, **top, "datasets": sources}
    path = folder / "mix.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def serve(repositories: dict[str, Path], problems: Faults) -> Any:
    (first, root), *others = repositories.items()
    return hub(first, root, others=dict(others), problems=problems)


def test_mix_of_twelve_sources_is_the_same_with_transient_errors(repositories: dict[str, Path], tmp_path: Path) -> None:
    recipe, found = write_recipe(tmp_path, list(repositories)), []
    for problems in (Faults(), Faults(0.2, seed=1)):
        with serve(repositories, problems) as endpoint:
            home = tmp_path / str(len(found))
            home.mkdir()
            found.append(run(READ, home, endpoint, recipe=recipe))
        assert (problems.struck > 20) == bool(len(found) - 1)
    assert found[0][0] > 500
    assert found[1] == found[0]


def test_permanent_errors_name_source_and_file(repositories: dict[str, Path], tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, ["org/r0", "org/r1", "org/r2"])
    with serve(repositories, Faults(lasting=("/data/train", "/api/datasets/org/r1"))) as endpoint:
        name, message = run(READ, tmp_path, endpoint, recipe=recipe)
    head, first, second, rest = message.split("\n")
    assert name == "UnreadableSourcesError"
    assert head.endswith("mix.yaml: 2 of 3 sources (63.6 % of the weight) cannot be read")
    assert first.startswith(f"  'org/r0' (30.3 %): org/r0@{COMMIT}/data/train-0.parquet cannot be read (")
    assert "503" in first
    assert first.endswith(
        "). Try again: the mix resumes at the same record. If the error persists, the file is damaged."
    )
    assert second.startswith("  'org/r1' (33.3 %): the Hub cannot be reached (")
    assert "503" in second
    assert second.endswith("). Check the network, HF_ENDPOINT and HF_HUB_OFFLINE")
    assert rest.startswith("Fix these sources, or skip them with --skip-unreadable")


WORKERS = """
import smollm3_mix
if loader:
    from torch.utils.data import DataLoader
    if __name__ == "__main__":
        count = sum(1 for _ in DataLoader(smollm3_mix.load(recipe), batch_size=None, num_workers=workers))
else:
    count = len(smollm3_mix.load(recipe, streaming=False, num_proc=workers))
print(count)
"""


@pytest.mark.parametrize("loader", [False, True])
def test_four_workers_list_the_same_files_as_one(repositories: dict[str, Path], tmp_path: Path, loader: bool) -> None:
    """Each process that prepares a dataset, and each worker of a `DataLoader`, reads its own lanes."""
    if loader:
        pytest.importorskip("torch", reason="DataLoader needs torch; .ci/run --all has it")
    recipe, listings, counts = write_recipe(tmp_path, ["org/r0", "org/r1", "org/r2"], lanes=4), [], []
    for workers in (1, 4):
        problems, home = Faults(), tmp_path / str(workers)
        home.mkdir()
        with serve(repositories, problems) as endpoint:
            counts.append(run(WORKERS, home, endpoint, recipe=recipe, workers=workers, loader=loader))
        listings.append(
            sorted(each for each in problems.asked if "/datasets/" in each and not each.endswith((".parquet", ".gz")))
        )
    one, four = listings
    assert counts[0] == counts[1] > 100
    assert len(one) > 30
    # simultaneous threads may each request a repository's info, and `datasets` before 4 requests it too
    assert [each for each in four if "/revision/" not in each] == [each for each in one if "/revision/" not in each]
    lookups = [sum("/revision/" in each for each in listing) for listing in (one, four)]
    assert lookups[1] <= 2 * lookups[0]


CHANGED = """
from smollm3_mix import open_mix
mix = open_mix(recipe)
text = open(file, "rb").read()
open(file, "wb").write(text.replace(b"r", b"s", 1))  # the same length
try:
    list(mix.stream())
    found = "read"
except Exception as error:
    found = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def test_reading_raises_when_a_file_differs_from_its_listed_digest(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "all.jsonl").write_bytes(lines([document("s", row) for row in range(60)]))
    recipe = write_recipe(tmp_path, ["org/r0"])
    with hub("org/r0", root) as endpoint:
        message = run(CHANGED, tmp_path, endpoint, recipe=recipe, file=root / "all.jsonl")
    assert message.startswith(f"SourceError: source 'org/r0': org/r0@{COMMIT}/all.jsonl: the content has SHA-256 ")
    assert message.endswith("It was damaged in transit. Try again: the mix resumes at the same record.")


SPEND = """
import sys, time
from smollm3_mix.network.rate_limit import RateLimiter
limiter = RateLimiter("test", rate=100, burst=10)
for _ in range(20):
    limiter.wait("https://host/" + sys.argv[1])
    print(time.time(), flush=True)
"""


def test_processes_share_one_rate_limit(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(retry.__file__).parents[2])}
    started = [
        subprocess.Popen([sys.executable, "-c", SPEND, str(number)], env=environment, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    times = sorted(float(line) for process in started for line in process.communicate()[0].split())
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(times) == 60
    assert times[-1] - times[0] >= 0.45  # 10 at once, 50 more at 100 a second, in twos


def test_rate_limit_applies_per_process_without_a_writable_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(rate_limit.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    limiter = rate_limit.RateLimiter("alone", rate=50, burst=1)
    before = time.monotonic()
    limiter.wait("https://host", 6)
    assert time.monotonic() - before >= 0.05
    assert "each process limits its requests on its own" in caplog.text


def test_permanent_errors_are_not_retried() -> None:
    requests = []

    def request() -> None:
        requests.append(1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        retry.with_retries(request)
    assert len(requests) == 1


def test_retry_waits_for_the_retry_after_header(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.errors

    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    monkeypatch.setattr(retry.random, "uniform", lambda low, high: 0.0)

    class Response:
        status_code = 429
        headers = {"retry-after": "7"}  # noqa: RUF012

    def request() -> str:
        if len(waits) < 2:
            error = ConnectionError("busy")
            error.response = Response()  # type: ignore[attr-defined]
            raise error
        return "content"

    assert retry.with_retries(request) == "content"
    assert waits == [7.0, 7.0]
    assert not retry.is_transient(huggingface_hub.errors.OfflineModeIsEnabled("offline"))
