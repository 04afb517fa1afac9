"""Outside packages that the import of the package, and of recipes, may load."""

import json
import subprocess
import sys

import pytest

REPORT = """
import json, sys
outside = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(json.dumps(sorted(outside - {"smollm3_mix"})))
"""


def loaded_by(code: str) -> set[str]:
    """Return the outside packages that a new process loads to run the code."""
    program = f"import sys\nbefore = set(sys.modules)\n{code}\n{REPORT}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_import_of_the_package_loads_the_standard_library_only() -> None:
    assert loaded_by("import smollm3_mix") == set()


@pytest.mark.parametrize(
    "code",
    [
        "from smollm3_mix import Recipe",
        "from smollm3_mix.recipe.read_recipe import load_recipe\nload_recipe('stage1').fingerprint",
        "from smollm3_mix.recipe.read_recipe import load_recipe\nload_recipe('curriculum').scale('1B').to_yaml()",
        "from smollm3_mix.recipe.shipped import list_recipes\nassert list_recipes()",
    ],
)
def test_recipes_load_pyyaml_only(code: str) -> None:
    assert {name for name in loaded_by(code) if not name.startswith(("_cython", "cython"))} <= {"yaml", "_yaml"}


def test_import_cost_is_measured_in_a_new_process() -> None:
    assert {"numpy", "pyarrow"} <= loaded_by("import smollm3_mix.mix.open_mix")
