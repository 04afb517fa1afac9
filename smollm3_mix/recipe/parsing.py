"""Typed values out of plain ones (what YAML or JSON gives), strictly, with every fault said and none guessed away.

A dataclass and its type hints are the whole grammar: a field added to one is read with no change here. Understood are
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
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

BAD: Final = object()
"""Stands for a value that could not be read; its fault has been said."""

_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_UNITS |= {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(rf"([0-9][0-9_]*(?:\.[0-9]+)?) ?({'|'.join(sorted(_UNITS, key=len, reverse=True))})")
_LOOKS_A_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9]*)?([eE].*)?")

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlist, _SHORT.maxdict = 2, 80, 80, 4, 4

_PLACEHOLDERS = {float: 1.0, int: 1, str: "?", bool: False}


class Problems(ValueError):  # noqa: N818 - it is several
    """Several faults of one object at once; `args` holds one sentence each, which begins with the key."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


class FieldPath(NamedTuple):
    """Where a value stands: a head such as `source 'dclm'`, and dotted keys below it."""

    head: str = ""
    keys: str = ""

    def key(self, name: object) -> "FieldPath":
        """The place of a key of a mapping that stands here."""
        return FieldPath(self.head, f"{self.keys}.{name}" if self.keys else str(name))

    def item(self, index: int) -> "FieldPath":
        """The place of an item of a list that stands here."""
        return FieldPath(self.head, f"{self.keys}[{index}]")

    def fault(self, sentence: str) -> str:
        """A sentence with the place before it, unless it names the keys itself."""
        keys = "" if self.keys and sentence.startswith((f"{self.keys}.", f"{self.keys}:")) else self.keys
        return ": ".join(part for part in (self.head, keys, sentence) if part)


def show(given: Any) -> str:
    """A value as one would write it in YAML, shortened to about a hundred characters."""
    if given is None:
        return "nothing"
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, Mapping):
        return f"the mapping {_SHORT.repr(dict(given))}"
    if isinstance(given, list | tuple):
        return f"the list {_SHORT.repr(list(given))}"
    return _SHORT.repr(given)


def choice(key: str, given: str, choices: Collection[str]) -> Iterable[str]:
    """The fault of a value that is none of the choices, or nothing."""
    if given not in choices:
        near = difflib.get_close_matches(given, choices, n=1) if given.isidentifier() else []
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        yield f"{key}: expected {' or '.join(choices)}, got {show(given)}{hint}"


def at_least(key: str, given: float, least: float) -> Iterable[str]:
    """The fault of a number below the least one, or nothing."""
    if not given >= least:
        yield f"{key}: expected {least} or more, got {given}"


def unknown(key: Any, known: Iterable[str], also: Iterable[str] = (), synonyms: Mapping[str, str] | None = None) -> str:
    """The sentence for a key that is not known, with the nearest of `known` and `also`, or else all of `known`."""
    known = list(known)
    word = str(key).lower().replace("-", "_").replace(" ", "_")
    near = [word] if word in known else difflib.get_close_matches(word, [*known, *also], n=1, cutoff=0.7)
    if synonyms and synonyms.get(word) in known:
        near = [synonyms[word]]
    return f"unknown key {show(key)} " + (f"(did you mean {near[0]!r}?)" if near else f"(keys: {', '.join(known)})")


def read_value(hint: Any, given: Any, place: FieldPath, problems: list[str]) -> Any:
    """The value as its type hint has it, or BAD after its faults are added to `faults`.

    Raises:
        TypeError: for a hint that is not understood; a fault of the code, not of the file.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return read_value(args[0], given, place, problems)
    if origin in _READERS:
        return _READERS[origin](args, given, place, problems)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read_dataclass(hint, given, place, problems)
    return _scalar(hint, given, place, problems)


def read_dataclass(
    cls: type[Any],
    given: Any,
    place: FieldPath,
    problems: list[str],
    *,
    also: Collection[str] = (),
    synonyms: Mapping[str, str] | None = None,
) -> Any:
    """An instance of a dataclass out of a mapping of its fields, or BAD after all its faults are added to `faults`.

    `true` stands for an instance with every default. A string stands for the field that the class names in `SHORTHAND`,
    or for its `profile`. An instance passes as it is.

    Args:
        cls: the dataclass; a `ValueError` of its `__post_init__` is a fault of this place.
        given: mapping, `true`, string or instance.
        place: where it stands.
        faults: list the faults are added to.
        also: keys that are accepted and not read.
        synonyms: key somebody might write → key that is meant; for the fault only.
    """
    if isinstance(given, cls):
        return given
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    short = getattr(cls, "SHORTHAND", "profile")
    if given is True:
        given = {}
    elif isinstance(given, str) and short in fields:
        given = {short: given}
    if not isinstance(given, Mapping):
        problems.append(place.fault(f"expected {_name(cls)}, got {show(given)}"))
        return BAD
    before, hints, values = len(problems), get_type_hints(cls, include_extras=True), dict[str, Any]()
    for key, item in given.items():
        if key in fields:
            values[key] = read_value(hints[key], item, place.key(key), problems)
            if values[key] is BAD and item is None and default_of(fields[key]) is not BAD:
                problems[-1] += " (leave the key out for its default)"
        elif key not in also:
            problems.append(place.fault(unknown(key, fields, also, synonyms)))
    for name, field in fields.items():
        if name not in values and default_of(field) is BAD:
            problems.append(place.fault(f"missing key {name!r} ({_name(hints[name])})"))
            values[name] = BAD
    built = _built(cls, values, place, problems)
    return built if len(problems) == before else BAD


def _built(cls: type[Any], values: dict[str, Any], place: FieldPath, problems: list[str]) -> Any:
    """An instance, or BAD after the faults that the class finds are added to `faults`.

    Stand-ins for values that are BAD let the class judge the others too; such an instance is never given out.
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
        said = tuple(start for key in broken for start in (f"{key}:", f"missing key {key!r}"))
        problems.extend(_placed(place, fault, fields) for fault in error.args if not fault.startswith(said))
    except ValueError as error:
        if not broken:  # else it may speak of a stand-in
            problems.append(_placed(place, str(error), fields))
    return BAD


def plain(value: Any, *, defaults: bool = True) -> Any:
    """The same in dicts, lists and scalars, as JSON and YAML know them.

    Args:
        value: dataclass instance, tuple, list, dict or scalar.
        defaults: also the fields that have their default. Without them an instance all of defaults is `True`.
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
    """A field's default, or BAD where it has none."""
    if field.default is not dataclasses.MISSING:
        return field.default
    return BAD if field.default_factory is dataclasses.MISSING else field.default_factory()


def _placed(place: FieldPath, sentence: str, fields: Collection[str]) -> str:
    """The sentence of an object about itself, with its place; `near` and `bands: …` become `near.bands: …`."""
    key = re.match(r"(\w+)[\w.\[\]]*: ", sentence)
    return place.fault(f"{place.keys}.{sentence}" if place.keys and key and key[1] in fields else sentence)


def _union(args: tuple[Any, ...], given: Any, place: FieldPath, problems: list[str]) -> Any:
    options = [arg for arg in args if arg is not types.NoneType]
    optional = len(options) < len(args)
    nested = [option for option in options if dataclasses.is_dataclass(option)]
    if optional and (given is None or (given is False and nested and bool not in options)):
        return None
    tried: list[tuple[Any, list[str]]] = []
    for option in options:
        own: list[str] = []
        value = read_value(option, given, place, own)
        if not own:
            return value
        tried.append((option, own))
    if isinstance(given, Mapping):
        tried = [(option, own) for option, own in tried if option in nested] or tried
    elif isinstance(given, list | tuple):
        tried = [(option, own) for option, own in tried if get_origin(option) is tuple] or tried
    if len(tried) == 1:
        problems.extend(tried[0][1])
    else:
        problems.append(place.fault(f"expected {' or '.join(map(_name, options))}, got {show(given)}"))
    return BAD


def _literal(args: tuple[Any, ...], given: Any, place: FieldPath, problems: list[str]) -> Any:
    if any(given == arg and type(given) is type(arg) for arg in args):
        return given
    problems.append(place.fault(f"expected {' or '.join(map(show, args))}, got {show(given)}"))
    return BAD


def _tuple(args: tuple[Any, ...], given: Any, place: FieldPath, problems: list[str]) -> Any:
    many = args[-1] is Ellipsis
    if many and args[0] is str and isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple) or not (many or len(given) == len(args)):
        problems.append(place.fault(f"expected {_name_of_tuple(args)}, got {show(given)}"))
        return BAD
    hints = [args[0]] * len(given) if many else args
    pairs = enumerate(zip(hints, given, strict=True))
    values = tuple(read_value(hint, item, place.item(index), problems) for index, (hint, item) in pairs)
    return BAD if BAD in values else values


def _dict(args: tuple[Any, ...], given: Any, place: FieldPath, problems: list[str]) -> Any:
    if not isinstance(given, Mapping):
        problems.append(place.fault(f"expected a mapping, got {show(given)}"))
        return BAD
    values = {str(key): read_value(args[1], item, place.key(key), problems) for key, item in given.items()}
    return BAD if BAD in values.values() else values


_READERS = {Union: _union, types.UnionType: _union, Literal: _literal, tuple: _tuple, dict: _dict}


def _scalar(hint: Any, given: Any, place: FieldPath, problems: list[str]) -> Any:
    if hint is Any:
        return _anything(given, place, problems)
    if hint not in _PLACEHOLDERS:
        raise TypeError(f"{place.fault('')}: no reading of the type {hint!r} is known")
    value = _exact(hint, given)
    if value is BAD:
        remedy = ""
        if hint is str and isinstance(given, bool | int | float):
            remedy = " (write it in quotes)"
        elif hint in (int, float) and isinstance(given, str) and _LOOKS_A_NUMBER.fullmatch(given):
            remedy = " (write it without quotes and leading zeros)"
        problems.append(place.fault(f"expected {_name(hint)}, got {show(given)}{remedy}"))
    return value


def _exact(hint: type[Any], given: Any) -> Any:
    """The value, if it is of its type but for ways of writing a number; else BAD."""
    if hint in (bool, str):
        return given if isinstance(given, hint) else BAD
    if isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given):
        if hint is float:
            return float(given)
        return int(given) if given == int(given) else BAD
    if hint is int and isinstance(given, str) and (size := _SIZE.fullmatch(given)):
        count = Fraction(size[1].replace("_", "")) * _UNITS[size[2]]
        return int(count) if count.denominator == 1 else BAD
    return BAD


def _anything(given: Any, place: FieldPath, problems: list[str]) -> Any:
    if given is None or isinstance(given, bool | int | str) or (isinstance(given, float) and math.isfinite(given)):
        return given
    if isinstance(given, list | tuple) and not any(isinstance(item, list | tuple | Mapping) for item in given):
        values = tuple(_anything(item, place.item(index), problems) for index, item in enumerate(given))
        return BAD if BAD in values else values
    expected = "a string, a finite number, true, false, nothing or a list of them"
    problems.append(place.fault(f"expected {expected}, got {show(given)}"))
    return BAD


def _name(hint: Any) -> str:
    """A type hint in words, with its article."""
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
