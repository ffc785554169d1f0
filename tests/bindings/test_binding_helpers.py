"""What several bindings share: addresses, sentences of backends, packages; and the commands that their texts name."""

import re
import socket
import tomllib
from itertools import pairwise

import pytest

from fakes.binding_rig import BINDINGS
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.downloads.catalogue import Catalogue
from greenroom.bindings.engines import parse_options
from greenroom.bindings.failure_text import causes, one_line
from greenroom.bindings.packages import load_packages
from greenroom.bindings.wav import SoundFramer
from greenroom.bindings.web_address import web_address
from greenroom.errors import BadRequest, Unavailable

SHELF = BindingShelf((BINDINGS,))
_INSTALL_MODEL = re.compile(r"greenroom\s+install\s+model\s+(\w+)\s+([A-Za-z][\w.\-]*(?:/[\w.\-]*\w)?)")
_EXTRA = re.compile(r"greenroom\[([\w,]+)\]")


@pytest.mark.parametrize("binding_id", ["fish", "elevenlabs", "anthropic", "gemini"])
@pytest.mark.parametrize("url", ["a.example", "https://me:secret@a.example", "https://a.example:70000"])
def test_an_address_that_is_none_is_refused_with_the_options(binding_id: str, url: str) -> None:
    operation = next(iter(SHELF.get(binding_id).load().operations.values()))
    with pytest.raises(BadRequest, match="base_url"):
        parse_options(operation, {"base_url": url}, binding_id)


def test_addresses() -> None:
    assert web_address(" https://a.example:8/v1/ ", "x") == "https://a.example:8/v1/"
    with pytest.raises(ValueError, match="an address such as http://x"):
        web_address("a.example", "http://x")
    with pytest.raises(ValueError, match="without user, password"):
        web_address("https://me:secret@a.example", "x")
    for port in ("abc", "70000", "0"):
        with pytest.raises(ValueError, match=r"[Pp]ort"):
            web_address(f"http://a.example:{port}", "x")


def test_what_a_backend_says_is_one_line_without_the_key() -> None:
    assert one_line("wrong\n key  abc, xyz-1", "abc", re.compile(r"xyz-\d")) == "wrong key ***, ***"
    assert one_line("<HTML><title> Bad\nGateway </title>") == "a web page, 'Bad\\nGateway'"
    assert one_line("x" * 400) == "x" * 300 + " ..."


def test_what_is_behind_an_exception() -> None:
    root = socket.gaierror()
    middle = ExceptionGroup("several", [OSError("one"), root])
    middle.__context__ = middle  # what goes in circles ends all the same
    top = RuntimeError()
    top.__cause__ = middle
    found = list(causes(top))
    assert found[:2] == [top, middle]
    assert root in found
    assert list(causes(None)) == []


def test_a_missing_package_names_the_command() -> None:
    load_packages("toy", ("json",))
    with pytest.raises(Unavailable, match=r'toy needs the package no_such_package .*pip install "greenroom\[toy\]"'):
        load_packages("toy", ("json", "no_such_package"))


def test_sound_that_comes_at_once_is_cut_like_sound_that_trickles() -> None:
    data = bytes(range(256)) * 200 + b"x"
    whole = SoundFramer(False, 8_000)
    at_once = [*whole.feed(data), *whole.end()]
    parts = SoundFramer(False, 8_000)
    places = [0, 3, 4, 7, *range(100, len(data), 999), len(data)]
    trickled = [sound for start, end in pairwise(places) for sound in parts.feed(data[start:end])] + parts.end()
    assert b"".join(sound.pcm for sound in at_once) == b"".join(sound.pcm for sound in trickled) == data[:-1]
    assert {len(sound.pcm) for sound in at_once[:-1]} == {1600}


@pytest.mark.parametrize("binding_id", SHELF.all())
def test_commands_in_cards_and_guides_do_what_they_say(binding_id: str) -> None:
    """Models that are to be installed are in the list; extras are in the package."""
    extras = tomllib.loads((BINDINGS.parent / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    found = SHELF.get(binding_id)
    said = "".join(path.read_text("utf-8") for path in found.folder.iterdir() if path.suffix in (".md", ".py", ".yaml"))
    for owner, name in _INSTALL_MODEL.findall(" ".join(said.split())):
        other = SHELF.get(owner)
        assert Catalogue(owner, found.folder, other.model_entries).find(name.rstrip(".")).name
    for names in _EXTRA.findall(said):
        assert set(names.split(",")) <= set(extras)
