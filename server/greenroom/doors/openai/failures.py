"""What went wrong, in the shape and with the status that OpenAI's clients know.

GreenroomError -> Failure: status, ``{"error": {"message", "type", "param", "code"}}``, headers
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

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

_RETRY_AFTER_S = 1


class ModelNotFound(NotFound):
    """No model, character or binding of that name."""


class UnknownPath(NotFound): ...


class WrongMethod(BadRequest):
    """``details["allowed"]``: the methods that the path has."""


class Unsupported(BadRequest):
    """Something that OpenAI's API has and this server has not."""


class WrongContent(BadRequest):
    """The body is said to be something else than what the endpoint takes."""


class NotServed(BadRequest):
    """An endpoint of OpenAI's API that this server does not have."""


@dataclass(frozen=True, slots=True)
class Failure:
    status: int
    type: str
    code: str | None
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


_KINDS: tuple[tuple[type[GreenroomError], int, str, str | None], ...] = (
    (WrongMethod, 405, "invalid_request_error", "method_not_allowed"),
    (WrongContent, 415, "invalid_request_error", "unsupported_content_type"),
    (UnknownPath, 404, "invalid_request_error", "unknown_url"),
    (ModelNotFound, 404, "invalid_request_error", "model_not_found"),
    (Unsupported, 400, "invalid_request_error", "unsupported_parameter"),
    (NotServed, 400, "invalid_request_error", "unsupported_endpoint"),
    (BadRequest, 400, "invalid_request_error", None),
    (Unauthorized, 401, "invalid_request_error", "invalid_api_key"),
    (Forbidden, 403, "permission_error", "insufficient_permissions"),
    (NotFound, 404, "invalid_request_error", "not_found"),
    (Conflict, 409, "invalid_request_error", "conflict"),
    (Cancelled, 409, "invalid_request_error", "cancelled"),
    (Busy, 429, "rate_limit_error", "rate_limit_exceeded"),
    (TooLarge, 413, "invalid_request_error", "request_too_large"),
    (Unavailable, 503, "server_error", "unavailable"),
    (Restarted, 503, "server_error", "restarted"),
    (TooSlow, 503, "server_error", "too_slow"),
)


def failure_of(error: GreenroomError) -> Failure:
    if isinstance(error, BindingFailed):
        return _of_backend(error)
    status, kind, code = next(
        ((status, kind, code) for known, status, kind, code in _KINDS if isinstance(error, known)),
        (500, "server_error", "internal_error"),
    )
    details = error.details or {}
    headers: dict[str, str] = {}
    if status == 429:
        headers["retry-after"] = str(details.get("retry_after_s", _RETRY_AFTER_S))
    if "allowed" in details:
        headers["allow"] = ", ".join(details["allowed"])
    if status >= 500 and not error.retryable:
        headers["x-should-retry"] = "false"
    param = details.get("field")
    return Failure(status, kind, code, error.message, str(param) if param else None, headers)


def _of_backend(error: BindingFailed) -> Failure:
    """A backend's own refusal of its key is no refusal of the client's; that it is asked too often is passed on."""
    details = error.details or {}
    if details.get("status") == 429 and error.retryable:
        wait = details.get("retry_after_s")
        seconds = math.ceil(wait) if isinstance(wait, int | float) and 0 < wait < 86_400 else _RETRY_AFTER_S
        return Failure(
            429, "rate_limit_error", "rate_limit_exceeded", error.message, None, {"retry-after": str(seconds)}
        )
    headers = {} if error.retryable else {"x-should-retry": "false"}
    return Failure(503 if error.retryable else 502, "server_error", error.code, error.message, None, headers)


def bad_field(param: str, message: str) -> BadRequest:
    return BadRequest(f"{param}: {message}", details={"field": param})


def unsupported(param: str, message: str) -> Unsupported:
    return Unsupported(f"{param}: {message}", details={"field": param})


def too_large(param: str, message: str) -> TooLarge:
    return TooLarge(f"{param}: {message}", details={"field": param})


def of_validation(error: ValidationError) -> BadRequest:
    """The first problem, with its place as OpenAI writes it: ``messages[0].role``. Never repeats what was sent."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return BadRequest(f"the body is no JSON that can be read: {first['msg'].removeprefix('Invalid JSON: ')}")
    place = ""
    for part in first["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{str(part)[:80]}" if place else str(part)[:80]
    if not place:
        return BadRequest("the body must be a JSON object")
    return bad_field(place, first["msg"].removeprefix("Value error, "))
