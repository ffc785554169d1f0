"""The envelope of every answer: ``{"message", "response", "status"}``, keys sorted at every level, ASCII, one line."""

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from greenroom.doors.rates import TooMany
from greenroom.errors import (
    BadRequest,
    BindingFailed,
    Busy,
    Cancelled,
    Conflict,
    Forbidden,
    GreenroomError,
    NotFound,
    Restarted,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
)

_STATUS: Final[Mapping[type[GreenroomError], int]] = {
    BadRequest: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Cancelled: 409,
    TooLarge: 413,
    TooMany: 429,
    TooSlow: 429,
    BindingFailed: 502,
    Busy: 503,
    Unavailable: 503,
    Restarted: 503,
}


def status_of(error: GreenroomError) -> int:
    """By the nearest class that has one; 500 for what is nobody's fault but ours."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def reply(message: str, response: Any, status: int = 200) -> Response:
    body = json.dumps(
        {"message": message, "response": response, "status": status},
        sort_keys=True,
        separators=(",", ":"),
    )
    return Response(f"{body}\n", status, media_type="application/json")


def failure(error: GreenroomError, status: int | None = None) -> Response:
    """The sentence for a person in ``message``; nothing else, as jaison has it."""
    answer = reply(error.message, {}, status or status_of(error))
    if isinstance(error, Unauthorized):
        answer.headers["www-authenticate"] = "Bearer"
    if isinstance(error, Busy):
        answer.headers["retry-after"] = str((error.details or {}).get("retry_after_s", 1))
    return answer
