"""README and docs: commands run, recipes read, tables are the dataclasses', messages the code's, links lead on."""

import argparse
import ast
import dataclasses
import importlib
import re
import shlex
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import document, parquet

import smollm3_mix
import smollm3_mix.errors
from smollm3_mix.cli.main import main
from smollm3_mix.cli.parser import build_parser
from smollm3_mix.errors import MissingExtraError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.model import ON_EXHAUSTED, Block, Holdout, Kind, Source
from smollm3_mix.recipe.parse_recipe import DESCRIPTIVE, TOP_KEYS
from smollm3_mix.recipe.parsing import BAD, FieldPath, default_of, read_value
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import Decontaminate, Exclude
from smollm3_mix.report import source_rows
from smollm3_mix.report.tables import shares_table
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.dedup.dedup_store import DedupStore
from smollm3_mix.text.filters import thresholds
from smollm3_mix.text.filters.filter_options import FilterOptions

ROOT = Path(__file__).parent.parent
README, SAMPLING, DESIGN = ROOT / "README.md", ROOT / "docs/weighted-sampling.md", ROOT / "docs/design.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, *languages: str) -> list[str]:
    """Fenced blocks of a page in these languages, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Arguments of every `smollm3-mix …` in the page's shell blocks and in its running text, where it has any.

    Whole scripts are passed over: test_slurm runs them.
    """
    typed = [block for block in blocks(page, "shell", "bash", "console") if not block.startswith("#!")]
    lines = [line for block in typed for line in block.splitlines()]
    lines += re.findall(r"`(smollm3-mix [a-z-]+ [^`]+)`", prose(page))
    steps = [step.strip().removeprefix("$ ") for line in lines for step in line.split("&&")]
    return [shlex.split(step, comments=True)[1:] for step in steps if step.startswith("smollm3-mix ")]


def verbs() -> dict[str, argparse.ArgumentParser]:
    adders = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(adders.choices)


def section(page: Path, heading: str) -> str:
    """The text below a heading, up to the next one of its level or a higher one."""
    level, text = heading.index(" "), page.read_text(encoding="utf-8")
    pattern = rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)"
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Cells of all rows of all tables, without headings."""
    lines = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in text.splitlines() if line.startswith("|")]
    rules = [number for number, line in enumerate(lines) if set("".join(line)) <= set("-: ")]
    heads = {number - 1 for number in rules}
    return [[c.strip() for c in line] for n, line in enumerate(lines) if n not in heads and n not in rules]


# ---- commands


@pages
def test_commands_can_be_typed(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [found for arguments in commands(page) if (found := refusal(arguments, capsys))] == []


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """Return the error of the command line for these arguments, or None."""
    try:
        build_parser().parse_args(arguments)
    except SystemExit as stop:
        return f"{arguments}: {capsys.readouterr().err}" if stop.code else None
    return None


def test_every_verb_has_help_and_stands_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    named = {arguments[0] for arguments in commands(README)}
    assert set(verbs()) <= named
    for verb, its in verbs().items():
        assert verb in build_parser().format_help()
        assert its.description
        unsaid = [action.dest for action in its._actions if not action.help and action.dest != "split"]
        assert unsaid == [], verb


@pages
def test_verbs_named_in_running_text_exist(page: Path) -> None:
    named = set(re.findall(r"`smollm3-mix ([a-z][a-z-]*)", page.read_text(encoding="utf-8")))
    assert named <= set(verbs())


def outputs(page: Path) -> dict[str, str]:
    """Return the output that the page shows for each command."""
    return dict(re.findall(r"<!-- output of: (.*?) -->\n```text\n(.*?)```", page.read_text("utf-8"), re.DOTALL))


def test_the_page_on_sampling_can_be_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(blocks(SAMPLING, "yaml")[0], encoding="utf-8")
    printed = {}
    for arguments in commands(SAMPLING):
        if "mine.yaml" in arguments or "my-mix" in arguments:
            assert main(arguments) == 0, arguments
            printed[shlex.join(["smollm3-mix", *arguments])] = capsys.readouterr().out
    assert len(outputs(SAMPLING)) == 1
    for command, output in outputs(SAMPLING).items():
        assert untimed(printed[command]) == untimed(output)
    for block in blocks(SAMPLING, "python"):
        exec(compile(block, SAMPLING.name, "exec"), {})


def untimed(output: str) -> str:
    return re.sub(r"in [0-9.]+ s\.", "in 1.0 s.", output)


def test_the_readme_shows_the_demo_s_columns_sources_and_shares() -> None:
    ((command, shown),) = outputs(README).items()
    assert shlex.split(command)[:3] == ["smollm3-mix", "write", "demo"]
    demo = load_recipe("demo")
    # Other numbers change with the version of Python, whose texts the demo mixes.
    empty = shares_table(source_rows.source_rows(demo, MixStats.empty(demo.shares)), demo.weigh_by)
    head, _, *body = (re.split(r"  +", line) for line in shown.strip().splitlines())
    assert head == empty[0]
    assert [row[:2] for row in body[: len(demo.shares)]] == [row[:2] for row in empty[1:-1]]
    assert body[len(demo.shares)][0] == "total"
    assert re.search(
        r"^Wrote [0-9,]+ records \([0-9,]+ tokens\) and [0-9,]+ validation records to ", shown, re.MULTILINE
    )


# ---- Python and recipes


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "api.md"], ids=lambda page: page.name)
def test_python_compiles_and_names_what_exists(page: Path) -> None:
    """The API reference has signatures without bodies. test_api compares it with the code."""
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "smollm3_mix":
                assert node.attr in smollm3_mix.__all__
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("smollm3_mix"):
                try:
                    module = importlib.import_module(str(node.module))
                except MissingExtraError:  # its names are looked for where CI has every extra
                    continue
                assert all(hasattr(module, alias.name) for alias in node.names)


@pages
def test_recipes_can_be_read(page: Path, tmp_path: Path) -> None:
    (tmp_path / "takedowns.txt").write_text("an id")  # what recipes of these pages name
    for number, block in enumerate(blocks(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block, encoding="utf-8")
        assert load_recipe(file).sources


# ---- the tables of keys

TOP = {
    "": Recipe,
    "block": Block,
    "dedup": Dedup,
    "dedup.near": Near,
    "holdout": Holdout,
    "exclude": Exclude,
    "decontaminate": Decontaminate,
}
NOT_IN_FILES = {"sources", "file", "folder", "ignored"}
TABLES: dict[str, dict[str, type]] = {
    "### The top of a file": TOP,
    "### A source": {"": Source, "kind": Kind},
    "### `clean`": {"": Cleaning},
    "### `filters`": {"": FilterOptions},
}


def fields(of: dict[str, type]) -> dict[str, tuple[Any, Any]]:
    """Dotted key → type and default, of every field; a dataclass that has rows of its own is no field."""
    found = {}
    for prefix, cls in of.items():
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            key = f"{prefix}.{field.name}" if prefix else field.name
            inside = key in of and not isinstance(None, hints[field.name])
            if field.name not in NOT_IN_FILES and not inside:
                found[key] = hints[field.name], default_of(field)
    return found


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_stands_in_its_table_with_its_default(heading: str) -> None:
    table = rows(section(SAMPLING, heading))
    written = {row[0].strip("`"): row[1].strip("`") for row in table if len(row) == 3}
    expected = fields(TABLES[heading])
    extra = {"datasets", "clean", "filters"} if heading == "### The top of a file" else set[str]()
    assert set(written) == set(expected) | extra
    words = {"by kind", "name[/config]", ""}  # defaults that no YAML value expresses
    for key, (hint, default) in expected.items():
        if written[key] not in words:
            problems: list[str] = []
            assert read_value(hint, yaml.safe_load(written[key]), FieldPath(keys=key), problems) == default, (
                key,
                problems,
            )
        else:
            assert default is BAD or key in ("id", "clean"), key


def test_the_top_has_no_key_that_the_reader_does_not_know() -> None:
    keys = {row[0].strip("`").split(".")[0] for row in rows(section(SAMPLING, "### The top of a file"))}
    assert keys == set(TOP_KEYS)


def thresholds_by_group() -> dict[str, type]:
    """Group of `filters` → its dataclass."""
    hints = typing.get_type_hints(FilterOptions)
    classes = {cls for _, cls in vars(thresholds).items() if dataclasses.is_dataclass(cls)}
    return {
        name: next(arg for arg in typing.get_args(hint) if arg in classes)
        for name, hint in hints.items()
        if isinstance(hint, types.UnionType) and classes & set(typing.get_args(hint))
    }


def test_every_threshold_stands_in_its_group_with_its_value() -> None:
    groups = thresholds_by_group()
    written = {row[0].strip("`"): row[1] for row in rows(section(SAMPLING, "### `filters`")) if len(row) == 2}
    assert set(written) == set(groups)
    for name, cls in groups.items():
        values = {
            key: yaml.safe_load(value)
            for key, value in (pair.split(": ") for pair in re.findall(r"`([^`]+)`", written[name]))
        }
        assert values == {field.name: field.default for field in dataclasses.fields(cls)}


def test_other_lists_of_words_are_the_code_s() -> None:
    text = SAMPLING.read_text(encoding="utf-8")
    accepted = re.search(r"Accepted and ignored, .*?: (.*?)\n\n", text, re.DOTALL)
    assert accepted
    assert set(re.findall(r"`(\w+)`", accepted[1])) == set(DESCRIPTIVE)
    policies = [row[0].strip("`") for row in rows(section(SAMPLING, "## When a source runs out"))]
    assert policies == list(ON_EXHAUSTED)


def test_the_documents_that_memory_holds_are_counted_right() -> None:
    written = re.findall(r"[0-9,]{9,}", section(SAMPLING, "## Cleaning, filters, dedup"))
    counted = [DedupStore(dedup, dedup.memory).capacity for dedup in (Dedup(), Dedup(near=Near()))]
    assert written == [f"{count:,}" for count in counted]


# ---- messages


def templates() -> list[re.Pattern[str]]:
    """A pattern for each line of each string in the package, anything standing for what is filled in."""
    found = []
    for path in sorted((ROOT / "smollm3_mix").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node] if isinstance(node, ast.Constant) else []
            texts = [part.value if isinstance(part, ast.Constant) else "{}" for part in parts]
            for line in "".join(text for text in texts if isinstance(text, str)).split("\n"):
                fixed = [re.escape(piece) for piece in re.split(r"\{[^{} ]*\}|%s", line)]
                if sum(map(len, fixed)) >= 20:
                    found.append(re.compile(".*?".join(fixed)))
    return found


def messages(page: Path) -> list[str]:
    """Blocks that quote a message: those of the sections on what can go wrong."""
    text = "".join(section(page, heading) for heading in ("## When a source runs out", "## Troubleshooting"))
    return [masked(block) for block in re.findall(r"^```text\n(.*?)\n```", text, re.MULTILINE | re.DOTALL)]


def masked(message: str) -> str:
    """The message without what changes with the version of pyarrow: fingerprints of recipes with pinned local files."""
    return re.sub(r"\bmine [0-9a-f]{7}\b", "mine 0000000", message)


def test_quoted_messages_are_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = {name: masked(str(message)) for name, message in provoked(tmp_path)}
    quoted = messages(SAMPLING)
    assert {name: message for name, message in written.items() if message not in quoted} == {}
    known = templates()
    assert not any(pattern.search("a sentence that is nowhere in the code") for pattern in known)
    for message in quoted:
        if message not in written.values():  # from the Hub or from two processes: compare only with strings of the code
            for line in message.splitlines():
                assert any(pattern.search(line) for pattern in known), line


def provoked(folder: Path) -> Iterator[tuple[str, BaseException]]:
    """Name and error of each situation that can be had here."""
    parquet(folder / "web", [document("web", n) for n in range(1000)])
    parquet(folder / "code", [document("code", n) for n in range(300)])
    parquet(folder / "tiny", [document("tiny", n) for n in range(3)], files=1)
    (folder / "full").mkdir()
    (folder / "full" / "notes.txt").touch()
    web, code = {"name": "web", "weight": 0.8, "max_passes": 2}, {"name": "code", "weight": 0.2}
    tiny = {"name": "tiny", "weight": 0.1}

    def mine(*sources: dict[str, Any], **top: Any) -> str:
        text = yaml.safe_dump({"lanes": 1, **top, "datasets": list(sources)}, sort_keys=False)
        (folder / "mine.yaml").write_text(text, encoding="utf-8")
        return "mine.yaml"

    def drain(recipe: str, **limits: int) -> None:
        for _ in open_mix(recipe, **limits).stream():  # type: ignore[arg-type]
            pass

    def other_state() -> None:
        state = open_mix(mine(web, code)).stream().state_dict()
        open_mix(mine(web, code | {"weight": 0.25})).stream().load_state_dict(state)

    def other_mix() -> None:
        write(mine(web, code), "my-mix", max_tokens=10_000)
        write("mine.yaml", "my-mix", max_tokens=20_000)

    situations: dict[str, Callable[[], Any]] = {
        "a source ends before a limit": lambda: drain(mine(web, code), max_tokens=200_000),
        "a source ends without a limit": lambda: drain(mine(web, code)),
        "a key is misspelt": lambda: load_recipe(mine(web, {"name": "code", "wieght": 0.2})),
        "an id comes twice": lambda: load_recipe(mine({"name": "web", "weight": 0.8}, web)),
        "there is no such recipe": lambda: load_recipe("stage4"),
        "there is no such column": lambda: open_mix(mine(web, code | {"text_field": "texts"})),
        "rows are fewer than lanes": lambda: drain(mine(web, tiny, lanes=8), max_tokens=40_000),
        "nothing is kept": lambda: drain(mine(web, code | {"filters": {"min_chars": 5000}}), max_tokens=40_000),
        "memory is full": lambda: drain(mine(web, code, dedup={"memory": "8KiB"}), max_tokens=40_000),
        "a state is another recipe's": other_state,
        "the folder holds something else": lambda: write(mine(web, code), "full", max_tokens=1000),
        "the folder holds another mix": other_mix,
        "nothing is held out": lambda: open_mix(mine(web, code), split="validation"),
    }
    for name, situation in situations.items():
        with pytest.raises((smollm3_mix.MixError, ValueError)) as error:
            situation()
        yield name, error.value


# ---- words and links


def test_terms_of_the_design_exist_in_the_code() -> None:
    nouns = rows(section(DESIGN, "## Terms"))
    assert len(nouns) > 20
    for noun, _, place in nouns:
        assert exists(place.strip("`")), noun


def exists(dotted: str) -> bool:
    """Whether a dotted name can be had: modules first, then attributes."""
    module, *names = dotted.split(".")
    thing: Any = importlib.import_module(module)
    for name in names:
        module = f"{module}.{name}"
        if not hasattr(thing, name):
            try:
                thing = importlib.import_module(module)
            except ImportError:
                return False
        else:
            thing = getattr(thing, name)
    return True


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not anchor or anchor in {slug(line) for line in prose(file).splitlines() if line[:1] == "#"}, target


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    pattern = r"\b((?:tests|bench|smollm3_mix|configs|docs)/[\w/.-]+\.(?:py|md|yaml))\b"
    named = re.findall(pattern, page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
