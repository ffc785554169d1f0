"""A binding's options as a configuration may hold them: plain data of bounded depth, with no secret in it."""

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from pydantic_core import PydanticCustomError

from greenroom.config.confidential import has_password, is_secret_key

MAX_DEPTH = 16


def checked_options(options: Mapping[Any, Any]) -> dict[str, Any]:
    """Plain data: what YAML read as a date is text again.

    :raises PydanticCustomError: ``secret`` for a key or URL that holds one, ``plain`` for what JSON has no form for;
        ``ctx["key"]`` is the way to it.
    """
    return {_key(name, ""): _checked(value, str(name), name) for name, value in options.items()}


def _checked(value: Any, way: str, name: Any = None) -> Any:
    if way.count(".") >= MAX_DEPTH:
        raise _refused(way, f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(inner, way): _checked(item, f"{way}.{inner}", inner) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(item, f"{way}.{index}") for index, item in enumerate(value)]
    if isinstance(value, str):
        return _text(value, way, name)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise _refused(way, "wanted a finite number")
    if value is None or isinstance(value, bool | int | float):
        return value
    raise _refused(way, f"wanted text, numbers, lists or mappings, found {type(value).__name__}")


def _text(value: str, way: str, name: Any) -> str:
    if (value and is_secret_key(str(name))) or has_password(value):
        raise PydanticCustomError(
            "secret",
            "a secret does not belong in the configuration; put it into the environment or the .env file",
            {"key": way},
        )
    if not _is_unicode(value):
        raise _refused(way, "is not Unicode text")
    return value


def _key(name: Any, way: str) -> str:
    if not isinstance(name, str) or not _is_unicode(name):
        raise _refused(way or str(name).encode("ascii", "replace").decode(), "wanted texts as keys")
    return name


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _refused(way: str, text: str) -> PydanticCustomError:
    return PydanticCustomError("plain", "{text}", {"key": way, "text": text})
