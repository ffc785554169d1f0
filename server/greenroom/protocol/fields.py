"""Field types that several commands share, with their limits and the leniency that old clients need."""

import base64
import binascii
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

MAX_TEXT_CHARS = 65_536
MAX_NAME_CHARS = 256
MAX_MODEL_NAME_CHARS = 4096
"""clients of lollms name a model by its address"""
MAX_AUDIO_BYTES = 15 * 1024 * 1024
MAX_TOKENS = 1_000_000
MAX_LIST_ITEMS = 64
MAX_OPTIONS_NESTING = 16


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
        raise PydanticCustomError(
            "too_large",
            "is {size} characters long; at most {limit} are taken",
            {"size": len(value), "limit": MAX_TEXT_CHARS},
        )
    return value


def _whole_text(value: str) -> str:
    """Lone surrogates cannot be sent on or stored: they become the replacement character."""
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if not value.isascii() else value


def _pcm(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) * 3 // 4 > MAX_AUDIO_BYTES:
            raise PydanticCustomError("too_large", "is larger than {limit} bytes", {"limit": MAX_AUDIO_BYTES})
        try:
            value = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise PydanticCustomError("audio", "wanted binary data or base64 text") from None
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if not isinstance(value, bytes):
        raise PydanticCustomError("audio", "wanted binary data or base64 text")
    if len(value) > MAX_AUDIO_BYTES:
        raise PydanticCustomError("too_large", "is larger than {limit} bytes", {"limit": MAX_AUDIO_BYTES})
    if not value:
        raise PydanticCustomError("audio", "is empty")
    return value


def _number_as_given(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A whole number stays one, so that it is told again as it was given."""
    checked = check(value)
    return value if type(value) is int else checked


def _depth(value: Any, left: int) -> bool:
    if left < 0:
        return False
    if isinstance(value, dict):
        return all(_depth(item, left - 1) for item in value.values())
    if isinstance(value, list):
        return all(_depth(item, left - 1) for item in value)
    return True


def _settings(value: Any) -> Any:
    if not _depth(value, MAX_OPTIONS_NESTING):
        raise PydanticCustomError("too_large", "is nested deeper than {limit} levels", {"limit": MAX_OPTIONS_NESTING})
    return value


Text = Annotated[str, BeforeValidator(_bounded), AfterValidator(_whole_text)]
FilledText = Annotated[str, BeforeValidator(_bounded), StringConstraints(min_length=1), AfterValidator(_whole_text)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS), AfterValidator(_whole_text)]
ModelName = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_MODEL_NAME_CHARS), AfterValidator(_whole_text)
]
ShortText = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARS), AfterValidator(_whole_text)]
Pcm = Annotated[bytes, BeforeValidator(_pcm, json_schema_input_type=bytes | str)]
SampleRate = Annotated[int, Field(ge=4000, le=384_000, description="Hz")]
SampleWidth = Annotated[int, Field(ge=1, le=4, description="bytes a sample")]
Channels = Annotated[int, Field(ge=1, le=8)]
Timestamp = Annotated[
    float,
    Field(ge=0, le=9_999_999_999, allow_inf_nan=False, description="seconds since 1970"),
    WrapValidator(_number_as_given),
]
Settings = Annotated[dict[str, Any], BeforeValidator(_settings)]
