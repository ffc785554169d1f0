"""How often a client may ask, and who counts as one client."""

from collections.abc import Callable
from typing import Any

import pytest

from greenroom.doors import rates
from greenroom.doors.rates import Rates, TokenBucket, TooMany, site
from greenroom.errors import Busy


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(count: Callable[[], None]) -> int:
    """-> seconds to wait"""
    with pytest.raises(TooMany, match="try again in a moment") as caught:
        count()
    assert isinstance(caught.value, Busy) and caught.value.code == "busy" and caught.value.retryable
    assert caught.value.details is not None
    return int(caught.value.details["retry_after_s"])


def test_a_bucket_fills_with_time(clock: Clock) -> None:
    bucket = TokenBucket(10, 3, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now = 0.1
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now = 100
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_light_request_takes_less_and_waits_less(clock: Clock) -> None:
    bucket = TokenBucket(0.25, 1, clock)
    for _ in range(9):
        bucket.count(rates.LIGHT)
    assert refused(bucket.count) == 4
    bucket.count(rates.LIGHT)
    assert refused(lambda: bucket.count(rates.LIGHT)) == 1


@pytest.mark.parametrize(("rate", "seconds"), [(100.0, 1), (1.0, 1), (0.25, 4), (0.03, 34)])
def test_it_says_when_to_come_back(clock: Clock, rate: float, seconds: int) -> None:
    bucket = TokenBucket(rate, 1, clock)
    bucket.count()
    assert refused(bucket.count) == seconds
    clock.now = 0.9 / rate
    assert 1 <= refused(bucket.count) < max(seconds, 2)
    clock.now = seconds
    bucket.count()


def test_each_client_has_its_own(clock: Clock) -> None:
    known = Rates(1, 2, clock)
    for client in (("openai", "10.0.0.1", "a"), ("openai", "10.0.0.1", "b"), ("jaison", "10.0.0.1", "a")):
        known.count(*client)
        known.count(*client)
        refused(lambda: known.count(*client))  # noqa: B023 -- called at once


def test_of_too_many_clients_the_longest_silent_is_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_REMEMBERED", 2)
    known = Rates(1, 1, clock)
    known.count("a")
    known.count("b")
    refused(lambda: known.count("a"))
    known.count("c")
    refused(lambda: known.count("a"))
    known.count("b")


@pytest.mark.parametrize(
    ("client", "found"),
    [
        (("10.1.2.3", 5000), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5000), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 5000), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("testclient", 1), "testclient"),
        (None, ""),
    ],
)
def test_where_a_request_comes_from(client: Any, found: str) -> None:
    assert site({"client": client}) == found
