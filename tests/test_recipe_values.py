"""The strict reader: any frozen dataclass is read by its type hints, so that a new threshold needs no change in it."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pytest

from smollm3_mix.recipe.parsing import BAD, FieldPath, Problems, at_least, plain, read_dataclass, read_value


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    words: tuple[str, ...] = ("a",)

    def __post_init__(self):
        if self.share > 1:
            raise ValueError(f"share: expected at most 1, got {self.share}")


@dataclass(frozen=True)
class Outer:
    SHORTHAND: ClassVar[str] = "mode"
    mode: Literal["lines", "words", 3] = "lines"
    inner: Inner | None = None
    either: Inner | bool | None = None
    always: Inner = field(default_factory=Inner)
    limits: dict[str, int] = field(default_factory=dict)
    pair: tuple[int, str] = (1, "a")
    number: Annotated[int | float, "a hint beside the type"] = 0
    parts: tuple[Inner, ...] = ()
    marks: tuple[Annotated[float | Literal["all"], "a hint"], ...] = ()
    made: int = field(default=0, init=False)

    def __post_init__(self):
        if self.pair[0] < 0:
            raise Problems("pair: expected a first of 0 or more", "mode: beside it")


def outcome(given, hint=Outer):
    problems = []
    value = read_value(hint, given, FieldPath("source 'x'", "rules"), problems)
    assert (value is BAD) == bool(problems)
    return problems or value


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({}, Outer()),
        (True, Outer()),
        ("words", Outer(mode="words")),
        ({"mode": 3}, Outer(mode=3)),
        (Outer(mode="words"), Outer(mode="words")),
        ({"inner": True}, Outer(inner=Inner())),
        ({"inner": False}, Outer()),
        ({"inner": None}, Outer()),
        ({"inner": {"share": 1}}, Outer(inner=Inner(share=1.0))),
        ({"either": False}, Outer(either=False)),
        ({"either": True}, Outer(either=Inner())),
        ({"always": {"words": "one"}}, Outer(always=Inner(words=("one",)))),
        ({"always": {"words": []}}, Outer(always=Inner(words=()))),
        ({"limits": {"a": "1k"}}, Outer(limits={"a": 1000})),
        ({"pair": [2, "b"]}, Outer(pair=(2, "b"))),
        ({"number": 1.5}, Outer(number=1.5)),
        ({"parts": [{}, {"share": 0}]}, Outer(parts=(Inner(), Inner(share=0.0)))),
    ],
)
def test_read_value_converts_by_type(given, value):
    assert outcome(given) == value


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        (3, ["expected a mapping (keys: mode, inner, either, always, limits, pair, number, parts, marks), got 3"]),
        ("letters", [".mode: expected 'lines' or 'words' or 3, got 'letters'"]),
        ({"mode": True}, [".mode: expected 'lines' or 'words' or 3, got true"]),
        ({"made": 1}, ["unknown key 'made' (did you mean 'mode'?)"]),
        ({"inner": {"shares": 1}}, [".inner: unknown key 'shares' (did you mean 'share'?)"]),
        ({"inner": {"share": 2}}, [".inner.share: expected at most 1, got 2.0"]),
        ({"either": 3}, [".either: expected a mapping (keys: share, words) or true or false, got 3"]),
        ({"either": {"share": "x"}}, [".either.share: expected a finite number, got 'x'"]),
        ({"always": False}, [".always: expected a mapping (keys: share, words), got false"]),
        ({"limits": {"a": 1, "b": "x"}}, [".limits.b: expected a whole number, got 'x'"]),
        ({"limits": [1]}, [".limits: expected a mapping, got the list [1]"]),
        ({"pair": [1]}, [".pair: expected a list of 2 (a whole number, a string), got the list [1]"]),
        ({"pair": [-1, "a"]}, [".pair: expected a first of 0 or more", ".mode: beside it"]),
        (
            {"pair": [-1, "a"], "mode": 4},
            [".mode: expected 'lines' or 'words' or 3, got 4", ".pair: expected a first of 0 or more"],
        ),
        ({"number": "x"}, [".number: expected a whole number or a finite number, got 'x'"]),
        ({"parts": {}}, [".parts: expected a list of a mapping (keys: share, words), got the mapping {}"]),
        ({"parts": [{}, 3]}, [".parts[1]: expected a mapping (keys: share, words), got 3"]),
        ({"marks": 3}, [".marks: expected a list of a finite number or 'all', got 3"]),
        ({"always": None}, None),
    ],
)
def test_problem_names_its_field_path(given, problems):
    if problems is None:
        problems = [".always: expected a mapping (keys: share, words), got nothing (leave the key out for its default)"]
    found = outcome(given)
    assert found == [f"source 'x': rules{'' if problem.startswith('.') else ': '}{problem}" for problem in problems]


def test_problem_with_a_field_path_gets_no_second_one():
    @dataclass(frozen=True)
    class Near:
        bands: int = 1

        def __post_init__(self):
            raise ValueError(f"dedup.near.bands: expected 1 or more, got {self.bands}")

    problems = []
    read_dataclass(Near, {"bands": 0}, FieldPath(keys="dedup.near"), problems)
    assert problems == ["dedup.near.bands: expected 1 or more, got 0"]


def test_long_value_is_shortened():
    problems = outcome({"mode": "x" * 5000, "pair": [[["y" * 500] * 50] * 50] * 50})
    assert len(problems) == 2
    assert max(map(len, problems)) < 400


def test_missing_field_without_a_placeholder_is_reported():
    @dataclass(frozen=True)
    class Needs:
        inner: Inner
        count: int

    assert outcome({"count": 1}, Needs) == ["source 'x': rules: missing key 'inner' (a mapping (keys: share, words))"]
    assert outcome({"inner": {}}, Needs) == ["source 'x': rules: missing key 'count' (a whole number)"]


def test_read_value_raises_for_an_unknown_type():
    with pytest.raises(TypeError, match="no reading of the type <class 'complex'> is known"):
        read_value(complex, 1, FieldPath(keys="a"), [])


def test_any_accepts_scalars_and_lists_of_them():
    problems = []
    assert read_value(Any, [1, "a", None], FieldPath(), problems) == (1, "a", None)
    assert problems == []
    assert read_value(Any, [1, float("nan")], FieldPath(keys="a"), problems) is BAD
    assert problems == ["a[1]: expected a string, a finite number, true, false, nothing or a list of them, got nan"]


def test_plain_omits_defaults_on_request():
    value = Outer(inner=Inner(), either=False, pair=(2, "b"), always=Inner(share=0.1))
    assert plain(value, defaults=False) == {"inner": True, "either": False, "pair": [2, "b"], "always": {"share": 0.1}}
    assert outcome(plain(value, defaults=False)) == value
    assert outcome(plain(value)) == value
    assert plain(Outer(), defaults=False) is True


def test_several_problems_raise_one_error():
    assert str(Problems("a", "b")) == "a; b"


def test_literal_requires_its_type():
    problems = []
    assert read_value(Literal[1, "a"], 1, FieldPath(keys="a"), problems) == 1
    assert [read_value(Literal[1, "a"], given, FieldPath(keys="a"), problems) for given in (True, 1.0)] == [BAD, BAD]
    assert problems == ["a: expected 1 or 'a', got true", "a: expected 1 or 'a', got 1.0"]


def test_nan_is_below_every_minimum():
    assert list(at_least("rows", float("nan"), 1)) == ["rows: expected 1 or more, got nan"]
    assert list(at_least("rows", 1, 1)) == []
