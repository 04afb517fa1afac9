"""What building the wheel, and `pip install -e`, do beside copying files: compile the kernels."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

# The package itself cannot be imported here: it needs numpy, which a build does not have.
_COMPILE = runpy.run_path(str(Path(__file__).with_name("compile_kernels.py")))


class Kernels(BuildHookInterface):
    """Puts the library beside its sources and says which platform the wheel is for."""

    def dependencies(self) -> list[str]:
        """A compiler as a wheel, where the machine has none."""
        return [] if _COMPILE["compiler"]() else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - of the interface
        """Compile; no part of it is of one Python's, so any Python 3 of the platform takes the wheel."""
        if self.target_name == "wheel":
            library: Path = _COMPILE["build"]()
            build_data["artifacts"].append(f"/{library.relative_to(self.root).as_posix()}")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{next(platform_tags())}"
