"""The front door: the names it has, and what importing it costs."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from doors import ROOT, run

import smollm3_mix
import smollm3_mix.version
from smollm3_mix.errors import MissingExtraError

HEAVY = ["datasets", "pandas", "torch", "pyarrow", "numpy", "yaml", "huggingface_hub", "fsspec"]


def test_importing_it_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, smollm3_mix\nprint(json.dumps([name for name in heavy if name in sys.modules]))"
    assert run(code, tmp_path, heavy=HEAVY) == []


def test_importing_the_errors_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys\nfrom smollm3_mix import StateError\nprint(json.dumps([n for n in heavy if n in sys.modules]))"
    assert run(code, tmp_path, heavy=HEAVY) == []


def test_every_name_is_there_and_listed_in_order() -> None:
    names = smollm3_mix.__all__
    assert sorted(smollm3_mix._HOMES) == sorted(set(names) - {"__version__"})
    # ruff's order: CONSTANTS, Classes, the rest
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in names:
        if smollm3_mix._HOMES.get(name, "").startswith("torch_loader") and find_spec("torch") is None:
            with pytest.raises(
                MissingExtraError, match=re.escape('needs torch. Type: pip install "smollm3_mix[torch]"')
            ):
                getattr(smollm3_mix, name)
        else:
            assert getattr(smollm3_mix, name) is not None
    assert set(names) <= set(dir(smollm3_mix))


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(
        AttributeError, match=r"'smollm3_mix' has no attribute 'lode'; it has RECORD_SCHEMA, .*, open_mix"
    ):
        smollm3_mix.lode  # noqa: B018


def test_submodules_keep_their_names() -> None:
    from smollm3_mix.compat import register

    assert register.EXTENSION == ".smollm3_mix"


def test_the_version_is_the_projects() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    assert found[1] == smollm3_mix.version.__version__
