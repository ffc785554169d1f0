"""Text and JSON on their way into a text column and back, without loss.

Databases refuse some of what a Python string can hold: NUL (PostgreSQL), halves of surrogate pairs (every UTF-8 one).
Such characters are written as SUBSTITUTE and four hexadecimal digits, and so is SUBSTITUTE itself; any other text is
stored as it is and stays readable and searchable.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from greenroom.errors import BadRequest, Unavailable

_DEEPEST = 64
_UNSTORABLE = re.compile("[\x00\x1a\ud800-\udfff]")
_ESCAPED = re.compile("\x1a([0-9a-f]{4})")


def protect_text(text: str) -> str:
    """Any string -> one without NUL and surrogates."""
    if text.isascii() and "\x00" not in text and "\x1a" not in text:
        return text
    return _UNSTORABLE.sub(lambda found: f"\x1a{ord(found[0]):04x}", text)


def restore_text(text: str) -> str:
    """The inverse of ``protect_text``."""
    if "\x1a" not in text:
        return text
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def encode_object(value: Mapping[str, Any], name: str) -> str:
    """A snapshot of ``value`` as JSON text; ``name`` is what an error calls it.

    :raises BadRequest: naming the first part that JSON cannot hold.
    """
    if not value:
        return "{}"
    if not isinstance(value, Mapping):
        raise BadRequest(f"{name} must be a mapping, not {type(value).__name__}")
    try:
        return json.dumps(_plain(value, name, _DEEPEST), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:  # an integer too long to be written in decimal
        raise BadRequest(f"{name} cannot be stored: {error}") from error


def decode_object(text: str, name: str) -> dict[str, Any]:
    """:raises Unavailable: if ``text`` is not a JSON object, which only damage or a foreign hand can cause."""
    if text == "{}":
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Unavailable(f"the database holds a damaged {name}: {error}; restore it from a backup") from error
    if not isinstance(value, dict):
        raise Unavailable(f"the database holds a damaged {name}: not an object; restore it from a backup")
    return value


def _plain(value: object, name: str, depth: int) -> object:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadRequest(f"{name} is {value}, which cannot be stored; use a finite number")
        return value
    if depth == 0:
        raise BadRequest(f"{name} is nested too deeply; at most {_DEEPEST} levels can be stored")
    if isinstance(value, Mapping):
        copy = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise BadRequest(f"{name} has the key {key!r}; only text can be a key")
            copy[key] = _plain(item, f"{name}.{key}", depth - 1)
        return copy
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{index}]", depth - 1) for index, item in enumerate(value)]
    raise BadRequest(f"{name} is of type {type(value).__name__}, which cannot be stored as JSON")
