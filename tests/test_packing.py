"""Windows of a mix: every token once, documents' ends, exact shares, resume after every window, lanes dealt at will."""

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
def toy(recipe_file, tokenizer_file):
    """Packs the toy recipe, with dedup, passes and shuffled blocks in it."""
    recipe = recipe_file(lanes=3, sources={"c": {"max_passes": 2}}, on_exhausted="stop")
    mix = open_mix(recipe, max_samples=240)

    def make(**options):
        return open_packed(mix, tokenizer=tokenizer_file, **{"sequence_length": LENGTH, **options})

    return make


def line_of(windows):
    """The tokens of one lane's windows as one line, which their overlap makes whole."""
    ids = [window["input_ids"] for window in windows]
    assert all(a[-1] == b[0] for a, b in pairwise(ids))
    return np.concatenate([*(row[:-1] for row in ids), ids[-1][-1:]])


def same(one, two):
    return len(one) == len(two) and all(
        (a["input_ids"] == b["input_ids"]).all() and (a["position_ids"] == b["position_ids"]).all()
        for a, b in zip(one, two, strict=True)
    )


def test_a_lane_of_windows_is_its_documents_end_to_end(toy, tokenizer_file):
    whole = toy()
    tokenizer = Tokenizer(str(tokenizer_file), eos="<|endoftext|>")
    for lane in range(3):
        windows = whole.stream([lane])
        given = line_of(list(windows))
        texts = [record["text"] for record in whole.mix.stream([lane])]
        expected = np.concatenate([tokenizer.encode(pa.array([text])).values.to_numpy() for text in texts])
        assert given.tolist() == expected[: len(given)].tolist()
        # the last token given is a target, and still to be an input
        assert windows.leftover_tokens == len(expected) - len(given) + 1
        assert 0 < windows.leftover_tokens <= LENGTH


def test_places_count_from_each_documents_first_token(toy, tokenizer_file):
    eos = Tokenizer(str(tokenizer_file), eos="<|endoftext|>").eos
    for window in toy():
        ends = np.flatnonzero(window["input_ids"][:-1] == eos) + 1
        assert np.flatnonzero(window["position_ids"] == 0).tolist() == [0, *ends.tolist()]
        assert window["input_ids"].dtype == window["position_ids"].dtype == np.int32
        assert window["input_ids"].shape == (LENGTH + 1,)


def test_tokens_before_and_after_each_document_are_the_ones_asked_for(toy, tokenizer_file):
    start, end = 1, 0  # ids of the small tokenizer's special tokens
    for bos, eos, expected in ((None, None, set()), ("<|start|>", None, {start}), ("<|start|>", "auto", {start, end})):
        ids = np.concatenate([window["input_ids"] for window in toy(bos=bos, eos=eos)])
        assert set(ids.tolist()) & {start, end} == expected


def test_state_after_every_window_goes_on_with_the_same_ones(recipe_file, tokenizer_file):
    recipe = recipe_file(lanes=3, sources={"c": {"max_passes": 2}}, sizes=(90, 45, 9))
    whole = open_packed(open_mix(recipe, max_samples=90), tokenizer=tokenizer_file, sequence_length=LENGTH)
    expected = list(whole)
    windows = whole.stream()
    states = [windows.state_dict()]
    for _ in windows:
        states.append(json.loads(json.dumps(windows.state_dict())))  # noqa: PERF401 - a state after each
    assert len(states) == len(expected) + 1 > 50
    for number, state in enumerate(states):
        again = whole.stream()
        again.load_state_dict(state)
        if number % 8:  # where a lane goes on: what follows follows from the next ones
            assert same(list(islice(again, 4)), expected[number : number + 4]), number
        else:
            assert again.state_dict() == state
            assert same(list(again), expected[number:]), number
            assert again.leftover_tokens == windows.leftover_tokens


def test_long_documents_span_windows_and_resume_inside(recipe_file, tokenizer_file):
    mix = open_packed(recipe_file(lanes=1), tokenizer=tokenizer_file, sequence_length=7, max_samples=12)
    expected = list(mix)
    for number in range(0, len(expected), 5):
        windows = mix.stream()
        for _ in range(number):
            next(iter(windows))
        again = mix.stream()
        again.load_state_dict(windows.state_dict())
        assert same(list(again), expected[number:])


def test_windows_do_not_depend_on_how_many_documents_are_taken_at_once(recipe_file, tokenizer_file, monkeypatch):
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


def test_lanes_hold_the_same_windows_whoever_reads_them(toy):
    whole = toy()
    lanes = [list(whole.stream([lane])) for lane in range(3)]
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):  # so that the shortest lane is once between the others
        turns, expected = [iter(lanes[lane]) for lane in order], []
        while turns:
            for lane in list(turns):
                window = next(lane, None)
                if window is None:
                    turns.remove(lane)
                else:
                    expected.append(window)
        assert same(list(whole.stream(order)), expected)
    pair = whole.stream([2, 0])
    assert same([w for n, w in enumerate(pair) if n % 2 == 0][:5], lanes[2][:5])


def test_a_batch_holds_the_same_windows_as_the_dicts(toy):
    expected = list(toy())
    windows, found = toy().stream(), []
    while (batch := windows.read(7)).num_rows:
        assert batch.schema == windows.schema
        columns = [np.stack(batch[name].to_numpy(zero_copy_only=False)) for name in ("input_ids", "position_ids")]
        found += [{"input_ids": a, "position_ids": b} for a, b in zip(*columns, strict=True)]
    assert same(found, expected)
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        windows.read(0)


def test_shares_are_exact_on_the_tokens_given(recipe_file, tokenizer_file):
    mix = open_packed(recipe_file(lanes=1), tokenizer=tokenizer_file, sequence_length=32, max_tokens=20_000)
    windows = mix.stream()
    given = sum(len(window["input_ids"]) - 1 for window in windows)
    stats = windows.stats
    assert given + windows.leftover_tokens == stats.total.emitted_tokens
    for source, share in mix.mix.recipe.shares.items():
        assert abs(stats.shares[source] - share) < 0.01


def test_states_of_two_readers_go_on_in_three(toy):
    whole = toy()
    first, second = whole.stream([0, 1]), whole.stream([2])
    expected = {lane: list(whole.stream([lane])) for lane in range(3)}
    first.read(11), second.read(5)
    state = merge_states([first.state_dict(), second.state_dict()])
    taken = {0: 6, 1: 5, 2: 5}
    for lane in range(3):
        alone = whole.stream([lane])
        alone.load_state_dict(state)
        assert same(list(alone), expected[lane][taken[lane] :])
    together = whole.stream()
    together.load_state_dict(state)
    assert same(list(islice(together, 2)), [expected[1][5], expected[2][5]])  # of the lanes that have given least


def test_states_that_do_not_fit_are_refused(toy, recipe_file):
    state = toy().stream().state_dict()
    with pytest.raises(StateError) as error:
        toy(sequence_length=50).stream().load_state_dict(state)
    assert str(error.value) == (
        f"this state was saved with sequence_length={LENGTH}, but these windows have sequence_length=50. "
        "Open them as they were."
    )
    with pytest.raises(StateError, match=r"lanes \[0\], but the windows are of lanes \[1\]\. Load the state"):
        toy().stream([1]).load_state_dict(toy().stream([0]).state_dict())
    with pytest.raises(StateError, match=r"tokens\.eos"):
        toy(eos=None).stream().load_state_dict(state)
    with pytest.raises(StateError, match="this state is of a stream of records, and these are windows of tokens"):
        toy().stream().load_state_dict(open_mix(recipe_file()).stream().state_dict())


def test_faults_of_the_caller(recipe_file, toy, tokenizer_file, tmp_path):
    with pytest.raises(RecipeError) as error:
        open_packed(recipe_file())
    assert str(error.value).endswith(
        "toy.yaml: names no tokenizer. Pass tokenizer=FILE (--tokenizer FILE), or add `tokens: {tokenizer: FILE}`."
    )
    with pytest.raises(ValueError, match="sequence_length must be a whole number above 0, got 0"):
        toy(sequence_length=0)
    text = tokenizer_file.read_text().replace("endoftext", "fin")
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(smollm3_mix.SourceError) as fault:
        open_packed(recipe_file(), tokenizer=tmp_path / "other.json")
    assert str(fault.value) == (
        f"tokenizer {tmp_path / 'other.json'} has no known end-of-document token. "
        "Pass eos=… (--eos) with a token or `none`."
    )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_written_folder_is_packed_in_its_order(recipe_file, tokenizer_file, tmp_path, split):
    recipe = recipe_file(lanes=2, holdout={"fraction": 0.2}, weigh_by="bytes")
    write(recipe, tmp_path / "out", max_shard_size=4000)
    options = {"tokenizer": tokenizer_file, "sequence_length": 64, "split": split}
    live, stored = open_packed(recipe, **options), open_packed(tmp_path / "out", **options)
    assert len(list((tmp_path / "out" / "data").glob(f"{split}-*"))) >= (2 if split == "train" else 1)
    expected = list(live)
    assert same(list(stored), expected)
    windows = stored.stream()
    for _ in range(9):
        next(iter(windows))
    (tmp_path / "out").rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "moved").rename(tmp_path / "elsewhere" / "out")  # a state belongs to the files, not to their place
    again = open_packed(tmp_path / "elsewhere" / "out", **options).stream()
    again.load_state_dict(windows.state_dict())
    assert same(list(again), expected[9:])


def test_fewer_lanes_read_stored_lanes_one_after_another(recipe_file, tokenizer_file, tmp_path):
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


def test_a_folder_that_is_no_finished_mix_is_refused(recipe_file, tokenizer_file, tmp_path):
    write(recipe_file(), tmp_path / "out")
    (tmp_path / "out" / "README.md").unlink()
    with pytest.raises(OutputError, match="is no finished mix"):
        open_packed(tmp_path / "out", tokenizer=tokenizer_file)
    with pytest.raises(RecipeError, match="is a folder"):
        open_packed(tmp_path, tokenizer=tokenizer_file)


def windows_of(mix, lane):
    ids = [window["input_ids"].tolist() for window in mix.stream([lane])]
    return ids, os.environ.get("TOKENIZERS_PARALLELISM")


def test_workers_tokenise_with_one_thread_each(toy):
    mix = pickle.loads(pickle.dumps(toy()))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        ids, parallel = pool.submit(windows_of, mix, 1).result()
    assert parallel == "false"
    assert ids == [window["input_ids"].tolist() for window in mix.stream([1])]


def test_importing_the_package_imports_no_tokenizer():
    code = "import sys, smollm3_mix, smollm3_mix.packing; sys.exit('tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
