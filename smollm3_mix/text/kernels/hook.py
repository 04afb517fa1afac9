"""Build hook that compiles the kernels, for wheels and `pip install -e`."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

# The package cannot be imported here, because it requires numpy, which the build environment does not have.
_COMPILE = runpy.run_path(str(Path(__file__).with_name("compile_kernels.py")))


class Kernels(BuildHookInterface):
    """Compiles the library next to its sources and sets the platform of the wheel."""

    def dependencies(self) -> list[str]:
        """Return a wheel with a C compiler if the machine has none."""
        return [] if _COMPILE["compiler"]() else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - required by the interface
        """Compile the kernels. The library does not use Python, so the wheel fits any Python 3 of the platform."""
        if self.target_name == "wheel":
            library: Path = _COMPILE["build"]()
            build_data["artifacts"].append(f"/{library.relative_to(self.root).as_posix()}")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{next(platform_tags())}"
