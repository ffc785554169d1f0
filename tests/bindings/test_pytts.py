"""The pytts binding: real pyttsx3 over espeak-ng in a process of its own, and a stand-in for the other systems."""

import asyncio
import struct
import sys
import threading
import types
import wave
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.promises import check_turn
from e2e.visitor import pcm_of, text_of, visitor
from fakes.binding_rig import BINDINGS, open_operation
from fakes.isolation_rig import Rig, isolated
from fakes.server_process import running_server
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.errors import BadRequest, BindingFailed, Unavailable
from greenroom.values import Audio, Role, SpeechText

SENTENCE = "Hello there, my friend, I am the voice of this machine."


def operation_type() -> Any:
    return BindingShelf((BINDINGS,)).get("pytts").operation(Role.TTS)


def module(name: str) -> Any:
    operation_type()
    return sys.modules[f"{operation_type().__module__}.{name}"]


async def texts(*parts: str | SpeechText) -> AsyncIterator[SpeechText]:
    for part in parts:
        yield part if isinstance(part, SpeechText) else SpeechText(part)


async def spoken(operation: Any, *parts: str | SpeechText) -> list[Audio]:
    return [item async for item in operation.speak(texts(*parts))]


def samples(audio: list[Audio]) -> Any:
    return np.frombuffer(b"".join(piece.pcm for piece in audio), "<i2").astype(float)


def loudness(audio: list[Audio]) -> float:
    return float(np.sqrt(np.mean(samples(audio) ** 2))) if audio else 0


def duration_ms(audio: list[Audio]) -> float:
    return sum(piece.duration_ms for piece in audio)


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Any]:
    """In a process of its own, as its card asks."""
    async with isolated() as rig:
        loaded = await rig.load(Role.TTS, "pytts", **options)
        yield loaded.operation
        await loaded.release()


def test_the_card_says_what_it_is() -> None:
    found = BindingShelf((BINDINGS,)).get("pytts")
    assert (found.status, found.card.roles, found.card.offline) == ("ready", (Role.TTS,), True)
    assert found.card.isolation == "process"


# the real one


async def test_speech_is_heard_and_stdout_stays_clean(capfd: pytest.CaptureFixture[str]) -> None:
    async with opened(gender="any") as pytts:
        audio = await spoken(pytts, SENTENCE, "And again.")
        assert {(piece.sample_rate, piece.sample_width, piece.channels) for piece in audio} == {(22_050, 2, 1)}
        assert 3000 < duration_ms(audio) < 8000 and loudness(audio) > 500
        assert max(piece.duration_ms for piece in audio) <= 200
        for number in range(30):
            assert loudness(await spoken(pytts, f"Number {number} of many short ones.")) > 300
    assert "saved" not in "".join(capfd.readouterr())


async def test_options_are_heard() -> None:
    async with isolated() as rig:
        plain = await rig.load(Role.TTS, "pytts")
        slow = await rig.load(Role.TTS, "pytts", rate=100)
        quiet = await rig.load(Role.TTS, "pytts", volume=0.1)
        deep = await rig.load(Role.TTS, "pytts", gender="male")
        first = await spoken(plain.operation, SENTENCE)
        assert duration_ms(await spoken(slow.operation, SENTENCE)) > 1.5 * duration_ms(first)
        assert loudness(await spoken(quiet.operation, SENTENCE)) < loudness(first) / 3
        other = samples(await spoken(deep.operation, SENTENCE))
        assert len(other) != len(samples(first)), "another timbre"
        for loaded in (plain, slow, quiet, deep):
            await loaded.release()


@pytest.mark.parametrize("name", ["gmw/en-US", "gmw/en-us+f3", "English (America)", "german", "pt_BR", "Cantonese)"])
async def test_voices_by_id_and_name(name: str) -> None:
    async with opened(voice=name) as pytts:
        assert loudness(await spoken(pytts, "One two three.")) > 300


async def test_voices_are_listed_and_unknown_ones_refused() -> None:
    async with isolated() as rig:
        loaded = await rig.load(Role.TTS, "pytts")
        operation: Any = loaded.operation
        voices = await operation.voices()
        ids = [voice.id for voice in voices]
        assert len(set(ids)) == len(ids) > 100 and {"gmw/en-us", "gmw/de", "roa/fr"} <= set(ids)
        assert all(voice.name and voice.language for voice in voices)
        with pytest.raises(BadRequest, match=r"no voice 'gmw/en-uss'; nearest: .*gmw/en-us"):
            await rig.load(Role.TTS, "pytts", voice="gmw/en-uss")
        await loaded.release()


async def test_a_texts_own_language_and_voice_win() -> None:
    async with opened(voice="gmw/en-us") as pytts:
        plain = await spoken(pytts, "Paris est une ville.")
        french = await spoken(pytts, SpeechText("Paris est une ville.", language="fr"))
        named = await spoken(pytts, SpeechText("Paris est une ville.", voice="French (France)"))
        unknown = await spoken(pytts, SpeechText("Paris est une ville.", voice="alloy", language="xx"))
    assert abs(duration_ms(french) - duration_ms(plain)) > 30
    assert duration_ms(named) == pytest.approx(duration_ms(french), abs=20)
    assert duration_ms(unknown) == pytest.approx(duration_ms(plain), abs=20)


@pytest.mark.parametrize(
    ("text", "sounds"),
    [("", False), ("...", False), ("😀", False), ("\0x", True), ("\ud800 hi", True), ("[[h@loU]] <b>a</b>", True)],
)
async def test_odd_text_does_no_harm(text: str, sounds: bool) -> None:
    async with opened() as pytts:
        assert bool(await spoken(pytts, text)) is sounds
        assert loudness(await spoken(pytts, SENTENCE)) > 300


async def test_sessions_take_turns_and_do_not_mix() -> None:
    async with isolated() as rig:
        loaded = [await rig.load(Role.TTS, "pytts", rate=rate) for rate in (120, 200, 350)]
        novel = await rig.load(Role.TTS, "pytts")
        reader: Any = novel.operation
        alone = [duration_ms(await spoken(one.operation, SENTENCE)) for one in loaded]
        async with aclosing(reader.speak(texts("This is one of very many sentences. " * 2000))) as reading:
            await anext(reading)
            together = await asyncio.gather(*(spoken(one.operation, SENTENCE) for one in loaded * 3))
        for audio, wanted in zip(together, alone * 3, strict=True):
            assert duration_ms(audio) == pytest.approx(wanted, abs=50)
        assert loudness(await spoken(loaded[0].operation, SENTENCE)) > 300, "the novel has stopped"
        for one in (*loaded, novel):
            await one.release()


async def test_a_working_file_is_used(tmp_path: Path) -> None:
    path = tmp_path / "ttsg-synth-out.wav"
    async with opened(working_file=str(path)) as pytts:
        audio = await spoken(pytts, "One two three.")
    with wave.open(str(path)) as file:
        assert file.readframes(file.getnframes()) == b"".join(piece.pcm for piece in audio)
    async with isolated() as rig:
        with pytest.raises(BadRequest, match="working_file: there is no folder"):
            await rig.load(Role.TTS, "pytts", working_file=str(tmp_path / "gone" / "x.wav"))


async def test_it_and_espeak_side_by_side() -> None:
    """Each in its own process: neither hears the other's settings."""

    async def measure(rig: Rig) -> tuple[float, float]:
        pytts = await rig.load(Role.TTS, "pytts", voice="gmw/de", rate=120)
        async with open_operation("espeak", Role.TTS, {"voice": "fr-fr"}) as espeak:
            both = await asyncio.gather(spoken(pytts.operation, SENTENCE), spoken(espeak, SENTENCE))
        await pytts.release()
        lengths = [duration_ms([item for item in items if isinstance(item, Audio)]) for items in both]
        return lengths[0], lengths[1]

    async with isolated() as rig:
        first = await measure(rig)
        assert min(first) > 2000
        for _ in range(3):
            assert await measure(rig) == pytest.approx(first, rel=0.05)


async def test_it_refuses_to_share_a_process_with_espeak() -> None:
    async with open_operation("espeak", Role.TTS, {}) as espeak:
        with pytest.raises(Unavailable, match="cannot share a process"):
            async with open_operation("pytts", Role.TTS, {}):
                pass
        assert await spoken(espeak, "Still here.")


async def test_a_turn_through_a_real_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text(
        "turn: {audio_lead_ms: 0}\noperations: [{role: t2t, id: eliza}, {role: tts, id: pytts, voice: gmw/en-us}]\n",
        encoding="utf-8",
    )
    text = "The lamp is lit. The door is open."
    async with running_server(home) as server, visitor(server.url) as ana:
        told = await ana.run("say", text=text)
        check_turn(told)
        assert text_of(told) == text
        assert len(pcm_of(told)) > 22_050
        told = await ana.run("response", text="Hello, who are you?")
        check_turn(told)
        assert pcm_of(told)
        logged = server.logged()
    assert "pytts speaks by espeak; its voices: " in logged and "roa/fr" in logged


# other systems, by a stand-in for the package


class FakeVoice:
    def __init__(self, id: str, name: str, languages: Any, gender: str | None) -> None:
        self.id, self.name, self.languages, self.gender = id, name, languages, gender


WINDOWS = (
    FakeVoice("HKEY\\TTS_MS_EN-US_DAVID_11.0", "Microsoft David Desktop", ["en-US"], "Male"),
    FakeVoice("HKEY\\TTS_MS_EN-US_ZIRA_11.0", "Microsoft Zira Desktop", ["en-US"], "Female"),
    FakeVoice("HKEY\\TTS_MS_DE-DE_HEDDA_11.0", "Microsoft Hedda Desktop", ["de-DE"], "Female"),
)
MACOS = (
    FakeVoice("com.apple.voice.Alex", "Alex", ["en_US"], "VoiceGenderMale"),
    FakeVoice("com.apple.voice.Samantha", "Samantha", [b"en_US"], "VoiceGenderFemale"),
    FakeVoice("com.apple.voice.Bells", "Bells", None, None),
)


class FakeEngine:
    """As pyttsx3's: properties and files are queued, and done by ``runAndWait``, a word after the other."""

    def __init__(self, driver: str, voices: tuple[FakeVoice, ...], write: Callable[[Path, "array[int]"], None]) -> None:
        self._driver, self._voices, self._write = driver, voices, write
        self._heard: dict[str, list[Any]] = {}
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.properties: dict[str, Any] = {}
        self._queue: list[tuple[str, str]] = []
        self._stopped = False
        self.words = 0
        self.on_word: Callable[[], object] = bool
        self.go_on = threading.Event()
        self.go_on.set()
        self.failure: Exception | None = None
        self.threads: set[int] = set()

    def __str__(self) -> str:
        return self._driver

    def connect(self, topic: str, heard: Any) -> None:
        self._heard.setdefault(topic, []).append(heard)

    def tell(self, topic: str, **values: Any) -> None:
        for heard in self._heard.get(topic, []):
            heard(name=None, **values)

    def getProperty(self, name: str) -> Any:
        return {"voices": list(self._voices), "voice": self._voices[0].id if self._voices else None}[name]

    def setProperty(self, name: str, value: Any) -> None:
        self.properties[name] = value

    def save_to_file(self, text: str, path: str) -> None:
        self._queue.append((text, path))

    def stop(self) -> None:
        self._stopped = True

    def runAndWait(self) -> None:
        self.threads.add(threading.get_ident())
        (text, path), self._queue = self._queue[-1], []
        self._stopped = False
        if self.failure is not None:
            self.tell("error", exception=self.failure)
            return
        self.said.append((text, dict(self.properties)))
        made: array[int] = array("h")
        for word in text.split():
            self.tell("started-word", location=0, length=len(word))
            if self._stopped:
                break
            self.words += 1
            self.on_word()
            self.go_on.wait(30)
            made.extend([1000, -1000] * 400)
        self._write(Path(path), made)
        self.tell("finished-utterance", completed=not self._stopped)


def write_wav(path: Path, made: "array[int]") -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(made.tobytes())


def write_aiff(path: Path, made: "array[int]", compression: bytes = b"") -> None:
    sound = array("h", made)
    if compression != b"sowt":
        sound.byteswap()
    rate = struct.pack(">HQ", 16_383 + 14, 22_050 << (63 - 14))
    common = struct.pack(">HIH", 1, len(sound), 16) + rate + (compression + b"\0\0" if compression else b"")
    body = b"COMM" + struct.pack(">I", len(common)) + common
    body += b"SSND" + struct.pack(">III", len(sound) * 2 + 8, 0, 0) + sound.tobytes()
    kind = b"AIFC" if compression else b"AIFF"
    path.write_bytes(b"FORM" + struct.pack(">I", len(body) + 4) + kind + body)


def write_sowt(path: Path, made: "array[int]") -> None:
    write_aiff(path, made, b"sowt")


def write_page(path: Path, made: "array[int]") -> None:
    path.write_text("<html>no sound</html>")


def write_odd(path: Path, made: "array[int]") -> None:
    write_aiff(path, made, b"ima4")


def write_nothing(path: Path, made: "array[int]") -> None:
    pass


def write_empty(path: Path, made: "array[int]") -> None:
    path.write_bytes(b"")


Install = Callable[[FakeEngine], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make this what ``pyttsx3.init()`` gives."""

    def installed(engine: FakeEngine) -> None:
        package = types.ModuleType("pyttsx3")
        vars(package)["init"] = lambda: engine
        monkeypatch.setitem(sys.modules, "pyttsx3", package)
        monkeypatch.setattr(module("speaker"), "preload", lambda: None)

    return installed


@asynccontextmanager
async def here(**options: Any) -> AsyncIterator[Any]:
    """In this process."""
    operation = operation_type()
    parsed = parse_options(operation, options, "pytts")
    engine = await operation.open_engine(parsed, None)
    try:
        yield operation(engine, parsed)
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("options", "id"),
    [
        ({}, "ZIRA"),
        ({"gender": "male"}, "DAVID"),
        ({"gender": "any"}, "DAVID"),
        ({"voice": "HKEY\\TTS_MS_DE-DE_HEDDA_11.0"}, "HEDDA"),
        ({"voice": "hkey\\tts_ms_de-de_hedda_11.0"}, "HEDDA"),
        ({"voice": "Microsoft Zira Desktop"}, "ZIRA"),
        ({"voice": "hedda"}, "HEDDA"),
        ({"voice": "de-DE"}, "HEDDA"),
    ],
)
async def test_windows_voices(install: Install, options: dict[str, Any], id: str) -> None:
    engine = FakeEngine("sapi5", WINDOWS, write_wav)
    install(engine)
    async with here(rate=150, volume=0.5, **options) as pytts:
        audio = await spoken(pytts, "Hello <silence msec='9000'/> there.")
        assert [(voice.language, voice.gender) for voice in await pytts.voices()][2] == ("de-DE", "female")
    assert {piece.sample_rate for piece in audio} == {16_000} and loudness(audio) == pytest.approx(1000)
    text, properties = engine.said[-1]
    assert id in properties["voice"] and (properties["rate"], properties["volume"]) == (150, 0.5)
    assert "<" not in text, "nothing is read as a command"
    assert len(engine.threads) == 1 and threading.get_ident() not in engine.threads


@pytest.mark.parametrize("voice", ["microsoft", "nobody", "zira+f3"])
async def test_unknown_and_unclear_voices_are_refused(install: Install, voice: str) -> None:
    install(FakeEngine("sapi5", WINDOWS, write_wav))
    with pytest.raises(BadRequest, match=r"nearest: .*(HKEY|Microsoft)"):
        async with here(voice=voice):
            pass


async def test_windows_languages(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine("sapi5", WINDOWS, write_wav)
    install(engine)
    async with here() as pytts:
        for language, id in (("de", "HEDDA"), ("de-AT", "HEDDA"), ("en-GB", "ZIRA"), ("fr", "ZIRA"), ("fr", "ZIRA")):
            await spoken(pytts, SpeechText("Hello.", language=language))
            assert id in engine.said[-1][1]["voice"]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1 and "'fr'" in said[0]


@pytest.mark.parametrize("write", [write_aiff, write_sowt])
async def test_macos_files_and_voices(install: Install, write: Any) -> None:
    engine = FakeEngine("nsss", MACOS, write)
    install(engine)
    async with here() as pytts:
        audio = await spoken(pytts, "Hello [[rate 900]] there.")
        voices = await pytts.voices()
    assert {(piece.sample_rate, piece.channels) for piece in audio} == {(22_050, 1)}
    assert samples(audio)[:2].tolist() == [1000, -1000]
    assert [(voice.language, voice.gender) for voice in voices] == [("en-US", "male"), ("en-US", "female"), ("", "")]
    assert "Samantha" in engine.said[-1][1]["voice"] and "[[" not in engine.said[-1][0]


async def test_closing_stops_the_voice_after_its_word(install: Install) -> None:
    engine = FakeEngine("nsss", MACOS, write_wav)
    install(engine)
    async with here() as pytts:
        before = engine.words
        first = texts("Some words that are heard. ", "one " * 60)
        async with aclosing(pytts.speak(first)) as out:
            await anext(out)
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        engine.go_on.clear()
        engine.on_word = lambda: loop.call_soon_threadsafe(begun.set)
        reading = asyncio.create_task(spoken(pytts, "one " * 50))
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        engine.go_on.set()
        assert await spoken(pytts, "Still here.")
        assert engine.words <= before + 10


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_page, "no WAV"),
        (write_odd, "unknown kind: 16 bits, b'ima4'"),
        (write_nothing, "gave up an utterance"),
        (write_empty, "no sound"),
    ],
)
async def test_files_that_are_no_sound(install: Install, write: Any, said: str) -> None:
    engine = FakeEngine("sapi5", WINDOWS, write_wav)
    install(engine)
    async with here() as pytts:
        engine._write = write
        with pytest.raises(BindingFailed, match=said):
            await spoken(pytts, "Hello.")
        engine._write = write_wav
        assert await spoken(pytts, "Hello.")


@pytest.mark.parametrize("data", [b"", b"FORM", b"FORM\0\0\0\4AIFF", b"FORM\0\0\0\4AIFFCOMM\0\0\0\2ab"])
def test_cut_aiff_files_are_refused(data: bytes) -> None:
    with pytest.raises(BindingFailed):
        module("aiff").read_aiff(data)


async def test_what_the_system_reports_is_passed_on(install: Install) -> None:
    engine = FakeEngine("sapi5", WINDOWS, write_wav)
    install(engine)
    async with here() as pytts:
        engine.failure = ValueError("no audio device")
        with pytest.raises(BindingFailed, match="the system's voice failed: no audio device"):
            await spoken(pytts, "Hello.")


async def test_a_voice_that_never_finishes(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine("espeak", WINDOWS, write_wav)
    install(engine)
    async with here(timeout_s=1) as pytts:
        monkeypatch.setattr(engine, "tell", lambda *_, **__: None)
        with pytest.raises(BindingFailed, match="did not finish within 1 s") as caught:
            await spoken(pytts, "Hello.")
        assert caught.value.retryable


async def test_given_up_while_it_opens(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder stays until the voice has written its file there, and goes then."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = FakeEngine("sapi5", WINDOWS, write_wav)
    install(engine)
    speaking = threading.Event()
    engine.on_word = speaking.set
    engine.go_on.clear()
    operation = operation_type()
    opening = asyncio.create_task(operation.open_engine(operation.Options(), None))
    await asyncio.to_thread(speaking.wait, 30)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert list(tmp_path.iterdir())
    engine.go_on.set()
    for thread in threading.enumerate():
        if thread.name == "greenroom-pytts":
            await asyncio.to_thread(thread.join, 30)
    assert not list(tmp_path.iterdir())


async def test_a_file_that_cannot_be_written(install: Install, tmp_path: Path) -> None:
    def refuse(path: Path, made: "array[int]") -> None:
        raise PermissionError(13, "no")

    engine = FakeEngine("sapi5", WINDOWS, write_wav)
    install(engine)
    async with here(working_file=str(tmp_path / "x.wav")) as pytts:
        engine._write = refuse
        with pytest.raises(BindingFailed, match=r"x\.wav cannot be used"):
            await spoken(pytts, "Hello.")


async def test_a_system_without_voices(install: Install) -> None:
    install(FakeEngine("sapi5", (), write_wav))
    with pytest.raises(Unavailable, match="no voices"):
        async with here():
            pass


async def test_a_missing_package_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module("speaker"), "preload", lambda: None)
    monkeypatch.setitem(sys.modules, "pyttsx3", None)
    with pytest.raises(Unavailable, match=r'pip install "greenroom\[pytts\]"'):
        async with here():
            pass


async def test_a_system_that_does_not_start(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("you probably do not have eSpeak")

    install(FakeEngine("espeak", WINDOWS, write_wav))
    monkeypatch.setattr(sys.modules["pyttsx3"], "init", broken)
    with pytest.raises(Unavailable, match="pip install espeakng-loader"):
        async with here():
            pass
    assert not [thread for thread in threading.enumerate() if thread.name == "greenroom-pytts" and not thread.daemon]


@pytest.mark.parametrize(
    "options", [{"rate": 10}, {"volume": 2}, {"gender": "robot"}, {"timeout_s": 0}, {"pitch": 3}, {"voice": 3}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(options))):
        parse_options(operation_type(), options, "pytts")


def test_jaisons_settings_load_and_paths_are_the_owners() -> None:
    settings = {"voice": "gmw/en-us", "gender": "female", "working_file": "ttsg-synth-out.wav"}
    assert parse_options(operation_type(), settings, "pytts").model_dump(include=set(settings)) == settings
    assert operation_type().Options.model_fields["working_file"].json_schema_extra == {"access": "owner"}
