"""Typed values from plain values of YAML or JSON, strictly, with every problem reported.

Dataclasses and their type hints are the grammar, so a new field needs no change here. Supported types are
`bool`, `int`, `float`, `str`, `Any` (scalars and lists of them), `Literal`, `X | None` and other unions, `tuple`,
`dict[str, X]` and dataclasses of all these.
"""

import dataclasses
import difflib
import math
import re
import reprlib
import types
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from smollm3_mix.sizes import parse_number

BAD: Final = object()
"""Placeholder of a value that could not be read. Its problem has been reported."""

_LOOKS_A_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9]*)?([eE].*)?")

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlist, _SHORT.maxdict = 2, 80, 80, 4, 4

_PLACEHOLDERS = {float: 1.0, int: 1, str: "?", bool: False}


class Problems(ValueError):  # noqa: N818 - it is several
    """Several problems of one object. `args` has one sentence per problem, which begins with the key."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


class FieldPath(NamedTuple):
    """Position of a value: a head such as `source 'dclm'`, and dotted keys below it."""

    head: str = ""
    keys: str = ""

    def key(self, name: object) -> "FieldPath":
        """Return the path of a key of the mapping at this path."""
        return FieldPath(self.head, f"{self.keys}.{name}" if self.keys else str(name))

    def item(self, index: int) -> "FieldPath":
        """Return the path of an item of the list at this path."""
        return FieldPath(self.head, f"{self.keys}[{index}]")

    def problem(self, sentence: str) -> str:
        """Return a sentence with the path before it, unless the sentence begins with the keys."""
        keys = "" if self.keys and sentence.startswith((f"{self.keys}.", f"{self.keys}:")) else self.keys
        return ": ".join(part for part in (self.head, keys, sentence) if part)


def show(value: Any) -> str:
    """Return a value as written in YAML, shortened to about a hundred characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"the mapping {_SHORT.repr(dict(value))}"
    if isinstance(value, list | tuple):
        return f"the list {_SHORT.repr(list(value))}"
    return _SHORT.repr(value)


def choice(key: str, value: str, choices: Collection[str]) -> Iterable[str]:
    """Yield a problem if the value is not one of the choices."""
    if value not in choices:
        near = difflib.get_close_matches(value, choices, n=1) if value.isidentifier() else []
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        yield f"{key}: expected {' or '.join(choices)}, got {show(value)}{hint}"


def at_least(key: str, value: float, least: float) -> Iterable[str]:
    """Yield a problem if the number is below the minimum."""
    if not value >= least:
        yield f"{key}: expected {least} or more, got {value}"


def unknown(key: Any, known: Iterable[str], also: Iterable[str] = (), synonyms: Mapping[str, str] | None = None) -> str:
    """Return the message for an unknown key, with the nearest of `known` and `also`, or else all of `known`."""
    known = list(known)
    word = str(key).lower().replace("-", "_").replace(" ", "_")
    near = [word] if word in known else difflib.get_close_matches(word, [*known, *also], n=1, cutoff=0.7)
    if synonyms and synonyms.get(word) in known:
        near = [synonyms[word]]
    return f"unknown key {show(key)} " + (f"(did you mean {near[0]!r}?)" if near else f"(keys: {', '.join(known)})")


def read_value(hint: Any, value: Any, position: FieldPath, problems: list[str]) -> Any:
    """Return the value with the type of the hint, or BAD after its problems are added to `problems`.

    Raises:
        TypeError: If the hint is not supported. This is an error in the code, not in the file.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return read_value(args[0], value, position, problems)
    if origin in _READERS:
        return _READERS[origin](args, value, position, problems)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read_dataclass(hint, value, position, problems)
    return _scalar(hint, value, position, problems)


def read_dataclass(
    cls: type[Any],
    value: Any,
    position: FieldPath,
    problems: list[str],
    *,
    also: Collection[str] = (),
    synonyms: Mapping[str, str] | None = None,
) -> Any:
    """Return an instance of a dataclass from a mapping, or BAD after all problems are added to `problems`.

    `true` means an instance with every default. A string is the value of the field that the class names in `SHORTHAND`,
    or of `profile`. An instance is returned unchanged.

    Args:
        cls: Dataclass. A `ValueError` of its `__post_init__` is reported at `position`.
        value: Mapping, `true`, string or instance.
        position: Position of the value in the file.
        problems: List to which problems are added.
        also: Keys that are accepted and not used.
        synonyms: Other name of a key → the key, for the hint in a message.
    """
    if isinstance(value, cls):
        return value
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    short = getattr(cls, "SHORTHAND", "profile")
    if value is True:
        value = {}
    elif isinstance(value, str) and short in fields:
        value = {short: value}
    if not isinstance(value, Mapping):
        problems.append(position.problem(f"expected {_name(cls)}, got {show(value)}"))
        return BAD
    before, hints, values = len(problems), get_type_hints(cls, include_extras=True), dict[str, Any]()
    for key, item in value.items():
        if key in fields:
            values[key] = read_value(hints[key], item, position.key(key), problems)
            if values[key] is BAD and item is None and default_of(fields[key]) is not BAD:
                problems[-1] += " (leave the key out for its default)"
        elif key not in also:
            problems.append(position.problem(unknown(key, fields, also, synonyms or getattr(cls, "SYNONYMS", None))))
    for name, field in fields.items():
        if name not in values and default_of(field) is BAD:
            problems.append(position.problem(f"missing key {name!r} ({_name(hints[name])})"))
            values[name] = BAD
    built = _built(cls, values, position, problems)
    return built if len(problems) == before else BAD


def _built(cls: type[Any], values: dict[str, Any], position: FieldPath, problems: list[str]) -> Any:
    """Return an instance, or BAD after the problems that the class finds are added to `problems`.

    Placeholders replace BAD values so that the class can check the others. Such an instance is never returned.
    """
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    broken = [name for name, value in values.items() if value is BAD]
    for name in broken:
        values[name] = default_of(fields[name])
        if values[name] is BAD:
            values[name] = _PLACEHOLDERS.get(get_type_hints(cls)[name], BAD)
    if BAD in values.values():
        return BAD
    try:
        return cls(**values)
    except Problems as error:
        reported = tuple(start for key in broken for start in (f"{key}:", f"missing key {key!r}"))
        problems.extend(_placed(position, each, fields) for each in error.args if not each.startswith(reported))
    except ValueError as error:
        if not broken:  # otherwise it may concern a placeholder
            problems.append(_placed(position, str(error), fields))
    return BAD


def plain(value: Any, *, defaults: bool = True) -> Any:
    """Return the value as dicts, lists and scalars of JSON and YAML.

    Args:
        value: Dataclass instance, tuple, list, dict or scalar.
        defaults: Whether to include fields with their default. Without them, an instance of defaults is `True`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        if defaults:
            return {name: plain(item) for name, item in fields.items()}
        standard = {f.name: default_of(f) for f in dataclasses.fields(value)}
        return {n: plain(item, defaults=False) for n, item in fields.items() if item != standard[n]} or True
    if isinstance(value, tuple | list):
        return [plain(item, defaults=defaults) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item, defaults=defaults) for key, item in value.items()}
    return value


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """Return the default of a field, or BAD if it has none."""
    if field.default is not dataclasses.MISSING:
        return field.default
    return BAD if field.default_factory is dataclasses.MISSING else field.default_factory()


def _placed(position: FieldPath, sentence: str, fields: Collection[str]) -> str:
    """Return the message of an object with its path. `near` and `bands: …` become `near.bands: …`."""
    key = re.match(r"(\w+)[\w.\[\]]*: ", sentence)
    return position.problem(f"{position.keys}.{sentence}" if position.keys and key and key[1] in fields else sentence)


def _union(args: tuple[Any, ...], value: Any, position: FieldPath, problems: list[str]) -> Any:
    options = [arg for arg in args if arg is not types.NoneType]
    optional = len(options) < len(args)
    nested = [option for option in options if dataclasses.is_dataclass(option)]
    if optional and (value is None or (value is False and nested and bool not in options)):
        return None
    tried: list[tuple[Any, list[str]]] = []
    for option in options:
        own: list[str] = []
        found = read_value(option, value, position, own)
        if not own:
            return found
        tried.append((option, own))
    if isinstance(value, Mapping):
        tried = [(option, own) for option, own in tried if option in nested] or tried
    elif isinstance(value, list | tuple):
        tried = [(option, own) for option, own in tried if get_origin(option) is tuple] or tried
    if len(tried) == 1:
        problems.extend(tried[0][1])
    else:
        problems.append(position.problem(f"expected {' or '.join(map(_name, options))}, got {show(value)}"))
    return BAD


def _literal(args: tuple[Any, ...], value: Any, position: FieldPath, problems: list[str]) -> Any:
    if any(value == arg and type(value) is type(arg) for arg in args):
        return value
    problems.append(position.problem(f"expected {' or '.join(map(show, args))}, got {show(value)}"))
    return BAD


def _tuple(args: tuple[Any, ...], value: Any, position: FieldPath, problems: list[str]) -> Any:
    many = args[-1] is Ellipsis
    if many and args[0] is str and isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not (many or len(value) == len(args)):
        problems.append(position.problem(f"expected {_name_of_tuple(args)}, got {show(value)}"))
        return BAD
    hints = [args[0]] * len(value) if many else args
    pairs = enumerate(zip(hints, value, strict=True))
    values = tuple(read_value(hint, item, position.item(index), problems) for index, (hint, item) in pairs)
    return BAD if BAD in values else values


def _dict(args: tuple[Any, ...], value: Any, position: FieldPath, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(position.problem(f"expected a mapping, got {show(value)}"))
        return BAD
    values = {str(key): read_value(args[1], item, position.key(key), problems) for key, item in value.items()}
    return BAD if BAD in values.values() else values


_READERS = {Union: _union, types.UnionType: _union, Literal: _literal, tuple: _tuple, dict: _dict}


def _scalar(hint: Any, value: Any, position: FieldPath, problems: list[str]) -> Any:
    if hint is Any:
        return _anything(value, position, problems)
    if hint not in _PLACEHOLDERS:
        raise TypeError(f"{position.problem('')}: no reading of the type {hint!r} is known")
    found = _exact(hint, value)
    if found is BAD:
        remedy = ""
        if hint is str and isinstance(value, bool | int | float):
            remedy = " (write it in quotes)"
        elif hint in (int, float) and isinstance(value, str) and _LOOKS_A_NUMBER.fullmatch(value):
            remedy = " (write it without quotes and leading zeros)"
        problems.append(position.problem(f"expected {_name(hint)}, got {show(value)}{remedy}"))
    return found


def _exact(hint: type[Any], value: Any) -> Any:
    """Return the value if it has the type, also as another spelling of a number, else BAD."""
    if hint in (bool, str):
        return value if isinstance(value, hint) else BAD
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if hint is float:
            return float(value)
        return int(value) if value == int(value) else BAD
    if hint is int and isinstance(value, str):
        number = parse_number(value)
        return BAD if number is None else number
    return BAD


def _anything(value: Any, position: FieldPath, problems: list[str]) -> Any:
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple) and not any(isinstance(item, list | tuple | Mapping) for item in value):
        values = tuple(_anything(item, position.item(index), problems) for index, item in enumerate(value))
        return BAD if BAD in values else values
    expected = "a string, a finite number, true, false, nothing or a list of them"
    problems.append(position.problem(f"expected {expected}, got {show(value)}"))
    return BAD


def _name(hint: Any) -> str:
    """Return a type hint in words, with its article."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _name(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_name(arg) for arg in args if arg is not types.NoneType)
    if origin is tuple:
        return _name_of_tuple(args)
    if dataclasses.is_dataclass(hint):
        return f"a mapping (keys: {', '.join(field.name for field in dataclasses.fields(hint) if field.init)})"
    words = {str: "a string", int: "a whole number", float: "a finite number", bool: "true or false", Any: "a value"}
    return " or ".join(map(show, args)) if origin is Literal else words.get(hint, "a mapping")


def _name_of_tuple(args: tuple[Any, ...]) -> str:
    if args[-1] is not Ellipsis:
        return f"a list of {len(args)} ({', '.join(map(_name, args))})"
    many = {str: "strings", int: "whole numbers", float: "numbers", bool: "true or false"}
    return f"a list of {many.get(args[0]) or _name(args[0]).replace('a list', 'lists', 1)}"
