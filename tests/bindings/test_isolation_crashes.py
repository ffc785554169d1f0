"""What happens to whom when a binding's process ends: the job that it took down fails, the next one works."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from fakes.isolation_rig import PATIENCE_S, Rig, answer, asked, gone, isolated, stream
from greenroom.bindings.isolation import children, process
from greenroom.errors import BindingFailed, GreenroomError
from greenroom.log import bind_job, bind_session, bound_ids
from greenroom.values import Role, SpeechText

TESTS = Path(__file__).parents[1]


@pytest.fixture
async def rig() -> AsyncGenerator[Rig, None]:
    async with isolated() as rig:
        yield rig


async def test_a_child_that_dies_fails_its_job_with_its_last_words(rig: Rig) -> None:
    text = await rig.text()
    before = await answer(text, "pid")
    with pytest.raises(BindingFailed, match=r"killed by signal 9 \(SIGKILL\); its last words: .*out of memory") as died:
        await answer(text, "die out of memory")
    assert died.value.retryable and died.value.details is not None
    assert died.value.details["exit_code"] == -9
    assert died.value.details["last_words"][-1] == "out of memory"
    assert await answer(text, "pid") != before


async def test_killed_from_outside_in_the_middle_of_a_stream(rig: Rig) -> None:
    text, voice = await rig.text(), (await rig.load(Role.TTS)).operation
    pid = int(await answer(text, "pid"))
    async with aclosing(voice.speak(stream(SpeechText("100000")))) as sounds:  # type: ignore[attr-defined]
        await anext(sounds)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BindingFailed, match="killed by signal 9"):
            _ = [None async for _ in sounds]
    after = int(await answer(text, "pid"))
    assert after != pid
    assert [item async for item in voice.speak(stream(SpeechText("ho")))]  # type: ignore[attr-defined]
    assert rig.child().pid == after


async def test_all_streams_of_a_crashed_child_fail_and_all_operations_come_back(rig: Rig) -> None:
    texts = [await rig.text(), await rig.text(style="loud")]
    pid = int(await answer(texts[0], "pid"))
    hanging = [text.generate(asked("hang")) for text in texts for _ in range(3)]
    for one in hanging:
        await anext(one)
    os.kill(pid, signal.SIGKILL)
    for one in hanging:
        with pytest.raises(BindingFailed, match="the process of apart was killed"):
            await anext(one)
    assert await asyncio.gather(*(answer(text, "say on") for text in texts)) == ["on ", "ON "]


async def test_an_exit_is_told_with_its_code(rig: Rig) -> None:
    with pytest.raises(BindingFailed, match="the process of apart ended with exit code 3"):
        await answer(await rig.text(), "exit")


async def test_crashes_in_a_row_are_held_back_and_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "BACK_OFF_S", (0.0, 3600.0))
    text = await rig.text()
    for _ in range(2):
        with pytest.raises(BindingFailed, match="exit code 3"):
            await answer(text, "exit")
    with pytest.raises(BindingFailed, match=r"exit code 3; it crashed 2 times in a row .* in 3\d\d\d s") as held:
        await answer(text, "say on")
    assert held.value.retryable


async def test_what_a_child_prints_is_logged_with_its_bindings_name(
    rig: Rig, caplog: pytest.LogCaptureFixture, propagating: None
) -> None:
    text = await rig.text()
    with caplog.at_level(logging.INFO), pytest.raises(BindingFailed):
        await answer(text, "die a plain line")
    with pytest.raises(BindingFailed):
        await answer(text, "crash")
    assert await answer(text, "say on") == "on "
    await rig.isolation.close()
    logged = {(record.levelname, record.getMessage().partition("\n")[0]) for record in caplog.records}
    assert ("INFO", "apart: a plain line") in logged
    assert ("ERROR", "apart: greenroom.bindings.isolation.host: apart failed") in logged
    assert "the backend's own bug" in caplog.text
    assert all(vars(record)["binding"] == "apart" for record in caplog.records if "plain line" in record.getMessage())


async def test_a_child_that_prints_without_end_fills_neither_its_pipe_nor_our_memory(
    rig: Rig, caplog: pytest.LogCaptureFixture, propagating: None
) -> None:
    text = await rig.text()
    with caplog.at_level(logging.INFO):
        assert await answer(text, "flood 4") == "flooded "
        assert await answer(text, "say on") == "on "
        await rig.isolation.close()
    printed = [record.getMessage().removeprefix("apart: ") for record in caplog.records if "xxx" in record.getMessage()]
    assert sum(map(len, printed)) == 4 * 2**20
    assert max(map(len, printed)) <= process.LINE_CHARS


async def test_log_records_of_a_child_carry_the_session_and_the_job_that_asked(
    rig: Rig, caplog: pytest.LogCaptureFixture, propagating: None
) -> None:
    text = await rig.text()
    told: list[dict[str, str]] = []
    ended = asyncio.Event()

    def note(record: logging.LogRecord) -> bool:
        if "apart failed" in record.getMessage():
            told.append(bound_ids())
            if len(told) == 2:
                ended_soon()
        return True

    def ended_soon() -> None:  # records are read in a thread
        loop.call_soon_threadsafe(ended.set)

    async def crash(session: str, job: str) -> None:
        with bind_session(session), bind_job(job), pytest.raises(BindingFailed):
            await answer(text, "crash")

    loop = asyncio.get_running_loop()
    caplog.handler.addFilter(note)
    await asyncio.gather(crash("den", "1"), crash("hall", "2"))
    await ended.wait()
    assert sorted(one["session"] + one["job"] for one in told) == ["den1", "hall2"]


async def test_a_crashed_child_whose_operations_are_open_comes_back_without_being_called(rig: Rig) -> None:
    loaded = await rig.load(Role.T2T)
    await rig.heard("opened")
    first = rig.child().pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await rig.heard("opened", times=2)
    second = rig.child().pid
    assert second not in (None, first)
    assert await answer(loaded.operation, "pid") == str(second)


async def test_a_call_right_after_a_childs_end_does_not_notice_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word of the end is still on its way: the loop has had no turn since."""
    monkeypatch.setattr(children, "BACK_OFF_S", (0.0,))
    text = await rig.text()
    for _ in range(5):
        child = psutil.Process(int(await answer(text, "pid")))
        os.kill(child.pid, signal.SIGKILL)
        child.wait(PATIENCE_S)
        assert await answer(text, "say on") == "on "


async def test_a_crashed_child_that_nobody_holds_stays_down(rig: Rig) -> None:
    loaded = await rig.load(Role.T2T)
    child = rig.child()
    await loaded.release()
    await rig.heard("closed")
    assert child.pid is not None and not child.opened
    process = child._process
    assert process is not None
    os.kill(child.pid, signal.SIGKILL)
    await process.ended
    assert await answer(await rig.text(), "say on") == "on "
    assert child.generation == 2


@pytest.fixture
def propagating() -> None:
    """caplog listens at the root."""
    logging.getLogger("greenroom").propagate = True


async def test_an_idle_child_is_stopped_and_comes_back() -> None:
    async with isolated(idle_s=0.05) as rig:
        text = await rig.text()
        pid = int(await answer(text, "pid"))
        await gone(pid)
        assert int(await answer(text, "pid")) != pid


async def test_a_child_at_work_is_not_idle() -> None:
    async with isolated(idle_s=0.01) as rig:
        text = await rig.text()
        async with aclosing(text.generate(asked("hang"))) as hanging:
            await anext(hanging)
            pid = await answer(text, "pid")
            for _ in range(100):  # together far longer than an idle one would live
                assert await answer(text, "pid") == pid
        await gone(int(pid))


async def test_closing_stops_the_child_in_the_middle_of_a_stream() -> None:
    async with isolated() as rig:
        text = await rig.text()
        pid = int(await answer(text, "pid"))
        hanging = text.generate(asked("hang"))
        await anext(hanging)
        await rig.engines.close()
        await rig.isolation.close()
        await gone(pid)
        with pytest.raises(GreenroomError):
            await anext(hanging)


async def test_no_child_outlives_a_parent_that_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fakes.isolation_parent"), cwd=TESTS, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await gone(pid)


async def test_a_child_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "start.py"
    broken.write_text("import sys; sys.exit('no such library')")
    monkeypatch.setattr(process, "START_SCRIPT", broken)
    async with isolated() as rig:
        with pytest.raises(BindingFailed, match="exit code 1; its last words: no such library"):
            await rig.text()
