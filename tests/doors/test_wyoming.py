"""The Wyoming door of a real server, over TCP, with the wyoming package's client: what Home Assistant does."""

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from e2e.conftest import QUICK, make_home
from e2e.visitor import visitor
from fakes.flite import flite, word_errors
from fakes.server_process import ServerProcess, running_server
from fakes.wyoming_client import (
    AudioChunk,
    AudioStart,
    Describe,
    Event,
    Handled,
    Info,
    Ping,
    SelectProgram,
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
    Transcribe,
    Transcript,
    heard,
    heard_until,
    record,
    wyoming,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ServerProcess, None]:
    home = make_home(tmp_path_factory.mktemp("wyoming"), QUICK)
    async with running_server(home, "--wyoming", "tcp://127.0.0.1:0") as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def uri(server: ServerProcess) -> str:
    """The door's address, as the server printed it."""
    return await wyoming_address(server)


async def wyoming_address(server: ServerProcess) -> str:
    assert server.process.stdout is not None
    line = (await server.process.stdout.readline()).decode()
    found = re.search(r"also\s+(tcp://\S+) for wyoming", line)
    assert found is not None, line
    return found[1]


def spoken(events: list[Event]) -> bytes:
    return b"".join(AudioChunk.from_event(event).audio for event in events if event.type == "audio-chunk")


async def test_describe_lists_ears_voices_and_characters(uri: str) -> None:
    async with wyoming(uri) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await heard(client, "info"))
    (ears,) = info.asr
    assert ears.name == "pocketsphinx" and ears.installed and ears.supports_transcript_streaming
    assert [(model.name, model.languages) for model in ears.models] == [("en-us", ["en-US"])]
    assert ears.models[0].attribution.name == "Carnegie Mellon University"
    (voice,) = info.tts
    assert voice.name == "espeak" and voice.supports_synthesize_streaming and voice.version
    languages = {language for one in voice.voices for language in one.languages}
    assert {"de", "fr"} <= {language[:2] for language in languages}
    assert all(one.name and one.languages and one.attribution.name for one in voice.voices)
    (robin,) = info.handle
    assert robin.name == "Robin" and robin.models[0].languages == ["en"] and robin.supports_handled_streaming


async def test_ping(uri: str) -> None:
    async with wyoming(uri) as client:
        await client.write_event(Ping(text="are you there?").event())
        assert (await heard(client, "pong")).data == {"text": "are you there?"}


async def test_speech_becomes_text(uri: str) -> None:
    said = "the weather is very nice today"
    async with wyoming(uri) as client:
        await client.write_event(Transcribe(language="en-us").event())
        await record(client, flite(said, "rms"))
        events = await heard_until(client, "transcript-stop")
        assert [event.type for event in events][-2:] == ["transcript", "transcript-stop"]
        transcript = Transcript.from_event(events[-2])
        assert word_errors(said, transcript.text) <= 2 and transcript.language == "en-us"
        assert "".join(event.data["text"] for event in events if event.type == "transcript-chunk") == transcript.text
        # Another one on the same connection, of silence: an empty transcript is an answer, too.
        await client.write_event(AudioStart(16000, 2, 1).event())
        await client.write_event(Event("audio-stop"))
        assert (await heard(client, "transcript")).data["text"] == ""


async def test_text_becomes_speech_in_the_voice_asked_for(uri: str) -> None:
    async with wyoming(uri) as client:
        sounds = []
        for voice in (None, SynthesizeVoice(name="de"), SynthesizeVoice(language="fr-FR")):
            await client.write_event(Synthesize(text="*waves* Hello, you! How are you?", voice=voice).event())
            events = await heard_until(client, "audio-stop")
            assert events[0].type == "audio-start" and AudioStart.from_event(events[0]).width == 2
            times = [AudioChunk.from_event(event).timestamp or 0 for event in events if event.type == "audio-chunk"]
            assert times == sorted(times)
            sounds.append(spoken(events))
        assert all(len(sound) > 22_050 for sound in sounds) and len({len(sound) for sound in sounds}) == 3


async def test_streamed_text_is_spoken_while_it_comes(uri: str) -> None:
    async with wyoming(uri) as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk(text="This is the first sentence. And ").event())
        # The first sentence sounds before the text has ended.
        assert [event.type for event in await heard_until(client, "audio-chunk")] == ["audio-start", "audio-chunk"]
        await client.write_event(SynthesizeChunk(text="this is the second one.").event())
        await client.write_event(Synthesize(text="the whole, for servers that do not stream").event())
        await client.write_event(SynthesizeStop().event())
        events = await heard_until(client, "synthesize-stopped")
        kinds = [event.type for event in events]
        assert kinds[-2:] == ["audio-stop", "synthesize-stopped"] and kinds.count("audio-stop") == 1
        await client.write_event(Synthesize(text="").event())
        assert [event.type for event in await heard_until(client, "audio-stop")] == ["audio-start", "audio-stop"]


async def test_the_character_answers_in_the_session_of_all(server: ServerProcess, uri: str) -> None:
    async with visitor(server.url, session="main") as ana, wyoming(uri) as client:
        context = {"conversation_id": "kitchen"}
        await client.write_event(Event("transcript", {"text": "Hello, who are you?", "context": context}))
        events = await heard_until(client, "handled-stop")
        assert [events[0].type, events[-2].type] == ["handled-start", "handled"]
        handled = Handled.from_event(events[-2])
        assert handled.text and handled.context == context
        assert "".join(event.data["text"] for event in events if event.type == "handled-chunk") == handled.text
        await ana.next("job_finished")
        assert ana.named("text_generated")[-1]["text"] == handled.text
        assert not ana.named("audio_chunk")


async def test_a_program_is_a_character(tmp_path: Path) -> None:
    home = make_home(
        tmp_path / "home",
        f"{QUICK}personalities: [english/companions/robin, english/tests/otto]\nwyoming: {{session: den}}\n",
    )
    otto = home / "personalities" / "english" / "tests" / "otto"
    otto.mkdir(parents=True)
    (otto / "config.yaml").write_text("name: Otto\npersonality_conditioning: You are Otto.\n")
    async with running_server(home, "--wyoming", "127.0.0.1:0") as process:
        uri = await wyoming_address(process)
        async with visitor(process.url, session="den") as ana, wyoming(uri) as client:
            await client.write_event(SelectProgram(name="Otto").event())
            await client.write_event(Event("transcript", {"text": "Hello."}))
            await heard_until(client, "handled-stop")
            assert (await ana.done("list_active_personalities"))["active"] == 1
            await client.write_event(Describe().event())
            info = Info.from_event(await heard(client, "info"))
            assert [program.name for program in info.handle] == ["Otto", "Robin"]
            await client.write_event(SelectProgram(name="Nobody").event())
            await client.write_event(Event("transcript", {"text": "Hello."}))
            refused = (await heard(client, "error")).data
            assert refused["code"] == "not_found" and "Otto" in refused["text"]


async def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    config = f"{QUICK}operations: [{{role: t2t, id: scripted}}]\n"
    home = make_home(tmp_path / "home", config)
    async with running_server(home, "--wyoming", "127.0.0.1:0") as process:
        address = await wyoming_address(process)
        async with wyoming(address) as client:
            await client.write_event(Describe().event())
            info = Info.from_event(await heard(client, "info"))
            assert not info.asr and not info.tts and info.handle
            for text in ("crash", "fail Well,"):
                await client.write_event(Event("transcript", {"text": text}))
                events = await heard_until(client, "handled-stop")
                assert [event.type for event in events if event.type != "handled-chunk"] == [
                    *("handled-start", "error", "not-handled", "handled-stop")
                ]
                assert events[-3].data["code"] == "binding_failed"
            assert events[-2].data["text"].startswith("Well,")
            await client.write_event(Ping().event())
            await heard(client, "pong")
        async with wyoming(address) as client:
            await client.write_event(Synthesize(text="Hello.").event())
            assert "tts" in (await heard(client, "error")).data["text"]
            assert await client.read_event() is None
        async with wyoming(address) as client:
            await record(client, flite("hello"))
            assert "stt" in (await heard(client, "error")).data["text"]
            assert await client.read_event() is None


async def test_health_counts_it(server: ServerProcess, uri: str) -> None:
    async with wyoming(uri) as client, aiohttp.ClientSession() as http:
        await client.write_event(Ping().event())
        await heard(client, "pong")
        async with http.get(f"{server.url}/health") as answer:
            doors = (await answer.json())["doors"]
    assert doors["wyoming"] == {"clients": 1}
    assert list(doors) == ["socketio", "web", "jaison", "openai", "wyoming"]
