"""The characters that come with Greenroom: each has a voice, a manner, a picture, and answers for itself."""

import struct
from pathlib import Path

import pytest

from fakes.binding_rig import open_operation
from greenroom.personalities.folder import Personality
from greenroom.personalities.prompt import SpokenLine, chat_prompt
from greenroom.personalities.shelf import PersonalityShelf
from greenroom.values import Role

ROOT = Path(__file__).parents[2] / "personalities"
SHELF = PersonalityShelf((ROOT,))
CHARACTERS = [pytest.param(found, id=found.id) for found in SHELF.all()]
WHO = {
    "english": ("Hello, who are you?", "what is your name", "are you a robot", "script"),
    "german": ("Hallo, wer bist du?", "wie heißt du", "bist du ein Roboter", "Skript"),
    "french": ("Bonjour, qui es-tu ?", "comment t'appelles-tu", "es-tu un robot", "script"),
}


def test_there_are_several_in_several_languages() -> None:
    assert SHELF.broken() == {}
    assert len(CHARACTERS) >= 6
    assert {"english", "german", "french"} <= set(SHELF.languages())
    assert SHELF.get("english/companions/robin").name == "Robin"
    assert len({found.name for found in SHELF.all()}) == len(CHARACTERS)


@pytest.mark.parametrize("found", CHARACTERS)
def test_it_is_complete(found: Personality) -> None:
    assert found.notes == ()
    assert found.description and found.welcome_message and found.author == "Greenroom"
    assert len(found.conditioning) > 300
    assert found.link_text == "\n"
    assert found.user_message_prefix.startswith("!@> ") and found.ai_message_prefix.startswith("!@> ")
    assert not found.has_scripts
    assert set(found.extras) == {"category", "language"}


@pytest.mark.parametrize("found", CHARACTERS)
def test_its_picture_is_drawn_and_small(found: Personality) -> None:
    assert found.logo is not None
    data = found.logo.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (256, 256)
    assert 5_000 < len(data) < 60_000


def test_no_two_sound_alike() -> None:
    voices = [tuple(found.voice["espeak"].items()) for found in SHELF.all()]
    assert len(set(voices)) == len(voices)


@pytest.mark.parametrize("found", CHARACTERS)
async def test_its_voice_exists(found: Personality) -> None:
    async with open_operation("espeak", Role.TTS, found.voice["espeak"]) as operation:
        assert operation.options.voice == found.voice["espeak"]["voice"]


@pytest.mark.parametrize("found", CHARACTERS)
async def test_it_answers_in_character_and_tells_what_it_is(found: Personality) -> None:
    who, name, robot, script = WHO[found.language]
    short_name = found.name.split()[-1]
    async with open_operation("eliza", Role.T2T, {"tokens_per_second": 0}) as operation:
        for question, part in ((who, short_name), (name, short_name), (robot, script)):
            prompt = chat_prompt(found, [SpokenLine(False, question)], user_name="User")
            reply = "".join([delta.text async for delta in operation.generate(prompt)])
            assert part in reply, (question, reply)
            assert "User" not in reply


@pytest.mark.parametrize("found", CHARACTERS)
async def test_every_line_can_be_said(found: Personality) -> None:
    """A long talk of nothing in particular never falls silent, and never says the same twice running."""
    lines: list[SpokenLine] = []
    async with open_operation("eliza", Role.T2T, {"tokens_per_second": 0}) as operation:
        for number in range(30):
            lines.append(SpokenLine(False, f"qwx{number} zzt"))
            prompt = chat_prompt(found, lines)
            reply = "".join([delta.text async for delta in operation.generate(prompt)])
            assert reply and "{" not in reply and "(1)" not in reply
            assert len(lines) < 2 or reply != lines[-2].text
            lines.append(SpokenLine(True, reply))
