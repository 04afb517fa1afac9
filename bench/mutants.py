"""Change one line of the package at a time, and check that a test notices.

    python bench/mutants.py              # every mutant of bench/mutants/*.yaml
    python bench/mutants.py NAME …       # these alone
    python bench/mutants.py --list       # names and files
    python bench/mutants.py --check      # only check that each mutant still fits its file and tests

Each mutant is applied to a copy of the checkout, never to the checkout. Its tests run there. A mutant is killed when a
test fails or crashes. Exit code 1 if one survives, if the text that it replaces is not there exactly once, or if its
tests fail without it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    *("smollm3_mix", "smollm3_mix.py", "configs", "tests", "docs", "examples", "bench", "pyproject.toml"),
    *("README.md", "dataset_card.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"),
)
SECONDS = 300
"""Limit of one mutant's tests. A mutant that runs into it counts as killed."""


@dataclass(frozen=True)
class Mutant:
    """A change of one place in one file.

    Attributes:
        name: unique, lower-case with hyphens.
        file: path of the changed file, relative to the checkout.
        old: text to replace; occurs exactly once in the file.
        new: text to put there.
        tests: arguments of pytest that should notice.
        equivalent: why no test can notice. Such a mutant is listed and not run.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    equivalent: str = ""


def mutants() -> list[Mutant]:
    """Read all mutants, in the order of the files."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "bench" / "mutants").glob("*.yaml"))]
    found = [Mutant(**{**each, "tests": tuple(each["tests"])}) for text in texts for each in yaml.safe_load(text)]
    names = [mutant.name for mutant in found]
    if len(names) != len(set(names)):
        raise ValueError(f"mutant names occur twice: {sorted({n for n in names if names.count(n) > 1})}")
    return found


def misfits(chosen: Sequence[Mutant]) -> list[str]:
    """Return a sentence for every mutant whose file, old text or tests are not there."""
    found = []
    for mutant in chosen:
        path = ROOT / mutant.file
        count = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
        if count != 1 or mutant.old == mutant.new:
            found.append(f"{mutant.name}: {mutant.file} has its old text {count} times, once was expected")
        for test in mutant.tests:
            file, _, name = test.partition("::")
            text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
            if not text or (name and f"def {name.partition('[')[0].rpartition('::')[2]}(" not in text):
                found.append(f"{mutant.name}: there is no test {test}")
    return found


def copy_checkout(folder: Path) -> Path:
    """Copy what the tests need into a folder."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copy2(source, folder / name)
    return folder


def run_tests(folder: Path, tests: Sequence[str]) -> tuple[int | None, str]:
    """Run tests in a copy. Return pytest's exit code, None after the time limit, and the end of its output."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-q",
               *tests]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return None, f"not finished after {SECONDS} s"
    return done.returncode, done.stdout[-2000:] + done.stderr[-500:]


def compile_kernels(folder: Path) -> None:
    """Compile the kernels of a copy again."""
    command = [sys.executable, str(next((folder / "smollm3_mix").rglob("compile_kernels.py")))]
    subprocess.run(command, check=True, capture_output=True)


def run_mutant(mutant: Mutant, folder: Path) -> tuple[str, str]:
    """Apply a mutant to a copy, run its tests and undo it. Return the result and the output."""
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    compiled = path.suffix in {".c", ".h"}
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        if compiled:
            compile_kernels(folder)
        code, output = run_tests(folder, mutant.tests)
    finally:
        path.write_text(text, encoding="utf-8")
        if compiled:
            compile_kernels(folder)
    if code in {1, None} or code < 0:  # a signal
        return "killed", output
    return ("SURVIVED" if code == 0 else "INVALID"), output


def run_all(chosen: Sequence[Mutant], jobs: int) -> dict[str, str]:
    """Run mutants in `jobs` copies at a time, print each result, and return the results by name."""
    results: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(jobs) as pool:
        copies = [copy_checkout(Path(temporary, str(number))) for number in range(jobs)]
        free = list(copies)

        def one(mutant: Mutant) -> tuple[str, str, float]:
            folder, begun = free.pop(), time.monotonic()
            try:
                return *run_mutant(mutant, folder), time.monotonic() - begun
            finally:
                free.append(folder)

        for mutant, (result, output, seconds) in zip(chosen, pool.map(one, chosen), strict=True):
            results[mutant.name] = result
            print(f"{result:<9} {mutant.name} ({mutant.file}, {seconds:.0f} s)", flush=True)
            if result == "INVALID":
                print(output)
    return results


def main() -> int:
    """Exit code: 1 unless every mutant that was run is killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="mutants to run (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="copies to work in (default: 2)")
    parser.add_argument("--list", action="store_true", help="list the mutants and run none")
    parser.add_argument("--check", action="store_true", help="check that each mutant fits its file, and run none")
    arguments = parser.parse_args()
    every = mutants()
    unknown = set(arguments.names) - {mutant.name for mutant in every}
    if unknown:
        parser.error(f"no mutant named {', '.join(sorted(unknown))}; --list shows all")
    chosen = [mutant for mutant in every if not arguments.names or mutant.name in arguments.names]
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.name} ({mutant.file}){': equivalent' if mutant.equivalent else ''}")
        return 0
    wrong = misfits(chosen)
    if arguments.check or wrong:
        print("\n".join([*wrong, f"{len(chosen)} mutants, {len(wrong)} misfits"]))
        return int(bool(wrong))
    run = [mutant for mutant in chosen if not mutant.equivalent]
    tests = sorted({test for mutant in run for test in mutant.tests})
    with tempfile.TemporaryDirectory() as temporary:
        folder = copy_checkout(Path(temporary))
        for file, some in itertools.groupby(tests, lambda test: test.partition("::")[0]):
            code, output = run_tests(folder, list(some))
            if code != 0:
                print(f"{file} does not pass without a mutant:\n{output}")
                return 1
    results = run_all(run, arguments.jobs)
    killed = sum(result == "killed" for result in results.values())
    for mutant in chosen:
        if mutant.equivalent:
            print(f"equivalent {mutant.name}: {mutant.equivalent}")
    print(f"{killed} of {len(run)} mutants killed, {len(chosen) - len(run)} equivalent")
    return int(killed < len(run))


if __name__ == "__main__":
    raise SystemExit(main())
