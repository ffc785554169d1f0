"""Every error that may reach a client, one tree.

    GreenroomError                 code            retryable
    |- BadRequest                  bad_request     no
    |- Unauthorized                unauthorized    no
    |- Forbidden                   forbidden       no
    |- NotFound                    not_found       no
    |- Conflict                    conflict        no
    |- Busy                        busy            yes
    |- TooLarge                    too_large       no
    |- Unavailable                 unavailable     yes
    |- BindingFailed               binding_failed  as the backend's failure is
    |- Cancelled                   cancelled       no
    |- Restarted                   restarted       yes
    |- TooSlow                     too_slow        yes
    '- Internal                    internal        no

Handlers choose by class, clients by ``code``; the message is a sentence for a person. ``kind`` is the finer type that
jaison's clients read on a failed job (``operation_unloaded``, ``job_cancelled``, ...).
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class GreenroomError(Exception):
    code: ClassVar[str] = "internal"
    retryable: bool = False
    default_kind: ClassVar[str] = "unknown"

    def __init__(self, message: str, *, kind: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind or self.default_kind
        self.details = dict(details) if details else None

    def payload(self) -> dict[str, Any]:
        """The failed acknowledgement: ``{success, error, code, details?}``."""
        answer: dict[str, Any] = {"success": False, "error": self.message, "code": self.code}
        if self.details:
            answer["details"] = self.details
        return answer


class BadRequest(GreenroomError):
    code = "bad_request"


class Unauthorized(GreenroomError):
    code = "unauthorized"


class Forbidden(GreenroomError):
    code = "forbidden"


class NotFound(GreenroomError):
    code = "not_found"


class Conflict(GreenroomError):
    code = "conflict"


class Busy(GreenroomError):
    code = "busy"
    retryable = True


class TooLarge(GreenroomError):
    code = "too_large"


class Unavailable(GreenroomError):
    code = "unavailable"
    retryable = True


class BindingFailed(GreenroomError):
    """A backend was down, slow, cut off or answered nonsense."""

    code = "binding_failed"

    def __init__(
        self,
        message: str,
        *,
        kind: str | None = None,
        details: Mapping[str, Any] | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, kind=kind, details=details)
        self.retryable = retryable


class Cancelled(GreenroomError):
    code = "cancelled"
    default_kind = "job_cancelled"


class Restarted(GreenroomError):
    code = "restarted"
    retryable = True


class TooSlow(GreenroomError):
    code = "too_slow"
    retryable = True


class Internal(GreenroomError):
    code = "internal"
