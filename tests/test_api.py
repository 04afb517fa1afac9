"""The public API: its names, its page, its types, and the command line."""

import ast
import inspect
import re
from pathlib import Path

import api_page
import pytest
from doors import run

import smollm3_mix
from smollm3_mix.mix.options import OPTION_NAMES

COMMAND_ONLY = {
    "take": {"quiet"},
    "calibrate": {"output"},
    "write": {"push_to", "address", "config_name", "revision", "private", "allow_public", "replace"},
    "index": {"address"},
    "push": set(),
    "push-recipes": {"all"},
    "recipes": {"check"},
    "merge": {"config", "hub_repo", "english_only", "vietnamese_only", "no_save_local", "push_to_hub", "use_weights"}
    | {"max_samples", "seed", "output_dir", "private"},
}
"""Flags that are not keyword arguments of the command's function: they choose between functions, print, or save."""

MISSING = """
import sys
sys.modules.update(dict.fromkeys(blocked))  # as if they were not installed
"""
EXTRAS = ["torch", "tokenizers", "tiktoken", "ray", "ftfy"]


def test_page_is_generated_from_the_code() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page(), "run: python tests/api_page.py"


def test_page_has_every_public_name_once() -> None:
    names = [name for group in api_page.GROUPS.values() for name in group]
    assert sorted(names) == sorted(set(smollm3_mix.__all__) - {"__version__"})


def test_every_command_has_its_function_and_every_flag_its_argument() -> None:
    commands = api_page.command_flags()
    assert commands.keys() == api_page.COMMANDS.keys()
    assert set(api_page.COMMANDS.values()) <= set(smollm3_mix.__all__)
    for command, flags in commands.items():
        function = getattr(smollm3_mix, api_page.COMMANDS[command])
        arguments = {*inspect.signature(function).parameters, *OPTION_NAMES}
        names = {flag.removeprefix("--").replace("-", "_").lower() for flag in flags if flag.startswith("--")}
        assert names - arguments == COMMAND_ONLY.get(command, set()) - arguments, command


@pytest.mark.parametrize("name", ["open_mix", "load", "write", "plan", "calibrate", "open_packed"])
def test_function_that_opens_a_mix_takes_every_mix_option(name: str) -> None:
    function = getattr(smollm3_mix, name)
    annotation = inspect.signature(function).parameters.get("options")
    if annotation is None:
        assert {*OPTION_NAMES} <= {*inspect.signature(function).parameters}
    with pytest.raises(
        TypeError, match=re.escape(f"{name}() got an unexpected keyword argument 'max_token'")
    ) as caught:
        function("demo", *(["out"] if name == "write" else []), max_token=5)
    assert "Did you mean 'max_tokens'?" in str(caught.value)


def test_names_work_without_the_extras(tmp_path: Path) -> None:
    code = (
        MISSING
        + """
from smollm3_mix import *
import pydoc, smollm3_mix
text = pydoc.render_doc(smollm3_mix)
print(json.dumps([all(hasattr(smollm3_mix, name) for name in smollm3_mix.__all__), "MixLoader" in text,
                  sorted(set(smollm3_mix.__all__) - set(dir(smollm3_mix)))]))
"""
    )
    assert run(code, tmp_path, blocked=EXTRAS) == [True, True, []]


def test_missing_extras_are_named_when_they_are_used(tmp_path: Path) -> None:
    code = (
        MISSING
        + """
import smollm3_mix
found = []
for use in (lambda: smollm3_mix.MixLoader("demo", 8, format="torch"), lambda: smollm3_mix.RayExecutor()):
    try:
        use()
    except smollm3_mix.MissingExtraError as error:
        found.append([error.package, error.extra, str(error)])
print(json.dumps(found))
"""
    )
    torch, ray = run(code, tmp_path, blocked=["torch", "ray"])
    assert torch == [
        "torch",
        "torch",
        'MixLoader(format="torch") needs torch. Install it: pip install "smollm3_mix[torch]"',
    ]
    assert ray[:2] == ["ray", "ray"]
    assert "pip install 'smollm3_mix[ray]'" in ray[2]


def test_loader_imports_torch_for_its_own_format_only(tmp_path: Path) -> None:
    code = """
import sys, smollm3_mix
loader = smollm3_mix.MixLoader("demo", 8, format="numpy", lanes=2)
print(json.dumps([len(next(iter(loader))["text"]), "torch" in sys.modules]))
"""
    assert run(code, tmp_path) == [8, False]


def test_public_functions_have_annotations_and_docstrings() -> None:
    for name in smollm3_mix.__all__:
        value = getattr(smollm3_mix, name)
        if inspect.isfunction(value):
            node = api_page.node_of(value)
            assert isinstance(node, ast.FunctionDef)
            assert node.returns is not None, name
            assert ast.get_docstring(node), name
            arguments = [*node.args.args, *node.args.kwonlyargs]
            assert [argument.arg for argument in arguments if argument.annotation is None] == [], name
