"""Reasons from a user's own function, named in the recipe as "module:function"."""

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
    """The reasons, with those the function gives for the chosen rows.

    The function is given the texts that are still wanted, as one pa.StringArray without nulls, and returns as many
    reasons, a list or an Arrow array: None to keep a text, else a word that says what is wrong with it. Its answer for
    a text should depend on that text alone; which texts stand together is not promised.

    Args:
        name: "module:function".
        texts: of the whole block.
        rows: int64, numbers of the rows that are still wanted.
        reasons: of the whole block.

    Raises:
        RecipeError: the function cannot be had, raises, or gives what is no list of reasons.
    """
    if len(rows) == 0:
        return reasons
    function = find_function(name)
    try:
        given = function(texts.take(pa.array(rows)))
    except Exception as error:
        raise RecipeError(f"filters.python {name!r}", [f"raised {type(error).__name__}: {error}"]) from error
    answers = _answers(name, given, len(rows))
    whole = np.full(len(reasons), None, dtype=object)
    whole[:] = reasons.to_pylist()
    whole[rows] = answers
    return pa.array(whole, pa.string())


def find_function(name: str) -> Callable[[pa.StringArray], Any]:
    """The function a recipe names, imported.

    Raises:
        RecipeError: the name is not "module:function", or there is no such module or function.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise RecipeError(f"filters.python {name!r}", ['expected "module:function", such as "my_rules:reasons"'])
    try:
        function = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        remedy = "install it, or run where Python finds it (PYTHONPATH)"
        raise RecipeError(
            f"filters.python {name!r}", [f"module {module!r} cannot be imported ({error}); {remedy}"]
        ) from error
    except AttributeError as error:
        raise RecipeError(f"filters.python {name!r}", [f"module {module!r} has no {attribute!r}"]) from error
    if not callable(function):
        raise RecipeError(f"filters.python {name!r}", [f"expected a function, got {type(function).__name__}"])
    return function


def _answers(name: str, given: Any, rows: int) -> npt.NDArray[np.object_]:
    where = f"filters.python {name!r}"
    if isinstance(given, pa.Array | pa.ChunkedArray):
        given = given.to_pylist()
    if not isinstance(given, list | tuple | np.ndarray):
        raise RecipeError(where, [f"expected a list or an Arrow array of reasons, got {type(given).__name__}"])
    if len(given) != rows:
        raise RecipeError(where, [f"expected a reason or None for each of {rows} texts, got {len(given)}"])
    answers = np.full(rows, None, dtype=object)
    for row, reason in enumerate(given):
        if reason is not None and not (isinstance(reason, str) and reason):
            raise RecipeError(where, [f"expected None or a word for a reason, got {reason!r} for text {row}"])
        answers[row] = reason
    return answers
