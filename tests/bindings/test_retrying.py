import email.utils
import time
from typing import Any

import pytest

from greenroom.bindings.retrying import LONGEST_WAIT_S, pause_s, retry_after_s
from greenroom.errors import BindingFailed


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "3", "retry-after-ms": "120"}, 0.12),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0),
    ],
)
def test_how_long_a_service_asks_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers) == wait_s


def test_a_date_is_a_time_from_now() -> None:
    wait_s = retry_after_s({"retry-after": email.utils.formatdate(time.time() + 3600, usegmt=True)})
    assert wait_s is not None and 3000 < wait_s <= 3600


def failed(*, retryable: bool = True, **details: Any) -> BindingFailed:
    return BindingFailed("no", details=details, retryable=retryable)


def test_each_wait_is_longer_unless_the_service_says() -> None:
    waits = [pause_s(failed(), attempt) for attempt in range(4)]
    assert waits == [0.25, 0.5, 1, 2]
    assert pause_s(failed(retry_after_s=0.1), 3) == 0.1
    assert pause_s(failed(retry_after_s=LONGEST_WAIT_S + 1), 0) is None
    assert pause_s(failed(retryable=False), 0) is None
