"""The server's failures as exceptions: the class of :mod:`greenroom.errors` that has the code."""

from collections.abc import Mapping
from typing import Any

from greenroom.errors import BindingFailed, GreenroomError, Internal


def _below(base: type[GreenroomError]) -> list[type[GreenroomError]]:
    return [found for child in base.__subclasses__() for found in (child, *_below(child))]


_BY_CODE: Mapping[str, type[GreenroomError]] = {error.code: error for error in reversed(_below(GreenroomError))}


def failure(code: object, message: str, *, kind: str | None = None, details: object = None) -> GreenroomError:
    """A code that this version does not know becomes :class:`Internal` with the code in ``details``."""
    more: dict[str, Any] = dict(details) if isinstance(details, Mapping) else {}
    known = _BY_CODE.get(code) if isinstance(code, str) else None
    if known is None:
        return Internal(message, kind=kind, details={**more, "code": code})
    if issubclass(known, BindingFailed):
        return known(message, kind=kind, details=more, retryable=bool(more.get("retryable", False)))
    return known(message, kind=kind, details=more)


def refused(answer: Mapping[str, Any]) -> GreenroomError:
    """From a failed acknowledgement ``{success: false, error, code, details?}``."""
    message = answer.get("error")
    return failure(
        answer.get("code"),
        message if isinstance(message, str) and message else "the server refused without saying why",
        details=answer.get("details"),
    )


def job_failed(error: Mapping[str, Any] | None) -> GreenroomError:
    """From ``job_finished.error``: ``{code, type, reason}``."""
    told = error or {}
    reason, kind = told.get("reason"), told.get("type")
    return failure(
        told.get("code"),
        reason if isinstance(reason, str) and reason else "the job failed without saying why",
        kind=kind if isinstance(kind, str) else None,
        details={key: value for key, value in told.items() if key not in ("code", "type", "reason")},
    )
