"""Look up names that another version of a library may lack, with one error for all of them."""

import importlib
from typing import Any


def find_name(module: str, name: str, *, tested: str, requirement: str) -> Any:
    """Return a private or undocumented name of a library.

    Args:
        module: Module that has the name.
        name: Attribute of the module.
        tested: Versions of the library that have the name, such as `0.34 to 2.x`.
        requirement: Requirement for `pip install` that selects these versions.

    Raises:
        ImportError: If the installed version does not have the name.
    """
    package, _, inner = module.partition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(f"{package}."):
            raise
        found = None
    if found is None:
        raise ImportError(moved_message(package, ".".join(filter(None, (inner, name))), tested, requirement))
    return found


def moved_message(package: str, name: str, tested: str, requirement: str) -> str:
    """Return the message for a name that the installed version of a library lacks."""
    version = importlib.import_module(package).__version__
    return (
        f"{package} {version} has no {name}. smollm3_mix was tested with versions {tested}. "
        f"Install one of them: pip install '{requirement}'"
    )
