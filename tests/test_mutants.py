"""The list of mutants fits the code: each changes a text that is there once, and names tests that exist."""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    """Return the module bench/mutants.py."""
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "bench" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def test_every_mutant_fits_its_file_and_its_tests(mutants: ModuleType) -> None:
    every = mutants.mutants()
    assert mutants.misfits(every) == []
    assert len(every) > 60


def test_a_mutant_that_fits_no_more_is_named(mutants: ModuleType) -> None:
    first = mutants.mutants()[0]
    lost = dataclasses.replace(first, old="no such text", tests=("tests/test_mutants.py::test_gone",))
    wrong = mutants.misfits([lost])
    assert wrong == [
        f"{first.name}: {first.file} has its old text 0 times, once was expected",
        f"{first.name}: there is no test tests/test_mutants.py::test_gone",
    ]
