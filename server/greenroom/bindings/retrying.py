"""When a service is asked again: no sooner than it wishes, and never for longer than somebody waits who is talking.

headers of an answer -> seconds that the service asks for
a failure            -> seconds until the next attempt, or None
"""

import email.utils
import time
from collections.abc import Mapping
from math import isfinite
from typing import Any

from greenroom.errors import BindingFailed

LONGEST_WAIT_S = 5.0
_FIRST_WAIT_S = 0.25


def retry_after_s(headers: Mapping[str, Any]) -> float | None:
    """``retry-after-ms``, or ``retry-after`` in seconds or as a date; ``None`` for neither, and for nonsense.

    ``headers``: any mapping that takes names in lower case.
    """
    wait_s = _number(headers.get("retry-after-ms"))
    if wait_s is not None:
        return wait_s / 1000
    asked = headers.get("retry-after")
    wait_s = _number(asked)
    if wait_s is not None or not asked:
        return wait_s
    try:
        return max(0.0, email.utils.parsedate_to_datetime(str(asked)).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, number) if isfinite(number) else None


def pause_s(failure: BindingFailed, attempt: int) -> float | None:
    """Seconds to wait after attempt number ``attempt``, counted from 0; ``None`` if another is of no use, or the
    service asks for more patience than there is."""
    if not failure.retryable:
        return None
    asked = (failure.details or {}).get("retry_after_s")
    wait_s = _FIRST_WAIT_S * 2.0**attempt if asked is None else float(asked)
    return wait_s if wait_s <= LONGEST_WAIT_S else None
