"""Packed mixes: each token is used once, shares are exact, and windows resume anywhere with any number of readers."""

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, pairwise
from multiprocessing import get_context

import numpy as np
import pyarrow as pa
import pytest
from small_tokenizer import save

import smollm3_mix
import smollm3_mix.errors
from smollm3_mix.errors import OutputError, RecipeError, StateError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.state.merge_states import merge_states
from smollm3_mix.output.write_mix import write
from smollm3_mix.packing import window_stream
from smollm3_mix.packing.packed_mix import open_packed
from smollm3_mix.tokenizer.encoder import Tokenizer

pytest.importorskip("tokenizers", reason="packs with a tokenizer of its own: pip install tokenizers")

LENGTH = 96


@pytest.fixture
def tokenizer_file(tmp_path):
    return save(tmp_path / "tokenizer.json")


@pytest.fixture
def pack_toy(recipe_file, tokenizer_file):
    """Return a function that packs the toy recipe, which has dedup, passes and shuffled blocks."""
    recipe = recipe_file(lanes=3, sources={"c": {"max_passes": 2}}, on_exhausted="stop")
    mix = open_mix(recipe, max_samples=240)

    def make(**options):
        return open_packed(mix, tokenizer=tokenizer_file, **{"sequence_length": LENGTH, **options})

    return make


def token_stream(windows):
    """Return the tokens of one lane's windows as one array. Consecutive windows overlap by one token."""
    ids = [window["input_ids"] for window in windows]
    assert all(a[-1] == b[0] for a, b in pairwise(ids))
    return np.concatenate([*(row[:-1] for row in ids), ids[-1][-1:]])


def same(one, two):
    return len(one) == len(two) and all(
        (a["input_ids"] == b["input_ids"]).all() and (a["position_ids"] == b["position_ids"]).all()
        for a, b in zip(one, two, strict=True)
    )


def test_windows_of_a_lane_contain_its_documents_end_to_end(pack_toy, tokenizer_file):
    packed = pack_toy()
    tokenizer = Tokenizer(str(tokenizer_file), eos="<|endoftext|>")
    for lane in range(3):
        windows = packed.stream([lane])
        emitted = token_stream(list(windows))
        texts = [record["text"] for record in packed.mix.stream([lane])]
        expected = np.concatenate([tokenizer.encode(pa.array([text])).values.to_numpy() for text in texts])
        assert emitted.tolist() == expected[: len(emitted)].tolist()
        # the last emitted token was a target, and has not been an input
        assert windows.leftover_tokens == len(expected) - len(emitted) + 1
        assert 0 < windows.leftover_tokens <= LENGTH


def test_position_ids_restart_at_each_document(pack_toy, tokenizer_file):
    eos = Tokenizer(str(tokenizer_file), eos="<|endoftext|>").eos
    for window in pack_toy():
        ends = np.flatnonzero(window["input_ids"][:-1] == eos) + 1
        assert np.flatnonzero(window["position_ids"] == 0).tolist() == [0, *ends.tolist()]
        assert window["input_ids"].dtype == window["position_ids"].dtype == np.int32
        assert window["input_ids"].shape == (LENGTH + 1,)


def test_bos_and_eos_are_added_when_requested(pack_toy, tokenizer_file):
    start, end = 1, 0  # ids of the small tokenizer's special tokens
    for bos, eos, expected in ((None, None, set()), ("<|start|>", None, {start}), ("<|start|>", "auto", {start, end})):
        ids = np.concatenate([window["input_ids"] for window in pack_toy(bos=bos, eos=eos)])
        assert set(ids.tolist()) & {start, end} == expected


def test_windows_resume_after_every_window(recipe_file, tokenizer_file):
    recipe = recipe_file(lanes=3, sources={"c": {"max_passes": 2}}, sizes=(90, 45, 9))
    packed = open_packed(open_mix(recipe, max_samples=90), tokenizer=tokenizer_file, sequence_length=LENGTH)
    expected = list(packed)
    windows = packed.stream()
    states = [windows.state_dict()]
    for _ in windows:
        states.append(json.loads(json.dumps(windows.state_dict())))  # noqa: PERF401 - a state after each
    assert len(states) == len(expected) + 1 > 50
    for number, state in enumerate(states):
        again = packed.stream()
        again.load_state_dict(state)
        if number % 8:  # the next windows determine all later ones
            assert same(list(islice(again, 4)), expected[number : number + 4]), number
        else:
            assert again.state_dict() == state
            assert same(list(again), expected[number:]), number
            assert again.leftover_tokens == windows.leftover_tokens


def test_windows_resume_inside_long_documents(recipe_file, tokenizer_file):
    mix = open_packed(recipe_file(lanes=1), tokenizer=tokenizer_file, sequence_length=7, max_samples=12)
    expected = list(mix)
    for number in range(0, len(expected), 5):
        windows = mix.stream()
        for _ in range(number):
            next(iter(windows))
        again = mix.stream()
        again.load_state_dict(windows.state_dict())
        assert same(list(again), expected[number:])


def test_windows_do_not_depend_on_the_number_of_documents_pulled_at_once(recipe_file, tokenizer_file, monkeypatch):
    mix = open_packed(recipe_file(lanes=1), tokenizer=tokenizer_file, sequence_length=150, max_samples=24)
    expected = list(mix)
    for documents in (1, 2, 5):
        monkeypatch.setattr(window_stream, "DOCUMENTS", documents)
        windows = mix.stream()
        for number in range(len(expected) + 1):
            again = mix.stream()
            again.load_state_dict(json.loads(json.dumps(windows.state_dict())))
            assert same(list(islice(again, 3)), expected[number : number + 3]), (documents, number)
            window = next(iter(windows), None)
            assert window is None or same([window], expected[number : number + 1])
        again.load_state_dict(json.loads(json.dumps(windows.state_dict())))
        assert again.leftover_tokens == windows.leftover_tokens > 0


def test_windows_of_a_lane_do_not_depend_on_its_reader(pack_toy):
    packed = pack_toy()
    lanes = [list(packed.stream([lane])) for lane in range(3)]
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):  # the shortest lane is in each position
        active, expected = [iter(lanes[lane]) for lane in order], []
        while active:
            for lane in list(active):
                window = next(lane, None)
                if window is None:
                    active.remove(lane)
                else:
                    expected.append(window)
        assert same(list(packed.stream(order)), expected)
    pair = packed.stream([2, 0])
    assert same([w for n, w in enumerate(pair) if n % 2 == 0][:5], lanes[2][:5])


def test_read_returns_the_windows_of_iteration(pack_toy):
    expected = list(pack_toy())
    windows, found = pack_toy().stream(), []
    while (batch := windows.read(7)).num_rows:
        assert batch.schema == windows.schema
        columns = [np.stack(batch[name].to_numpy(zero_copy_only=False)) for name in ("input_ids", "position_ids")]
        found += [{"input_ids": a, "position_ids": b} for a, b in zip(*columns, strict=True)]
    assert same(found, expected)
    with pytest.raises(ValueError, match=r"^max_windows must be at least 1, got 0\.$"):
        windows.read(0)


def test_shares_are_exact_for_emitted_tokens(recipe_file, tokenizer_file):
    mix = open_packed(recipe_file(lanes=1), tokenizer=tokenizer_file, sequence_length=32, max_tokens=20_000)
    windows = mix.stream()
    emitted = sum(len(window["input_ids"]) - 1 for window in windows)
    stats = windows.stats
    assert emitted + windows.leftover_tokens == stats.total.emitted_tokens
    for source, share in mix.mix.recipe.shares.items():
        assert abs(stats.shares[source] - share) < 0.01


def test_merged_states_of_two_readers_resume_in_three(pack_toy):
    packed = pack_toy()
    first, second = packed.stream([0, 1]), packed.stream([2])
    expected = {lane: list(packed.stream([lane])) for lane in range(3)}
    first.read(11), second.read(5)
    state = merge_states([first.state_dict(), second.state_dict()])
    emitted = {0: 6, 1: 5, 2: 5}
    for lane in range(3):
        alone = packed.stream([lane])
        alone.load_state_dict(state)
        assert same(list(alone), expected[lane][emitted[lane] :])
    together = packed.stream()
    together.load_state_dict(state)
    assert same(list(islice(together, 2)), [expected[1][5], expected[2][5]])  # lanes with the fewest windows come first


def test_windows_reject_incompatible_states(pack_toy, recipe_file):
    state = pack_toy().stream().state_dict()
    with pytest.raises(StateError) as error:
        pack_toy(sequence_length=50).stream().load_state_dict(state)
    assert str(error.value) == (
        f"This state was saved with sequence_length={LENGTH}, but these windows have sequence_length=50. "
        f"Open the mix with sequence_length={LENGTH}."
    )
    with pytest.raises(StateError, match=r"lanes \[0\], but the windows have lanes \[1\]\. Load the state"):
        pack_toy().stream([1]).load_state_dict(pack_toy().stream([0]).state_dict())
    with pytest.raises(StateError, match=r"tokens\.eos"):
        pack_toy(eos=None).stream().load_state_dict(state)
    with pytest.raises(StateError, match="This state belongs to a stream of records, not of token windows"):
        pack_toy().stream().load_state_dict(open_mix(recipe_file()).stream().state_dict())


def test_open_packed_rejects_invalid_arguments(recipe_file, pack_toy, tokenizer_file, tmp_path):
    with pytest.raises(RecipeError) as error:
        open_packed(recipe_file())
    assert str(error.value).endswith(
        "toy.yaml: names no tokenizer. Pass tokenizer=FILE (--tokenizer FILE), or add `tokens: {tokenizer: FILE}`."
    )
    with pytest.raises(ValueError, match="sequence_length must be a whole number above 0, got 0"):
        pack_toy(sequence_length=0)
    text = tokenizer_file.read_text().replace("endoftext", "fin")
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(smollm3_mix.SourceError) as error:
        open_packed(recipe_file(), tokenizer=tmp_path / "other.json")
    assert str(error.value) == (
        f"tokenizer {tmp_path / 'other.json'} has no known end-of-document token. "
        "Pass eos=… (--eos) with a token or `none`."
    )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_open_packed_reads_a_written_mix_in_its_order(recipe_file, tokenizer_file, tmp_path, split):
    recipe = recipe_file(lanes=2, holdout={"fraction": 0.2}, weigh_by="bytes")
    write(recipe, tmp_path / "out", max_shard_size=4000)
    options = {"tokenizer": tokenizer_file, "sequence_length": 64, "split": split}
    live, written = open_packed(recipe, **options), open_packed(tmp_path / "out", **options)
    assert len(list((tmp_path / "out" / "data").glob(f"{split}-*"))) >= (2 if split == "train" else 1)
    expected = list(live)
    assert same(list(written), expected)
    windows = written.stream()
    for _ in range(9):
        next(iter(windows))
    (tmp_path / "out").rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "moved").rename(tmp_path / "elsewhere" / "out")  # a state belongs to the files, not to their path
    again = open_packed(tmp_path / "elsewhere" / "out", **options).stream()
    again.load_state_dict(windows.state_dict())
    assert same(list(again), expected[9:])


def test_fewer_lanes_read_written_lanes_in_sequence(recipe_file, tokenizer_file, tmp_path):
    write(recipe_file(lanes=2), tmp_path / "out")
    options = {"tokenizer": tokenizer_file, "sequence_length": 64}
    one = open_packed(tmp_path / "out", lanes=1, **options)
    texts = [record["text"] for record in one.mix.stream()]
    two = open_packed(tmp_path / "out", **options).mix
    assert texts == [record["text"] for lane in (0, 1) for record in two.stream([lane])]
    with pytest.raises(
        smollm3_mix.UnreadableSourcesError, match=r"stored in 2 lanes, but the recipe has 3\. Set `lanes: 2`"
    ):
        open_packed(tmp_path / "out", lanes=3, **options)


def test_open_packed_rejects_folders_without_a_finished_mix(recipe_file, tokenizer_file, tmp_path):
    write(recipe_file(), tmp_path / "out")
    (tmp_path / "out" / "README.md").unlink()
    with pytest.raises(OutputError, match=r"is not finished: it has no README\.md\."):
        open_packed(tmp_path / "out", tokenizer=tokenizer_file)
    with pytest.raises(RecipeError, match="is a folder"):
        open_packed(tmp_path, tokenizer=tokenizer_file)


def windows_of(mix, lane):
    ids = [window["input_ids"].tolist() for window in mix.stream([lane])]
    return ids, os.environ.get("TOKENIZERS_PARALLELISM")


def test_worker_processes_tokenize_with_one_thread(pack_toy):
    mix = pickle.loads(pickle.dumps(pack_toy()))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        ids, parallel = pool.submit(windows_of, mix, 1).result()
    assert parallel == "false"
    assert ids == [window["input_ids"].tolist() for window in mix.stream([1])]


def test_importing_the_package_does_not_import_tokenizers():
    code = "import sys; from smollm3_mix import open_packed; sys.exit('tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
