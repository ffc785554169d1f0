"""What comes in the body of a request: a JSON object, or nothing, which counts as an empty one."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, NoReturn

from starlette.requests import Request

from greenroom.doors.bounds import ALL_BODIES_BYTES, Room, check_structure, silence, too_silent
from greenroom.errors import BadRequest, TooLarge

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_MAX_DEPTH: Final = 64
_MAX_MEMBERS: Final = 1024
"""of one object"""
_MAX_NESTED: Final = 5_000
_MAX_LISTED: Final = 200_000


class Bodies:
    """Reads bodies, all of them together within a bound."""

    def __init__(self, limit_bytes: int = ALL_BODIES_BYTES) -> None:
        self._room = Room(limit_bytes)

    async def read(self, request: Request) -> dict[str, Any]:
        """A body without a JSON content type is not looked at, and an empty one is an empty object.

        :raises BadRequest: no JSON, or no object. :raises TooLarge: more than 16 MiB, or too many values.
        :raises Busy: no room. :raises TooSlow: it does not come.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
            raise _too_large()
        held = 0
        pieces: list[bytes] = []
        try:
            async for piece in _in_time(request):
                held += len(piece)
                self._room.take(len(piece))
                if held > MAX_BODY_BYTES:
                    raise _too_large()
                pieces.append(piece)
            if not is_json(request.headers):
                return {}
            return parse(b"".join(pieces))
        finally:
            self._room.give_back(held)


async def _in_time(request: Request) -> AsyncGenerator[bytes, None]:
    """:raises TooSlow: a piece is late."""
    async with aclosing(request.stream()) as pieces:
        while True:
            try:
                async with silence():
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise too_silent() from None
            if piece is None:
                return
            yield piece


def is_json(headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def parse(body: bytes) -> dict[str, Any]:
    """:raises BadRequest: for what is no JSON object. :raises TooLarge: too many values."""
    if not body.strip():
        return {}
    check_structure(body, nested=_MAX_NESTED, listed=_MAX_LISTED)
    try:
        data = json.loads(body, parse_constant=_no_number)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError is one, too
        where = f": {error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest(f"the body is not JSON{where}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadRequest("the body is no JSON object; its members are the arguments")
    if _deeper_than(data, _MAX_DEPTH):
        raise BadRequest("the body is nested too deeply")
    return data


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _deeper_than(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        if len(value) > _MAX_MEMBERS:
            raise TooLarge(f"an object in the body has more than {_MAX_MEMBERS} members")
        value = value.values()
    elif not isinstance(value, list):
        return False
    return levels == 0 or any(_deeper_than(item, levels - 1) for item in value)


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
