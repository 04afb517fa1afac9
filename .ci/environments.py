"""The environments that `.ci/run` installs: constraints from pyproject.toml, and the Python versions of this machine.

    python .ci/environments.py lowest         # one `name==version` per dependency, from its `>=`
    python .ci/environments.py python oldest  # path of the oldest supported Python found here
    python .ci/environments.py python newest
    python .ci/environments.py shown          # versions of the running Python and of its packages

`lowest` needs `tomllib` of Python 3.11, or `tomli`, which pytest installs on Python 3.10. The rest needs no package.
"""

import argparse
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[\w,. -]+\])?(?P<versions>[^;]*)(?:;.*)?")


def canonical(name: str) -> str:
    """Return a package name as PEP 503 normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def project() -> dict[str, Any]:
    """Read pyproject.toml."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    return tomllib.loads(PROJECT.read_text(encoding="utf-8"))


def requirements(table: dict[str, Any]) -> list[str]:
    """Return the requirements of the build, the package and every extra, except the package itself."""
    package = table["project"]
    groups = [package["dependencies"], *package["optional-dependencies"].values()]
    every = [*table["build-system"]["requires"], *(one for group in groups for one in group)]
    return [one for one in every if not re.match(rf"{re.escape(package['name'])}\b", one)]


def lower_bounds(table: dict[str, Any]) -> dict[str, str]:
    """Return the lower bound of each requirement, by normalized name.

    Raises:
        ValueError: If a requirement has no lower bound, or two requirements of one package differ in it.
    """
    bounds: dict[str, str] = {}
    for requirement in requirements(table):
        parsed = _REQUIREMENT.fullmatch(requirement)
        lower = re.findall(r">=\s*([\w.!+]+)", parsed["versions"]) if parsed else []
        if parsed is None or len(lower) != 1:
            raise ValueError(f"pyproject.toml: {requirement!r} must have one lower bound, `name>=version`.")
        name = canonical(parsed["name"])
        if bounds.setdefault(name, lower[0]) != lower[0]:
            raise ValueError(f"pyproject.toml: {name} has two lower bounds, {bounds[name]} and {lower[0]}.")
    return bounds


def constraints(table: dict[str, Any]) -> str:
    """Return a constraints file for pip that pins each requirement to its lower bound."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(lower_bounds(table).items()))


def candidates(minor: int) -> list[Path]:
    """Return the commands named `python3.<minor>`: those on the path first, then those that pyenv installed."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders += sorted(folder / "bin" for folder in installed.glob(f"3.{minor}.*"))
    return [command for folder in folders if (command := folder / f"python3.{minor}").is_file()]


@functools.cache
def works(command: Path) -> bool:
    """Return True if the command runs and can make virtual environments.

    A shim of pyenv does not run while its version is not selected.
    """
    return subprocess.run([command, "-c", "import ensurepip, venv"], check=False, capture_output=True).returncode == 0


def interpreters(first: int) -> list[Path]:
    """Return one working CPython per minor version from 3.`first` on, oldest first."""
    found = (next(filter(works, candidates(minor)), None) for minor in range(first, 100))
    return [command for command in found if command]


def supported_since(text: str) -> int:
    """Return the minor version of the oldest supported Python 3, from the text of pyproject.toml."""
    found = re.search(r'^requires-python = ">=3\.(\d+)"$', text, re.MULTILINE)
    if not found:
        raise ValueError('pyproject.toml: requires-python must be ">=3.<minor>".')
    return int(found[1])


def shown() -> str:
    """Return the versions of this Python and of the packages it imports, on two lines."""
    packages = {canonical(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}
    listed = " ".join(f"{name}=={version}" for name, version in sorted(packages.items()))
    return f"{platform.python_implementation()} {platform.python_version()}\n{listed}"


def main() -> None:
    """Run one command of this file."""
    commands = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    adder = commands.add_subparsers(dest="command", required=True)
    adder.add_parser("lowest")
    adder.add_parser("shown")
    adder.add_parser("python").add_argument("which", choices=("oldest", "newest"))
    asked = commands.parse_args()
    if asked.command == "lowest":
        print(constraints(project()), end="")
    elif asked.command == "shown":
        print(shown())
    else:
        found = interpreters(supported_since(PROJECT.read_text(encoding="utf-8")))
        if not found:
            raise SystemExit("No supported Python with venv found, in PATH or in pyenv.")
        print(found[0] if asked.which == "oldest" else found[-1])


if __name__ == "__main__":
    main()
