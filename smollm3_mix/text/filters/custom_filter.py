"""Filter with a Python function of the user, named in the recipe as "module:function"."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import RecipeError


def custom_reasons(
    name: str, texts: pa.StringArray, rows: npt.NDArray[np.int64], reasons: pa.StringArray
) -> pa.StringArray:
    """Return the reasons, with those of the function for the remaining rows.

    The function receives the texts that no other filter dropped, as one pa.StringArray without nulls. It returns a list
    or an Arrow array with one reason per text: None to keep the text, else a word that names the problem. The result
        for
    a text must depend on that text only, because the grouping of texts can change.

    Args:
        name: Name of the function as "module:function".
        texts: Texts of the whole block.
        rows: Numbers of the rows that no other filter dropped, int64.
        reasons: Reasons of the whole block.

    Raises:
        RecipeError: If the function cannot be imported, raises, or does not return a list of reasons.
    """
    if len(rows) == 0:
        return reasons
    function = find_function(name)
    try:
        result = function(texts.take(pa.array(rows)))
    except Exception as error:
        raise RecipeError(
            f"filters.python {name!r}", [f"raised {type(error).__name__}: {error}. Fix the function"]
        ) from error
    merged = np.full(len(reasons), None, dtype=object)
    merged[:] = reasons.to_pylist()
    merged[rows] = _check_result(name, result, len(rows))
    return pa.array(merged, pa.string())


def find_function(name: str) -> Callable[[pa.StringArray], Any]:
    """Import the function that a recipe names.

    Raises:
        RecipeError: If the name is not "module:function", or the module or the function does not exist.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise RecipeError(f"filters.python {name!r}", ['expected "module:function", for example "my_rules:reasons"'])
    try:
        function = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        remedy = "Install it, or add its folder to PYTHONPATH"
        raise RecipeError(
            f"filters.python {name!r}", [f"module {module!r} cannot be imported ({error}). {remedy}"]
        ) from error
    except AttributeError as error:
        raise RecipeError(
            f"filters.python {name!r}", [f"module {module!r} has no {attribute!r}. Name a function of it"]
        ) from error
    if not callable(function):
        raise RecipeError(f"filters.python {name!r}", [f"expected a function, got {type(function).__name__}"])
    return function


def _check_result(name: str, result: Any, rows: int) -> npt.NDArray[np.object_]:
    """Return the reasons that the function returned, or raise RecipeError if they are invalid."""
    where = f"filters.python {name!r}"
    if isinstance(result, pa.Array | pa.ChunkedArray):
        result = result.to_pylist()
    if not isinstance(result, list | tuple | np.ndarray):
        raise RecipeError(where, [f"expected a list or an Arrow array of reasons, got {type(result).__name__}"])
    if len(result) != rows:
        raise RecipeError(where, [f"expected a reason or None for each of {rows} texts, got {len(result)}"])
    reasons = np.full(rows, None, dtype=object)
    for row, reason in enumerate(result):
        if reason is not None and not (isinstance(reason, str) and reason):
            raise RecipeError(where, [f"expected None or a non-empty string as reason, got {reason!r} for text {row}"])
        reasons[row] = reason
    return reasons
