"""A lane across the stages of a curriculum: dedup state, repeated passes, statistics."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import parquet

from smollm3_mix.mix.curriculum_mix import lane_ends
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.state import continuation
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.read_recipe import recipe_from_dict

TEXTS = {
    "x": [f"The first source's document with number {n}." for n in range(24)],
    "y": [f"Another source's document, a bit longer, with number {n}." for n in range(24)],
}
BYTES = {source: sum(map(len, texts)) for source, texts in TEXTS.items()}


def curriculum(
    folder: Path, *stages: tuple[int, dict[str, Any]], texts: dict[str, list[str]] = TEXTS, **top: Any
) -> Curriculum:
    """Return a curriculum of stages with these numbers of tokens (here bytes) and these keys of their sources."""
    plain = {"lanes": 1, "block": {"rows": 4}, "shuffle": "none", "on_exhausted": "renormalize", **top}
    made = []
    for number, (tokens, sources) in enumerate(stages, 1):
        changed = dict(sources)
        top_of_stage = changed.pop("top", {})
        datasets = []
        for source, keys in changed.items():
            if not (folder / source).exists():
                parquet(folder / source, texts[source], files=1)
            given = {"name": str(folder / source), "id": source, "tokens_per_byte": 1.0, **keys}
            datasets.append(given)
        made.append({"name": str(number), "tokens": tokens, "recipe": {**plain, **top_of_stage, "datasets": datasets}})
    found = recipe_from_dict({"file": "curriculum", "stages": made})
    assert isinstance(found, Curriculum)
    return found


def weight(value: float, **more: Any) -> dict[str, Any]:
    return {"weight": value, **more}


@pytest.mark.parametrize("passes", [(1, 3), (3, 1)])
def test_curriculum_source_has_the_most_passes_of_any_stage(tmp_path: Path, passes: tuple[int, int]) -> None:
    stages = [(BYTES["x"], {"x": weight(1, max_passes=most)}) for most in passes]
    made = curriculum(tmp_path, *stages)
    assert [source.max_passes for source in made.active] == [3]


def test_text_of_an_earlier_stage_is_a_duplicate(tmp_path: Path) -> None:
    texts = {"x": TEXTS["x"], "y": TEXTS["x"][:20] + TEXTS["y"][:4]}
    made = curriculum(tmp_path, (BYTES["x"], {"x": weight(1)}), (10**6, {"y": weight(1)}), texts=texts)
    lane = open_mix(made).lane(0)
    found = []
    while lane.fill():
        found += [record["text"] for record in lane.pull(99).records()]
    assert found == TEXTS["x"] + TEXTS["y"][:4]
    assert lane.stats().sources["y"].dropped == {"duplicate": 20}


def test_later_stage_repeats_only_rows_that_the_first_pass_kept(tmp_path: Path) -> None:
    texts = {"x": TEXTS["x"][:7] + TEXTS["x"][:3]}
    once = {"x": weight(1)}
    again = {"x": weight(1, max_passes=3), "top": {"on_exhausted": "stop"}}
    made = curriculum(tmp_path, (200, once), (10**6, again), texts=texts)
    rows = Counter(record["row"] for record in open_mix(made).stream())
    assert rows == dict.fromkeys(range(7), 3)


def test_rows_of_an_inactive_source_stay_counted(tmp_path: Path) -> None:
    made = curriculum(
        tmp_path, (500, {"x": weight(0.5), "y": weight(0.5)}), (300, {"y": weight(1)}), (300, {"x": weight(1)})
    )
    lane = open_mix(made).lane(0)
    given: Counter[str] = Counter()
    stages = set()
    while lane.fill():
        given.update(record["source"] for record in lane.pull(1).records())
        stages.add(lane.stage)
        for source, counts in lane.stats().sources.items():
            read = -(-given[source] // 4) * 4  # complete blocks, perhaps with the block after an emitted one
            assert counts.read in (read, read + 4 * (given[source] % 4 == 0))
            assert counts.emitted == given[source]
            assert counts.read == counts.emitted + counts.pending
    assert stages == {0, 1, 2}


def test_stage_ends_with_the_record_that_reaches_its_tokens_or_a_limit(tmp_path: Path) -> None:
    made = curriculum(tmp_path, (300, {"x": weight(1)}), (400, {"y": weight(1)}))
    sizes = [len(text) for text in TEXTS["x"]]
    first = next(count for count in range(24) if sum(sizes[:count]) >= 300)
    reached = sum(sizes[:first])
    assert [r["source"] for r in open_mix(made).stream()][: first + 1] == ["x"] * first + ["y"]
    assert len(list(open_mix(made, max_tokens=reached).stream())) == first
    assert len(list(open_mix(made, max_tokens=reached + 1).stream())) == first + 1
    assert len(list(open_mix(made, max_tokens=sum(sizes[:3])).stream())) == 3
    assert len(list(open_mix(made, max_bytes=reached).stream())) == first
    assert len(list(open_mix(made, max_samples=first + 2).stream())) == first + 2


def test_stage_emits_no_record_after_reaching_its_tokens_exactly(tmp_path: Path) -> None:
    reached = sum(len(text) for text in TEXTS["x"][:5])
    made = curriculum(tmp_path, (reached, {"x": weight(1)}), (400, {"y": weight(1)}))
    assert [r["source"] for r in open_mix(made).stream()][:6] == ["x"] * 5 + ["y"]


def test_stage_ends_are_divided_by_lanes_and_scaled_for_validation(tmp_path: Path) -> None:
    stages = [(101, {"x": weight(1)}), (50, {"y": weight(1)}), (1, {"x": weight(1)})]
    made = curriculum(tmp_path, *stages, lanes=2, holdout={"fraction": 0.1, "tokens": 76})
    assert [lane_ends(made, "train", lane) for lane in range(2)] == [[51, 76, 76], [50, 75, 76]]
    assert lane_ends(made, "validation", 0) == [50, 76, 76]


@pytest.mark.parametrize("count", [4, 10, 16])
def test_state_of_any_stage_resumes_with_its_records_and_stats(tmp_path: Path, count: int) -> None:
    both = {"x": weight(0.5), "y": weight(0.5)}
    made = curriculum(tmp_path, (300, {"x": weight(1)}), (300, {"y": weight(1)}), (200, both))
    mix = open_mix(made)
    stream = mix.stream()
    whole = list(mix.stream())
    assert list(itertools.islice(stream, count)) == whole[:count]
    resumed = mix.stream()
    resumed.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    assert resumed.stats == stream.stats
    assert list(resumed) == whole[count:]


@pytest.mark.parametrize("count", [3, 9, 14])
def test_state_is_complete_unless_it_refers_to_an_older_one(tmp_path: Path, count: int) -> None:
    made = curriculum(tmp_path, (300, {"x": weight(1)}), (400, {"y": weight(1)}))
    stream = open_mix(made).stream()
    records = iter(stream)
    old = stream.state_dict()
    for _ in itertools.islice(records, count):
        pass
    assert continuation.is_complete(json.loads(json.dumps(stream.state_dict())))
    assert not continuation.is_complete(stream.snapshot(since=old))
