"""Call C functions after checking their arguments against the declarations in `kernels.h`.

The Python function around each C function is generated from its declaration, as one expression for all checks. A loop
over the parameters would take twice as long, and a small block is many calls. Only a failed check runs such a loop, to
find the error.
"""

import ctypes
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from smollm3_mix.text.kernels.header import INT64_MAX, Declaration, Parameter, declarations, names

Kernel = Callable[..., int]
"""C function that checks its arguments before it runs. Its docstring is the comment in the header.

It raises TypeError for an argument of the wrong type. It raises ValueError for an array of the wrong length, layout or
contents, and for a number out of bounds.
"""

_REFUSED = -INT64_MAX - 1  # REFUSED of kernels.h
_RESULTS = {"int64_t": ctypes.c_int64, "const char *": ctypes.c_char_p}
_NUMBERS = {"int64": ctypes.c_int64, "float64": ctypes.c_double}
_KNOWN: dict[str, Any] = {
    "_array": np.ndarray,
    "_int": int,
    "_float": (int, float),
    "_refused": _REFUSED,
    "_address": (ctypes.c_char * 0).from_buffer,  # twice as fast as ndarray.ctypes, but only for writable arrays
    **{f"_{name}": np.dtype(name) for name in ("uint8", "bool", "uint32", "int64", "uint64", "float64")},
}


class _Rule(NamedTuple):
    """Condition on the length of an array ("=="), or on a number (">=", "<=")."""

    parameter: Parameter
    sign: str
    limit: str


def kernels(library: ctypes.CDLL, header: str) -> dict[str, Kernel]:
    """Return all functions that a header declares, by their names in Python.

    Raises:
        HeaderError: If the header cannot be read.
        AttributeError: If the library lacks one of the functions.
    """
    declared = declarations(header)
    functions = {each.symbol: _function(library, each) for each in declared}
    checks = {"_ascending": functions["sm_ascending"], "_within": functions["sm_within"]}
    return {each.name: _checked(each, {**checks, "_call": functions[each.symbol]}) for each in declared}


def _function(library: ctypes.CDLL, declaration: Declaration) -> Callable[..., Any]:
    found = library[declaration.symbol]
    found.restype = _RESULTS[declaration.result]
    types: list[Any] = [
        _NUMBERS[each.dtype] if each.length is None else ctypes.c_void_p for each in declaration.parameters
    ]
    found.argtypes = types
    return found


def _checked(declaration: Declaration, functions: dict[str, Callable[..., Any]]) -> Kernel:
    known = {**_KNOWN, **functions, "_error": partial(_error, declaration)}
    exec(_source(declaration), known)  # noqa: S102 - names and arithmetic that `declarations` has checked
    found: Kernel = known[declaration.name]
    found.__doc__ = declaration.doc
    return found


def _source(declaration: Declaration) -> str:
    """Return the code of a Python function that checks its arguments and calls C."""
    own = declaration.parameters
    arrays = [each.name for each in own if each.length is not None]
    arguments = ", ".join(each.name for each in own)
    passed = ", ".join(f"_at_{each.name}" if each.name in arrays else each.name for each in own)
    reject = f"raise _error({arguments})"
    simple = " and ".join([*map(_type_check, own), *map(partial(_rule_check, declaration), _rules(declaration))])
    elements = " and ".join(_element_check(declaration, each) for each in own if each.bounded)
    return "\n".join(
        [
            f"def {declaration.name}({arguments}):",
            f"    if not ({simple or True}): {reject}",
            *[
                f"    _at_{each} = _address({each}.data) if {each}.flags.writeable else {each}.ctypes.data"
                for each in arrays
            ],
            f"    if not ({elements or True}): {reject}",
            f"    _result = _call({passed})",
            f"    if _result == _refused: {reject}",
            "    return _result",
        ]
    )


def _type_check(parameter: Parameter) -> str:
    name = parameter.name
    if parameter.length is None:
        return f"isinstance({name}, {'_int' if parameter.dtype == 'int64' else '_float'})"
    readable = f"({name}.flags.carray or ({name}.flags.c_contiguous and {name}.flags.aligned))"
    layout = f"{name}.flags.carray" if parameter.writable else readable
    return f"isinstance({name}, _array) and {name}.dtype == _{parameter.dtype} and {layout}"


def _rule_check(declaration: Declaration, rule: _Rule) -> str:
    value = f"{rule.parameter.name}.size" if rule.sign == "==" else rule.parameter.name
    return f"{value} {rule.sign} {_in_python(declaration, rule.limit)}"


def _element_check(declaration: Declaration, parameter: Parameter) -> str:
    name, lower, low, high = _bounds(declaration, parameter)
    bounds = f"{name}.size, {_in_python(declaration, low)}, {_in_python(declaration, high)}"
    return f"_ascending(_at_{name}, {bounds})" if parameter.ascending else f"_within(_at_{lower}, _at_{name}, {bounds})"


def _rules(declaration: Declaration) -> list[_Rule]:
    """Return the conditions on lengths and numbers, those with constants first, so that no division is by zero."""
    found = []
    for each in declaration.parameters:
        if each.length is not None:
            if declaration.lengths.get(each.length) != each.name:
                found.append(_Rule(each, "==", each.length))
        elif each.dtype == "int64":
            found += [_Rule(each, ">=", each.low), _Rule(each, "<=", each.high or str(INT64_MAX))]
    return sorted(found, key=lambda rule: len(names(rule.limit)) > 0)


def _bounds(declaration: Declaration, parameter: Parameter) -> tuple[str, str, str, str]:
    """Return the names of an array and of its lower bounds (itself if there are none), and both limits."""
    shared = any(each.name == parameter.low for each in declaration.parameters if each.length is not None)
    lower, low = (parameter.low, "0") if shared else (parameter.name, parameter.low)
    return parameter.name, lower, low, parameter.high or str(INT64_MAX)


def _in_python(declaration: Declaration, expression: str) -> str:
    """Return an expression of the header in Python, where a length is the size of the first array that has it."""
    sizes = {length: f"{array}.size" for length, array in declaration.lengths.items()}
    return "(" + re.sub(r"[A-Za-z_]\w*", lambda name: sizes.get(name[0], name[0]), expression).replace("/", "//") + ")"


def _error(declaration: Declaration, *arguments: Any) -> Exception:
    """Return the first error of a rejected call."""
    values = {each.name: argument for each, argument in zip(declaration.parameters, arguments, strict=True)}
    return next(_errors(declaration, values))


def _errors(declaration: Declaration, values: dict[str, Any]) -> Iterator[Exception]:
    def found(code: str) -> Any:
        return eval(code, _KNOWN, values)  # noqa: S307 - the code of the check that failed

    where = f"{declaration.name}(): "
    for parameter in declaration.parameters:
        if not found(_type_check(parameter)):
            yield _type_error(where + parameter.name, parameter, values[parameter.name])
    for rule in _rules(declaration):
        if not found(_rule_check(declaration, rule)):
            must = {"==": "have the length", ">=": "be at least", "<=": "be at most"}[rule.sign]
            limit = f"{rule.limit} = " * bool(names(rule.limit)) + str(found(_in_python(declaration, rule.limit)))
            value = values[rule.parameter.name]
            got = value.size if rule.sign == "==" else value
            yield ValueError(f"{where}{rule.parameter.name} must {must} {limit}, got {got}")
    for parameter in declaration.parameters:
        if parameter.bounded:
            _, lower, low, high = _bounds(declaration, parameter)
            limits = found(_in_python(declaration, low)), found(_in_python(declaration, high))
            yield from _element_errors(where, parameter, values[parameter.name], (lower, values[lower]), limits)
    yield ValueError(f"{where}the contents of the arrays are invalid: they point outside the arrays")


def _element_errors(
    where: str, parameter: Parameter, array: Any, lower: tuple[str, Any], limits: tuple[int, int]
) -> Iterator[ValueError]:
    """Yield an error for the first element out of bounds of each array, starting with the array of lower bounds."""
    # A matrix keeps two dimensions however it is reshaped.
    values, lows, least = np.asarray(array).reshape(-1), np.asarray(lower[1]).reshape(-1), np.array(limits[:1])
    checked = [(parameter.name, values, least)]
    if lower[0] != parameter.name:
        checked = [(lower[0], lows, least), (parameter.name, values, lows)]
    elif parameter.ascending:
        checked = [(parameter.name, values, np.concatenate([least, np.maximum(values[:-1], least)]))]
    for name, each, low in checked:
        wrong = np.flatnonzero((each < low) | (each > limits[1]))
        if len(wrong):
            nth = int(wrong[0])
            bound = np.broadcast_to(low, each.shape)[nth]
            yield ValueError(f"{where}{name}[{nth}] must be from {bound} to {limits[1]}, got {each[nth]}")


def _type_error(subject: str, parameter: Parameter, argument: Any) -> Exception:
    """Return the error of an argument of the wrong type, or of an array with the wrong layout."""
    if parameter.length is None:
        expected = {"int64": "an int", "float64": "a float"}[parameter.dtype]
        return TypeError(f"{subject} must be {expected}, got {type(argument).__name__}")
    if not isinstance(argument, np.ndarray):
        return TypeError(f"{subject} must be an array of {parameter.dtype}, got {type(argument).__name__}")
    if argument.dtype != parameter.dtype:
        return TypeError(f"{subject} must be an array of {parameter.dtype}, got an array of {argument.dtype}")
    if not argument.flags.c_contiguous:
        return ValueError(f"{subject} must be C-contiguous, got strides {argument.strides}")
    return ValueError(f"{subject} must be {'writable' if argument.flags.aligned else 'aligned'}")
