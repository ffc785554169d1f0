"""Operations written for jaison run with only their import lines changed."""

import asyncio
import subprocess
import sys
from array import array
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fakes.binding_rig import Places
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import Engines
from greenroom.bindings.jaison import (
    BaseProcess,
    FilterTextOperation,
    ProcessManager,
    ProcessType,
    T2TOperation,
    TTSOperation,
    config,
    jaison_binding,
    processes,
)
from greenroom.errors import BadRequest, BindingFailed
from greenroom.session.access import reserved
from greenroom.values import Audio, Message, Persona, Prompt, Role, SpeechText, TextChunk, TextDelta, Transcript

FOLDER = Path(__file__).parents[1] / "fakes" / "bindings"
PARROT = "jaison_parrot"


@asynccontextmanager
async def parrot(role: Role, **options: Any) -> AsyncIterator[Any]:
    engines = Engines(BindingShelf((FOLDER,)), Places())
    loaded = await engines.load(PARROT, role, options)
    try:
        yield loaded.operation
    finally:
        await loaded.release()
        await engines.close()


async def given(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


def asked(*lines: str) -> Prompt:
    messages = tuple(Message("assistant" if line == "-" else "user", line) for line in lines)
    return Prompt("be a parrot", messages, persona=Persona("Polly"))


async def said(operation: Any, *lines: str) -> str:
    return "".join([delta.text async for delta in operation.generate(asked(*lines))])


async def test_text_comes_token_by_token_from_its_own_process() -> None:
    async with parrot(Role.T2T, suffix="!!") as operation:
        deltas = [delta async for delta in operation.generate(asked("[Bob]: hello there"))]
        assert deltas == [TextDelta("[BOB]: "), TextDelta("HELLO "), TextDelta("THERE!! ")]
        assert await said(operation, "[Bob]: hi", "-") == "ME!! "


class Listener(T2TOperation):
    """Says of each message what kind it is and what it holds beside the line."""

    def __init__(self) -> None:
        super().__init__("listener")

    async def _generate(self, messages: Any = None, **kwargs: Any) -> AsyncGenerator[dict[str, Any], None]:
        for message in messages:
            held = {name: value for name, value in vars(message).items() if name not in ("time", "context_metadata")}
            yield {"content": f"{type(message).__name__} {held} {message.to_line()}"}


async def test_a_line_of_the_script_is_the_message_that_it_was_made_of() -> None:
    operation: Any = jaison_binding(Listener).operations[Role.T2T]
    engine = await operation.open_engine(operation.Options(), Places().place(BindingShelf((FOLDER,)).get(PARROT)))
    lines = [
        "[Bob]: one\ntwo: [x]: y",
        "[REQUEST]: sing",
        "[CONTEXT#News]: rain",
        "[MCP#files]: a.txt",
        "[]: bare",
        "-",
    ]
    told = [delta.text async for delta in operation(engine, operation.Options()).generate(asked(*lines))]
    assert told == [
        "ChatMessage {'user': 'Bob', 'message': 'one\\ntwo: [x]: y'} [Bob]: one\ntwo: [x]: y",
        "RequestMessage {'message': 'sing'} [REQUEST]: sing",
        "CustomMessage {'message': 'rain'} [CONTEXT#News]: rain",
        "MCPMessage {'tool_name': 'files', 'result': 'a.txt'} [MCP#files]: a.txt",
        "RawMessage {'message': '[]: bare'} []: bare",
        "ChatMessage {'user': 'Polly', 'message': '-'} [Polly]: -",
    ]
    await engine.close()


class Moody(TTSOperation):
    """As jaison's guide has it: a voice that takes what a filter has said, by a ``_parse_chunk`` of its own."""

    def __init__(self) -> None:
        super().__init__("moody")

    async def _parse_chunk(self, chunk_in: dict[str, Any]) -> dict[str, Any]:
        return {**await super()._parse_chunk(chunk_in), "emotion": chunk_in["emotion"]}

    async def _generate(
        self, content: str = "", emotion: str = "", **kwargs: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        yield {"audio_bytes": bytearray(f"{emotion} {content}", "ascii"), "sr": Whole(24000), "sw": 1, "ch": 1}


class Whole:
    """A whole number of another library, as numpy has them."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


async def test_a_voice_takes_what_filters_said() -> None:
    operation: Any = jaison_binding(Moody).operations[Role.TTS]
    assert operation.wants_extras
    assert not BindingShelf((FOLDER,)).get(PARROT).operation(Role.TTS).wants_extras  # type: ignore[attr-defined]
    engine = await operation.open_engine(operation.Options(), Places().place(BindingShelf((FOLDER,)).get(PARROT)))
    speech = SpeechText("hi", extras={"emotion": "joy", "score": 1})
    sounds = [sound async for sound in operation(engine, operation.Options()).speak(given(speech))]
    assert sounds == [Audio(b"joy hi", 24000, 1, 1)]
    await engine.close()


async def test_the_process_ends_with_its_last_user() -> None:
    async with parrot(Role.T2T) as operation:
        manager = operation.manager
        process = manager.get_process("shout").process
        assert process.poll() is None
    assert process.poll() is not None
    assert manager.get_process("shout").process is None


async def test_a_process_that_died_is_started_again_with_its_operation() -> None:
    async with parrot(Role.T2T) as operation:
        process = operation.manager.get_process("shout").process
        process.kill()
        await asyncio.to_thread(process.wait)
        assert await said(operation, "again") == "AGAIN! "
        assert operation.manager.get_process("shout").process.pid != process.pid


async def test_two_sessions_with_different_settings_share_the_process() -> None:
    engines = Engines(BindingShelf((FOLDER,)), Places())
    first = await engines.load(PARROT, Role.T2T, {"suffix": "!"})
    second = await engines.load(PARROT, Role.T2T, {"suffix": "?"})
    process = first.operation.manager.get_process("shout").process  # type: ignore[attr-defined]
    assert [await said(each.operation, "hi") for each in (first, second)] == ["HI! ", "HI? "]
    await first.release()
    assert await said(second.operation, "still here") == "STILL HERE? "
    assert process.poll() is None
    await second.release()
    await engines.close()
    assert process.poll() is not None


class Idle(BaseProcess):
    def __init__(self) -> None:
        super().__init__("idle")

    async def reload(self) -> None:
        await super().reload()
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


class Forgetful(T2TOperation):
    """Does not start without ``works``, and never lets go of its process by itself."""

    def __init__(self) -> None:
        super().__init__("forgetful")
        self.settings: dict[str, Any] = {}

    async def configure(self, config_d: dict[str, Any]) -> None:
        self.settings = config_d

    async def start(self) -> None:
        await super().start()
        await ProcessManager().link("mine", ProcessType.IDLE)
        if not self.settings.get("works"):
            raise RuntimeError("no weights")

    async def close(self) -> None:
        await super().close()
        raise RuntimeError("it jams")

    async def _generate(self, **kwargs: Any) -> AsyncGenerator[dict[str, Any], None]:
        yield {"content": self.settings["role"]}
        await asyncio.Event().wait()


async def test_no_process_runs_on_for_an_operation_that_did_not_start_or_does_not_close() -> None:
    operation: Any = jaison_binding(Forgetful, processes={"idle": Idle}).operations[Role.T2T]
    place = Places().place(BindingShelf((FOLDER,)).get(PARROT))
    for _ in range(2):  # the second attempt finds nothing left of the first
        with pytest.raises(RuntimeError, match="no weights"):
            await operation.open_engine(operation.Options(), place)
        assert operation.manager.get_process("idle").process is None
    options = operation.Options(works=True)
    engine = await operation.open_engine(options, place)
    async with aclosing(operation(engine, options).generate(asked("x"))) as deltas:
        assert await anext(deltas) == TextDelta("t2t")
        process = operation.manager.get_process("idle").process
    with pytest.raises(RuntimeError, match="it jams"):
        await engine.close()
    assert process.poll() is not None


async def test_an_operation_that_is_closed_in_the_middle_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenroom.bindings.jaison.adapter.CLOSE_S", 0)
    operation: Any = jaison_binding(Forgetful, processes={"idle": Idle}).operations[Role.T2T]
    options = operation.Options(works=True)
    engine = await operation.open_engine(options, Places().place(BindingShelf((FOLDER,)).get(PARROT)))
    async with aclosing(operation(engine, options).generate(asked("x"))) as deltas:
        await anext(deltas)
        process = operation.manager.get_process("idle").process
        await engine.close()
        with pytest.raises(BindingFailed, match="closed in the middle"):
            await anext(deltas)
    assert process.poll() is not None


class Scribe(T2TOperation):
    """Writes what it hears into its working file, and reads it again when the other one has written, too."""

    def __init__(self) -> None:
        super().__init__("scribe")
        self.file = Path(config.WORKING_DIR) / "heard.txt"

    async def _generate(self, messages: Any = None, **kwargs: Any) -> AsyncGenerator[dict[str, Any], None]:
        assert str(self.file.parent) == config.WORKING_DIR
        assert Path(config.stt_working_src).parent == self.file.parent
        self.file.write_text(messages[0].message)
        yield {"content": "written "}
        yield {"content": self.file.read_text()}


class Reader(T2TOperation):
    """Reads fields that its user has added to jaison's configuration."""

    def __init__(self) -> None:
        super().__init__("reader")
        self.first = config.greeting

    async def _generate(self, **kwargs: Any) -> AsyncGenerator[dict[str, Any], None]:
        yield {"content": f"{self.first} {config.greeting} {config.spacy_model} {getattr(config, 'gone', 'default')}"}


async def test_other_fields_of_the_configuration_stand_in_the_settings() -> None:
    operation: Any = jaison_binding(Reader).operations[Role.T2T]
    place = Places().place(BindingShelf((FOLDER,)).get(PARROT))
    told = []
    for greeting in ("hi", "ho"):
        engine = await operation.open_engine(operation.Options(greeting=greeting, spacy_model="en"), place)
        told += [delta.text async for delta in operation(engine, operation.Options()).generate(asked("x"))]
        await engine.close()
    assert told == ["hi hi en default", "ho ho en default"]
    assert config.kobold_filepath is None
    with pytest.raises(AttributeError, match="no greeting here; put it into the settings"):
        await operation.open_engine(operation.Options(), place)


async def test_each_has_working_files_of_its_own() -> None:
    operation: Any = jaison_binding(Scribe).operations[Role.T2T]
    place = Places().place(BindingShelf((FOLDER,)).get(PARROT))
    engines = [await operation.open_engine(operation.Options(), place) for _ in range(2)]
    answers = [operation(engine, operation.Options()).generate(asked(str(n))) for n, engine in enumerate(engines)]
    for answer in answers:
        assert await anext(answer) == TextDelta("written ")
    assert [await anext(answer) for answer in answers] == [TextDelta("0"), TextDelta("1")]
    for answer, engine in zip(answers, engines, strict=True):
        await answer.aclose()
        await engine.close()
        assert not engine.operation.file.parent.exists()


@pytest.mark.parametrize("listed", [False, True], ids=["proc", "ps"])
async def test_what_a_process_started_ends_with_it(listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if listed:  # as where there is no /proc
        rows = {"stdout": ""}

        def ps(*_: object, **__: object) -> SimpleNamespace:
            rows["stdout"] = "\n".join(f"{one.pid} {one.ppid()}" for one in psutil.process_iter())
            return SimpleNamespace(**rows)

        monkeypatch.setattr(processes, "_children", processes._listed_children)
        monkeypatch.setattr(subprocess, "run", ps)
    line = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    process = BaseProcess("family")
    process.process = subprocess.Popen([sys.executable, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.process.stdout is not None
    await asyncio.to_thread(process.process.stdout.readline)
    [child] = psutil.Process(process.process.pid).children()
    await process.unload()
    await asyncio.to_thread(child.wait)


async def test_waiting_for_a_process_can_be_given_up() -> None:
    manager = ProcessManager.of({})
    async with manager._alone():
        waiting = asyncio.create_task(manager.heed())
        while not waiting.done():
            await asyncio.sleep(0)
            waiting.cancel()
    await manager.heed()


async def test_refused_settings_are_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="refuses these settings: AssertionError"):
        async with parrot(Role.T2T, suffix="much too long"):
            raise AssertionError


async def test_sound_is_heard_and_spoken() -> None:
    async with parrot(Role.STT) as hearing:
        heard = [t async for t in hearing.transcribe(given(Audio(b"\0" * 320, 16000), Audio(b"\0" * 80, 16000)), "")]
        assert heard[-1] == Transcript("200 frames")
    async with parrot(Role.TTS, voice="plain") as voice:
        sounds = [sound async for sound in voice.speak(given(SpeechText("a"), SpeechText("b")))]
    assert [array("h", sound.pcm)[0] for sound in sounds] == [97, 98]
    assert {(sound.sample_rate, sound.sample_width, sound.channels) for sound in sounds} == {(24000, 2, 1)}


async def test_a_blocking_operation_does_not_block_the_server_and_stops_when_left() -> None:
    async with parrot(Role.TTS, voice="slow") as voice:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with aclosing(voice.speak(given(SpeechText("x" * 1000)))) as sounds:
            assert isinstance(await anext(sounds), Audio)
            assert ticks > 0
        # The next call gets its turn although the thousand letters would take twenty seconds.
        assert len([sound async for sound in voice.speak(given(SpeechText("ab")))]) == 2
        ticking.cancel()


async def test_a_failure_is_said_in_a_sentence() -> None:
    async with parrot(Role.TTS, voice="broken") as voice:
        with pytest.raises(BindingFailed, match="jaison_parrot failed: RuntimeError: the beak is shut"):
            await anext(voice.speak(given(SpeechText("hello"))))


async def test_filters_add_to_what_they_were_given() -> None:
    async with parrot(Role.FILTER_TEXT) as mood:
        chunks = [chunk async for chunk in mood.apply(given(TextChunk("Hey!", {"filtered": False}), TextChunk(" ")))]
    assert chunks == [TextChunk("Hey!", {"filtered": False, "emotion": "joy"}), TextChunk(" ")]
    async with parrot(Role.FILTER_AUDIO) as volume:
        loud = Audio(array("h", [100] * 10).tobytes(), 16000)
        [quiet] = [sound async for sound in volume.apply(given(loud, loud))]
    assert array("h", quiet.pcm).tolist() == [50] * 20


async def test_embedding() -> None:
    async with parrot(Role.EMBEDDING) as embedding:
        assert (await embedding.embed(["abc", "de"])).tolist() == [[3.0, 1.0], [2.0, 1.0]]


def test_what_a_setting_does_is_unknown_so_it_is_the_owners() -> None:
    operation = BindingShelf((FOLDER,)).get(PARROT).operation(Role.TTS)
    assert reserved(operation, {"voice": "slow", "server": "http://elsewhere"}) == ["server"]


def test_what_is_no_operation_is_refused() -> None:
    with pytest.raises(TypeError, match="is no operation"):
        jaison_binding(str)  # type: ignore[arg-type]

    class One(FilterTextOperation): ...

    class Two(FilterTextOperation): ...

    with pytest.raises(TypeError, match="has an operation for filter_text already"):
        jaison_binding(One, Two)


async def test_an_operation_without_the_parts_that_it_must_have() -> None:
    class Empty(T2TOperation):
        def __init__(self) -> None:
            super().__init__("empty")

    operation = jaison_binding(Empty).operations[Role.T2T]
    place = Places().place(BindingShelf((FOLDER,)).get(PARROT))
    engine = await operation.open_engine(operation.Options(), place)
    try:
        with pytest.raises(BindingFailed, match="Empty has no _generate"):
            await anext(operation(engine, operation.Options()).generate(asked("x")))  # type: ignore[attr-defined]
    finally:
        await engine.close()


def test_a_process_type_is_like_a_member_of_an_enumeration() -> None:
    assert (ProcessType.MY_SERVER.name, ProcessType.MY_SERVER.value) == ("MY_SERVER", "my_server")


def test_the_manager_is_the_running_bindings() -> None:
    with pytest.raises(RuntimeError, match="running binding's"):
        ProcessManager()
