"""Dedup state in files next to the states: small states, exact resumes, no mixing of runs."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from doors import stream, write_recipe, write_sources

from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.state.merge_states import merge_states


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dedup")
    write_sources(folder / "sources", rows=200)
    near = {"bands": 4, "rows": 2, "ngram": 2}
    return write_recipe(
        folder / "mine.yaml", folder / "sources", lanes=2, block={"rows": 8}, dedup={"exact": True, "near": near}
    )


def opened(recipe: Path, folder: Path | None = None, **fields: Any) -> Mix:
    return open_mix(recipe, dedup_state_dir=folder, **fields)


def ids(records: Any) -> list[str]:
    return [record["id"] for record in records]


def state_after(mix: Mix, records: int) -> Any:
    reader = mix.stream()
    for _ in itertools.islice(reader, records):
        pass
    return json.loads(json.dumps(reader.state_dict()))


def rest(mix: Mix, state: Any) -> list[str]:
    reader = mix.stream()
    reader.load_state_dict(state)
    return ids(reader)


def test_states_refer_to_files_and_resume_at_every_position(recipe: Path, tmp_path: Path) -> None:
    mix = opened(recipe, tmp_path / "dedup")
    whole, reader = ids(opened(recipe).stream()), mix.stream()
    states = [json.loads(json.dumps(reader.state_dict())) for _ in reader]
    for position, state in list(enumerate(states, 1))[::5]:
        assert rest(mix, state) == whole[position:]
    files = {path.name: path.stat().st_size for path in (tmp_path / "dedup").iterdir()}
    assert files == {lane["dedup_state"]["file"]: lane["dedup_state"]["bytes"] for lane in states[-1]["lanes"]}
    assert set(files) == {"train-00000.dedup", "train-00001.dedup"}
    assert [lane["dedup_state"]["bytes"] for lane in states[-1]["lanes"]] == [
        40 * lane["dedup_state"]["documents"] for lane in states[-1]["lanes"]
    ]


def test_state_size_does_not_depend_on_the_dedup_state(recipe: Path, tmp_path: Path) -> None:
    sizes = [len(json.dumps(state_after(opened(recipe, tmp_path / "dedup"), count))) for count in (10, 120)]
    assert sizes[1] < sizes[0] + 200
    sizes = [len(json.dumps(state_after(opened(recipe), count))) for count in (10, 120)]
    assert sizes[1] > sizes[0] + 1000


def test_older_state_resumes_after_a_newer_one_and_a_truncated_write(recipe: Path, tmp_path: Path) -> None:
    mix = opened(recipe, tmp_path / "dedup")
    old, new = state_after(mix, 10), state_after(mix, 40)
    whole = ids(opened(recipe).stream())
    file = tmp_path / "dedup/train-00000.dedup"
    file.write_bytes(file.read_bytes()[:-13])  # a write that was killed after the newer state
    assert rest(mix, old) == whole[10:]
    again = mix.stream()
    again.load_state_dict(old)
    for _ in itertools.islice(again, 30):
        pass
    assert [lane["dedup_state"] for lane in again.state_dict()["lanes"]] == [
        lane["dedup_state"] for lane in new["lanes"]
    ]
    assert rest(mix, new) == whole[40:]


def test_states_with_inline_dedup_state_and_merged_states_resume_with_files(recipe: Path, tmp_path: Path) -> None:
    whole = ids(opened(recipe).stream())
    mix = opened(recipe, tmp_path / "dedup")
    assert rest(mix, state_after(opened(recipe), 33)) == whole[33:]
    parts = []
    for lane in (0, 1):
        reader = mix.stream([lane])
        for _ in itertools.islice(reader, 20):
            pass
        parts.append(reader.state_dict())
    assert rest(mix, merge_states(parts)) == whole[40:]


def test_load_accepts_dedup_state_dir(recipe: Path, tmp_path: Path) -> None:
    dataset = stream(recipe, dedup_state_dir=str(tmp_path / "dedup"))
    found = [(record["id"], dataset.state_dict()) for record in dataset]
    fresh = stream(recipe, dedup_state_dir=str(tmp_path / "dedup"))
    fresh.load_state_dict(found[29][1])
    assert ids(fresh) == [one for one, _ in found[30:]]
    assert (tmp_path / "dedup/train-00000.dedup").exists()


def test_resume_rejects_a_missing_truncated_or_changed_file(recipe: Path, tmp_path: Path) -> None:
    mix = opened(recipe, tmp_path / "dedup")
    state = state_after(mix, 50)
    named = state["lanes"][0]["dedup_state"]
    file = tmp_path / "dedup" / named["file"]

    def message(mix: Mix) -> str:
        with pytest.raises(StateError) as raised:
            rest(mix, state)
        return str(raised.value)

    counts = (
        f"but this state refers to {named['bytes']:,} bytes with the dedup state of {named['documents']:,} documents. "
    )
    tail = "Pass the dedup_state_dir of the run that saved the state, with all its files."
    content = file.read_bytes()
    file.write_bytes(b"x" * len(content))
    assert message(mix) == f"{file} has other content, {counts}{tail}"
    file.write_bytes(content[:100])
    assert message(mix) == f"{file} has 100 bytes, {counts}{tail}"
    file.unlink()
    assert message(mix) == f"{file} has 0 bytes, {counts}{tail}"
    assert message(opened(recipe)) == (
        "The dedup state of lane 0 is in the file 'train-00000.dedup'. "
        "Open the mix with dedup_state_dir= the folder of that file."
    )


def test_files_of_another_run_are_rejected_and_unchanged(recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "dedup/train-00000.dedup"
    state_after(opened(recipe, tmp_path / "dedup"), 50)
    file.write_bytes(before := file.read_bytes()[40:])
    with pytest.raises(StateError) as raised:
        state_after(opened(recipe, tmp_path / "dedup"), 50)
    assert str(raised.value) == (
        f"{file} differs from this run after 0 bytes: another run wrote it, or it is damaged. "
        "Pass another dedup_state_dir, and resume from a state with complete files."
    )
    assert file.read_bytes() == before
