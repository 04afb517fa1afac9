"""The example trains on the same batches with the same losses when it is killed and restarted."""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the example trains a model: pip install torch")
pytest.importorskip("tokenizers", reason="the example trains a tokenizer: pip install tokenizers")

EXAMPLE = Path(__file__).parent.parent / "examples" / "train.py"
STEPS = 9


def start(folder):
    options = ["--steps", str(STEPS), "--every", "3", "--batch", "2", "--length", "32"]
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), "--output", str(folder), *options], cwd=EXAMPLE.parent.parent
    )


def steps(folder):
    log = folder / "log.jsonl"
    complete_lines = log.read_text().rpartition("\n")[0] if log.exists() else ""
    return [json.loads(line) for line in complete_lines.splitlines()]


def test_example_resumes_with_the_same_batches_when_killed(tmp_path):
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    assert start(reference).wait() == 0
    expected = {line["step"]: (line["batch"], line["loss"]) for line in steps(reference)}
    assert list(expected) == list(range(1, STEPS + 1))
    assert len({batch for batch, _ in expected.values()}) == STEPS
    killed.mkdir()
    shutil.copy(reference / "tokenizer.json", killed)
    for at in sorted(random.Random().sample(range(2, STEPS - 1), 2)):
        process = start(killed)
        while process.poll() is None and max((line["step"] for line in steps(killed)), default=0) < at:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert start(killed).wait() == 0
    lines = steps(killed)
    assert len({line["pid"] for line in lines}) >= 2
    assert {line["step"] for line in lines} == set(expected)
    for line in lines:
        assert (line["batch"], line["loss"]) == expected[line["step"]], line


def test_example_is_short():
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 120
