"""Token files: their bytes, and what the readers of the projects that they are for find in them."""

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


def test_the_index_of_megatron_byte_by_byte():
    expected = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 3, 4)
    expected += struct.pack("<3i", 5, 1, 7) + struct.pack("<3q", 0, 10, 12) + struct.pack("<4q", 0, 1, 2, 3)
    assert megatron_index(np.array([5, 1, 7]), 2) == expected
    assert megatron_index(np.array([], np.int64), 4)[9:18] == struct.pack("<QB", 1, 4)


def test_tokens_take_the_bytes_that_each_project_takes():
    sizes = {
        form: [Tokens(form, vocab, "t").size for vocab in (65_499, 65_500, 65_536, 65_537)]
        for form in (
            "nanotron",
            "megatron",
        )
    }
    assert sizes == {"nanotron": [2, 2, 2, 4], "megatron": [2, 4, 4, 4]}


def test_token_files_hold_the_rows_of_a_slice_alone(tmp_path):
    ids = pa.array([[1, 2], [3], [4, 5, 6], [7]], pa.list_(pa.int32())).slice(1, 2)
    part = Tokens("nanotron", 100, "t").open(tmp_path, "train-00000-00000")
    part.add(pa.table({"ids": ids}))
    part.close()
    file = tmp_path / "train" / "train-00000-00000.ds"
    assert file.read_bytes() == struct.pack("<4H", 3, 4, 5, 6)
    assert file.with_name(file.name + ".index").read_bytes() == struct.pack("<2Q", 1, 4)


@pytest.fixture
def tokenizer_file(tmp_path):
    pytest.importorskip("tokenizers", reason="writes with a tokenizer of its own: pip install tokenizers")
    return save(tmp_path / "tokenizer.json")


@pytest.fixture
def made(recipe_file, tokenizer_file, tmp_path):
    """A folder of a format, and the ids of every document of each lane, ends included."""

    def make(form, **options):
        recipe = recipe_file(lanes=2, holdout={"fraction": 0.1})
        folder = tmp_path / form
        all_stats = write(recipe, folder, format=form, tokenizer=tokenizer_file, max_tokens=9_000, **options).stats
        mix = open_packed(recipe, tokenizer=tokenizer_file, max_tokens=9_000).mix
        documents = []
        for lane in range(2):
            stream, ids = mix.stream([lane]), []
            while (batch := stream.read(100)).num_rows:
                ids += batch["ids"].to_pylist()
            documents.append(ids)
        return folder, documents, all_stats

    return make


def test_a_nanotron_folder_byte_by_byte(made):
    folder, documents, all_stats = made("nanotron")
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
    assert total == all_stats["train"].total.emitted_tokens
    assert load_recipe(folder / "recipe.yaml").tokens.eos == EOS


def test_datatrove_reads_a_nanotron_folder(made):
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
        line = [token for each in ids for token in each]
        for start in range(0, len(line) - 31, 32):
            found = windows[number]
            assert found["input_ids"].tolist() == line[start : start + 32]
            assert found["positions"].tolist()[0] == 0
            number += 1
    assert number == len(windows)


def test_megatron_reads_a_megatron_folder(made, monkeypatch):
    monkeypatch.setattr("warnings.warn", lambda *_, **__: None)  # of its optional parts, when it is imported
    indexed = pytest.importorskip(
        "megatron.core.datasets.indexed_dataset", reason="Megatron-LM's own reader: pip install megatron-core"
    )
    folder, documents, all_stats = made("megatron")
    total = 0
    for lane, ids in enumerate(documents):
        dataset = indexed.IndexedDataset(str(folder / "data" / "train" / f"train-{lane:05d}-00000"))
        assert len(dataset) == len(ids)
        assert dataset.document_indices.tolist() == list(range(len(ids) + 1))
        assert [dataset[number].tolist() for number in range(len(ids))] == ids
        total += int(dataset.sequence_lengths.sum())
    assert total == all_stats["train"].total.emitted_tokens


def test_a_megatron_folder_byte_by_byte(made):
    folder, documents, all_stats = made("megatron")
    for lane, ids in enumerate(documents):
        stem = folder / "data" / "train" / f"train-{lane:05d}-00000"
        lengths = np.array([len(each) for each in ids])
        assert stem.with_suffix(".idx").read_bytes() == megatron_index(lengths, 2)
        assert stem.with_suffix(".bin").read_bytes() == np.concatenate(ids).astype("<u2").tobytes()
    shares, asked = all_stats["train"].shares, {"a": 0.6, "b": 0.3, "c": 0.1}
    assert all(abs(shares[source] - asked[source]) < 0.05 for source in asked)


def test_the_tokens_are_those_of_the_written_texts(made, recipe_file, tokenizer_file, tmp_path):
    folder, _, _ = made("megatron", eos=None, bos="<|start|>")
    assert load_recipe(folder / "recipe.yaml").tokens.bos == "<|start|>"
    data = np.fromfile(folder / "data" / "train" / "train-00000-00000.bin", "<u2")
    tokenizer = Tokenizer(str(tokenizer_file), bos="<|start|>")
    assert data[0] == tokenizer.bos
    assert tokenizer_file.exists()
    assert 0 not in data.tolist()  # no end


@pytest.mark.parametrize("form", ["nanotron", "megatron"])
def test_it_goes_on_after_a_stop_to_the_same_bytes(recipe_file, tokenizer_file, tmp_path, monkeypatch, form):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 20)
    options = {"format": form, "tokenizer": tokenizer_file, "max_shard_size": 6_000}
    recipe = recipe_file(lanes=1)
    write(recipe, tmp_path / "whole", **options)
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(recipe, tmp_path / "cut", on_progress=stop, **options)
    write(recipe, tmp_path / "cut", **options)
    whole = {p.relative_to(tmp_path / "whole"): p.read_bytes() for p in (tmp_path / "whole" / "data").rglob("*.*")}
    assert len(whole) >= 4
    assert whole == {p.relative_to(tmp_path / "cut"): p.read_bytes() for p in (tmp_path / "cut" / "data").rglob("*.*")}


def test_the_command_line_writes_them_and_says_how_to_read(recipe_file, tokenizer_file, tmp_path, capsys):
    out = str(tmp_path / "out")
    line = ["write", str(recipe_file()), "--output-dir", out, "--format", "megatron", "--max-samples", "30"]
    assert main([*line, "--tokenizer", str(tokenizer_file), "--eos", "none"]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"Read them: --data-path {out}/data/train/train-00000-00000 and so on, in Megatron-LM.\n")
    assert "after each: nothing" in (tmp_path / "out" / "README.md").read_text()
    files = json.loads((tmp_path / "out" / "stats.json").read_text())["files"]
    assert "train/train-00000-00000.idx" in files
    with pytest.raises(OutputError, match="holds megatron files, tokens already"):
        open_packed(out, tokenizer=tokenizer_file)


# Recounted


def test_verify_counts_token_files(made, capsys):
    for form, files in (("nanotron", 9), ("megatron", 6)):
        folder, _, all_stats = made(form)
        assert verify(folder).problems == ()
        assert main(["verify", str(folder)]) == 0
        said = capsys.readouterr().out
        assert f"{all_stats['train'].total.emitted:,}" in said
        assert said.endswith(
            "Documents and tokens were counted. Token files do not say of which source a document is: the table is "
            f"that of stats.json.\nAll as it should be: {files} files recounted.\n"
        )


def changed(path, at, value, kind="<u2"):
    """The file with another number at a place, counted in numbers of this kind."""
    numbers = np.fromfile(path, kind)
    numbers[at] = value
    path.write_bytes(numbers.tobytes())


def cut(path, size):
    path.write_bytes(path.read_bytes()[:-size])


DAMAGE = {
    "nanotron": [
        (
            ".ds",
            lambda path: changed(path, -1, 7),
            r"1 documents do not end with token 0; the first is number \d+, ",
        ),
        (
            ".ds",
            lambda path: changed(path, 0, 7),
            "documents do not begin with token 1; the first is number 0, ",
        ),
        (".ds", lambda path: changed(path, 5, 60_000), r"token 5 is 60000; the tokenizer has \d+ ids$"),
        (".ds", lambda path: cut(path, 2), r"it holds [\d,]+ tokens; its .index ends at [\d,]+$"),
        (".ds.index", lambda path: changed(path, 0, 2**40, "<u8"), "its .index is damaged: it is not the index of "),
        (
            ".ds.index",
            lambda path: changed(path, 0, np.fromfile(path, "<u8")[1], "<u8"),  # an empty document
            "its .index is damaged: it is not the index of ",
        ),
        (".ds.index", lambda path: path.write_bytes(path.read_bytes() + b"\0"), "its .index is damaged: "),
        (".ds.index", lambda path: cut(path, 8), r"it holds [\d,]+ tokens; its .index ends at [\d,]+$"),
        (
            ".ds.metadata",
            lambda path: path.write_text("t|4\n1\n"),
            "its .metadata says 't|4 and 1'; expected 2 bytes",
        ),
        (".ds.metadata", lambda path: path.unlink(), "^data/train/train-00001-00000.ds.metadata is missing"),
    ],
    "megatron": [
        (
            ".bin",
            lambda path: changed(path, -1, 7),
            r"1 documents do not end with token 0; the first is number \d+, ",
        ),
        (".bin", lambda path: cut(path, 2), r"it holds [\d,]+ tokens; its .idx ends at [\d,]+$"),
        (".idx", lambda path: changed(path, 9, 3, "u1"), "its .idx is damaged: it is not the index of documents one"),
        (".idx", lambda path: cut(path, 8), "its .idx is damaged: it is not the index of documents one after another$"),
        (".idx", lambda path: path.write_bytes(b"MMI"), r"it holds [\d,]+ tokens; its .idx ends at 0$"),
    ],
}


@pytest.mark.parametrize("form", DAMAGE)
def test_verify_finds_every_damage_of_token_files(made, tokenizer_file, form, capsys, monkeypatch):
    monkeypatch.setattr(recount_tokens, "PIECE", 3)
    vocab = Tokenizer(str(tokenizer_file)).vocab
    ending = ".bin" if form == "megatron" else ".ds"
    unknown = (ending, lambda path: changed(path, 5, vocab), rf"token 5 is {vocab}; the tokenizer has {vocab} ids$")
    folder, _, _ = made(form, bos="<|start|>")
    saved = json.loads((folder / "stats.json").read_text())
    for ending, change, fault in [*DAMAGE[form], unknown]:
        path = folder / "data" / "train" / f"train-00001-00000{ending}"
        whole = path.read_bytes()
        change(path)
        problems = verify(folder).problems
        assert any(re.search(fault, found) for found in problems), (ending, problems)
        path.write_bytes(whole)
    assert verify(folder).problems == ()
    saved["splits"]["train"]["sources"]["a"]["emitted"] += 1
    (folder / "stats.json").write_text(json.dumps(saved))
    assert main(["verify", str(folder)]) == 1
    assert re.search(r"FAULT: train: documents are \d+ in the files and \d+ in stats.json\n", capsys.readouterr().out)


def test_verify_of_token_files_needs_their_tokenizer(made, tokenizer_file, capsys):
    folder, _, _ = made("nanotron")
    tokenizer_file.unlink()
    assert main(["verify", str(folder)]) == 1
    assert "no tokenizer found at" in capsys.readouterr().err


def test_parquet_with_a_tokenizer_counts_the_text_alone(recipe_file, tokenizer_file, tmp_path):
    write(recipe_file(lanes=1), tmp_path / "out", tokenizer=tokenizer_file, max_samples=20)
    table = pq.read_table(tmp_path / "out" / "data" / "train-00000-00000.parquet")
    ids = Tokenizer(str(tokenizer_file)).encode(table["text"].combine_chunks())
    assert np.diff(ids.offsets.to_numpy()).tolist() == table["tokens"].to_pylist()
    assert verify(tmp_path / "out").problems == ()


def test_token_files_need_a_tokenizer(recipe_file, tmp_path, capsys):
    assert main(["write", str(recipe_file()), "--output-dir", str(tmp_path / "out"), "--format", "nanotron"]) == 1
    assert capsys.readouterr().err.endswith(
        "toy.yaml: names no tokenizer. Pass tokenizer=FILE (--tokenizer FILE), or add `tokens: {tokenizer: FILE}`.\n"
    )
