"""What comes in the body of a request: a JSON object, or nothing, which counts as an empty one."""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from starlette.requests import Request

from greenroom.errors import BadRequest, Busy, TooLarge

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_ALL_BODIES_BYTES: Final = 256 * 1024 * 1024
_MAX_DEPTH: Final = 64


class Bodies:
    """Reads bodies, all of them together within a bound."""

    def __init__(self, limit_bytes: int = MAX_ALL_BODIES_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0

    async def read(self, request: Request) -> dict[str, Any]:
        """A body without a JSON content type is not looked at, and an empty one is an empty object.

        :raises BadRequest: no JSON, or no object. :raises TooLarge: more than 16 MiB. :raises Busy: no room.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
            raise _too_large()
        held = 0
        pieces: list[bytes] = []
        try:
            async for piece in request.stream():
                held += len(piece)
                self._held_bytes += len(piece)
                if held > MAX_BODY_BYTES:
                    raise _too_large()
                if self._held_bytes > self._limit_bytes:
                    raise Busy("this server has no room for so large a request now; try again")
                pieces.append(piece)
            if not is_json(request.headers):
                return {}
            return parse(b"".join(pieces))
        finally:
            self._held_bytes -= held


def is_json(headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def parse(body: bytes) -> dict[str, Any]:
    """:raises BadRequest: for what is no JSON object."""
    if not body.strip():
        return {}
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
        value = value.values()
    elif not isinstance(value, list):
        return False
    return levels == 0 or any(_deeper_than(item, levels - 1) for item in value)


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
