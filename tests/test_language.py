"""Words that the project has retired stay away: identifiers, recipe keys, flags and phrases of prose."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THIS = Path(__file__).resolve()

IDENTIFIERS = frozenset(
    [
        "Judge",
        "judge",
        "judged",
        "Tally",
        "tally",
        "tallies",
        "Counts",
        "Debts",
        "debt",
        "debts",
        "worst_debt",
        "debt_bound",
        "Line",
        "Laid",
        "laid",
        "lay",
        "Verdict",
        "Verdicts",
        "verdict",
        "verdicts",
        "Seen",
        "SeenFile",
        "seen_file",
        "seen_dir",
        "seen_log",
        "seen_digest",
        "restore_seen",
        "LaneLike",
        "Readable",
        "Laned",
        "Foresight",
        "foresight",
        "Deal",
        "deal",
        "dealt",
        "Plan",
        "Resolved",
        "Span",
        "Fault",
        "Ahead",
        "Room",
        "Gate",
        "patiently",
        "passing",
        "Budget",
        "HubFetch",
        "fetcher",
        "Listing",
        "Dropped",
        "DropSet",
        "IndexPlace",
        "Built",
        "Excluded",
        "Barred",
        "barred",
        "Contaminants",
        "contaminants",
        "Grams",
        "Outlet",
        "outlet",
        "shipping",
        "Aside",
        "Runner",
        "Setting",
        "heard",
        "Words_",
        "Twin",
        "twin",
        "Turns",
        "turns",
        "Ring",
        "going_on",
        "go_on",
        "went_on",
        "goes_on",
        "going",
        "parked",
        "barren",
        "horizon",
        "stretched",
        "given_bytes",
        "given_tokens",
        "given_units",
        "given_shares",
        "dropped_before",
        "part_bytes",
        "public_despite",
        "with_",
        "scaled",
        "licence",
        "licences",
        "Licence",
        "Licences",
        "statements",
        "foresight",
        "shelf",
        "stranger",
        "occupant",
        "away",
        "Writing",
        "Form",
        "Built",
        "Prepared",
        "Accepted",
        "admit",
        "publish_recipe",
        "MissingExtra",
        "SourceExhausted",
        "Unreadable",
        "Packed",
        "packed_",
        "Windows",
        "listener",
        "Listener",
        "legacy",
        "meant",
        "told",
        "said",
        "faults",
        "fault",
        "runner",
    ]
)
"""Names of variables, functions, classes, attributes and arguments."""

KEYS = (
    "judge",
    "renormalise",
    "dropped_before",
    "tally.json",
    "worst_debt",
    "given_tokens",
    "given_bytes",
    "given_units",
)
"""Keys of recipes and of a written mix's files."""

FLAGS = (
    *(
        "--out",
        "--work",
        "--part-of",
        "--by-source",
        "--processes",
        "--part-bytes",
        "--legacy-script",
        "--public-despite",
    ),
    *("--engine", "--tokens"),
)
"""Flags of the command line. --tokens of `plan` is --max-tokens."""

PHRASES = (
    *(
        "cannot be meant",
        "does not go together",
        "goes on",
        "go on",
        "going on",
        "whoever",
        "nobody",
        "somebody",
        "mend",
    ),
    *("worst debt", "stretched line", "common line", "given out", "give out", "gives out", "what is given", "licence"),
    *(
        "all as it should be",
        "it lies",
        "lies in",
        "lies beside",
        "stands in",
        "stands for",
        "stands where",
        "to be had",
    ),
    *("could not be had", "tally", "foresight", "off by", "is no mix", "is none of", "old tool"),
)
"""Phrases of docstrings, comments, messages, help texts and pages, in any case."""

FIRST_WORDS = ("Nothing", "What", "Have")
"""First words of docstrings that deny or hide what a function does."""


def python_files() -> list[Path]:
    """Return the Python files of the package, its tests, benchmarks and examples, except this one."""
    folders = ("smollm3_mix", "tests", "bench", "examples")
    return [path for name in folders for path in sorted((ROOT / name).rglob("*.py")) if path.resolve() != THIS]


def pages() -> list[Path]:
    """Return the pages and recipes that a reader sees."""
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md"), *ROOT.glob("configs/*.yaml")]


def tokens(path: Path) -> Iterator[tokenize.TokenInfo]:
    """Yield the tokens of a Python file."""
    return tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)


def retired_identifiers(path: Path) -> Iterator[str]:
    """Yield `file:line: word` for every retired identifier of a file."""
    for token in tokens(path):
        if token.type == tokenize.NAME and token.string.lstrip("_") in IDENTIFIERS:
            yield f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string}"


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and text of every string and comment of a Python file, or of every line of a page."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        return
    middle = getattr(tokenize, "FSTRING_MIDDLE", -1)
    for token in tokens(path):
        if token.type in (tokenize.STRING, tokenize.COMMENT, middle):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


PROSE = re.compile(rf"\b({'|'.join(map(re.escape, PHRASES))})", re.IGNORECASE)
WRITTEN = re.compile(
    rf"(?<![\w-])({'|'.join(map(re.escape, FLAGS))})(?![\w-])|[`\"']({'|'.join(map(re.escape, KEYS))})[`\"':]"
)


def retired_prose(path: Path) -> Iterator[str]:
    """Yield `file:line: words` for every retired phrase, key or flag of a file."""
    for number, line in prose(path):
        for pattern in (PROSE, WRITTEN):
            for found in pattern.finditer(line):
                yield f"{path.relative_to(ROOT)}:{number}: {found[0]}"


def first_words(path: Path) -> Iterator[str]:
    """Yield `file:line: word` for every docstring that begins with a retired first word."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if text.split(maxsplit=1)[:1] and text.split(maxsplit=1)[0].strip(",:") in FIRST_WORDS:
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {text.split(maxsplit=1)[0]}"


KEPT_IDENTIFIERS = {
    "tests/typing/mistakes.py": {"tally"},  # a mistake that mypy must find
}
"""Identifiers that a file needs all the same."""

KEPT_PROSE = {
    "smollm3_mix/recipe/parse_recipe.py": {'"judge"'},  # suggests the new key
    "tests/test_recipe.py": {'"judge:', "'judge'"},
    "tests/golden_cases.py": {"go on"},  # text of a page
    "CHANGELOG.md": {*FLAGS, *(f"`{key}`" for key in KEYS), "tally", "licence"},  # lists old names beside the new ones
}
"""Words of prose that a file needs all the same."""


def unexpected(found: Iterator[str], kept: dict[str, set[str]]) -> list[str]:
    """Return the findings that are not among those of their file."""
    return [line for line in found if line.split(": ", 1)[1] not in kept.get(line.split(":", 1)[0], set())]


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_python_files_have_no_retired_words(path: Path) -> None:
    assert unexpected(retired_identifiers(path), KEPT_IDENTIFIERS) == []
    assert unexpected(retired_prose(path), KEPT_PROSE) == []
    assert list(first_words(path)) == []


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_have_no_retired_words(path: Path) -> None:
    assert unexpected(retired_prose(path), KEPT_PROSE) == []


def test_retired_words_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    module = tmp_path / "module.py"
    module.write_text(
        'def f(verdict):\n    """What is given.\n\n    The run goes on with --engine."""\n', encoding="utf-8"
    )
    assert list(retired_identifiers(module)) == ["module.py:1: verdict"]
    assert list(retired_prose(module)) == [
        "module.py:2: What is given",
        "module.py:4: goes on",
        "module.py:4: --engine",
    ]
    assert list(first_words(module)) == ["module.py:1: What"]
