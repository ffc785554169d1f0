"""What a Wyoming client may ask, checked. Members that newer clients add are ignored, as the protocol wants."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenroom.doors.wyoming.wire import Event
from greenroom.errors import BadRequest

_Name = Annotated[str, Field(max_length=256)]
_Context = dict[str, Any] | None


class Request(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Ping(Request):
    text: Annotated[str, Field(max_length=4096)] | None = None


class SelectProgram(Request):
    name: _Name


class Transcribe(Request):
    name: _Name | None = None
    language: _Name | None = None
    transcript_names: Annotated[list[_Name], Field(max_length=200)] | None = None
    transcript_terms: Annotated[list[_Name], Field(max_length=200)] | None = None


class Sound(Request):
    """``audio-start`` and ``audio-chunk``"""

    rate: Annotated[int, Field(ge=1000, le=192_000)]
    width: Annotated[int, Field(ge=1, le=4)]
    channels: Annotated[int, Field(ge=1, le=8)]


class Voice(Request):
    name: _Name | None = None
    language: _Name | None = None
    speaker: _Name | None = None


class Synthesize(Request):
    text: str
    voice: Voice | None = None


class SynthesizeStart(Request):
    voice: Voice | None = None


class Piece(Request):
    """``synthesize-chunk``"""

    text: str


class Said(Request):
    """``transcript``: what the character is to answer"""

    text: str
    context: _Context = None


R = TypeVar("R", bound=Request)


def parsed(kind: type[R], event: Event) -> R:
    """:raises BadRequest: naming the member and what is wrong with it."""
    try:
        return kind.model_validate(dict(event.data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{event.type}: {where}: {first['msg']}") from None
