"""The shipped SmolLM3 recipes against what was published, and the documents that print them."""

import functools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe

ROOT = Path(__file__).parents[1]
OFFICIAL = ("stage1", "stage2", "stage3", "long-context-32k", "long-context-64k")
OPEN = ("stage1-open", "stage2-open", "stage3-open")
ALL = (*OFFICIAL, *OPEN)

PARTS = {
    "@web": "fineweb-edu dclm pes2o wiki",
    "@fw2": "fw2-{fra,spa,deu,ita,por,cmn,rus,fas,jpn,kor,hin,tha,vie,ell}",
    "@fw2-long": """fw2-hq-{fra_Latn,spa_Latn,deu_Latn,ita_Latn,por_Latn,cmn_Hani,rus_Cyrl,arb_Arab,jpn_Jpan}
        fw2-{kor_Hang,hin_Deva,tha_Thai} fw2-hq-{vie_Latn,ell_Grek}""",
    "@math-4": "{infiwebmath,finemath}-4plus megamath-{web-pro,qa-qwen,text-code-block}",
    "@other": "pull-requests kaggle jupyter-scripts github-issues",
    "@long": """@web mwiki cosmopedia2 stackexchange @fw2-long {infiwebmath,finemath}-3plus @math-4
        stack-edu-real-{Python,Java,JavaScript,C,Cpp,C-Sharp,PHP,TypeScript,Swift,SQL,Ruby,Markdown,HTML,Rust,Go,Shell}""",
}
NAMES = {  # in the official order; @ is a part above, a{b,c} for ab ac
    "stage1": """@web stackexchange @fw2 infiwebmath finemath
        stack-v2-{Python,Java,JavaScript,C,Cpp,C-Sharp,PHP,TypeScript,Swift,SQL,Ruby,Markdown,HTML,Rust,Go,Shell}
        @other""",
    "stage2": """@web stackexchange @fw2 infiwebmath finemath @math-4
        stack-edu-real-shuffled-{Python,Java,JavaScript,C,Cpp,C-Sharp,PHP} stack-v2-{TypeScript,Swift}
        stack-edu-real-shuffled-SQL stack-v2-Ruby stack-edu-real-shuffled-Markdown stack-v2-{HTML,Rust,Go,Shell}
        @other""",
    "stage3": """@web multilingual_wiki cosmopedia2 stackexchange @fw2 infiwebmath finemath @math-4
        stack-edu-real-shuffled-{Python,Java,JavaScript,C,Cpp,C-Sharp,PHP,TypeScript,Swift,SQL,Ruby,Markdown}
        stack-edu-HTML stack-edu-real-shuffled-{Rust,Go,Shell} @other
        openmathinstruct-2 openmathreasoning-4k open-codereasoning-4k natural_reasoning
        tiny-gsm-mind-{problem-solving,2students} dolmino_math_synth_{gsm_gsm8k,basic}""",
    "long-context-32k": """@long @other openmathinstruct-2 {openmathreasoning,opencodereasoning}-4k natural_reasoning
        problem-solving 2students reasoning_nochatml_17M_4k_to_32k-correct_cpu_tok_4k_to_32k
        reasoning_tulu_chatml_580k_all_lengths_cpu_tok_4k_to_32k""",
    "long-context-64k": """@long pull-requests kaggle github-issues openmathinstruct-2 openmathreasoning-4k
        opencodereasoning natural_reasoning problem-solving 2students
        reasoning_nochatml_17M_4k_to_32k-correct-ipc_cpu_tok_4k_to_32k
        reasoning_tulu_chatml_580k_all_lengths-correct_cpu_tok_4k_to_32k
        Wiki_MCQ_final_14M code_sft_tulu_nemotron_180k""",
}
COUNTS = {"stage1": 41, "stage2": 46, "stage3": 56, "long-context-32k": 56, "long-context-64k": 57}
SUMS = {
    "stage1": 1.0,
    "stage2": 1.00005,
    "stage3": 1.00565,
    "long-context-32k": 1.0000002,
    "long-context-64k": 1.0000002,
}
LEAST = {"stage1": 5e-4, "stage2": 5e-5, "stage3": 5e-5, "long-context-32k": 4.48e-5, "long-context-64k": 4.48e-5}
NOT_PUBLISHED = {"stage1": 1.15, "stage2": 2.14, "stage3": 2.49, "long-context-32k": 12.24, "long-context-64k": 15.66}

# Raw weights in per cent, from the official files of the three stages.
HEADLINES = {
    "web": (84.8, 76.6, 63.925),
    "English web": (70.3, 63.0, 50.0),
    "multilingual": (12.0, 11.7, 12.405),
    "code": (12.5, 14.325, 23.33),
    "16 languages": (10.98, 11.735, 21.17),
    "mathematics": (2.7, 9.08, 11.5),
    "reasoning": (0.0, 0.0, 1.81),
    "Vietnamese": (0.325, 0.005, 0.005),
    "Python": (2.5, 2.5, 7.0),
}


def names(pattern: str) -> list[str]:
    words = []
    for word in pattern.split():
        before, brace, rest = word.partition("{")
        inner, _, after = rest.partition("}")
        if word in PARTS:
            words += names(PARTS[word])
        else:
            words += [before + part + after for part in inner.split(",")] if brace else [word]
    return words


@functools.cache
def plain(name: str) -> list[dict[str, Any]]:
    text = (ROOT / "configs" / f"{name}.smollm3_mix.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["datasets"]  # type: ignore[no-any-return]


@functools.cache
def recipe(name: str) -> Recipe:
    return load_recipe(ROOT / "configs" / f"{name}.smollm3_mix.yaml")


def is_language(source: str) -> bool:
    return source.startswith(("stack-v2-", "stack-edu-"))


def groups(source: str) -> set[str]:
    """The headline groups a source counts for."""
    found = set()
    if source.startswith(("infiwebmath", "finemath", "megamath")):
        found.add("mathematics")
    elif is_language(source):
        found |= {"code", "16 languages"} | ({"Python"} if source.endswith("-Python") else set())
    elif source in names("@other"):
        found.add("code")
    elif source.startswith("fw2-"):
        found |= {"web", "multilingual"} | ({"Vietnamese"} if "-vie" in source else set())
    elif source in ("fineweb-edu", "dclm"):
        found |= {"web", "English web"}
    elif source in ("pes2o", "wiki", "mwiki", "multilingual_wiki", "cosmopedia2", "stackexchange"):
        found.add("web")
    else:
        found.add("reasoning")
    return found


def per_cent(name: str, group: str) -> float:
    return 100 * math.fsum(s["weight"] for s in plain(name) if group in groups(s["id"]))


@pytest.mark.parametrize("name", OFFICIAL)
def test_sources_are_the_official_ones_in_the_official_order(name: str) -> None:
    assert [source["id"] for source in plain(name)] == names(NAMES[name])
    assert len(plain(name)) == COUNTS[name]


@pytest.mark.parametrize("name", OFFICIAL)
def test_weights_have_the_official_sum_and_least(name: str) -> None:
    weights = [source["weight"] for source in plain(name)]
    assert math.fsum(weights) == pytest.approx(SUMS[name], abs=1e-12)
    assert min(weights) == LEAST[name]


@pytest.mark.parametrize("group", HEADLINES)
def test_headline_weights_are_the_official_ones(group: str) -> None:
    assert [per_cent(f"stage{n}", group) for n in (1, 2, 3)] == pytest.approx(HEADLINES[group], abs=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_every_source_has_a_location_or_a_reason(name: str) -> None:
    for source in plain(name):
        assert ("name" in source) != ("unavailable" in source), source["id"]
        if "name" in source:
            assert {"split", "kind", "license", "tokens_per_byte"} <= source.keys(), source["id"]
            assert "text_field" in source or source["content"] == "swh", source["id"]


@pytest.mark.parametrize("name", ALL)
def test_recipe_reads_and_keeps_every_weight(name: str) -> None:
    read_back = recipe(name)
    assert [(s.id, s.weight) for s in read_back.sources] == [(s["id"], s["weight"]) for s in plain(name)]
    assert math.fsum(read_back.shares.values()) == pytest.approx(1, abs=1e-12)
    assert read_back.ignored == ()
    assert (read_back.seed, read_back.lanes, read_back.weigh_by, read_back.on_exhausted) == (42, 16, "tokens", "error")


@pytest.mark.parametrize("name", OFFICIAL)
def test_unpublished_weight_is_the_known_sum(name: str) -> None:
    assert 100 * recipe(name).unavailable_share == pytest.approx(NOT_PUBLISHED[name], abs=0.005)


@pytest.mark.parametrize("name", ALL)
def test_code_is_cleaned_as_code_and_keeps_its_licenses(name: str) -> None:
    for source in recipe(name).active:
        if is_language(source.id):
            assert (source.kind.type, source.clean.profile) == ("code", "code")
            assert {"detected_licenses", "metadata"} & set(source.keep)
        elif source.kind.type == "math":
            assert source.clean.profile == "math"


@pytest.mark.parametrize("name", ALL)
def test_every_source_is_filtered_by_the_preset_of_its_kind(name: str) -> None:
    """Short is 20 code points, 8 where two are a word; sums of one line may be shorter still."""
    for source in recipe(name).sources:
        assert (source.filters.preset, source.filters.language) == (source.kind.type, source.kind.language), source.id
        dense = source.kind.language in ("zh", "ja")
        assert source.filters.min_chars == (1 if "math_synth" in source.id else 8 if dense else 20), source.id


@pytest.mark.parametrize("name", OPEN)
def test_open_recipe_needs_no_consent_and_no_other_host(name: str) -> None:
    for source in recipe(name).active:
        assert not source.gated, source.id
        assert source.content == "inline", source.id
        assert source.name is not None
        assert not source.name.startswith("bigcode/"), source.id


@pytest.mark.parametrize("name", OPEN)
def test_open_recipe_differs_from_its_stage_by_its_deviations_only(name: str) -> None:
    pairs = zip(recipe(name.removesuffix("-open")).sources, recipe(name).sources, strict=True)
    for theirs, ours in pairs:
        assert theirs.weight == ours.weight
        if is_language(theirs.id):
            assert ours.deviation or ours.unavailable, ours.id
        else:
            assert ours == theirs


def rows(file: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its two head lines."""
    text = (ROOT / "docs" / file).read_text(encoding="utf-8")
    below = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    table = re.search(r"(?:^\|.*\n)+", below, flags=re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in table[0].splitlines()[2:]]


def place(source: Source) -> str:
    if source.name is None:
        return "not available"
    return " · ".join(part for part in (source.name, source.config or source.data_dir) if part)


@pytest.mark.parametrize("name", OFFICIAL)
def test_weights_page_lists_every_source(name: str) -> None:
    mix = recipe(name)
    expected = [
        [
            s.id,
            s.weight,
            f"{100 * mix.shares[s.id]:.4f}" if s.id in mix.shares else "–",
            place(s),
            s.license or "–",
            s.max_passes,
        ]
        for s in mix.sources
    ]
    printed = [[row[0], float(row[1]), *row[2:5], int(row[5])] for row in rows("weights.md", name)]
    assert printed == expected


def test_weights_page_lists_removed_and_replaced_sources_of_open_recipes() -> None:
    expected = []
    for name in OPEN:
        mix, official = recipe(name), recipe(name.removesuffix("-open"))
        replaced: dict[str, list[float]] = {}
        for ours, theirs in zip(mix.sources, official.sources, strict=True):
            if ours.unavailable:
                replaced[theirs.id] = [ours.weight]
            elif ours.name != theirs.name:
                replaced.setdefault(f"languages of {theirs.name}", []).append(ours.weight)
        for what, weights in replaced.items():
            expected.append([name, what, str(len(weights)), f"{100 * math.fsum(weights) / mix.raw_sum:.4f}"])
    assert sorted(row[:4] for row in rows("weights.md", "The open recipes")) == sorted(expected)


def test_stages_page_compares_the_shipped_recipes() -> None:
    printed = {row[0]: row[1:] for row in rows("training-stages.md", "What each holds")}
    assert set(printed) == set(HEADLINES)
    for group, cells in printed.items():
        assert cells == [f"{per_cent(name, group):.4f}".rstrip("0").rstrip(".") for name in OFFICIAL], group


def test_stages_page_lists_unavailable_sources() -> None:
    expected = []
    for name in OFFICIAL:
        mix = recipe(name)
        blobs = math.fsum(s.weight for s in mix.sources if s.content == "swh") / mix.raw_sum
        gated = math.fsum(s.weight for s in mix.sources if s.gated) / mix.raw_sum
        expected.append([name, *(f"{100 * share:.2f}" for share in (mix.unavailable_share, blobs, gated))])
    assert rows("training-stages.md", "What cannot be had at once") == expected
