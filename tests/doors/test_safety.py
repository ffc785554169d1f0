"""Who may come in."""

from typing import Any

import pytest

from greenroom.doors.safety import Guard, Source, Token, is_loopback
from greenroom.errors import BadRequest, Forbidden, Unauthorized
from greenroom.protocol.grant import Grant
from greenroom.values import Access


def source(host: str | None = "localhost:9601", origin: str | None = None, **more: Any) -> Source:
    return Source(**{"host": host, "origin": origin, "local_address": "127.0.0.1", "local_port": 9601, **more})


def allowed(guard: Guard, where: Source) -> bool:
    try:
        guard.check(where)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9601", "127.0.0.1:1", "[::1]:9601", "127.8.0.1", "LOCALHOST."]
)
def test_loopback_names_are_ours(host: str) -> None:
    assert allowed(Guard(), source(host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "10.0.0.9",
        "a b",
        "",
        "user@localhost",
        "[::1",
        "x:y:z",
    ],
)
def test_a_rebound_name_is_not_ours(host: str) -> None:
    assert not allowed(Guard(), source(host))
    # and agreeing with the Origin does not help
    assert not allowed(Guard(), source(host, f"http://{host}"))


@pytest.mark.parametrize(
    "origin", ["http://localhost:9601", "https://127.0.0.1:9601", "http://[::1]:9601", "HTTP://LocalHost:9601"]
)
def test_our_own_pages_may(origin: str) -> None:
    assert allowed(Guard(), source(origin=origin))


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:8888",
        "https://evil.example",
        "null",
        "file://",
        "chrome-extension://abc",
        "http://localhost:9601.evil.example",
        "http://evil.example:9601",
        "ftp://localhost:9601",
        "",
        "http://localhost:99999",
    ],
)
def test_other_pages_may_not(origin: str) -> None:
    assert not allowed(Guard(), source(origin=origin))


def test_what_the_owner_lists_may() -> None:
    guard = Guard(
        allowed_origins=["https://overlay.example", "null", "http://localhost:5173/"], allowed_hosts=["room.lan:80"]
    )
    assert allowed(guard, source(origin="https://overlay.example:443"))
    assert allowed(guard, source(origin="null"))
    assert allowed(guard, source(origin="http://localhost:5173"))
    assert allowed(guard, source("room.lan:8080"))
    assert allowed(guard, source("ROOM.lan.", "http://room.lan:9601"))
    assert not allowed(guard, source(origin="http://overlay.example"))


def test_no_origin_is_no_browser_unless_the_browser_says_otherwise() -> None:
    assert allowed(Guard(), source(None))
    assert not allowed(Guard(), source(cross_site=True))


def test_a_wildcard_address_goes_by_the_address_that_was_reached() -> None:
    guard = Guard(host="0.0.0.0", insecure=True)
    lan = {"local_address": "192.168.1.5"}
    assert allowed(guard, source("192.168.1.5:9601", "http://192.168.1.5:9601", **lan))
    assert not allowed(guard, source("192.168.1.6:9601", **lan))
    assert not allowed(guard, source("0.0.0.0:9601", **lan))
    assert not allowed(guard, source("192.168.1.5:9601", "http://192.168.1.6:9601", **lan))
    assert allowed(guard, source("[fe80::1]:9601", local_address="fe80::1%eth0"))


def test_headers_that_stand_twice_are_refused() -> None:
    headers = [(b"host", b"localhost:9601"), (b"Origin", b"http://localhost:9601"), (b"origin", b"http://evil.example")]
    found = Source.of({"headers": headers, "server": ("127.0.0.1", 9601)})
    assert not allowed(Guard(), found)
    assert allowed(Guard(), Source.of({"headers": headers[:2], "server": ("127.0.0.1", 9601)}))
    assert not allowed(Guard(), Source.of({"headers": headers[:2], "server": None}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_machines_need_a_token(host: str) -> None:
    with pytest.raises(BadRequest, match="token"):
        Guard(host=host)
    Guard(host=host, tokens=[Token("x", Access.VIEWER)])
    Guard(host=host, insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1"])
def test_this_machine_needs_none(host: str) -> None:
    assert is_loopback(host)
    assert Guard(host=host).grant(None) == Grant(Access.OWNER)


def test_tokens() -> None:
    guard = Guard(tokens=[Token("aaa", Access.PERFORMER, frozenset({"stage"})), Token("äöü", Access.OWNER)])
    grant = guard.grant("aaa")
    assert grant.access is Access.PERFORMER
    assert grant.opens("stage") and not grant.opens("main")
    with pytest.raises(Forbidden):
        grant.require_session("main")
    with pytest.raises(Forbidden, match="role owner"):
        grant.require(Access.OWNER, "install_model")
    grant.require(Access.VIEWER, "session_state")
    assert guard.grant("äöü").opens("anything")
    assert guard.grant("äöü", "viewer").access is Access.VIEWER
    with pytest.raises(Forbidden):
        guard.grant("aaa", "owner")
    with pytest.raises(BadRequest, match="viewer, performer, owner"):
        guard.grant("aaa", "king")
    for wrong in (None, "", "aa", "aaaa", "\ud800"):
        with pytest.raises(Unauthorized):
            guard.grant(wrong)
    assert "aaa" not in repr(Token("aaa", Access.OWNER))


def test_nonsense_in_the_configuration_is_refused() -> None:
    with pytest.raises(BadRequest):
        Guard(tokens=[Token("", Access.OWNER)])
    with pytest.raises(BadRequest):
        Guard(allowed_origins=["example.org"])
    with pytest.raises(BadRequest):
        Guard(allowed_hosts=["http://example.org"])


def test_a_server_with_several_addresses_goes_by_each() -> None:
    guard = Guard(host="127.0.0.1", further=["192.168.1.5", "room.lan"], tokens=[Token("a", Access.OWNER)])
    for host in ("localhost:1", "192.168.1.5", "room.lan:80"):
        guard.check_host(Source(host=host))
    with pytest.raises(Forbidden):
        guard.check_host(Source(host="192.168.1.6"))
    with pytest.raises(BadRequest, match=r"listening on 192\.168\.1\.5 lets other machines in"):
        Guard(host="127.0.0.1", further=["192.168.1.5"])
