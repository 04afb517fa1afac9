"""Lower bounds of dependencies: pins for pip, and the table of the README."""

import copy
import importlib.util
import re
from types import ModuleType
from typing import Any

import pytest
from doors import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def environments() -> ModuleType:
    """The script of `.ci` as a module."""
    spec = importlib.util.spec_from_file_location("environments", ROOT / ".ci/environments.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def table(environments: ModuleType) -> dict[str, Any]:
    return copy.deepcopy(environments.project())


def lower(requirement: Requirement) -> str:
    return next(one.version for one in requirement.specifier if one.operator == ">=")


def every(table: dict[str, Any]) -> list[Requirement]:
    """All requirements of pyproject.toml on other packages."""
    package = table["project"]
    texts = [*table["build-system"]["requires"], *package["dependencies"]]
    texts += [text for extra in package["optional-dependencies"].values() for text in extra]
    parsed = [Requirement(text) for text in texts]
    return [one for one in parsed if canonicalize_name(one.name) != "smollm3-mix"]


def test_lowest_pins_every_requirement_to_its_lower_bound(environments: ModuleType, table: dict[str, Any]) -> None:
    pins = {pin.name: pin for pin in map(Requirement, environments.constraints(table).splitlines())}
    assert {canonicalize_name(one.name) for one in every(table)} == set(pins)
    for one in every(table):
        pin = pins[canonicalize_name(one.name)]
        assert [(spec.operator, spec.version) for spec in pin.specifier] == [("==", lower(one))]
        assert one.specifier.contains(lower(one)), f"{one} excludes its own lower bound"


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy==2.0", "numpy>=1,>=2", "numpy @ file:///numpy"])
def test_lowest_refuses_a_requirement_without_one_lower_bound(
    environments: ModuleType, table: dict[str, Any], requirement: str
) -> None:
    table["project"]["dependencies"] = [requirement]
    with pytest.raises(ValueError, match=re.escape(f"{requirement!r} must have one lower bound")):
        environments.lower_bounds(table)


def test_lowest_refuses_two_lower_bounds_of_one_package(environments: ModuleType, table: dict[str, Any]) -> None:
    table["project"]["optional-dependencies"]["more"] = ["Py_Arrow>=1", "py-arrow>=2"]
    with pytest.raises(ValueError, match="py-arrow has two lower bounds, 1 and 2"):
        environments.lower_bounds(table)


def test_readme_states_the_bounds_of_pyproject(table: dict[str, Any]) -> None:
    package = table["project"]
    extras = {f"`[{name}]`": texts for name, texts in package["optional-dependencies"].items()}
    expected = {"the package": package["dependencies"], **extras}
    for group in ("test", "check", "bench"):  # of interest to those who change the package
        del expected[f"`[{group}]`"]
    stated = dict(re.findall(r"^\| (the package|`\[\w+\]`) \| (.+) \|$", README, re.MULTILINE))
    assert {name: re.findall(r"`(.+?)`", cell) for name, cell in stated.items()} == {
        name: [f"{one.name}>={lower(one)}" for one in map(Requirement, texts)] for name, texts in expected.items()
    }
    assert f"on Python {package['requires-python'].removeprefix('>=')}:" in README


def test_other_pages_state_no_other_bounds(table: dict[str, Any]) -> None:
    bounds = {canonicalize_name(one.name): lower(one) for one in every(table)}
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "dataset_card.md", *(ROOT / "docs").glob("*.md")]
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages}
    found = [
        (page, canonicalize_name(name), version)
        for page, text in {**texts, "README.md": README}.items()
        for name, version in re.findall(r"\b([A-Za-z][\w-]*)(?:\[\w+\])?>=([\d.]+)", text)
    ]
    assert [one for one in found if bounds.get(one[1], one[2]) != one[2]] == []
    assert ("README.md", "pyarrow", bounds["pyarrow"]) in found


def test_interpreters_are_the_working_ones_oldest_first(
    environments: ModuleType, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minor, code in ((9, 0), (10, 1), (11, 0), (12, 127), (13, 0)):  # 10 and 12 do not work here
        folder = tmp_path / f"{minor}" / "bin"
        folder.mkdir(parents=True)
        (folder / f"python3.{minor}").write_text(f"#!/bin/sh\nexit {code}\n")
        (folder / f"python3.{minor}").chmod(0o755)
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / f"{minor}" / "bin") for minor in (13, 12, 9)))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    (tmp_path / "pyenv/versions").mkdir(parents=True)
    for minor in (10, 11):
        (tmp_path / f"pyenv/versions/3.{minor}.4").symlink_to(tmp_path / f"{minor}")
    assert [command.name for command in environments.interpreters(10)] == ["python3.11", "python3.13"]


def test_the_oldest_supported_python_is_that_of_pyproject(environments: ModuleType, table: dict[str, Any]) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f">=3.{environments.supported_since(text)}" == table["project"]["requires-python"]
    with pytest.raises(ValueError, match="requires-python must be"):
        environments.supported_since(text.replace("requires-python", "requires"))


def test_shown_names_python_and_every_package(environments: ModuleType) -> None:
    python, packages = environments.shown().splitlines()
    assert re.fullmatch(r"\w+ 3\.\d+\.\d+\S*", python)
    assert f"pytest=={pytest.__version__}" in packages.split()
    assert "smollm3-mix==" in packages
