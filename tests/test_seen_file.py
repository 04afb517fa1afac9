"""What dedup remembers, in files beside the states: small states, exact resumes, nothing of another run's."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from doors import stream, write_recipe, write_sources

from smollm3_mix.errors import StateError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.mix.state.merge_states import merge_states


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seen")
    write_sources(folder / "sources", rows=200)
    near = {"bands": 4, "rows": 2, "ngram": 2}
    return write_recipe(
        folder / "mine.yaml", folder / "sources", lanes=2, block={"rows": 8}, dedup={"exact": True, "near": near}
    )


def opened(recipe: Path, seen: Path | None = None, **fields: Any) -> Mix:
    return open_mix(recipe, dedup_state_dir=seen, **fields)


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


def test_states_name_files_and_resume_at_every_position(recipe: Path, tmp_path: Path) -> None:
    mix = opened(recipe, tmp_path / "seen")
    whole, reader = ids(opened(recipe).stream()), mix.stream()
    states = [json.loads(json.dumps(reader.state_dict())) for _ in reader]
    for position, state in list(enumerate(states, 1))[::5]:
        assert rest(mix, state) == whole[position:]
    files = {path.name: path.stat().st_size for path in (tmp_path / "seen").iterdir()}
    assert files == {lane["seen"]["file"]: lane["seen"]["bytes"] for lane in states[-1]["lanes"]}
    assert set(files) == {"train-00000.seen", "train-00001.seen"}
    assert [lane["seen"]["bytes"] for lane in states[-1]["lanes"]] == [
        40 * lane["seen"]["documents"] for lane in states[-1]["lanes"]
    ]


def test_a_state_does_not_grow_with_what_is_remembered(recipe: Path, tmp_path: Path) -> None:
    sizes = [len(json.dumps(state_after(opened(recipe, tmp_path / "seen"), count))) for count in (10, 120)]
    assert sizes[1] < sizes[0] + 200
    sizes = [len(json.dumps(state_after(opened(recipe), count))) for count in (10, 120)]
    assert sizes[1] > sizes[0] + 1000


def test_an_older_state_still_resumes_after_a_newer_one_and_after_a_cut_write(recipe: Path, tmp_path: Path) -> None:
    mix = opened(recipe, tmp_path / "seen")
    old, new = state_after(mix, 10), state_after(mix, 40)
    whole = ids(opened(recipe).stream())
    file = tmp_path / "seen/train-00000.seen"
    file.write_bytes(file.read_bytes()[:-13])  # of a write that was killed after the newer state's place
    assert rest(mix, old) == whole[10:]
    again = mix.stream()
    again.load_state_dict(old)
    for _ in itertools.islice(again, 30):
        pass
    assert [lane["seen"] for lane in again.state_dict()["lanes"]] == [lane["seen"] for lane in new["lanes"]]
    assert rest(mix, new) == whole[40:]


def test_a_state_that_carries_everything_goes_on_with_files_and_merged_states_too(recipe: Path, tmp_path: Path) -> None:
    whole = ids(opened(recipe).stream())
    mix = opened(recipe, tmp_path / "seen")
    assert rest(mix, state_after(opened(recipe), 33)) == whole[33:]
    parts = []
    for lane in (0, 1):
        reader = mix.stream([lane])
        for _ in itertools.islice(reader, 20):
            pass
        parts.append(reader.state_dict())
    assert rest(mix, merge_states(parts)) == whole[40:]


def test_the_datasets_door_takes_the_folder(recipe: Path, tmp_path: Path) -> None:
    dataset = stream(recipe, dedup_state_dir=str(tmp_path / "seen"))
    found = [(record["id"], dataset.state_dict()) for record in dataset]
    fresh = stream(recipe, dedup_state_dir=str(tmp_path / "seen"))
    fresh.load_state_dict(found[29][1])
    assert ids(fresh) == [one for one, _ in found[30:]]
    assert (tmp_path / "seen/train-00000.seen").exists()


def test_a_file_that_is_missing_cut_or_changed_is_refused(recipe: Path, tmp_path: Path) -> None:
    mix = opened(recipe, tmp_path / "seen")
    state = state_after(mix, 50)
    named = state["lanes"][0]["seen"]
    file = tmp_path / "seen" / named["file"]

    def message(mix: Mix) -> str:
        with pytest.raises(StateError) as refused:
            rest(mix, state)
        return str(refused.value)

    counts = f"but this state counts {named['bytes']:,} bytes of it, {named['documents']:,} documents that dedup "
    tail = "remembers. Give the dedup_state_dir of the run that saved the state, with all its files."
    content = file.read_bytes()
    file.write_bytes(b"x" * len(content))
    assert message(mix) == f"{file} holds other documents, {counts}{tail}"
    file.write_bytes(content[:100])
    assert message(mix) == f"{file} has 100 bytes, {counts}{tail}"
    file.unlink()
    assert message(mix) == f"{file} has 0 bytes, {counts}{tail}"
    assert message(opened(recipe)) == (
        "this state keeps what dedup remembers of lane 0 in the file 'train-00000.seen'. "
        "Open the mix with dedup_state_dir= the folder that holds it."
    )


def test_the_folder_of_another_run_is_left_as_it_is(recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "seen/train-00000.seen"
    state_after(opened(recipe, tmp_path / "seen"), 50)
    file.write_bytes(before := file.read_bytes()[40:])
    with pytest.raises(StateError) as refused:
        state_after(opened(recipe, tmp_path / "seen"), 50)
    assert str(refused.value) == (
        f"{file} does not go on as this run does after 0 bytes: another run wrote it, or it was damaged. "
        "Give another dedup_state_dir, and resume from a state whose files are whole."
    )
    assert file.read_bytes() == before
