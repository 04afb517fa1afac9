"""Curricula as recipes alone: their lengths, their fingerprints, and what their stages must have in common."""

from dataclasses import replace

import pytest

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.index_scope import disagreements
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.stages import Stage
from smollm3_mix.text.filters.filter_options import FilterOptions

ONE = Recipe(sources=(Source("a", 2, name="org/a"), Source("b", 1, name="org/b")))


def curriculum(*stages: tuple[int, Recipe]) -> Curriculum:
    return Curriculum(tuple([Stage(f"s{n}", *stage) for n, stage in enumerate(stages, 1)]), "curriculum.yaml")


def with_first(**changes: object) -> Recipe:
    return replace(ONE, sources=(replace(ONE.sources[0], **changes), ONE.sources[1]))


@pytest.mark.parametrize("total, tokens", [(4499, [2000, 999, 1500]), (9000, [4000, 2000, 3000]), (3, [1, 1, 1])])
def test_scale_rounds_the_end_of_a_stage_to_the_nearest_token(total: int, tokens: list[int]) -> None:
    changed = curriculum((2000, ONE), (1000, ONE), (1500, ONE)).scale(total)
    assert [stage.tokens for stage in changed.stages] == tokens


def test_scale_rejects_stages_without_a_token() -> None:
    with pytest.raises(RecipeError, match="total_tokens: 2 leaves stage 's2' without a token"):
        curriculum((2000, ONE), (1000, ONE), (1500, ONE)).scale(2)


def test_curriculum_fingerprint_covers_names_tokens_and_recipes() -> None:
    base, other = curriculum((5, ONE), (6, ONE)), with_first(weight=3)
    others = [curriculum((5, ONE), (7, ONE)), curriculum((5, ONE), (6, other)), curriculum((6, ONE), (5, ONE))]
    others.append(Curriculum((Stage("s1", 5, ONE), Stage("end", 6, ONE)), "curriculum.yaml"))
    assert len({base.fingerprint, *(each.fingerprint for each in others)}) == 5
    assert all(base.diff(each) for each in others)
    assert curriculum((5, ONE), (6, replace(ONE, description="x"))).fingerprint == base.fingerprint


@pytest.mark.parametrize("ratio", [0.2, 0.3])
def test_stages_must_agree_on_the_tokens_per_byte_of_a_source(ratio: float) -> None:
    with pytest.raises(RecipeError, match=rf"source 'a' differs between stages .*\(tokens_per_byte: 0.25 → {ratio}\)"):
        curriculum((5, ONE), (5, with_first(tokens_per_byte=ratio)))


def test_index_requires_equal_rules_in_all_stages() -> None:
    other = with_first(filters=FilterOptions(min_chars=9))
    assert disagreements(curriculum((5, ONE), (5, ONE))) == []
    for stages, named in (((ONE, other, other), "'s1' and 's2'"), ((ONE, ONE, other), "'s2' and 's3'")):
        (line,) = disagreements(curriculum(*((5, recipe) for recipe in stages)))
        assert line.startswith(f"dedup.index: stages {named} read source 'a' differently (filters.min_chars: ")


def test_curriculum_is_read_back_from_its_dict():
    made = curriculum((5, ONE), (6, ONE))
    assert Curriculum.from_dict(made.to_dict()) == made


def test_curriculum_replaces_a_source_in_every_stage():
    made = curriculum((5, ONE), (6, ONE))
    source = ONE.sources[0].id
    assert {s.recipe.sources[0].max_passes for s in made.replace_source(source, max_passes=3).stages} == {3}
    with pytest.raises(KeyError, match="no source 'x'"):
        made.replace_source("x", weight=1)


def test_curriculum_repr_shows_stages_and_tokens():
    made = curriculum((5, ONE), (6, ONE))
    assert repr(made) == f"Curriculum('curriculum', 2 stages, 11 tokens, fingerprint={made.fingerprint[:7]!r})"
    assert made._repr_html_().startswith("<table>")
