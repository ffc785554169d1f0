"""What a job leaves in memory: what the session keeps of it, and nothing that only Python's garbage collector finds."""

import asyncio
import ctypes
import sys
from collections import Counter
from pathlib import Path

import pytest

from fakes.left_behind import alive, unswept
from greenroom import garbage
from greenroom.app import ServeOptions, open_greenroom, prepare
from greenroom.protocol import events
from greenroom.protocol.commands import parse_command
from greenroom.session import directory
from greenroom.session.replay import Entry
from greenroom.session.session import Session
from greenroom.values import Role
from session.scene import CONFIG, Scene, Somebody

_LOGGED = ("Entry", *(one.__qualname__ for one in vars(events).values() if isinstance(one, type)))
"""what the log keeps, by its bytes"""


@pytest.mark.parametrize("text", ["say one two. three four.", "fail one two.", "crash one two.", "say"])
async def test_a_turn_to_its_end(scene: Scene, text: str) -> None:
    await scene.run("response", text="say one.")
    with unswept() as circles:
        for _ in range(3):
            await scene.run("response", text=text)
        assert circles() == {}


@pytest.mark.parametrize("how", ["interrupt", "cancel_job"])
@pytest.mark.parametrize("text", ["hang", "say one two. three four. hang"])
async def test_a_turn_that_is_stopped(scene: Scene, how: str, text: str) -> None:
    with unswept() as circles:
        for _ in range(3):
            job_id = await scene.job("response", text=text)
            await scene.until(lambda _, job_id=job_id: bool(scene.text(job_id)))  # type: ignore[misc]
            await scene.ask(how, job_id=job_id)
            await scene.ended(job_id)
        assert circles() == {}


async def test_a_job_that_is_stopped_while_its_line_is_being_stored(scene: Scene) -> None:
    with unswept() as circles:
        for _ in range(3):
            first = await scene.job("response", text="hang")
            second = await scene.job("context_add", kind="chat", user="Ana", content="hello")
            await scene.ask("cancel_job", job_id=first)
            await scene.until(lambda _, second=second: bool(scene.of(second)))  # type: ignore[misc]
            if not any(isinstance(event, events.JobFinished) for event in scene.of(second)):
                await scene.ask("cancel_job", job_id=second)
            await scene.ended(second)
        assert circles() == {}


async def test_a_voice_that_breaks(scene: Scene) -> None:
    await scene.run("operation_configure", ops=[{"role": "tts", "id": "scripted", "broken": True}])
    with unswept() as circles:
        for _ in range(3):
            end, _ = await scene.run("response", text="say one two. three four.")
            assert not end.success
        assert circles() == {}


async def test_early_work_that_is_stopped(scene: Scene) -> None:
    with unswept() as circles:
        for _ in range(3):
            first = await scene.job("response", text="hang")
            heard = await scene.job("context_add", kind="audio", user="Ana", audio=b"hello ", sr=8000, sw=1, ch=1)
            await scene.ask("cancel_job", job_id=heard)
            await scene.ask("cancel_job", job_id=first)
            await scene.ended(heard)
        assert circles() == {}


async def test_of_a_turn_that_is_over_only_its_playback_is_kept(scene: Scene) -> None:
    """Its text comes faster than it is spoken: of one that is stopped, sentences wait that nobody will hear."""
    text = "say " + "One more sentence. " * 30
    job_id = await scene.job("response", text=text, audio_lead_ms=100)
    await scene.until(lambda _: scene.text(job_id).count("sentence") == 30)
    await scene.ask("interrupt", job_id=job_id)
    await scene.ended(job_id)
    kept = alive()
    assert (kept["Turn"], kept["Playback"]) == (1, 1)
    assert (kept["_Line"], kept["Synthesis"]) == (0, 0)


async def test_a_silent_session_gives_its_memory_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(directory, "_SWEEP_S", 0.01)
    monkeypatch.setattr(directory, "_WORTH_GIVING_BACK", 100)
    monkeypatch.setattr(garbage, "give_back", lambda: loop.call_soon_threadsafe(given_back.set))
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        session = await greenroom.sessions.get("main")
        session.log.append(events.TextChunk(chunk="One."))
        session.log.append(
            events.AudioChunk(
                index=0, part=0, audio=bytes(1000), sr=8000, sw=2, ch=1, t_ms=0, duration_ms=62.5, volumes=[], last=True
            )
        )
        async with asyncio.timeout(60):
            await given_back.wait()
        assert isinstance(session.log.after(1), events.AudioDropped)
        await greenroom.close()


def test_memory_can_be_given_back_wherever_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    garbage.give_back()

    def static(_: object) -> object:
        raise OSError("Dynamic loading not supported")

    for library in (static, lambda _: object()):  # a Python that is linked statically; another libc
        monkeypatch.setattr(ctypes, "CDLL", library)
        garbage.give_back()
    monkeypatch.setitem(sys.modules, "ctypes", None)
    garbage.give_back()


@pytest.mark.parametrize("prompt", ["say one two.", "fail one two.", "crash one two."])
async def test_a_private_text(scene: Scene, prompt: str) -> None:
    with unswept() as circles:
        for _ in range(3):
            scene.caller.told.clear()
            await scene.ask("generate_text", prompt=prompt)
            ended = events.TextGenerated if prompt.startswith("say") else events.GenerationError
            await scene.caller.until_told(ended)
        assert circles() == {}


async def test_as_much_after_twice_as_many_turns(home: Path) -> None:
    """With a log and a history that are full at once: all that is remembered of a turn has a bound."""
    short = "session: {replay_log_bytes: 65536, history_length: 6}\n"
    (home / "config.yaml").write_text(CONFIG + short, encoding="utf-8")
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        session = await greenroom.sessions.get("main")
        assert isinstance(session, Session)
        prompts = (await Scene(greenroom, session).stage(Role.T2T)).prompts
        counts: list[Counter[str]] = []
        for _ in range(2):
            for _ in range(20):
                await _turn(session)
            for task in asyncio.all_tasks():
                if task.get_name().startswith("partial"):
                    await task
            prompts.clear()  # the test's own record
            kept = alive()
            for name in _LOGGED:
                del kept[name]
            counts.append(kept)
            assert session.log.bytes <= 65_536 and len(session.context.lines) == 6
        await greenroom.close()
    assert counts[0] == counts[1]


async def _turn(session: Session) -> None:
    log, news = session.log, asyncio.Event()
    cursor = log.seq
    leave = log.subscribe(news.set)
    await session.execute(parse_command("response", {"text": "say one two.", "include_audio": False}), Somebody())
    while True:
        entry = log.after(cursor)
        if entry is None:
            news.clear()
            await news.wait()
            continue
        cursor = entry.to_seq if isinstance(entry, events.AudioDropped) else entry.seq
        if isinstance(entry, Entry) and isinstance(entry.event, events.JobFinished):
            break
    leave()
