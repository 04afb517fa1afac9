"""Every error of the package has its attributes, keeps its built-in base, and can be pickled."""

import pickle
from typing import Any

import pytest

from smollm3_mix import errors
from smollm3_mix.errors import (
    HubError,
    MissingExtraError,
    MixError,
    OutputError,
    RecipeError,
    SourceError,
    SourceExhaustedError,
    StateError,
    UnreadableSourcesError,
)

CASES: list[tuple[MixError, type[Exception], dict[str, Any]]] = [
    (RecipeError("a.yaml", ["one", "two"]), ValueError, {"file": "a.yaml", "problems": ["one", "two"]}),
    (SourceError("gone", source="web"), OSError, {"source": "web"}),
    (
        UnreadableSourcesError("gone", problems={"web": "gone"}),
        OSError,
        {"source": "web", "problems": {"web": "gone"}},
    ),
    (
        SourceExhaustedError("ended", source="web", needed=9.5, available=3),
        RuntimeError,
        {"source": "web", "needed": 9.5, "available": 3},
    ),
    (StateError("other", differences=["seed: 1 → 2"]), ValueError, {"differences": ("seed: 1 → 2",)}),
    (OutputError("full", path="out"), OSError, {"path": "out"}),
    (HubError("refused", repo_id="org/mix"), OSError, {"repo_id": "org/mix"}),
    (MissingExtraError("no ray", package="ray", extra="ray"), ImportError, {"package": "ray", "extra": "ray"}),
]


def test_every_error_class_is_covered() -> None:
    classes = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, MixError)}
    assert {type(error) for error, _, _ in CASES} == classes - {MixError}


@pytest.mark.parametrize(("error", "base", "attributes"), CASES)
def test_error_has_its_attributes_and_base(error: MixError, base: type[Exception], attributes: dict[str, Any]) -> None:
    assert isinstance(error, base)
    assert {name: getattr(error, name) for name in attributes} == attributes


@pytest.mark.parametrize(("error", "base", "attributes"), CASES)
def test_error_survives_pickling(error: MixError, base: type[Exception], attributes: dict[str, Any]) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert isinstance(copy, base)
    assert str(copy) == str(error)
    assert {name: getattr(copy, name) for name in attributes} == attributes


def test_recipe_error_lists_its_problems() -> None:
    assert str(RecipeError("a.yaml", ["one"])) == "a.yaml: one"
    assert str(RecipeError("a.yaml", ["one", "two"])) == "2 problems\n  a.yaml: one\n  a.yaml: two"
