"""Addresses, doors and networks as a configuration says them."""

from typing import Any

import pytest
from pydantic import ValidationError

from greenroom.config import Config
from greenroom.config.load import load_config
from greenroom.config.network import HTTP_DOORS, Address, ListenEntry, TlsFiles


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("127.0.0.1:9601", Address("127.0.0.1", 9601), "127.0.0.1:9601"),
        ("localhost:0", Address("localhost", 0), "localhost:0"),
        ("[::1]:9601", Address("::1", 9601), "[::1]:9601"),
        ("[fe80::1%eth0]:80", Address("fe80::1%eth0", 80), "[fe80::1%eth0]:80"),
        ("tcp://0.0.0.0:10200", Address("0.0.0.0", 10200, wyoming=True), "tcp://0.0.0.0:10200"),
        ("tcp://[::]:10200/", Address("::", 10200, wyoming=True), "tcp://[::]:10200"),
        ("unix:/run/a b.sock", Address(path="/run/a b.sock"), "unix:/run/a b.sock"),
        ("unix:///run/a.sock", Address(path="/run/a.sock"), "unix:/run/a.sock"),
    ],
)
def test_addresses(text: str, address: Address, shown: str) -> None:
    assert Address.parse(text) == address
    assert str(address) == shown and Address.parse(shown) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9601",
        ":9601",
        "127.0.0.1",
        "127.0.0.1:65536",
        "::1:9601",
        "http://a:1",
        "a:1/b",
        "unix:",
        "unix:a.sock",
        "a b:1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValidationError, match=r"wanted 127\.0\.0\.1:9601"):
        ListenEntry.model_validate({"address": text})


@pytest.mark.parametrize(
    ("entry", "doors"),
    [
        ({"address": "a:1"}, HTTP_DOORS),
        ({"address": "unix:/a"}, HTTP_DOORS),
        ({"address": "a:1", "doors": ["openai", "web", "web"]}, ("web", "openai")),
        ({"address": "tcp://a:1"}, ("wyoming",)),
        ({"address": "a:1", "doors": ["wyoming"]}, ("wyoming",)),
        ({"address": "unix:/a", "doors": ["wyoming"]}, ("wyoming",)),
    ],
)
def test_doors_of_an_address(entry: dict[str, Any], doors: tuple[str, ...]) -> None:
    assert ListenEntry.model_validate(entry).open_doors == doors


@pytest.mark.parametrize(
    ("given", "found"),
    [(False, "off"), (True, "auto"), ("off", "off"), ("auto", "auto"), ({"cert": "a.pem"}, TlsFiles(cert="a.pem"))],
)
def test_tls_as_yaml_reads_it(given: Any, found: Any) -> None:
    assert Config.model_validate({"server": {"tls": given}}).server.tls == found


@pytest.mark.parametrize(
    ("given", "found"),
    [("", ""), ("/", ""), ("greenroom", "/greenroom"), (" /a/b/ ", "/a/b"), ("/~ann/x.y", "/~ann/x.y")],
)
def test_root_paths(given: str, found: str) -> None:
    assert Config.model_validate({"server": {"root_path": given}}).server.root_path == found


@pytest.mark.parametrize("path", ["/api", "/v1/x", "/socket.io", "/..", "/a/?b", "/a b", "/health", "/a//b"])
def test_root_paths_that_cannot_be(path: str) -> None:
    with pytest.raises(ValidationError, match="wanted a path"):
        Config.model_validate({"server": {"root_path": path}})


def test_networks() -> None:
    given = ["10.1.2.3", "10.1.2.3/8", "fd00::/8", "UNIX"]
    config = Config.model_validate({"server": {"trusted_proxies": given}, "wyoming": {"networks": given[:3]}})
    assert config.server.trusted_proxies == ("10.1.2.3/32", "10.0.0.0/8", "fd00::/8", "unix")
    assert config.wyoming.networks == ("10.1.2.3/32", "10.0.0.0/8", "fd00::/8")
    for section in ({"wyoming": {"networks": ["unix"]}}, {"server": {"trusted_proxies": ["*"]}}):
        with pytest.raises(ValidationError, match="wanted an address or a network"):
            Config.model_validate(section)


def test_by_environment() -> None:
    env = {
        "GREENROOM_LISTEN": '[{address: "127.0.0.1:1", doors: [web]}]',
        "GREENROOM_SERVER_TLS": "auto",
        "GREENROOM_SERVER_TRUSTED_PROXIES": "127.0.0.1, unix",
    }
    config = load_config(None, env, {}).config
    assert config.listen[0].open_doors == ("web",) and config.server.tls == "auto"
    assert config.server.trusted_proxies == ("127.0.0.1/32", "unix")
