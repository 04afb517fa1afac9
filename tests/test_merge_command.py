"""The verb `merge` on real files: its flags, its log lines, what it saves, and what it refuses."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from doors import ROOT
from merge_reference import RULES, WEIGHTS, lists_without_weights, messages, old_pipeline

from smollm3_mix.cli.main import main
from smollm3_mix.errors import OutputError
from smollm3_mix.merge_datasets import merge_output
from smollm3_mix.merge_datasets.dataset_merger import DatasetMerger


@pytest.fixture
def weighted(recipe_file):
    """Sources a (400 rows, one twice), b (200, one empty, one a duplicate of a's) and c (60), with a length rule."""
    return recipe_file(**RULES)


@pytest.fixture
def lists(tmp_path):
    """Two English lists, of 30 and 20 rows, and a Vietnamese one of 10."""
    return lists_without_weights(tmp_path)


def run(*arguments, cwd, **environment):
    """(exit code, standard output, standard error) of the command in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "smollm3_mix", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"} | environment,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_merge_command_logs_and_saves_weighted_merge(weighted, tmp_path):
    out = tmp_path / "out"
    code, printed, logged = run(
        *("merge", "--config", weighted, "--use-weights", "--max-samples", "300", "--seed", "3", "--output-dir", out),
        cwd=tmp_path,
    )
    assert code == 0, logged
    lines = [line for line in logged.splitlines() if " - " in line]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - INFO - ", line) for line in lines)
    kept, _ = old_pipeline(tmp_path / "sources", 3, 300)
    names = {key: str(tmp_path / "sources" / key) for key in WEIGHTS}
    train = int(len(kept) * 0.95)
    assert [line[22:] for line in lines] == [
        f"INFO - Loading configuration from {weighted}",
        "INFO - Weighted sampling enabled",
        "INFO - Using weighted sampling mode",
        "INFO - Loading datasets for weighted sampling...",
        *(f"INFO - Loading {names[key]} [weight: {weight}]" for key, weight in WEIGHTS.items()),
        "INFO - Dataset weights (normalized):",
        f"INFO -   {names['a']}: 0.6000 (60.00%)",
        f"INFO -   {names['b']}: 0.3000 (30.00%)",
        f"INFO -   {names['c']}: 0.1000 (10.00%)",
        "INFO - Interleaving datasets with weighted sampling...",
        f"INFO - Weighted sampling completed: Processed 300, Kept {len(kept)} ({len(kept) / 300:.2%})",
        "INFO - Creating HuggingFace dataset...",
        f"INFO - Created dataset with {train} train and {len(kept) - train} test samples",
        f"INFO - Saving dataset locally to {out}",
        f"INFO - Dataset saved to {out}",
        "INFO - Process completed!",
    ]
    dataset = datasets.load_from_disk(str(out))
    assert isinstance(dataset, datasets.DatasetDict)
    assert dataset["train"].column_names == ["text"]
    assert (dataset["train"]["text"][:], dataset["test"]["text"][:]) == (kept[:train], kept[train:])
    assert sorted(path.name for path in out.iterdir()) == sorted(merge_output.RESULT)
    table = printed.splitlines()
    assert table[0].split()[:3] == ["source", "processed", "kept"]
    assert table[-2].split()[:3] == ["total", "300", str(len(kept))]
    assert table[-1] == f'Load it: datasets.load_from_disk("{out}")'
    stats = json.loads((out / "stats.json").read_bytes())
    assert (stats["total"]["processed"], stats["total"]["kept"]) == (300, len(kept))
    again = DatasetMerger(out / "recipe.yaml", use_weights=True)
    assert again.merge_all_datasets_weighted(300) == kept


def test_merge_command_logs_concatenation(lists, tmp_path, capsys, caplog):
    with caplog.at_level(logging.INFO):
        code = main(["merge", "--config", str(lists), "--output-dir", str(tmp_path / "out"), "--max-samples", "8"])
    assert code == 0
    assert messages(caplog) == [
        f"Loading configuration from {lists}",
        "Using simple concatenation mode",
        "Processing English datasets...",
        f"Loading dataset: {tmp_path / 'one'} (english)",
        f"Completed {tmp_path / 'one'}: Processed 8, Kept 7 (87.50%)",
        f"Loading dataset: {tmp_path / 'two'} (english)",
        f"Completed {tmp_path / 'two'}: Processed 8, Kept 8 (100.00%)",
        "Processing Vietnamese datasets...",
        f"Loading dataset: {tmp_path / 'viet'} (vietnamese)",
        f"Completed {tmp_path / 'viet'}: Processed 8, Kept 6 (75.00%)",
        "Total merged texts: 21",
        "Creating HuggingFace dataset...",
        "Created dataset with 19 train and 2 test samples",
        f"Saving dataset locally to {tmp_path / 'out'}",
        f"Dataset saved to {tmp_path / 'out'}",
        "Process completed!",
    ]
    assert capsys.readouterr().out.splitlines()[-2].split() == ["total", "24", "21", "2", "1"]


@pytest.mark.parametrize(("flag", "names"), [("--english-only", ["one", "two"]), ("--vietnamese-only", ["viet"])])
def test_merge_command_selects_language(lists, tmp_path, flag, names):
    assert main(["merge", "--config", str(lists), flag, "--output-dir", str(tmp_path / "out")]) == 0
    stats = json.loads((tmp_path / "out" / "stats.json").read_bytes())
    assert [Path(source).name for source in stats["sources"]] == names


def test_merge_command_saves_nothing_with_no_save_local(weighted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["merge", "--config", str(weighted), "--use-weights", "--max-samples", "20", "--no-save-local"]) == 0
    assert sorted(tmp_path.iterdir()) == before
    assert "Load it" not in capsys.readouterr().out


def test_merge_command_replaces_earlier_merge_in_default_folder(weighted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for rows in (200, 40):
        assert main(["merge", "--config", str(weighted), "--use-weights", "--max-samples", str(rows)]) == 0
        stats = json.loads((tmp_path / "merged_dataset" / "stats.json").read_bytes())
        assert stats["total"]["processed"] == rows
        saved_rows = sum(map(len, datasets.load_from_disk(str(tmp_path / "merged_dataset")).values()))
        assert saved_rows == stats["total"]["kept"]


def test_merge_command_fails_when_folder_contains_other_files(weighted, tmp_path, capsys):
    command = ["merge", "--config", str(weighted), "--use-weights", "--max-samples", "20", "--output-dir"]
    mine = tmp_path / "mine"
    (mine / "train").mkdir(parents=True)
    assert main([*command, str(mine)]) == 1
    assert capsys.readouterr().err == (
        f"OutputError: {mine} holds 'train', which no merge has saved there. Choose another --output-dir.\n"
    )
    assert main([*command, str(weighted)]) == 1
    assert capsys.readouterr().err == f"error: {weighted} is a file. Choose another --output-dir.\n"
    (tmp_path / "writing" / ".writing").mkdir(parents=True)
    (tmp_path / "writing" / ".writing" / "request.json").write_text("{}")
    assert main([*command, str(tmp_path / "writing")]) == 1
    assert capsys.readouterr().err == (
        f"OutputError: {tmp_path / 'writing'} holds the unfinished work of `smollm3-mix write`. "
        "Choose another --output-dir, or remove it.\n"
    )


def test_merge_command_recovers_after_kill_while_saving(weighted, tmp_path):
    out = tmp_path / "out"
    command = ["merge", "--config", str(weighted), "--use-weights", "--max-samples", "60", "--output-dir", str(out)]
    assert main(command) == 0
    whole = {path.name: path.stat().st_size for path in out.rglob("*") if path.is_file()}
    (out / "dataset_dict.json").unlink()
    (out / "stats.json").unlink()
    (out / ".writing" / "saved" / "train").mkdir(parents=True)
    (out / ".writing" / "saved" / "train" / "data-00007-of-00008.arrow").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        datasets.load_from_disk(str(out))
    assert main(command) == 0
    assert {path.name: path.stat().st_size for path in out.rglob("*") if path.is_file()} == whole


def test_work_folder_locks_output_folder(tmp_path):
    with merge_output.workplace(tmp_path / "out"):
        with (
            pytest.raises(OutputError, match="is being written by another process"),
            merge_output.workplace(tmp_path / "out"),
        ):
            pass
        assert (tmp_path / "out" / ".writing").exists()
    assert not (tmp_path / "out").exists()


def test_merge_command_prints_drop_reasons_when_no_text_is_kept(recipe_file, tmp_path, capsys):
    path = recipe_file(filters={"min_chars": 100_000})
    out = tmp_path / "out"
    command = ["merge", "--config", str(path), "--use-weights", "--max-samples", "20", "--output-dir", str(out)]
    assert main(command) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"SourceExhaustedError: {path}: no texts were merged: 20 rows processed, dropped: too_short 20. "
        "Loosen the recipe's `filters` or `where`, or raise --max-samples."
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--push-to-hub"], "--push-to-hub needs a repository: add --hub-repo OWNER/NAME"),
        (["--use-weights", "--english-only"], "argument --english-only: not allowed with argument --use-weights"),
        (
            ["--english-only", "--vietnamese-only"],
            "argument --vietnamese-only: not allowed with argument --english-only",
        ),
        (
            ["--max-samples", "0"],
            "argument --max-samples: the value must be a whole number above 0, such as 10_000 or '10M', got '0'.",
        ),
    ],
)
def test_merge_command_rejects_invalid_flags(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["merge", *flags])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"smollm3-mix merge: error: {message}"


def test_merge_command_warns_about_hub_flags_without_push(weighted, tmp_path, caplog):
    out = str(tmp_path / "out")
    command = ["merge", "--config", str(weighted), "--use-weights", "--max-samples", "20", "--output-dir", out]
    assert main([*command, "--hub-repo", "me/mine", "--private"]) == 0
    assert messages(caplog) == ["Nothing is pushed: --hub-repo and --private are used with --push-to-hub only"]


def test_merge_command_checks_credentials_before_reading(tmp_path):
    command = ("merge", "--config", "missing.yaml", "--push-to-hub", "--hub-repo", "me/mine", "--no-save-local")
    code, _, logged = run(*command, cwd=tmp_path, HF_HOME=str(tmp_path), HF_TOKEN="", HF_TOKEN_PATH=str(tmp_path / "t"))
    assert code == 1
    assert logged == (
        "OutputError: cannot push to me/mine: nobody is logged in. "
        "Log in with `hf auth login`, or set HF_TOKEN to a token that may write.\n"
    )


def test_merge_command_saves_nothing_when_interrupted(weighted, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("smollm3_mix.merge_datasets.merge_output.split", interrupted)
    out = tmp_path / "out"
    assert main(["merge", "--config", str(weighted), "--max-samples", "5", "--output-dir", str(out)]) == 130
    assert capsys.readouterr().err == (
        "Interrupted. Nothing is saved: merge starts afresh, `smollm3-mix write` goes on.\n"
    )
    assert not out.exists()
