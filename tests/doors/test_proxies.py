"""What a request was before it came through a reverse proxy, and whom one believes."""

from collections.abc import Mapping
from typing import Any

import pytest

from greenroom.doors.asgi import route_path
from greenroom.doors.proxies import Proxies
from greenroom.doors.safety import Guard, Source
from greenroom.errors import Forbidden

NGINX = {
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "room.example.org",
    "x-forwarded-prefix": "/greenroom",
}


def scope(
    headers: Mapping[str, str] | None = None, path: str = "/api/x", client: tuple[str, int] | None = ("127.0.0.1", 5)
) -> dict[str, Any]:
    given = {"host": "127.0.0.1:9601", **(headers or {})}
    return {
        "type": "http",
        "scheme": "http",
        "path": path,
        "client": client,
        "server": ("127.0.0.1", 9601),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


def headers_of(sent: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent["headers"]}


def test_nobody_is_believed_unless_named() -> None:
    given = scope(NGINX)
    assert Proxies().as_sent(given) is given
    assert Proxies(["10.0.0.0/8", "unix"]).as_sent(given) is given


@pytest.mark.parametrize("path", ["/api/x", "/greenroom/api/x"], ids=["prefix stripped", "prefix kept"])
def test_a_named_proxy_is_believed(path: str) -> None:
    sent = Proxies(["127.0.0.0/8"]).as_sent(scope(NGINX, path))
    assert (sent["scheme"], sent["client"], sent["server"]) == ("https", ("203.0.113.9", 0), ("room.example.org", 443))
    assert headers_of(sent)["host"] == "room.example.org"
    assert (sent["root_path"], sent["path"], route_path(sent)) == ("/greenroom", "/greenroom/api/x", "/api/x")


def test_a_websocket_and_a_port_of_its_own() -> None:
    given = {**scope({**NGINX, "x-forwarded-host": "room.example.org:8443"}), "type": "websocket", "scheme": "ws"}
    sent = Proxies(["127.0.0.1"]).as_sent(given)
    assert (sent["scheme"], sent["server"]) == ("wss", ("room.example.org", 8443))
    given["headers"].append((b"x-forwarded-port", b"9443"))
    assert Proxies(["127.0.0.1"]).as_sent(given)["server"] == ("room.example.org", 9443)


def test_through_a_unix_socket() -> None:
    given = scope(NGINX, client=None)
    assert Proxies(["127.0.0.1"]).as_sent(given) is given
    given["server"] = ("/run/greenroom.sock", None)
    assert Proxies(["unix"]).as_sent(given)["client"] == ("203.0.113.9", 0)


def test_a_peer_that_has_hung_up_did_not_come_through_a_unix_socket() -> None:
    """Its address is not known any more; but it came to a port."""
    given = scope(NGINX, client=None)
    assert Proxies(["unix"]).as_sent(given) is given


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("2001:db8::9", "2001:db8::9"),
        ("unknown, 10.0.0.7", "10.0.0.7"),
        ("nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy(chain: str, client: str) -> None:
    sent = Proxies(["127.0.0.1", "10.0.0.0/8"]).as_sent(scope({"x-forwarded-for": chain, "x-forwarded-proto": "http"}))
    assert sent["client"][0] == client


def test_the_proxy_next_to_us_has_the_last_word() -> None:
    told = {"x-forwarded-host": "evil.example, room.example.org", "x-forwarded-proto": "http, https"}
    given = scope(told)
    given["headers"].append((b"x-forwarded-host", b"last.example.org"))
    sent = Proxies(["127.0.0.1"]).as_sent(given)
    assert headers_of(sent)["host"] == "last.example.org" and sent["scheme"] == "https"


@pytest.mark.parametrize("prefix", ["greenroom", "/a/../b", "//evil.example", "/a b", "/<script>", "javascript:"])
def test_a_prefix_that_is_none_is_not_taken(prefix: str) -> None:
    sent = Proxies(["127.0.0.1"]).as_sent(scope({"x-forwarded-prefix": prefix}))
    assert sent["root_path"] == "" and sent["path"] == "/api/x"


@pytest.mark.parametrize(
    ("path", "inner"),
    [
        ("/greenroom", "/"),
        ("/greenroom/", "/"),
        ("/", "/"),
        ("/greenroom/health", "/health"),
        ("/greenrooms", "/greenrooms"),
        ("/greenroom/greenroom", "/greenroom"),
    ],
)
def test_a_configured_root_path(path: str, inner: str) -> None:
    sent = Proxies(root_path="/greenroom").as_sent(scope(path=path))
    assert sent["root_path"] == "/greenroom" and route_path(sent) == inner
    assert (sent["client"], sent["scheme"]) == (("127.0.0.1", 5), "http")


def test_host_and_origin_are_checked_as_the_browser_sent_them() -> None:
    guard = Guard(allowed_hosts=["room.example.org"])
    proxies = Proxies(["127.0.0.1"])

    def check(**changes: str) -> None:
        guard.check(Source.of(proxies.as_sent(scope({**NGINX, **changes}))))

    check(origin="https://room.example.org")
    check()
    for changes in (
        {"origin": "https://evil.example"},
        {"origin": "https://room.example.org:8443"},
        {"x-forwarded-host": "evil.example", "origin": "https://evil.example"},
    ):
        with pytest.raises(Forbidden):
            check(**changes)
    # A bare address cannot have been rebound: the proxy's own is fine, whatever it is.
    check(**{"x-forwarded-host": "192.168.1.5", "origin": "https://192.168.1.5"})
