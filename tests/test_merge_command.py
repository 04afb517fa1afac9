"""`smollm3-mix merge` on real files: flags, log lines, saved files and errors."""

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import yaml
from doors import ROOT
from heritage import heritage, packed
from merge_reference import RULES, WEIGHTS, config_without_weights, messages, reference_merge
from test_heritage import ids

from smollm3_mix.cli.main import main
from smollm3_mix.errors import OutputError, SourceError
from smollm3_mix.merge_datasets import merge_output
from smollm3_mix.merge_datasets.dataset_merger import DatasetMerger
from smollm3_mix.sources.software_heritage.contents import ENDPOINT


@pytest.fixture
def weighted(recipe_file):
    """Sources a (400 rows, one twice), b (200 rows, one empty, one of a) and c (60 rows), with a minimum length."""
    return recipe_file(**RULES)


@pytest.fixture
def languages(tmp_path):
    """English sources of 30 and 20 rows, and a Vietnamese source of 10 rows."""
    return config_without_weights(tmp_path)


def run(*arguments, cwd, module="smollm3_mix", **environment):
    """Run a module in a new process. Return its exit code, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
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
    kept, _ = reference_merge(tmp_path / "sources", 3, 300)
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
    merger = DatasetMerger(out / "recipe.yaml", use_weights=True)
    assert merger.merge_all_datasets_weighted(300) == kept


def test_merge_command_logs_concatenation(languages, tmp_path, capsys, caplog):
    with caplog.at_level(logging.INFO):
        code = main(["merge", "--config", str(languages), "--output-dir", str(tmp_path / "out"), "--max-samples", "8"])
    assert code == 0
    assert messages(caplog) == [
        f"Loading configuration from {languages}",
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
def test_merge_command_selects_language(languages, tmp_path, flag, names):
    assert main(["merge", "--config", str(languages), flag, "--output-dir", str(tmp_path / "out")]) == 0
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
        f"error: {mine} contains 'train', which is not part of a merge. Choose another --output-dir.\n"
    )
    assert main([*command, str(weighted)]) == 1
    assert capsys.readouterr().err == f"error: {weighted} is a file. Choose another --output-dir.\n"
    (tmp_path / "writing" / ".writing").mkdir(parents=True)
    (tmp_path / "writing" / ".writing" / "request.json").write_text("{}")
    assert main([*command, str(tmp_path / "writing")]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'writing'} contains an unfinished run of `smollm3-mix write`. "
        "Choose another --output-dir, or delete it.\n"
    )


def test_merge_command_recovers_after_kill_while_saving(weighted, tmp_path):
    out = tmp_path / "out"
    command = ["merge", "--config", str(weighted), "--use-weights", "--max-samples", "60", "--output-dir", str(out)]
    assert main(command) == 0
    complete = {path.name: path.stat().st_size for path in out.rglob("*") if path.is_file()}
    (out / "dataset_dict.json").unlink()
    (out / "stats.json").unlink()
    (out / ".writing" / "saved" / "train").mkdir(parents=True)
    (out / ".writing" / "saved" / "train" / "data-00007-of-00008.arrow").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        datasets.load_from_disk(str(out))
    assert main(command) == 0
    assert {path.name: path.stat().st_size for path in out.rglob("*") if path.is_file()} == complete


def test_work_folder_locks_output_folder(tmp_path):
    with merge_output.work_folder(tmp_path / "out"):
        with (
            pytest.raises(OutputError, match="is locked by another process"),
            merge_output.work_folder(tmp_path / "out"),
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
        f"error: {path}: no texts were merged. Rows processed: 20. Dropped: too_short 20. "
        "Relax the recipe's `filters` or `where`, or raise --max-samples."
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
    assert messages(caplog) == ["--hub-repo and --private have no effect without --push-to-hub."]


def test_merge_command_checks_credentials_before_reading(tmp_path):
    command = ("merge", "--config", "missing.yaml", "--push-to-hub", "--hub-repo", "me/mine", "--no-save-local")
    code, _, logged = run(*command, cwd=tmp_path, HF_HOME=str(tmp_path), HF_TOKEN="", HF_TOKEN_PATH=str(tmp_path / "t"))
    assert code == 1
    assert logged == (
        "error: cannot push to me/mine: no user is logged in. "
        "Log in with `hf auth login`, or set HF_TOKEN to a token with write access.\n"
    )


def test_merge_command_saves_nothing_when_interrupted(weighted, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("smollm3_mix.merge_datasets.merge_output.split", interrupted)
    out = tmp_path / "out"
    assert main(["merge", "--config", str(weighted), "--max-samples", "5", "--output-dir", str(out)]) == 130
    assert capsys.readouterr().err == (
        "Interrupted. Nothing was saved. A new merge starts from the beginning. `smollm3-mix write` can resume.\n"
    )
    assert not out.exists()


def test_module_merge_datasets_runs_merge_command(weighted, tmp_path):
    """`python -m smollm3_mix.merge_datasets` takes the flags of `merge_datasets.py`."""
    command = ("--config", weighted, "--use-weights", "--max-samples", "30", "--seed", "3", "--output-dir", "out")
    code, printed, logged = run(*command, cwd=tmp_path, module="smollm3_mix.merge_datasets")
    assert code == 0, logged
    kept, _ = reference_merge(tmp_path / "sources", 3, 30)
    saved = datasets.load_from_disk(str(tmp_path / "out"))
    assert saved["train"]["text"][:] + saved["test"]["text"][:] == kept
    assert printed.splitlines()[-1] == 'Load it: datasets.load_from_disk("out")'
    code, _, logged = run("--use-weights", "--english-only", cwd=tmp_path, module="smollm3_mix.merge_datasets")
    assert code == 2
    assert logged.splitlines()[-1] == (
        "smollm3-mix merge: error: argument --english-only: not allowed with argument --use-weights"
    )


@pytest.fixture
def code_recipe(tmp_path, monkeypatch):
    """A recipe with a source of Software Heritage, a local server of its texts, and no accepted terms."""
    texts = [f"def function_{number}():\n    return {number}\n".encode() for number in range(6)]
    rows = [(hashlib.sha1(text).hexdigest(), "UTF-8", len(text)) for text in texts]
    ids(tmp_path / "code" / "0.parquet", rows)
    content = {"datasets": [{"name": "./code", "id": "code", "weight": 1, "content": "swh"}], "clean": "code"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    with heritage(packed(texts)) as server:
        monkeypatch.setenv(ENDPOINT, server.endpoint)
        yield tmp_path / "mine.yaml"


@pytest.mark.parametrize("mode", [["--use-weights"], []])
def test_merge_command_requires_accepted_terms(code_recipe, tmp_path, capsys, mode):
    command = ["merge", "--config", str(code_recipe), *mode, "--output-dir", str(tmp_path / "out")]
    assert main(command) == 1
    assert "--accept-terms softwareheritage" in capsys.readouterr().err
    assert main([*command, "--accept-terms", "softwareheritage"]) == 0
    assert capsys.readouterr().out.splitlines()[-2].split() == ["total", "6", "6"]


def test_merger_requires_accepted_terms(code_recipe):
    with pytest.raises(SourceError, match="softwareheritage"):
        DatasetMerger(code_recipe).merge_all_datasets()
    assert len(DatasetMerger(code_recipe, accept_terms="softwareheritage").merge_all_datasets()) == 6
