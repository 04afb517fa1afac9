"""Read the declarations of `kernels.h`, so that no prototype is written twice.

The header defines how its comments describe lengths and bounds. Anything else in a declaration is an error.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

INT64_MAX = 2**63 - 1

_COMMENT = r"/\*\s*((?:(?!\*/).)*?)\s*\*/"
_DECLARATION = re.compile(
    rf"(?:{_COMMENT}\s*)?^KERNEL (const char \*|int64_t )(\w+)\(([^;{{}}]*)\);(?:[ \t]*{_COMMENT})?", re.M | re.S
)
_PARAMETER = re.compile(rf"\s*(const )?(\w+) (\*?)(\w+)(,|;)\s*(?:{_COMMENT})?\s*", re.S)
_RULE = re.compile(
    r"(?:\[(?P<length>.+?)\])?\s*(?P<ascending>ascending\b)?\s*(?:from (?P<low>.+?))?\s*(?:\bto (?P<high>.+))?"
)
_TYPES = {
    "uint8_t": "uint8",
    "Flag": "bool",
    "uint32_t": "uint32",
    "int64_t": "int64",
    "uint64_t": "uint64",
    "double": "float64",
}
_ALLOWED = (ast.Expression, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Name, ast.Load, ast.Constant)


class HeaderError(ImportError):
    """A declaration in `kernels.h` cannot be read."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a C function. Expressions are C arithmetic over the numbers of the function and lengths.

    Attributes:
        name: Name in the header.
        dtype: Name of the numpy dtype that C gets, of the elements if the parameter is an array.
        length: Expression for the number of elements, None unless the parameter is an array.
        writable: True for an array that C writes to.
        ascending: True if no element is less than the previous one.
        low: Expression for the minimum, "0" unless stated, or the name of an array.
        high: Expression for the maximum, None unless stated.
    """

    name: str
    dtype: str
    length: str | None = None
    writable: bool = False
    ascending: bool = False
    low: str = "0"
    high: str | None = None

    @property
    def bounded(self) -> bool:
        """True if the elements of the array have bounds."""
        return self.length is not None and (self.ascending or self.high is not None)


@dataclass(frozen=True)
class Declaration:
    """A function that the library exports.

    Attributes:
        symbol: Name in C.
        result: C type of the result.
        parameters: Parameters in order.
        doc: Comment above the declaration.
    """

    symbol: str
    result: str
    parameters: tuple[Parameter, ...]
    doc: str

    @property
    def name(self) -> str:
        """Name in Python, which has no prefix."""
        return self.symbol.removeprefix("sm_")

    @property
    def lengths(self) -> dict[str, str]:
        """Names of the lengths that are not parameters, each with the first array that has it."""
        numbers = {parameter.name for parameter in self.parameters if parameter.length is None}
        found: dict[str, str] = {}
        for parameter in self.parameters:
            if parameter.length is not None and parameter.length.isidentifier() and parameter.length not in numbers:
                found.setdefault(parameter.length, parameter.name)
        return found


@cache
def names(expression: str) -> frozenset[str]:
    """Return the names in an expression.

    Raises:
        HeaderError: If it is anything but sums, differences, products and quotients of names and whole numbers.
    """
    try:
        nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    except SyntaxError as error:
        raise HeaderError(f"{expression!r} is not an expression: {error}. Fix kernels.h") from None
    for node in nodes:
        is_integer = not isinstance(node, ast.Constant) or type(node.value) is int
        if not isinstance(node, _ALLOWED) or not is_integer:
            raise HeaderError(f"{expression!r} must consist of + - * /, names and whole numbers")
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name))


def declarations(text: str) -> list[Declaration]:
    """Read all exported functions of a header.

    Raises:
        HeaderError: If a declaration does not have the form that the header describes.
    """
    found = [_declaration(*match.groups()) for match in _DECLARATION.finditer(text)]
    marks = len(re.findall(r"^\s*KERNEL\b", text, re.M))
    if not found or len(found) != marks:
        raise HeaderError(f"kernels.h: {len(found)} of {marks} declarations that begin with KERNEL can be read")
    symbols = [declaration.symbol for declaration in found]
    if len(symbols) != len(set(symbols)):
        raise HeaderError(f"kernels.h: declared twice: {sorted({name for name in symbols if symbols.count(name) > 1})}")
    return found


def _declaration(doc: str | None, result: str, symbol: str, parameters: str, last: str | None) -> Declaration:
    if doc is None or not symbol.startswith("sm_"):
        raise HeaderError(f"kernels.h: {symbol} must begin with sm_ and have a comment above its declaration")
    found = () if parameters.strip() == "void" else tuple(_parameters(symbol, f"{parameters}; /* {last or ''} */"))
    declaration = Declaration(symbol, result.strip(), found, " ".join(doc.replace("\n *", "\n").split()))
    _check_names(declaration)
    return declaration


def _parameters(symbol: str, text: str) -> Iterator[Parameter]:
    at, more = 0, True
    while more:
        match = _PARAMETER.match(text, at)
        if match is None:
            raise HeaderError(f"kernels.h: {symbol}: cannot read {text[at:].strip()!r}")
        yield _parameter(symbol, match)
        at, more = match.end(), match[5] == ","
    if at != len(text):
        raise HeaderError(f"kernels.h: {symbol}: cannot read {text[at:].strip()!r}")


def _parameter(symbol: str, match: re.Match[str]) -> Parameter:
    const, c_type, star, name, _, note = match.groups()
    where = f"kernels.h: {symbol}: {name}"
    rule = _RULE.fullmatch(note or "")
    if rule is None:
        raise HeaderError(f"{where}: cannot read the comment {note!r}")
    if c_type not in _TYPES or not (star or c_type in {"int64_t", "double"}):
        raise HeaderError(f"{where}: {f'{c_type} {star}'.strip()} is not a type that Python can pass")
    if bool(star) != (rule["length"] is not None):
        raise HeaderError(f"{where}: an array needs its length in brackets, and nothing else has one")
    if (note or "").replace(f"[{rule['length']}]", "").strip() and c_type != "int64_t":
        raise HeaderError(f"{where}: only int64_t can have bounds")
    if rule["ascending"] and not (star and rule["high"]):
        raise HeaderError(f"{where}: only an array can ascend, and needs an upper bound")
    return Parameter(
        name,
        _TYPES[c_type],
        rule["length"],
        bool(star) and const is None,
        bool(rule["ascending"]),
        rule["low"] or "0",
        rule["high"],
    )


def _check_names(declaration: Declaration) -> None:
    """Raise HeaderError if an expression has a name that the function does not know."""
    own = {parameter.name: parameter for parameter in declaration.parameters}
    known = {name for name, parameter in own.items() if parameter.length is None and parameter.dtype == "int64"}
    known |= declaration.lengths.keys()
    if len(own) < len(declaration.parameters) or own.keys() & declaration.lengths.keys():
        raise HeaderError(f"kernels.h: {declaration.symbol}: a name is used twice")
    for parameter in declaration.parameters:
        where = f"kernels.h: {declaration.symbol}: {parameter.name}"
        lower = own.get(parameter.low)
        if parameter.bounded and lower is not None and (lower.length, lower.dtype) == (parameter.length, "int64"):
            low = "0"  # compared element by element
            if parameter.ascending:
                raise HeaderError(f"{where}: an array that ascends cannot have an array as lower bound")
        else:
            low = parameter.low
        for expression in (parameter.length, low, parameter.high):
            unknown = names(expression or "0") - known
            if unknown:
                raise HeaderError(
                    f"{where}: {sorted(unknown)} are neither numbers of the function nor lengths of arrays"
                )
