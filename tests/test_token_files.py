"""Token files: their bytes, and how the readers of the trainers read them."""

import json
import re
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_tokenizer import save

from smollm3_mix.cli.main import main
from smollm3_mix.errors import OutputError
from smollm3_mix.output import lane_writer
from smollm3_mix.output.output_formats import Tokens, megatron_index
from smollm3_mix.output.write_mix import write
from smollm3_mix.packing.packed_mix import open_packed
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.tokenizer.encoder import Tokenizer
from smollm3_mix.verification import recount_tokens
from smollm3_mix.verification.verify_mix import verify

EOS = "<|endoftext|>"


def test_megatron_index_has_the_documented_bytes():
    expected = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 3, 4)
    expected += struct.pack("<3i", 5, 1, 7) + struct.pack("<3q", 0, 10, 12) + struct.pack("<4q", 0, 1, 2, 3)
    assert megatron_index(np.array([5, 1, 7]), 2) == expected
    assert megatron_index(np.array([], np.int64), 4)[9:18] == struct.pack("<QB", 1, 4)


def test_token_size_is_that_of_each_trainer():
    sizes = {
        name: [Tokens(name, vocab, "t").size for vocab in (65_499, 65_500, 65_536, 65_537)]
        for name in ("nanotron", "megatron")
    }
    assert sizes == {"nanotron": [2, 2, 2, 4], "megatron": [2, 4, 4, 4]}


def test_token_files_have_only_the_rows_of_a_slice(tmp_path):
    ids = pa.array([[1, 2], [3], [4, 5, 6], [7]], pa.list_(pa.int32())).slice(1, 2)
    shard = Tokens("nanotron", 100, "t").open(tmp_path, "train-00000-00000")
    shard.add(pa.table({"ids": ids}))
    shard.close()
    file = tmp_path / "train" / "train-00000-00000.ds"
    assert file.read_bytes() == struct.pack("<4H", 3, 4, 5, 6)
    assert file.with_name(file.name + ".index").read_bytes() == struct.pack("<2Q", 1, 4)


@pytest.fixture
def tokenizer_file(tmp_path):
    pytest.importorskip("tokenizers", reason="writes with a tokenizer of its own: pip install tokenizers")
    return save(tmp_path / "tokenizer.json")


@pytest.fixture
def made(recipe_file, tokenizer_file, tmp_path):
    """Return a function that writes a format and returns its folder, the token ids of each lane, and the statistics."""

    def make(format_name, **options):
        recipe = recipe_file(lanes=2, holdout={"fraction": 0.1})
        folder = tmp_path / format_name
        stats = write(recipe, folder, format=format_name, tokenizer=tokenizer_file, max_tokens=9_000, **options).stats
        mix = open_packed(recipe, tokenizer=tokenizer_file, max_tokens=9_000).mix
        documents = []
        for lane in range(2):
            stream, ids = mix.stream([lane]), []
            while (batch := stream.read(100)).num_rows:
                ids += batch["ids"].to_pylist()
            documents.append(ids)
        return folder, documents, stats

    return make


def test_nanotron_files_have_the_documented_bytes(made):
    folder, documents, stats = made("nanotron")
    total = 0
    for lane, ids in enumerate(documents):
        stem = folder / "data" / "train" / f"train-{lane:05d}-00000.ds"
        assert stem.read_bytes() == b"".join(struct.pack(f"<{len(each)}H", *each) for each in ids)
        ends = np.cumsum([len(each) for each in ids]).tolist()
        assert stem.with_name(stem.name + ".index").read_bytes() == struct.pack(f"<{len(ends)}Q", *ends)
        first, second, _ = stem.with_name(stem.name + ".metadata").read_text().split("\n")
        assert first.endswith("tokenizer.json|2")
        assert int(second) == ends[-1]
        total += ends[-1]
    assert total == stats["train"].total.emitted_tokens
    assert load_recipe(folder / "recipe.yaml").tokens.eos == EOS


def test_datatrove_reads_nanotron_files(made):
    dataset = pytest.importorskip(
        "datatrove.utils.dataset", reason="nanotron reads by datatrove: pip install datatrove"
    )
    pytest.importorskip("torch", reason="datatrove's reader gives tensors")
    folder, documents, _ = made("nanotron")
    data = str(folder / "data" / "train")
    windows = dataset.DatatroveFolderDataset(
        data, seq_len=31, filename_pattern="*.ds", token_size=2, return_positions=True
    )
    number = 0
    for ids in documents:
        tokens = [token for each in ids for token in each]
        for start in range(0, len(tokens) - 31, 32):
            found = windows[number]
            assert found["input_ids"].tolist() == tokens[start : start + 32]
            assert found["positions"].tolist()[0] == 0
            number += 1
    assert number == len(windows)


def test_megatron_reads_megatron_files(made, monkeypatch):
    monkeypatch.setattr("warnings.warn", lambda *_, **__: None)  # about its optional dependencies
    indexed = pytest.importorskip(
        "megatron.core.datasets.indexed_dataset", reason="Megatron-LM's own reader: pip install megatron-core"
    )
    folder, documents, stats = made("megatron")
    total = 0
    for lane, ids in enumerate(documents):
        dataset = indexed.IndexedDataset(str(folder / "data" / "train" / f"train-{lane:05d}-00000"))
        assert len(dataset) == len(ids)
        assert dataset.document_indices.tolist() == list(range(len(ids) + 1))
        assert [dataset[number].tolist() for number in range(len(ids))] == ids
        total += int(dataset.sequence_lengths.sum())
    assert total == stats["train"].total.emitted_tokens


def test_megatron_files_have_the_documented_bytes(made):
    folder, documents, stats = made("megatron")
    for lane, ids in enumerate(documents):
        stem = folder / "data" / "train" / f"train-{lane:05d}-00000"
        lengths = np.array([len(each) for each in ids])
        assert stem.with_suffix(".idx").read_bytes() == megatron_index(lengths, 2)
        assert stem.with_suffix(".bin").read_bytes() == np.concatenate(ids).astype("<u2").tobytes()
    shares, targets = stats["train"].shares, {"a": 0.6, "b": 0.3, "c": 0.1}
    assert all(abs(shares[source] - targets[source]) < 0.05 for source in targets)


def test_write_accepts_other_document_tokens(made, recipe_file, tokenizer_file, tmp_path):
    folder, _, _ = made("megatron", eos=None, bos="<|start|>")
    assert load_recipe(folder / "recipe.yaml").tokens.bos == "<|start|>"
    data = np.fromfile(folder / "data" / "train" / "train-00000-00000.bin", "<u2")
    tokenizer = Tokenizer(str(tokenizer_file), bos="<|start|>")
    assert data[0] == tokenizer.bos
    assert tokenizer_file.exists()
    assert 0 not in data.tolist()  # no end token


@pytest.mark.parametrize("format_name", ["nanotron", "megatron"])
def test_token_files_are_the_same_after_an_interruption(
    recipe_file, tokenizer_file, tmp_path, monkeypatch, format_name
):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 20)
    options = {"format": format_name, "tokenizer": tokenizer_file, "max_shard_size": 6_000}
    recipe = recipe_file(lanes=1)
    write(recipe, tmp_path / "complete", **options)
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(recipe, tmp_path / "resumed", on_progress=stop, **options)
    write(recipe, tmp_path / "resumed", **options)
    complete = {
        p.relative_to(tmp_path / "complete"): p.read_bytes() for p in (tmp_path / "complete" / "data").rglob("*.*")
    }
    assert len(complete) >= 4
    assert complete == {
        p.relative_to(tmp_path / "resumed"): p.read_bytes() for p in (tmp_path / "resumed" / "data").rglob("*.*")
    }


def test_write_command_prints_how_to_read_token_files(recipe_file, tokenizer_file, tmp_path, capsys):
    out = str(tmp_path / "out")
    arguments = ["write", str(recipe_file()), "--output-dir", out, "--format", "megatron", "--max-samples", "30"]
    assert main([*arguments, "--tokenizer", str(tokenizer_file), "--eos", "none"]) == 0
    assert capsys.readouterr().out.endswith(
        f"Use it in Megatron-LM: --data-path {out}/data/train/train-00000-00000 …\n"
    )
    assert "Token after each document: none." in (tmp_path / "out" / "README.md").read_text()
    files = json.loads((tmp_path / "out" / "stats.json").read_text())["files"]
    assert "train/train-00000-00000.idx" in files
    with pytest.raises(OutputError, match="has megatron files, which are tokens already"):
        open_packed(out, tokenizer=tokenizer_file)


# Verification


def test_verify_counts_token_files(made, capsys):
    for format_name, files in (("nanotron", 9), ("megatron", 6)):
        folder, _, stats = made(format_name)
        assert verify(folder).problems == ()
        assert main(["verify", str(folder)]) == 0
        output = capsys.readouterr().out
        assert f"{stats['train'].total.emitted:,}" in output
        assert output.endswith(
            "Documents and tokens were counted. Token files have no sources, so the table is from stats.json and was "
            f"not verified.\nVerified {files} files: no problems found.\n"
        )


def change_number(path, at, value, kind="<u2"):
    """Change one number of a file.

    Args:
        path: The file.
        at: Position of the number, counted in numbers of this kind.
        value: New number.
        kind: dtype of the numbers.
    """
    numbers = np.fromfile(path, kind)
    numbers[at] = value
    path.write_bytes(numbers.tobytes())


def truncate(path, size):
    path.write_bytes(path.read_bytes()[:-size])


DAMAGE = {
    "nanotron": [
        (
            ".ds",
            lambda path: change_number(path, -1, 7),
            r"1 documents do not end with token 0\. The first is number \d+, with ",
        ),
        (
            ".ds",
            lambda path: change_number(path, 0, 7),
            "documents do not start with token 1. The first is number 0, with ",
        ),
        (".ds", lambda path: change_number(path, 5, 60_000), r"token 5 is 60000, but the tokenizer has \d+ ids$"),
        (".ds", lambda path: truncate(path, 2), r"it has [\d,]+ tokens, but its .index ends at [\d,]+$"),
        (
            ".ds.index",
            lambda path: change_number(path, 0, 2**40, "<u8"),
            "its .index is damaged: it is not an index of ",
        ),
        (
            ".ds.index",
            lambda path: change_number(path, 0, np.fromfile(path, "<u8")[1], "<u8"),  # an empty document
            "its .index is damaged: it is not an index of ",
        ),
        (".ds.index", lambda path: path.write_bytes(path.read_bytes() + b"\0"), "its .index is damaged: "),
        (".ds.index", lambda path: truncate(path, 8), r"it has [\d,]+ tokens, but its .index ends at [\d,]+$"),
        (
            ".ds.metadata",
            lambda path: path.write_text("t|4\n1\n"),
            "its .metadata has 't|4 and 1', expected 2 bytes",
        ),
        (".ds.metadata", lambda path: path.unlink(), "^data/train/train-00001-00000.ds.metadata is missing"),
    ],
    "megatron": [
        (
            ".bin",
            lambda path: change_number(path, -1, 7),
            r"1 documents do not end with token 0\. The first is number \d+, with ",
        ),
        (".bin", lambda path: truncate(path, 2), r"it has [\d,]+ tokens, but its .idx ends at [\d,]+$"),
        (
            ".idx",
            lambda path: change_number(path, 9, 3, "u1"),
            "its .idx is damaged: it is not an index of consecutive",
        ),
        (
            ".idx",
            lambda path: truncate(path, 8),
            "its .idx is damaged: it is not an index of consecutive documents$",
        ),
        (".idx", lambda path: path.write_bytes(b"MMI"), r"it has [\d,]+ tokens, but its .idx ends at 0$"),
    ],
}


@pytest.mark.parametrize("format_name", DAMAGE)
def test_verify_finds_every_kind_of_damage_in_token_files(made, tokenizer_file, format_name, capsys, monkeypatch):
    monkeypatch.setattr(recount_tokens, "PIECE", 3)
    vocab = Tokenizer(str(tokenizer_file)).vocab
    ending = ".bin" if format_name == "megatron" else ".ds"
    unknown = (
        ending,
        lambda path: change_number(path, 5, vocab),
        rf"token 5 is {vocab}, but the tokenizer has {vocab} ids$",
    )
    folder, _, _ = made(format_name, bos="<|start|>")
    saved = json.loads((folder / "stats.json").read_text())
    for ending, change, problem in [*DAMAGE[format_name], unknown]:
        path = folder / "data" / "train" / f"train-00001-00000{ending}"
        original = path.read_bytes()
        change(path)
        problems = verify(folder).problems
        assert any(re.search(problem, found) for found in problems), (ending, problems)
        path.write_bytes(original)
    assert verify(folder).problems == ()
    saved["splits"]["train"]["sources"]["a"]["emitted"] += 1
    (folder / "stats.json").write_text(json.dumps(saved))
    assert main(["verify", str(folder)]) == 1
    assert re.search(r"ERROR: train: documents are \d+ in the files and \d+ in stats.json\n", capsys.readouterr().out)


def test_verify_of_token_files_needs_their_tokenizer(made, tokenizer_file, capsys):
    folder, _, _ = made("nanotron")
    tokenizer_file.unlink()
    assert main(["verify", str(folder)]) == 1
    assert "no tokenizer found at" in capsys.readouterr().err


def test_parquet_counts_no_end_token_when_a_tokenizer_is_named(recipe_file, tokenizer_file, tmp_path):
    write(recipe_file(lanes=1), tmp_path / "out", tokenizer=tokenizer_file, max_samples=20)
    table = pq.read_table(tmp_path / "out" / "data" / "train-00000-00000.parquet")
    ids = Tokenizer(str(tokenizer_file)).encode(table["text"].combine_chunks())
    assert np.diff(ids.offsets.to_numpy()).tolist() == table["tokens"].to_pylist()
    assert verify(tmp_path / "out").problems == ()


def test_write_refuses_token_files_without_a_tokenizer(recipe_file, tmp_path, capsys):
    assert main(["write", str(recipe_file()), "--output-dir", str(tmp_path / "out"), "--format", "nanotron"]) == 1
    assert capsys.readouterr().err.endswith(
        "toy.yaml: names no tokenizer. Pass tokenizer=FILE (--tokenizer FILE), or add `tokens: {tokenizer: FILE}`.\n"
    )
