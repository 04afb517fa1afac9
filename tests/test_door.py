"""The root package: its public names, and what importing it costs."""

import re
from pathlib import Path

import pytest
from doors import ROOT, run

import smollm3_mix
import smollm3_mix.version

HEAVY = ["datasets", "pandas", "torch", "pyarrow", "numpy", "yaml", "huggingface_hub", "fsspec"]


def test_import_loads_only_the_standard_library(tmp_path: Path) -> None:
    code = "import sys, smollm3_mix\nprint(json.dumps([name for name in heavy if name in sys.modules]))"
    assert run(code, tmp_path, heavy=HEAVY) == []


def test_import_of_errors_loads_only_the_standard_library(tmp_path: Path) -> None:
    code = "import sys\nfrom smollm3_mix import StateError\nprint(json.dumps([n for n in heavy if n in sys.modules]))"
    assert run(code, tmp_path, heavy=HEAVY) == []


def test_every_public_name_exists_and_is_listed_in_order() -> None:
    names = smollm3_mix.__all__
    assert sorted(smollm3_mix._HOMES) == sorted(set(names) - {"__version__"})
    # ruff's order: CONSTANTS, Classes, the rest
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in names:
        assert getattr(smollm3_mix, name) is not None
    assert set(names) <= set(dir(smollm3_mix))


def test_unknown_name_raises_with_the_nearest_name() -> None:
    with pytest.raises(AttributeError, match=r"^module 'smollm3_mix' has no attribute 'lode'\. Did you mean 'load'\?$"):
        smollm3_mix.lode  # noqa: B018


def test_submodules_keep_their_names() -> None:
    from smollm3_mix.compat import register

    assert register.EXTENSION == ".smollm3_mix"


def test_version_is_that_of_the_project() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    assert found[1] == smollm3_mix.version.__version__
