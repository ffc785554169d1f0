"""What goes wrong between two ends, and how it is told.

    GreenroomError
    |- CallRefused    the server will not make this call: 4xx, the message says why
    |- UploadCut      the client left in the middle of what it sent; raised in the method that reads it
    '- ApiError       raised by the client for whatever the server answered but a result
       '- Unreachable    no connection came about: the call was never sent

A stranger is told the class and the message of what a method raised, never a traceback. Peers of this library also get
``{"type", "message", "data"}``, from which :meth:`ApiError.restore` makes the error of :mod:`greenroom.errors` again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from greenroom import errors
from greenroom.errors import GreenroomError, Internal

STATUSES: Final[Mapping[str, int]] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "busy": 503,
    "unavailable": 503,
    "binding_failed": 502,
    "cancelled": 409,
    "restarted": 503,
    "too_slow": 504,
}
ERROR_HEADER: Final = "greenroom-error"
"""holds the same object that a websocket's error frame has, as ASCII JSON"""
HEADER_BYTES: Final = 4096


class CallRefused(GreenroomError):
    """:param status: 400 for a text that cannot be read, 413 too large, 422 not what was declared."""

    code: ClassVar[str] = "bad_request"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UploadCut(GreenroomError):
    """The stream that a method reads ended in the middle."""

    code = "unavailable"
    retryable = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered in place of a result, under the names that clients of HTTP are used to."""

    status_code: int
    url: str
    text: str

    @property
    def content(self) -> bytes:
        return self.text.encode()

    def json(self) -> Any:
        """:raises ValueError: if it is no JSON"""
        return json.loads(self.text)


class ApiError(GreenroomError):
    """:param status: of the HTTP answer; ``None`` from a websocket, or where no answer came.
    :param body: what the server answered, at most the first 64 KiB.
    :param error: ``{"type", "message", "data"}`` if the server speaks it.
    """

    code = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        method: str = "",
        url: str = "",
        body: str = "",
        error: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.method = method
        self.url = url
        self.body = body
        self.error = dict(error) if error else {}

    @property
    def response(self) -> Answer | None:
        """``None`` from a websocket, or where no answer came."""
        return Answer(self.status, self.url, self.body) if self.status is not None else None

    @property
    def type(self) -> str:
        """The class that the server's method raised; empty if nobody said."""
        found = self.error.get("type")
        return found if isinstance(found, str) else ""

    def restore(self) -> GreenroomError:
        """The error of the common tree that the method raised; :class:`Internal` for one of its own."""
        data = self.error.get("data")
        fields = data if isinstance(data, dict) else {}
        message = str(self.error.get("message", self.message))
        cls = _TREE.get(self.type)
        details = fields.get("details")
        common: dict[str, Any] = {
            "kind": str(fields["kind"]) if "kind" in fields else None,
            "details": details if isinstance(details, dict) else None,
        }
        if cls is None:
            cls = _TREE.get(str(fields.get("base")))
        if cls is None:
            return Internal(f"{self.type}: {message}" if self.type else message, **common)
        error = cls(message, **common)
        if error.retryable != fields.get("retryable", error.retryable):
            error.retryable = bool(fields["retryable"])
        return error


class Unreachable(ApiError):
    """No connection came about: the call was never sent, so it may be made again."""

    retryable = True


_TREE: Final[Mapping[str, type[GreenroomError]]] = {
    name: found for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, GreenroomError)
}


def status_of(error: BaseException) -> int:
    if isinstance(error, CallRefused):
        return error.status
    return STATUSES.get(error.code, 500) if isinstance(error, GreenroomError) else 500


def text_of(error: BaseException) -> str:
    """What everybody is told: ``ValueError: no such voice``. What this library refuses is a sentence of its own."""
    if isinstance(error, CallRefused):
        return error.message
    message = error.message if isinstance(error, GreenroomError) else str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def structure_of(error: BaseException) -> dict[str, Any]:
    """What a peer of this library is told."""
    found: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, GreenroomError):
        data: dict[str, Any] = {"code": error.code, "kind": error.kind, "retryable": error.retryable}
        if (base := _base_of(error)) is not None:
            data["base"] = base
        if error.details:
            data["details"] = error.details
        found |= {"message": error.message, "data": data}
    return found


def _base_of(error: GreenroomError) -> str | None:
    """Of a class that only its own program knows: what it derives from of the common tree, if that says anything."""
    names = [cls.__name__ for cls in type(error).__mro__ if _TREE.get(cls.__name__) is cls]
    return names[0] if type(error).__name__ not in names and names[0] != GreenroomError.__name__ else None


def is_told(error: BaseException) -> bool:
    """Whether the message is one for the caller: then nothing of it needs a traceback in the server's log."""
    return isinstance(error, GreenroomError) and not isinstance(error, Internal)


def header_of(error: BaseException) -> str:
    """:func:`structure_of` for a header; without the details where they are too long."""
    structure = structure_of(error)
    found = json.dumps(structure, default=str)
    if len(found) > HEADER_BYTES:
        structure.get("data", {}).pop("details", None)
        structure["message"] = structure["message"][: HEADER_BYTES // 8]
        found = json.dumps(structure, default=str)
    return found


def from_header(header: str | None) -> dict[str, Any] | None:
    if not header:
        return None
    try:
        found = json.loads(header)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
