"""The voices that are described, in time; and the language that a recogniser is told."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from doors.test_wyoming import wyoming_address
from fakes.flite import flite
from fakes.openai_server import FakeOpenAI
from fakes.server_process import running_server
from fakes.wyoming_client import Transcribe, heard, record, wyoming
from greenroom.bindings.roles import Engine, Options, SpeechToText, Voice
from greenroom.doors.wyoming.operations import spoken_in
from greenroom.doors.wyoming.recording import Recording
from greenroom.doors.wyoming.requests import Sound
from greenroom.doors.wyoming.voices import VoiceLists
from greenroom.errors import BadRequest, BindingFailed
from greenroom.values import Audio, Transcript

ANA = Voice("ana", "Ana", "de")
PATIENCE_S = 30.0


class Shelf:
    """Voices that are found out when they may be."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.asked = 0
        self.failure: Exception | None = None

    async def look(self) -> Sequence[Voice]:
        self.asked += 1
        await self.may.wait()
        if self.failure is not None:
            raise self.failure
        return [ANA]


async def test_a_list_that_takes_long_is_not_waited_for_and_there_the_next_time() -> None:
    lists, shelf = VoiceLists(patience_s=0.01), Shelf()
    assert await lists.of("far", {"a": 1}, shelf.look) == ()
    assert await lists.of("far", {"a": 1}, shelf.look) == ()
    assert shelf.asked == 1  # who has gone meanwhile does not end the search
    shelf.may.set()
    patient = VoiceLists(patience_s=PATIENCE_S)
    assert await patient.of("far", {"a": 1}, shelf.look) == [ANA]
    async with asyncio.timeout(PATIENCE_S):
        while not await lists.of("far", {"a": 1}, shelf.look):
            pass
    shelf.may.clear()
    assert await lists.of("far", {"a": 1}, shelf.look) == [ANA]  # what was found before
    assert await lists.of("far", {"a": 2}, shelf.look) == ()
    await lists.close()


async def test_a_voice_that_fails_says_so() -> None:
    lists, shelf = VoiceLists(patience_s=PATIENCE_S), Shelf()
    shelf.failure = BindingFailed("no connection", retryable=True)
    shelf.may.set()
    with pytest.raises(BindingFailed):
        await lists.of("far", {}, shelf.look)
    shelf.failure = None
    assert await lists.of("far", {}, shelf.look) == [ANA]


class Plain(Options):
    language: str = ""


class Full(Options):
    language: str = "en-US"


@pytest.mark.parametrize(
    ("form", "options", "asked", "told"),
    [
        (Options, {}, "de", None),
        (Plain, {}, "", None),
        (Plain, {}, "de-DE", "de"),
        (Plain, {"language": "de"}, "de-AT", None),
        (Plain, {"language": "en"}, "de", "de"),
        (Full, {}, "en-GB", None),
        (Full, {}, "de-DE", "de-DE"),
        (Full, {}, "de", None),
        (Full, {"language": "de-DE"}, "en_US", None),
    ],
)
def test_a_language_is_told_as_the_option_is_written(
    form: type[Options], options: dict[str, Any], asked: str, told: str | None
) -> None:
    assert spoken_in(form, options, asked) == told


class Ears(SpeechToText[Engine]):
    Options: ClassVar[type[Options]] = Plain
    options: Plain

    async def transcribe(self, audio: AsyncIterator[Audio], hint: str) -> AsyncIterator[Transcript]:
        if self.options.language == "xx":
            raise BadRequest("xx is not known", details={"field": "language"})
        size = sum([len(piece.pcm) async for piece in audio])
        yield Transcript(f"{size} bytes in {self.options.language or 'whatever'}")


@pytest.mark.parametrize(("language", "text"), [("de", "8 bytes in de"), ("xx", "8 bytes in whatever")])
async def test_a_language_that_a_recogniser_does_not_know_is_left_to_it(language: str, text: str) -> None:
    @asynccontextmanager
    async def borrowed(role: object, language: str = "") -> AsyncGenerator[list[Any], None]:
        yield [SimpleNamespace(binding_id="ears", operation=Ears(Engine(), Plain(language=language)))]

    config = SimpleNamespace(value=SimpleNamespace(turn=SimpleNamespace(timeout_s=PATIENCE_S)))
    backends: Any = SimpleNamespace(borrowed=borrowed, rooms=SimpleNamespace(house=SimpleNamespace(config=config)))
    sound = Sound(rate=16_000, width=2, channels=1)
    recording = Recording(sound, limit_bytes=1000, limit_s=10)
    recording.add(sound, bytes(4))
    hearing = asyncio.create_task(recording.transcript(backends, "", language))
    recording.add(sound, bytes(4))
    recording.end()
    assert await asyncio.wait_for(hearing, PATIENCE_S) == text


async def test_home_assistants_language_reaches_the_backend(tmp_path: Path) -> None:
    async with FakeOpenAI(transcribe_s=0) as fake:
        (tmp_path / "config.yaml").write_text(
            "operations:\n  - {role: t2t, id: eliza}\n"
            f"  - {{role: stt, id: openai, base_url: '{fake.base_url}', model: whisper-fake}}\n"
        )
        async with (
            running_server(tmp_path, "--wyoming", "tcp://127.0.0.1:0") as server,
            wyoming(await wyoming_address(server)) as client,
        ):
            for language in ("de-DE", "en"):
                await client.write_event(Transcribe(language=language).event())
                await record(client, flite("hello there", "rms"))
                assert (await heard(client, "transcript")).data["text"] == "hello there"
    assert [asked.body["language"] for asked in fake.of("/audio/transcriptions")] == ["de", "en"]
