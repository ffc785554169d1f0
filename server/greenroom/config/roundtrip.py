"""Editing YAML text with its comments, order and quoting kept."""

import json
import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from greenroom.config.document import parse, parse_value
from greenroom.config.keys import Path

_HARMLESS = re.compile(r"[^\W_][\w./@+\-]*(?: [\w./@+\-]+)*")
"""Text that may stand without quotes wherever a value may stand."""


class _Representer(RoundTripRepresenter):
    """Floats as a YAML 1.1 reader takes them for floats: ``1.0e-05``, where ruamel writes ``1e-05``."""

    def represent_float(self, data: Any) -> ScalarNode:
        text = repr(float(data))
        return self.represent_scalar("tag:yaml.org,2002:float", text if "." in text else text.replace("e", ".0e", 1))


_Representer.add_representer(float, _Representer.represent_float)


def edited(text: str, changes: Mapping[Path, Any], in_place: bool) -> str:
    """``text`` with ``changes`` made.

    ``in_place``: collections are changed entry by entry, so that their comments stay; else they are written anew, with
    every text in quotes.
    """
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    data: Any = yaml.load(text)
    style = parse(text, "present").style()
    yaml.indent(mapping=style.mapping, sequence=style.item, offset=style.dash)
    comment = text
    if data is None:
        data = CommentedMap()
    else:
        comment = ""
    for path, value in changes.items():
        _assign(data, path, value, in_place)
    stream = StringIO()
    yaml.dump(data, stream)
    written = _with_end(comment) + stream.getvalue()
    return written.replace("\n", "\r\n") if "\r\n" in text else written


def _with_end(comment: str) -> str:
    """A file of comments alone stays, above what is written."""
    comment = comment.replace("\r\n", "\n").replace("\n---\n", "\n")
    return comment if not comment or comment.endswith("\n") else f"{comment}\n"


def _assign(data: Any, path: Path, value: Any, in_place: bool) -> None:
    for part in path[:-1]:
        if not isinstance(data.get(part), dict):
            data[part] = CommentedMap()
        data = data[part]
    name = path[-1]
    if in_place and _update(data.get(name), value):
        return
    data[name] = _plain(value, quoted=not in_place)


def _update(old: Any, new: Any) -> bool:
    """Change a collection in place, so that its comments stay. False if it is none, or of another kind."""
    if isinstance(old, dict) and isinstance(new, Mapping):
        for name in [name for name in old if name not in new]:
            del old[name]
        for name, value in new.items():
            if name not in old or (old[name] != value and not _update(old[name], value)):
                old[name] = _plain(value)
        return True
    if isinstance(old, list) and isinstance(new, list):
        _update_list(old, new)
        return True
    return False


def _update_list(old: list[Any], new: list[Any]) -> None:
    steps = SequenceMatcher(None, [_mark(item) for item in old], [_mark(item) for item in new], autojunk=False)
    for _, start, end, new_start, new_end in reversed(steps.get_opcodes()):
        kept = min(end - start, new_end - new_start)
        for index in reversed(range(start + kept, end)):
            del old[index]
        for index in range(kept):
            item = new[new_start + index]
            if old[start + index] != item and not _update(old[start + index], item):
                old[start + index] = _plain(item)
        for index in range(kept, new_end - new_start):
            old.insert(start + index, _plain(new[new_start + index]))


def _mark(item: Any) -> str:
    """What an entry is known by: an operation by role and id, a token by its name, anything else by its value."""
    if isinstance(item, Mapping):
        known = [f"{name}={item[name]}" for name in ("role", "id", "name") if name in item]
        if "id" in item or "name" in item:
            return " ".join(known[-1:] if "name" in item else known)
    return json.dumps(item, sort_keys=True, default=str)


def _plain(value: Any, *, quoted: bool = False) -> Any:
    """As ruamel writes it so that a YAML 1.1 reader reads the same: ``"yes"`` and ``"12:30"`` need their quotes.

    Text without quotes of its own takes on the style of the text that it replaces.
    """
    if isinstance(value, str):
        return DoubleQuotedScalarString(value) if quoted or not _reads_back(value) else value
    if isinstance(value, Mapping):
        return {_plain(str(name)): _plain(inner, quoted=quoted) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, quoted=quoted) for inner in value]
    return value


def _reads_back(text: str) -> bool:
    return _HARMLESS.fullmatch(text) is not None and parse_value(text) == text
