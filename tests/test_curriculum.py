"""Curricula: stages in one stream, continued sources, exact stage switches, resume at every position."""

import itertools
import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import document, examples, parquet, resumes_everywhere
from hypothesis import given
from hypothesis import strategies as st

import smollm3_mix
import smollm3_mix.builder.load
from smollm3_mix.cli.main import main
from smollm3_mix.errors import RecipeError
from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.read_recipe import load_recipe, recipe_from_dict
from smollm3_mix.recipe.shipped import list_recipes
from smollm3_mix.verification.verify_mix import verify

WEIGHTS = (
    {"c": {"weight": 0}},
    {"a": {"weight": 0.1}, "b": {"weight": 0.6}, "c": {"weight": 0.3}},
    {"b": {"weight": 0}},
)


@pytest.fixture
def curriculum_file(recipe_file, tmp_path):
    """Return a function that writes three recipes over the sources a, b and c, and a curriculum of them."""

    def make(tokens=(2000, 1000, 1500), sources=WEIGHTS, sizes=(400, 200, 60), common=None, **top):
        for number, changes in enumerate(sources, 1):
            recipe_file(f"s{number}", sources=changes, sizes=sizes, **{"on_exhausted": "error", **top})
        stages = [{"recipe": f"s{number}.yaml", "tokens": count} for number, count in enumerate(tokens, 1)]
        path = tmp_path / "curriculum.yaml"
        path.write_text(yaml.safe_dump({"description": "Toys.", **(common or {}), "stages": stages}, sort_keys=False))
        return path

    return make


def key(record):
    return record["file"], record["row"]


def by_stage(records, ends):
    """Return the records of one lane by stage. Each stage ends with the record that reaches its end."""
    before = np.cumsum([0, *(r["tokens"] for r in records)])[:-1]
    stages = np.searchsorted(ends, before, side="right")
    return [[r for r, stage in zip(records, stages, strict=True) if stage == n] for n in range(len(ends))]


@pytest.mark.parametrize("lanes", [1, 3])
def test_stages_are_in_sequence_and_share_sources(curriculum_file, lanes):
    mix = open_mix(curriculum_file(lanes=lanes))
    records = [list(mix.stream([lane])) for lane in range(lanes)]
    assert max(Counter(map(key, itertools.chain(*records))).values()) == 1
    for lane, mine in enumerate(records):
        ends = mix.stage_ends(lane)
        stages = by_stage(mine, ends)
        for stage, expected in zip(stages, ({"a", "b"}, {"a", "b", "c"}, {"a", "c"}), strict=True):
            assert {r["source"] for r in stage} <= expected
        given = np.cumsum([sum(r["tokens"] for r in stage) for stage in stages])
        for total, end, stage in zip(given, ends, stages, strict=True):
            assert total - stage[-1]["tokens"] < end <= total
    assert sum(mix.stage_ends(lane)[-1] for lane in range(lanes)) == 4500


def test_mix_of_a_curriculum_is_a_mix_and_its_recipe_is_not_a_recipe(curriculum_file):
    mix = open_mix(curriculum_file())
    assert isinstance(mix, smollm3_mix.Mix)
    assert isinstance(mix.recipe, smollm3_mix.Curriculum)
    assert not isinstance(mix.recipe, smollm3_mix.Recipe)
    assert isinstance(mix.stage(0).recipe, smollm3_mix.Recipe)


def test_shares_hold_in_each_stage_from_its_first_record(curriculum_file):
    mix = open_mix(curriculum_file(lanes=1))
    lane = mix.lane(0)
    records = []
    while lane.fill():
        records += lane.pull(64).records()
    stages, all_stats = by_stage(records, mix.stage_ends(0)), lane.stage_stats()
    for stage, stats, emitted in zip(mix.curriculum.stages, all_stats, stages, strict=True):
        shares = stage.recipe.shares
        longest = np.array([float(stats.sources[source].longest) for source in shares])
        tokens = np.array([r["tokens"] for r in emitted])
        for source, most in zip(shares, discrepancy_bound(np.array(list(shares.values())), longest), strict=True):
            mine = np.where([r["source"] == source for r in emitted], tokens, 0)
            discrepancy = np.abs(shares[source] * np.cumsum(tokens) - np.cumsum(mine)).max()
            assert discrepancy <= most
            assert stats.sources[source].max_discrepancy == pytest.approx(discrepancy)
        assert stats.total.emitted == len(emitted)
    whole = lane.stats()
    assert whole.total.emitted == len(records)
    for counts in (*whole.sources.values(), *(c for stats in all_stats for c in stats.sources.values())):
        assert counts.read == sum(counts.dropped.values()) + counts.pending + counts.emitted
        assert counts.pending >= 0


@pytest.mark.parametrize(
    "top",
    [
        {"lanes": 1, "shuffle": "none"},
        {"lanes": 3, "on_exhausted": "renormalize", "dedup": {"near": {"bands": 14, "rows": 8, "ngram": 5}}},
        {"lanes": 2, "on_exhausted": "repeat", "sizes": (52, 22, 6)},
        {"lanes": 2, "on_exhausted": "renormalize", "sizes": (52, 22, 6)},
        {"lanes": 2, "order": "iid", "on_exhausted": "repeat"},
    ],
    ids=["one-lane", "near-dedup", "passes", "renormalize", "iid"],
)
def test_curriculum_resumes_at_every_position(curriculum_file, top):
    mix = open_mix(curriculum_file(tokens=(900, 500, 700), **{"sizes": (90, 45, 18), **top}))
    assert resumes_everywhere(mix, few=3) > 20


def test_records_of_a_curriculum_do_not_depend_on_read_size(curriculum_file):
    mix = open_mix(curriculum_file(lanes=3))
    whole = list(mix.stream())
    for rows in (1, 7, 1000):
        stream, found = mix.stream(), []
        while (batch := stream.read(rows)).num_rows:
            found += batch.to_pylist()
        assert found == whole
    alone = [list(mix.stream([lane])) for lane in range(3)]
    assert sorted(map(key, itertools.chain(*alone))) == sorted(map(key, whole))


def test_total_tokens_scale_stages_and_limits_end_the_mix(curriculum_file):
    path = curriculum_file(lanes=1)
    half = open_mix(path, total_tokens=2250)
    assert [stage.tokens for stage in half.curriculum.stages] == [1000, 500, 750]
    assert 2250 <= sum(r["tokens"] for r in half.stream()) < 2250 + 60
    whole = list(open_mix(path).stream())
    assert list(open_mix(path, max_samples=50).stream()) == whole[:50]
    cut = list(open_mix(path, max_tokens=2300).stream())
    assert cut == whole[: len(cut)]
    assert sum(r["tokens"] for r in cut[:-1]) < 2300 <= sum(r["tokens"] for r in cut)
    with pytest.raises(
        RecipeError, match=r"s1\.yaml: total_tokens: 100 needs a curriculum, but this recipe has no stages"
    ):
        open_mix(path.parent / "s1.yaml", total_tokens=100)
    with pytest.raises(RecipeError, match="total_tokens: 2 leaves stage 's2' without a token"):
        open_mix(path, total_tokens=2)


def test_exhausted_source_ends_the_lane_only_with_stop(curriculum_file):
    stop = open_mix(curriculum_file(lanes=1, tokens=(4000, 50_000, 1000), on_exhausted="stop")).stream()
    emitted = list(stop)
    assert sum(r["tokens"] for r in emitted) < 54_000
    complete = list(
        open_mix(curriculum_file(lanes=1, tokens=(4000, 50_000, 1000), on_exhausted="renormalize")).stream()
    )
    assert len(complete) == 660 - 3


def test_validation_of_a_curriculum_is_never_in_train(curriculum_file):
    path = curriculum_file(lanes=2, holdout={"fraction": 0.3, "tokens": 1500})
    train, held = (list(open_mix(path, split=split).stream()) for split in ("train", "validation"))
    assert len(train) > 50
    assert 1500 <= sum(r["tokens"] for r in held) < 1560
    assert {r["source"] for r in held} == {"a", "b", "c"}
    assert not {r["text"] for r in train} & {r["text"] for r in held}


def test_recipe_and_curriculum_continue_each_other(curriculum_file, recipe_file):
    curriculum = open_mix(curriculum_file(lanes=2))
    stream = curriculum.stream()
    first = list(itertools.islice(stream, 100))
    after = recipe_file("after", lanes=2, on_exhausted="renormalize")
    rest = open_mix(after, continue_from=json.loads(json.dumps(stream.state_dict()))).stream()
    more = list(itertools.islice(rest, 100))
    last = list(open_mix(curriculum_file(lanes=2), continue_from=rest.state_dict()).stream())
    assert max(Counter(map(key, first + more + last)).values()) == 1
    assert sum(r["tokens"] for r in last) >= 4500


def test_curriculum_survives_json_and_yaml(curriculum_file):
    curriculum = load_recipe(curriculum_file())
    assert isinstance(curriculum, Curriculum)
    assert curriculum.name == "curriculum"
    assert [stage.name for stage in curriculum.stages] == ["s1", "s2", "s3"]
    expected = {"a": 2000 * 2 / 3 + 100 + 1500 * 6 / 7, "b": 2000 / 3 + 600, "c": 300 + 1500 / 7}
    assert curriculum.shares == pytest.approx({source: tokens / 4500 for source, tokens in expected.items()})
    again = recipe_from_dict(json.loads(json.dumps(curriculum.to_dict())))
    assert again == curriculum
    assert again.fingerprint == curriculum.fingerprint
    assert curriculum.diff(curriculum.replace(seed=8)) == [f"s{n}.seed: 7 → 8" for n in (1, 2, 3)]
    assert curriculum.diff(curriculum.scale(9000))[0] == "s1.tokens: 2000 → 4000"
    assert curriculum.replace(lanes=5).lanes == 5
    path = curriculum_file().with_name("written.yaml")
    path.write_text(curriculum.to_yaml(), encoding="utf-8")
    assert load_recipe(path).fingerprint == curriculum.fingerprint
    assert load_recipe("curriculum").total_tokens == (3_450_000 + 748_000 + 522_000) * 2_359_296


def problems(path):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    return caught.value.problems


def test_curriculum_reports_all_problems(curriculum_file, tmp_path):
    path = curriculum_file(common={"lanes": 2})

    def rewritten(text):
        path.write_text(text, encoding="utf-8")
        return problems(path)

    assert rewritten("stages: []") == ["stages: expected at least one stage, got an empty list"]
    assert rewritten("stages: s1") == ["stages: expected a list of stages, got 's1'"]
    text = """
lane: 2
filters: {}
stages:
  - {recipe: s1.yaml, tokens: -5}
  - {recipe: s2.yaml, token: 5}
  - {tokens: 1k}
  - s3
  - {recipe: s4.yaml, tokens: 5}
  - {recipe: more.yaml, tokens: 5}
  - {recipe: 3, tokens: ten}
"""
    path.with_name("more.yaml").write_text("stages: [{recipe: s1.yaml, tokens: 5}]", encoding="utf-8")
    names = ", ".join(list_recipes())
    assert rewritten(text) == [
        "unknown key 'lane' (did you mean 'lanes'?)",
        "filters: belongs to the recipe of each stage, not beside `stages`",
        "stages[0]: tokens: expected 1 or more, got -5",
        "stages[1]: unknown key 'token' (did you mean 'tokens'?)",
        "stages[1]: missing key 'tokens' (of the whole mix, such as 8.1T or 500M)",
        "stages[2]: missing key 'recipe' (a recipe file, the name of a shipped one, or a recipe)",
        "stages[3]: expected a mapping such as {recipe: stage1, tokens: 8T}, got 's3'",
        f"stages[4]: s4.yaml: no such file, and no shipped recipe of that name. Shipped recipes: {names}",
        "stages[5]: 'more.yaml' is a curriculum. List its stages here",
        "stages[6].recipe: expected a name or a mapping, got 3",
        "stages[6].tokens: expected a whole number, got 'ten'",
    ]


def test_curriculum_rejects_incompatible_stages(curriculum_file, recipe_file, tmp_path):
    path = curriculum_file(sources=({}, {"a": {"text_field": "title"}, "b": {"revision": "main"}}, {}))
    recipe_file("s3", seed=8, weigh_by="bytes")
    assert problems(path) == [
        (
            "stages 's1' and 's3' differ in seed: 7 → 8. "
            "Write `seed:` at the top of the curriculum, where it applies to all stages"
        ),
        (
            "stages 's1' and 's3' differ in weigh_by: 'tokens' → 'bytes'. "
            "Write `weigh_by:` at the top of the curriculum, where it applies to all stages"
        ),
        (
            "source 'a' differs between stages 's1' and 's2' (text_field: 'text' → 'title'). "
            "Make it equal, or give one of them another id"
        ),
        (
            "source 'b' differs between stages 's1' and 's2' (revision: none → 'main'). "
            "Make it equal, or give one of them another id"
        ),
    ]
    recipe_file("s2")
    path.write_text(f"seed: 1\nweigh_by: bytes\n{path.read_text()}", encoding="utf-8")
    assert load_recipe(path).seed == 1
    path.write_text("stages: [{recipe: s1.yaml, tokens: 5}, {recipe: s1.yaml, tokens: 5}]", encoding="utf-8")
    assert problems(path) == ["stages have the same name 's1'. Give one of them another `name`"]
    path.write_text("stages: [{recipe: s1.yaml, tokens: 5}, {recipe: s1.yaml, name: b, tokens: 5}]", encoding="utf-8")
    assert [stage.name for stage in load_recipe(path).stages] == ["s1", "b"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("law")
    for source, size in {"x": 80, "y": 60, "z": 40}.items():
        parquet(folder / source, [document(source, n) for n in range(size)], files=2)
    return folder


@examples(25)
@given(
    st.lists(
        st.tuples(st.integers(1, 900), st.lists(st.integers(0, 5), min_size=3, max_size=3)), min_size=1, max_size=4
    ),
    st.integers(1, 3),
    st.integers(1, 20),
)
def test_curriculum_never_repeats_records_and_keeps_shares_within_the_bound(sources, stages, lanes, rows):
    made = [
        {
            "name": str(number),
            "tokens": tokens,
            "recipe": {
                "lanes": lanes,
                "block": {"rows": rows},
                "on_exhausted": "stop",
                "datasets": [
                    {"name": str(sources / source), "id": source, "weight": weight}
                    for source, weight in zip("xyz", weights, strict=True)
                ],
            },
        }
        for number, (tokens, weights) in enumerate(stages)
        if any(weights)
    ]
    if not made:
        return
    mix = open_mix(recipe_from_dict({"file": "law", "stages": made}))
    seen = Counter()
    for number in range(lanes):
        lane, records = mix.lane(number), []
        while lane.fill():
            records += lane.pull(5).records()
        seen.update(map(key, records))
        for stage, stats in zip(mix.curriculum.stages, lane.stage_stats(), strict=False):
            shares = stage.recipe.shares
            longest = np.array([float(stats.sources[source].longest) for source in shares])
            bound = discrepancy_bound(np.array(list(shares.values())), longest)
            for source, most in zip(shares, bound, strict=True):
                assert stats.sources[source].max_discrepancy <= most * (1 + 1e-9)
    assert max(seen.values(), default=1) == 1


def test_written_curriculum_is_recounted_by_stage(curriculum_file, tmp_path):
    path = curriculum_file(lanes=2, holdout={"fraction": 0.2, "tokens": 800})
    all_stats = write(path, tmp_path / "whole", max_shard_size=6000).stats
    emitted = all_stats["train"].total.emitted
    assert emitted == len(list(open_mix(path).stream()))
    report = verify(tmp_path / "whole")
    assert report.problems == ()
    saved = json.loads((tmp_path / "whole" / "stats.json").read_text())
    assert [stage["name"] for stage in saved["stages"]] == ["s1", "s2", "s3"]
    records = [stage["records"] for stage in saved["stages"]]
    assert sum(each["train-00000"] + each["train-00001"] for each in records) == emitted
    saved["stages"][0]["records"]["train-00000"] += 3
    saved["stages"][1]["records"]["train-00000"] -= 3
    (tmp_path / "whole" / "stats.json").write_text(json.dumps(saved))
    found = verify(tmp_path / "whole").problems
    assert any("stage 's1' continues after its 1,000 tokens" in problem for problem in found)


def test_verify_accepts_validation_without_a_stage_that_holds_nothing_out(curriculum_file, tmp_path):
    path = curriculum_file(lanes=2, holdout={"fraction": 0.2, "tokens": 50_000})
    held = write(path, tmp_path / "out").stats["validation"].total
    assert 0 < held.emitted_tokens < 50_000
    assert verify(tmp_path / "out").problems == ()


def test_written_curriculum_resumes_after_a_kill(curriculum_file, tmp_path):
    path = curriculum_file(lanes=2, on_exhausted="repeat", sizes=(60, 30, 12))
    write(path, tmp_path / "whole", max_shard_size=3000)

    class Killed(Exception):
        pass

    calls = itertools.count(1)

    def killer(_):
        if next(calls) % 3 == 0:
            raise Killed

    for _ in range(40):
        try:
            write(path, tmp_path / "parts", max_shard_size=3000, on_progress=killer)
            break
        except Killed:
            continue
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole" / "data").iterdir()}
    assert {p.name: p.read_bytes() for p in (tmp_path / "parts" / "data").iterdir()} == whole
    assert verify(tmp_path / "parts").problems == ()


def test_load_accepts_a_curriculum(curriculum_file, recipe_file):
    path = curriculum_file(lanes=2)
    whole = list(open_mix(path, total_tokens=2250).stream())
    stream = smollm3_mix.load(path, total_tokens=2250)
    assert list(stream) == whole
    for position in range(0, len(whole), 7):
        stream = smollm3_mix.load(path, total_tokens=2250)
        assert list(itertools.islice(stream, position)) == whole[:position]
        again = smollm3_mix.load(path, total_tokens=2250)
        again.load_state_dict(stream.state_dict())
        assert list(itertools.islice(again, 3)) == whole[position : position + 3]
    stream = smollm3_mix.load(recipe_file("before", lanes=2))
    first = list(itertools.islice(stream, 50))
    rest = list(smollm3_mix.load(path, continue_from=stream.state_dict()))
    assert max(Counter(map(key, first + rest)).values()) == 1
    assert sum(r["tokens"] for r in rest) >= 4500


def test_take_accepts_a_curriculum(curriculum_file, tmp_path, capsys):
    path = str(curriculum_file(lanes=1))
    assert main(["take", path, "--total-tokens", "900", "--quiet"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records == list(open_mix(path, total_tokens=900).stream())
    assert main(["write", path, "--total-tokens", "900", "--output-dir", str(tmp_path / "out")]) == 0
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert main(["plan", path, "--offline", "--max-tokens", "900"]) == 0
    assert main(["take", str(tmp_path / "s1.yaml"), "--total-tokens", "900"]) == 1
    assert "total_tokens: 900 needs a curriculum, but this recipe has no stages" in capsys.readouterr().err


def test_keep_dropped_covers_every_stage(curriculum_file, tmp_path):
    path = curriculum_file(lanes=1, filters={"min_chars": 120})
    all_stats = write(path, tmp_path / "out", keep_dropped=tmp_path / "dropped").stats
    rows = sum(pq.read_metadata(file).num_rows for file in (tmp_path / "dropped").rglob("*.parquet"))
    assert rows == sum(all_stats["train"].total.dropped.values()) > 10
