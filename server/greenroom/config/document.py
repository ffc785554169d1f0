"""A YAML text as plain data, and the line on which each of its keys stands."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from greenroom.config.problems import ConfigError, Origin, Problem

MAX_BYTES = 1024 * 1024
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Way = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Style:
    """How a text indents, in columns from the key above: a mapping's keys, a list's dashes, its items."""

    mapping: int = 2
    dash: int = 2
    item: int = 4


@dataclass(frozen=True, slots=True)
class Document:
    label: str
    data: dict[str, Any]
    root: Any = None
    """PyYAML's node, for line numbers; ``None`` for an empty text"""

    def origin(self, way: Way) -> Origin:
        """Where ``way``, or as much of it as there is, stands in the text."""
        line, node = 0, self.root
        for part in way:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return Origin(self.label, line)

    def style(self) -> Style:
        """By the first mapping and the first list in block form under a key of the whole."""
        mapping = dash = item = 0
        for key, value in self.root.value if isinstance(self.root, yaml.MappingNode) else ():
            if not isinstance(value, yaml.CollectionNode) or value.flow_style or not value.value:
                continue
            column = value.start_mark.column - key.start_mark.column
            if isinstance(value, yaml.MappingNode):
                mapping = mapping or column
            elif isinstance(value, yaml.SequenceNode) and not item:
                dash, item = column, value.value[0].start_mark.column - key.start_mark.column
        usual = Style()
        return Style(mapping or usual.mapping, dash if item else usual.dash, item or usual.item)


def _child(node: Any, part: str | int) -> tuple[int, Any] | None:
    """The line of a key, and its value's node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value.start_mark.line + 1, value
    return None


def _repeated_keys(node: Any, way: tuple[str, ...], seen: set[int]) -> Iterator[tuple[int, str]]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name and name != "<<":
                if name in lines:
                    yield key.start_mark.line + 1, ".".join((*way, name))
                lines[name] = key.start_mark.line + 1
            yield from _repeated_keys(value, (*way, str(name)), seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated_keys(value, (*way, str(index)), seen)


def parse_value(text: str) -> Any:
    """JSON or YAML text as plain data. :raises ValueError: with what is wrong."""
    with contextlib.suppress(ValueError):  # not all JSON is YAML: surrogate pairs, tabs
        return json.loads(text)
    loader = None
    try:
        loader = _LOADER(text)
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(_syntax(error, text)[2]) from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    finally:
        if loader is not None:
            loader.dispose()


def parse(text: str, label: str) -> Document:
    """A whole file. An empty one is an empty mapping. :raises ConfigError: with line and column of what is wrong."""
    loader = None
    try:
        loader = _LOADER(text)
        root = loader.get_single_node()
        repeated = [
            Problem(Origin(label, line), name, "stands there twice; keep one")
            for line, name in _repeated_keys(root, (), set())
        ]
        data = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError) as error:
        line, column, sentence = _syntax(error, text)
        raise ConfigError([Problem(Origin(label, line, column), "", f"not valid YAML: {sentence}")]) from None
    except RecursionError:
        raise ConfigError([Problem(Origin(label), "", "is nested too deeply")]) from None
    finally:
        if loader is not None:
            loader.dispose()
    if repeated:
        raise ConfigError(repeated)
    if data is None:
        return Document(label, {})
    if not isinstance(data, dict):
        what = {list: "a list"}.get(type(data), "a single value")
        raise ConfigError(
            [Problem(Origin(label, 1), "", f"wanted keys with values, such as 'user_name: Ann', found {what}")]
        )
    return Document(label, data, root)


def _syntax(error: Exception, text: str) -> tuple[int, int, str]:
    """Line and column, from 1 (0 if unknown), and the error in one line."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        sentence = ", ".join(part for part in (error.context, error.problem) if part) or "unreadable"
        if "cannot start any token" in sentence:
            sentence += " (a tab, or a character that needs quotes)"
        return (mark.line + 1, mark.column + 1, sentence) if mark is not None else (0, 0, sentence)
    if isinstance(error, yaml.reader.ReaderError):
        place = max(
            text.find(chr(error.character)), 0
        )  # its own position counts bytes or characters, as the loader does
        line = text.count("\n", 0, place) + 1
        return line, place - text.rfind("\n", 0, place), f"character #x{error.character:02x} is not allowed"
    return 0, 0, " ".join(str(error).split())
