"""YAML text to plain values and back, without YAML 1.1's surprises.

As in YAML 1.2, `no`, `on` and `2024-01-01` are strings, `1e-5` is a number and `1:30` is not. A number with leading
zeros is a string, so that none is taken for octal. What `dump` writes means the same to readers of YAML 1.1 and 1.2.
"""

import re
from typing import Any

import yaml

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z")
_FLOAT = re.compile(
    r"""[-+]?(?:(?:[0-9][0-9_]*)?\.[0-9]+|[0-9][0-9_]*\.)(?:[eE][-+]?[0-9]+)?\Z
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+\Z|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z""",
    re.VERBOSE,
)
_RESOLVERS = (
    ("tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    ("tag:yaml.org,2002:int", _INT, "-+0123456789"),
    ("tag:yaml.org,2002:float", _FLOAT, "-+0123456789."),
    ("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), "<"),
    ("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
)


class Block(dict[str, Any]):
    """A mapping that is written with one key per line, even if it contains only scalars."""


class _Loader(yaml.SafeLoader):
    """Loader of the plain scalars in `_RESOLVERS` only."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
    # Besides those of YAML 1.1: a string is quoted if either version would take it for something else.
    _Dumper.add_implicit_resolver(_tag, _pattern, list(_first))


def _one_key_a_line(dumper: yaml.SafeDumper, value: Block) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=False)


_Dumper.add_representer(Block, _one_key_a_line)


def load(text: bytes, problems: list[str]) -> Any:
    """Return the plain value of a YAML text. None after a problem with its line is added to `problems`.

    Duplicate keys of one mapping and tags that create objects are problems.
    """
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:
        problems.append(_sentence(error))
        return None
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        problems.extend(_twice(node))
        return None if problems else loader.construct_document(node)
    except yaml.YAMLError as error:
        problems.append(_sentence(error))
    except RecursionError:
        problems.append("not a recipe: nested too deeply")
    except ValueError as error:  # a number with thousands of digits, or a tag such as !!int on a word
        problems.append(f"not valid YAML: {error}")
    finally:
        loader.dispose()
    return None


def dump(value: Any) -> str:
    """Return YAML text with keys in their order. Lists and mappings of scalars take one line."""
    return yaml.dump(value, Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=110)


def _twice(root: yaml.Node) -> list[str]:
    """Return a problem for each duplicate key of a mapping. A node with many aliases is checked once."""
    problems, seen, todo = [], {id(root)}, [root]
    while todo:
        node = todo.pop()
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                children.append(value)
                if not isinstance(key, yaml.ScalarNode):
                    continue
                line = key.start_mark.line + 1
                if key.tag.endswith(":merge") and isinstance(value, yaml.SequenceNode):  # these can grow without bound
                    problems.append(f"line {line}: << takes one alias, not a list")
                if key.value in lines:
                    problems.append(
                        f"line {line}: key {key.value!r} is repeated. It is already in line {lines[key.value]}"
                    )
                lines.setdefault(key.value, line)
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        fresh = [child for child in children if id(child) not in seen]
        seen.update(map(id, fresh))
        todo.extend(reversed(fresh))
    return problems


def _sentence(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError) and error.encoding == "utf-8":
        return f"not UTF-8 at byte {error.position}: {error.reason}. Save it as UTF-8"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or getattr(error, "reason", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"not valid YAML{where}: {problem or error}"
