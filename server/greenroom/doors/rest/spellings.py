"""Spellings of older applications: they go on being sent, and mean the same."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from greenroom.protocol.fields import Timestamp


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "wanted a number, not a truth value")
    return value


def _seconds(value: Any) -> Any:
    """The Discord application wrote moments as ISO 8601 once; without an offset they are of this machine's zone."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError):
        return value


def _with_role(value: Any) -> Any:
    if isinstance(value, dict) and "type" in value and value.get("role", value["type"]) == value["type"]:
        return {"role": value["type"]} | {name: inner for name, inner in value.items() if name != "type"}
    return value


A_NUMBER = BeforeValidator(_no_truth)
"""``true`` is not 1 here."""

Moment = Annotated[Timestamp, BeforeValidator(_seconds), A_NUMBER]
"""A number of seconds since 1970, or ISO 8601."""

NamedByType = BeforeValidator(_with_role)
"""An operation's ``type`` is its ``role``."""
