"""The example: killed at random steps and started again, it trains on bit-identical batches, with the same loss."""

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
    whole = log.read_text().rpartition("\n")[0] if log.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def test_killed_at_random_steps_it_goes_on_with_the_same_batches(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait() == 0
    expected = {line["step"]: (line["batch"], line["loss"]) for line in steps(whole)}
    assert list(expected) == list(range(1, STEPS + 1))
    assert len({batch for batch, _ in expected.values()}) == STEPS
    cut.mkdir()
    shutil.copy(whole / "tokenizer.json", cut)
    for at in sorted(random.Random().sample(range(2, STEPS - 1), 2)):
        process = start(cut)
        while process.poll() is None and max((line["step"] for line in steps(cut)), default=0) < at:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert start(cut).wait() == 0
    lines = steps(cut)
    assert len({line["pid"] for line in lines}) >= 2
    assert {line["step"] for line in lines} == set(expected)
    for line in lines:
        assert (line["batch"], line["loss"]) == expected[line["step"]], line


def test_the_example_is_short():
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 120
