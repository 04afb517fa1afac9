"""Make docs/api.md from signatures and docstrings: `python tests/api_page.py`."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import smollm3_mix
from smollm3_mix.cli.parser import build_parser

PUBLIC_BASES = {"BuilderBase": "GeneratorBasedBuilder"}
"""Bases that the page shows in place of private classes."""

PAGE = Path(__file__).parents[1] / "docs" / "api.md"

INTRODUCTION = """\
# The public API

<!-- Made by `python tests/api_page.py` from signatures and docstrings. Edit those, then run it again. -->

Everything on this page can be imported from `smollm3_mix`. Everything else is private and may change in any release.
Importing `smollm3_mix` loads the standard library only: a name loads what it needs when it is used. A name whose extra
is not installed raises `MissingExtraError` when it is used, with the command that installs it.

Also public and stable: recipe keys, record columns, the files of a written mix (`recipe.yaml`, `stats.json`, `data/`),
exit codes, and the order of records of a recipe. The content of a state is private, but `load_state_dict` accepts the
states of the same release.

The same name means the same thing in every function, in recipes and on the command line. Every function that opens a
mix takes the [mix options](#mix-options). `None` means "the recipe's value" or "no limit".
"""

GROUPS = {
    "Open and stream": ("open_mix", "Mix", "Limits", "Stream", "merge_states", "RECORD_SCHEMA"),
    "Mix options": ("MixOptions", "RecipeLike", "Split", "Count", "ByteSize", "Token"),
    "Load with `datasets`": ("load", "SmolLM3Mix", "SmolLM3MixConfig"),
    "Train": ("MixLoader",),
    "Packed tokens": ("open_packed", "PackedMix", "WindowStream", "cu_seqlens"),
    "Write and verify": ("write", "Progress", "finish", "open_written", "WrittenMix", "verify", "VerificationReport"),
    "The Hugging Face Hub": ("push_to_hub", "push_recipes_to_hub", "HubTarget"),
    "Plan": ("plan", "MixPlan", "PlanRow", "calibrate", "Calibration", "TokenRatio"),
    "Recipes": (
        *("list_recipes", "load_recipe", "check_recipe", "Recipe", "Curriculum", "Stage", "Source", "Kind", "Block"),
        *("Holdout", "TokenCounting", "Cleaning", "FilterOptions", "GopherQuality", "GopherRepetition", "C4"),
        *("FineWeb", "Code", "Dedup", "Near", "IndexRef", "Exclude", "Decontaminate"),
    ),
    "Dedup index": ("build_index", "IndexBuild", "IndexCounts", "IndexProgress"),
    "Statistics": ("MixStats", "SourceStats"),
    "Executors and upload targets": ("Executor", "RayExecutor", "UploadTarget"),
    "The interface of merge_datasets": ("DatasetMerger",),
    "Errors": (
        *("MixError", "RecipeError", "SourceError", "UnreadableSourcesError", "SourceExhaustedError", "StateError"),
        *("OutputError", "HubError", "MissingExtraError"),
    ),
}
"""Headings of the page, each with its names."""

COMMANDS = {
    "plan": "plan",
    "calibrate": "calibrate",
    "take": "open_mix",
    "write": "write",
    "finish": "finish",
    "verify": "verify",
    "index": "build_index",
    "push": "push_to_hub",
    "push-recipes": "push_recipes_to_hub",
    "recipes": "list_recipes",
    "merge": "DatasetMerger",
}
"""Commands, each with its function."""

WIDTH = 110
"""Longest line of a signature."""


def page() -> str:
    """Return the content of docs/api.md."""
    parts = [INTRODUCTION]
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}\n")
        parts += [entry(name) for name in names if name in smollm3_mix.__all__]
    parts += ["## Command line\n", command_table()]
    return "\n".join(parts)


def entry(name: str) -> str:
    """Return the part of the page on one public name."""
    value = getattr(smollm3_mix, name)
    if inspect.isclass(value) and not is_typed_dict(value):
        return "\n".join([f"### {name}\n", class_block(name, value), rendered(value.__doc__)])
    if inspect.isclass(value):
        fields = "\n".join(f"    {field}: {kind}" for field, kind in annotations(value))
        return "\n".join([f"### {name}\n", f"```python\nclass {name}(TypedDict, total=False):\n{fields}\n```\n"])
    if inspect.isfunction(value):
        return "\n".join([f"### {name}\n", f"```python\n{signatures(value)}\n```\n", rendered(value.__doc__)])
    return f"### {name}\n\n```python\n{alias(name)}\n```\n\n{alias_text(name)}\n"


def is_typed_dict(value: type) -> bool:
    """Return True if a class is a TypedDict."""
    return issubclass(value, dict) and hasattr(value, "__total__")


def node_of(value: Any) -> ast.FunctionDef | ast.ClassDef:
    """Return the syntax tree of a function or class."""
    node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return node


def annotations(value: type) -> Iterator[tuple[str, str]]:
    """Yield the annotated names of a class body, as they are written there."""
    for statement in node_of(value).body:
        if isinstance(statement, ast.AnnAssign) and not ast.unparse(statement.target).startswith("_"):
            yield ast.unparse(statement.target), ast.unparse(statement.annotation)


def signatures(function: Any) -> str:
    """Return the signature of a function, or of each of its overloads."""
    tree = ast.parse(Path(inspect.getfile(function)).read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function.__name__]
    overloads = [node for node in nodes if any("overload" in ast.unparse(mark) for mark in node.decorator_list)]
    return "\n".join(signature(node) for node in overloads or nodes[-1:])


def signature(node: ast.FunctionDef, indent: str = "") -> str:
    """Return a function's signature in lines of at most `WIDTH` characters."""
    arguments = [text for text in shown_arguments(node) if text != "**_unknown: NoReturn"]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    line = f"{indent}def {node.name}({', '.join(arguments)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{indent}def {node.name}(", *filled(arguments, f"{indent}    "), f"{indent}){returns}"])


def filled(arguments: list[str], indent: str) -> list[str]:
    """Return lines of at most `WIDTH` characters that hold the arguments, each argument in one line."""
    lines = [indent]
    for argument in arguments:
        if len(lines[-1]) + len(argument) + 1 > WIDTH and lines[-1] != indent:
            lines.append(indent)
        lines[-1] += f"{argument}, " if lines[-1] == indent or lines[-1].endswith(" ") else f" {argument}, "
    return [line.rstrip() for line in lines]


def shown_arguments(node: ast.FunctionDef) -> list[str]:
    """Return the arguments of a function as they are written, without `self`."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    pairs = list(zip(positional, [*defaults, *given.defaults], strict=True))
    shown = [with_default(argument, default) for argument, default in pairs if argument.arg not in ("self", "cls")]
    if given.vararg is not None:
        shown.append(f"*{ast.unparse(given.vararg)}")
    elif given.kwonlyargs:
        shown.append("*")
    shown += [with_default(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg is not None:
        shown.append(f"**{ast.unparse(given.kwarg)}")
    return shown


def with_default(argument: ast.arg, default: ast.expr | None) -> str:
    """Return an argument with its annotation and default."""
    text = ast.unparse(argument)
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if argument.annotation else f"{text}={ast.unparse(default)}"


def class_block(name: str, value: type) -> str:
    """Return a code block with the public attributes and methods of a class."""
    node = node_of(value)
    assert isinstance(node, ast.ClassDef)
    bases = [PUBLIC_BASES.get(base, base) for base in (ast.unparse(each).rpartition(".")[2] for each in node.bases)]
    lines = [f"class {name}({', '.join(bases)}):" if bases else f"class {name}:"]
    if dataclasses.is_dataclass(value) and "_" not in name[:1]:
        lines += [f"    {ast.unparse(statement)}" for statement in node.body if is_public_field(statement)]
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and is_public_method(statement, value):
            lines += method_lines(statement)
    return "```python\n" + "\n".join(lines) + "\n```\n"


def is_public_field(statement: ast.stmt) -> bool:
    """Return True if a statement of a class body declares a public field."""
    return isinstance(statement, ast.AnnAssign) and not ast.unparse(statement.target).startswith("_")


def is_public_method(node: ast.FunctionDef, owner: type) -> bool:
    """Return True if a method is for users: not private, and of the special methods only those of use."""
    special = {"__iter__", "__len__", "__add__", "__enter__"}
    if node.name == "__init__":
        return not dataclasses.is_dataclass(owner)
    return node.name in special or not node.name.startswith("_")


def method_lines(node: ast.FunctionDef) -> list[str]:
    """Return the signature of a method or the type of a property, with the first line of its docstring."""
    marks = [ast.unparse(mark) for mark in node.decorator_list]
    text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    about = [f'        """{text}"""'] if text else []
    if "property" in marks or "cached_property" in " ".join(marks):
        returns = ast.unparse(node.returns) if node.returns is not None else "Any"
        return [f"    {node.name}: {returns}", *(f"        # {line}" for line in textwrap.wrap(text, WIDTH - 10))]
    shown = [f"    @{mark}" for mark in marks if mark in ("classmethod", "staticmethod")]
    return [*shown, *signature(node, "    ").split("\n"), *about]


def rendered(docstring: str | None) -> str:
    """Return a Google-style docstring as Markdown."""
    text = inspect.cleandoc(docstring or "")
    out: list[str] = []
    section = ""
    for paragraph in re.split(r"\n\n(?=\S)", text):
        head, _, rest = paragraph.partition("\n")
        if re.fullmatch(r"(Args|Attributes|Returns|Yields|Raises|Example|Examples):", head):
            section = head.removesuffix(":")
            out.append(section_text({"Args": "Arguments"}.get(section, section), textwrap.dedent(rest)))
        else:
            out.append(paragraph + "\n")
    return "\n".join(out)


def section_text(heading: str, body: str) -> str:
    """Return one section of a docstring: a list of its items, or its text."""
    if heading.startswith("Example"):
        return f"**{heading}**\n\n```python\n{body.strip()}\n```\n"
    items = re.split(r"\n(?=\S)", body.strip())
    if all(re.match(r"[\w.*, ]+: ", item) for item in items):
        joined = [re.sub(r"\s*\n\s*", " ", item) for item in items]
        listed = "\n".join(re.sub(r"^([\w.*, ]+): ", r"- `\1`: ", item) for item in joined)
        return f"**{heading}**\n\n{listed}\n"
    return f"**{heading}**\n\n{body.strip()}\n"


def alias_source(name: str) -> tuple[str, str]:
    """Return the assignment of a module-level name, and the docstring after it."""
    module = smollm3_mix._HOMES[name].replace(".", "/")
    path = Path(smollm3_mix.__file__).parent / f"{module}.py"
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for position, statement in enumerate(body):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            following = body[position + 1] if position + 1 < len(body) else None
            text = following.value.value if is_text(following) else ""
            return ast.unparse(statement), inspect.cleandoc(text)
    raise LookupError(name)


def is_text(statement: ast.stmt | None) -> Any:
    """Return True if a statement is a docstring."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def alias(name: str) -> str:
    """Return the assignment of a module-level name."""
    return alias_source(name)[0]


def alias_text(name: str) -> str:
    """Return the docstring of a module-level name."""
    return alias_source(name)[1]


def command_flags() -> dict[str, list[str]]:
    """Return the arguments of every command, as they are typed."""
    subparsers = next(action for action in build_parser()._actions if hasattr(action, "choices") and action.choices)
    assert isinstance(subparsers.choices, dict)
    return {
        command: [
            max(action.option_strings, key=len) if action.option_strings else str(action.metavar or action.dest)
            for action in parser._actions
            if "--help" not in action.option_strings
        ]
        for command, parser in subparsers.choices.items()
    }


def command_table() -> str:
    """Return the table of commands, their functions and their flags."""
    rows = ["| command | function | arguments |", "|---|---|---|"]
    for command, flags in command_flags().items():
        shown = ", ".join(f"`{flag}`" for flag in flags)
        rows.append(f"| `{command}` | `{COMMANDS[command]}` | {shown} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
