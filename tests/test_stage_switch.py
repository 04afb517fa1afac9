"""Every entry point of a training run resumes at every position of a curriculum.

The curriculum has lanes, passes, dedup, shuffling and stage switches. Other tests cover more cases without stages.
"""

import itertools
import json
import pickle

import pytest
import yaml
from small_tokenizer import save

import smollm3_mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.packing.packed_mix import open_packed

FEW = 4
"""Number of records compared after most positions. After every tenth, all following records are compared."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a machine of few cores
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Arrow beside fork
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),  # torchdata calls it
]


@pytest.fixture
def curriculum(recipe_file, tmp_path):
    """Return a curriculum of three stages on two lanes. `c` starts in the second. `b` and `c` have several passes."""
    stages = []
    for number, weights in enumerate(((0.4, 0.6, 0), (0.2, 0.5, 0.3), (0.6, 0, 0.4)), 1):
        sources = {name: {"weight": weight} for name, weight in zip("abc", weights, strict=True)}
        recipe_file(f"s{number}", sources, (52, 22, 4), on_exhausted="repeat", dedup={"exact": True}, shuffle="block")
        stages.append({"recipe": f"s{number}.yaml", "tokens": (2400, 1500, 2200)[number - 1]})
    path = tmp_path / "curriculum.yaml"
    path.write_text(yaml.safe_dump({"description": "Toys.", "stages": stages}))
    return path


def same_after(position, rest):
    """Return the records after a position that are compared."""
    return rest if position % 10 == 0 else rest[:FEW]


def test_mix_has_passes_duplicates_and_stage_switches(curriculum):
    mix, duplicates = open_mix(curriculum), []
    for number in range(mix.num_lanes):
        lane = mix.lane(number)
        while lane.fill():
            lane.pull(64)
        first, second, third = lane.stage_stats()
        assert min(stage.total.emitted for stage in (first, second, third)) > 2
        assert ["c" in stage.sources for stage in (first, second, third)] == [False, True, True]
        counts = lane.stats().sources
        assert min(counts["b"].passes, counts["c"].passes) > 1
        duplicates.append(sum(source.dropped.get("duplicate", 0) for source in counts.values()))
    assert sum(duplicates) > 0
    assert {stage.recipe.shuffle for stage in mix.curriculum.stages} == {"block"}


def test_dataset_resumes_at_every_position(curriculum):
    opened = pickle.dumps(smollm3_mix.load(curriculum))
    dataset = pickle.loads(opened)
    expected, states = [], [dataset.state_dict()]
    for record in dataset:
        expected.append(record)
        states.append(json.loads(json.dumps(dataset.state_dict())))
    assert expected == list(open_mix(curriculum).stream())
    for position, state in enumerate(states):
        again = pickle.loads(opened)
        again.load_state_dict(state)
        rest = same_after(position, expected[position:])
        assert list(itertools.islice(again, len(rest) + (position % 10 == 0))) == rest, position


@pytest.mark.parametrize("workers", [0, 2])
def test_stateful_dataloader_resumes_at_every_position(curriculum, workers):
    torchdata = pytest.importorskip("torchdata.stateful_dataloader", reason="its states are tested; extra torch")
    opened = pickle.dumps(smollm3_mix.load(curriculum))

    def make():
        return torchdata.StatefulDataLoader(pickle.loads(opened), batch_size=2, num_workers=workers, collate_fn=list)

    loader, expected, states = make(), [], []
    for batch in loader:
        expected.append(batch)
        states.append(pickle.loads(pickle.dumps(loader.state_dict())))
    assert sum(map(len, expected)) == sum(1 for _ in open_mix(curriculum).stream())
    for position, state in enumerate(states, 1):
        again = make()
        again.load_state_dict(state)
        rest = same_after(position, expected[position:])
        assert list(itertools.islice(again, len(rest) + (position % 10 == 0))) == rest, position


@pytest.mark.parametrize("workers", [0, 2])
def test_mix_loader_resumes_at_every_position(curriculum, workers):
    pytest.importorskip("torch", reason="MixLoader needs the extra torch")
    mix = open_mix(curriculum)
    expected = list(mix.stream())
    loader = smollm3_mix.MixLoader(mix, 1, num_workers=workers)
    states = [loader.state_dict()]
    for _ in loader:
        states.append(json.loads(json.dumps(loader.state_dict())))  # noqa: PERF401 - the state moves with the loader
    assert len(states) == len(expected) + 1
    for position, state in enumerate(states):
        again = smollm3_mix.MixLoader(mix, 1)
        again.load_state_dict(state)
        rest = same_after(position, expected[position:])
        found = itertools.islice(again, len(rest) + (position % 10 == 0))
        assert [record for batch in found for record in batch] == rest, position


def test_packed_mix_resumes_at_every_position(curriculum, tmp_path):
    pytest.importorskip("tokenizers", reason="packs with a tokenizer of its own: pip install tokenizers")
    windows = open_packed(curriculum, tokenizer=save(tmp_path / "tokenizer.json"), sequence_length=32)
    reader, expected = windows.stream(), []
    states = [reader.state_dict()]
    for window in reader:
        expected.append({name: ids.tolist() for name, ids in window.items()})
        states.append(json.loads(json.dumps(reader.state_dict())))
    assert len(expected) > 100
    for position, state in enumerate(states):
        again = windows.stream()
        again.load_state_dict(state)
        rest = same_after(position, expected[position:])
        found = itertools.islice(again, len(rest) + (position % 10 == 0))
        assert [{name: ids.tolist() for name, ids in window.items()} for window in found] == rest, position
