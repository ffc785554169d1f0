"""Managed programs: real processes, on real ports, that come up, crash, hang and are killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import aiohttp
import psutil
import pytest

from fakes import small_program
from greenroom.bindings.program import free_port
from greenroom.bindings.program_log import ProgramLog
from greenroom.bindings.programs import (
    Backoff,
    HttpProbe,
    Program,
    Programs,
    ProgramState,
    RunningProgram,
    TcpProbe,
    split_command,
)
from greenroom.errors import BindingFailed, Conflict, Unavailable

SCRIPT = str(Path(small_program.__file__))


class Sleeps:
    """Stands in for the waits between a crash and the next start, and for the lingering."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.blocks: Callable[[float], bool] = lambda _seconds: False

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        if self.blocks(seconds):
            await asyncio.Event().wait()
        await asyncio.sleep(0)


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
async def programs(sleeps: Sleeps, tmp_path: Path) -> AsyncGenerator[Programs, None]:
    made = Programs(tmp_path / "logs", sleep=sleeps)
    yield made
    await made.close()


def program(*how: str, **settings: Any) -> Program:
    settings = {"probe": HttpProbe(), "linger_s": 0.0, "start_timeout_s": 60.0, **settings}
    return Program(settings.pop("key", "small"), (sys.executable, SCRIPT, "{port}", *how), **settings)


async def ask(running: RunningProgram, path: str = "/") -> str:
    async with aiohttp.ClientSession() as session, session.get(running.url + path) as answer:
        return await answer.text()


async def crash(running: RunningProgram) -> None:
    with pytest.raises(aiohttp.ClientError):
        await ask(running, "/crash")


async def gone(pid: int) -> bool:
    def wait() -> bool:
        try:
            psutil.Process(pid).wait(60)
        except psutil.NoSuchProcess:
            return True
        except psutil.TimeoutExpired:
            return False
        return True

    return await asyncio.to_thread(wait)


@dataclass(frozen=True)
class WatchedProbe(HttpProbe):
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def answers(self, host: str, port: int) -> bool:
        self.asked.set()
        return await super().answers(host, port)


class Impatient(HttpProbe):
    async def answers(self, host: str, port: int) -> bool:
        try:
            async with asyncio.timeout(0.5):
                return await super().answers(host, port)
        except TimeoutError:
            return False


class TestSharing:
    async def test_the_first_user_starts_it_and_the_last_one_ends_it(self, programs: Programs) -> None:
        async with programs.use(program()) as first:
            pid = int((await ask(first)).strip())
            assert pid == first.pid
            async with programs.use(program()) as second:
                assert (await ask(second)).strip() == str(pid)
                assert [status.users for status in programs.status()] == [2]
            assert (await ask(first)).strip() == str(pid)
        assert programs.status() == []
        assert await gone(pid)

    async def test_users_who_come_together_wait_for_one_start(self, programs: Programs) -> None:
        async def use() -> int | None:
            async with programs.use(program(linger_s=5)) as running:
                return running.pid

        assert len(set(await asyncio.gather(*(use() for _ in range(5))))) == 1

    async def test_it_lingers_for_the_next_user(self, programs: Programs, sleeps: Sleeps) -> None:
        sleeps.blocks = lambda seconds: seconds == 5
        pids = []
        for _ in range(2):
            async with programs.use(program(linger_s=5)) as running:
                pids.append(running.pid)
        assert pids[0] == pids[1]
        assert [status.state for status in programs.status()] == [ProgramState.READY]
        await programs.close()
        assert await gone(pids[0] or 0)

    async def test_and_then_goes(self, programs: Programs) -> None:
        async with programs.use(program(linger_s=5)) as running:
            pid = running.pid
        assert await gone(pid or 0)

    async def test_another_key_is_another_program(self, programs: Programs) -> None:
        async with programs.use(program(key="a")) as first, programs.use(program(key="b")) as second:
            assert first.pid != second.pid
            assert first.port != second.port

    async def test_another_command_under_a_key_in_use_is_refused(self, programs: Programs) -> None:
        async with programs.use(program()):
            with pytest.raises(Conflict, match="small is in use"):
                await programs.use(program(env={"FLAVOUR": "mint"})).__aenter__()
        async with programs.use(program(env={"FLAVOUR": "mint {port}"})) as running:
            assert await ask(running) == f"{running.pid} mint {running.port}"

    async def test_the_same_key_waits_until_the_last_run_is_over(self, programs: Programs) -> None:
        port = free_port("127.0.0.1")
        for _ in range(3):
            async with programs.use(program(port=port)) as running:
                assert running.url == f"http://127.0.0.1:{port}"

    async def test_it_can_be_left_in_another_task(self, programs: Programs) -> None:
        stack = AsyncExitStack()
        running = await asyncio.create_task(stack.enter_async_context(programs.use(program())))
        await asyncio.create_task(stack.aclose())
        assert running.state is ProgramState.STOPPED

    async def test_a_user_who_gives_up_while_it_starts(self, programs: Programs) -> None:
        probe = WatchedProbe()
        using = asyncio.create_task(programs.use(program("deaf", probe=probe)).__aenter__())
        await probe.asked.wait()
        (pid,) = [status.pid for status in programs.status()]
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        assert await gone(pid or 0)
        assert programs.status() == []


class TestStarting:
    async def test_a_slow_one_is_waited_for(self, programs: Programs, tmp_path: Path) -> None:
        go, probe = tmp_path / "go", WatchedProbe()
        entering = asyncio.create_task(programs.use(program("wait", str(go), linger_s=5, probe=probe)).__aenter__())
        await probe.asked.wait()
        assert [status.state for status in programs.status()] == [ProgramState.STARTING]
        go.touch()
        assert (await entering).state is ProgramState.READY

    async def test_one_that_never_answers(self, programs: Programs) -> None:
        with pytest.raises(BindingFailed, match=r"small did not answer within 0\.5 s") as caught:
            await programs.use(program("deaf", start_timeout_s=0.5)).__aenter__()
        assert not caught.value.retryable

    async def test_one_that_ends_at_once_tells_its_last_words(self, programs: Programs, sleeps: Sleeps) -> None:
        with pytest.raises(BindingFailed, match=r"(?s)small ended with exit code 3.*no such model: tiny\.gguf"):
            await programs.use(program("exit", "3")).__aenter__()
        assert sleeps.asked[:1] == [0.5]

    async def test_a_status_that_says_not_yet(self, programs: Programs) -> None:
        with pytest.raises(BindingFailed, match="did not answer"):
            await programs.use(program(probe=HttpProbe("/missing"), start_timeout_s=0.5)).__aenter__()
        async with programs.use(program(key="b", probe=HttpProbe("/missing", status=404))) as running:
            assert running.state is ProgramState.READY

    async def test_by_tcp(self, programs: Programs) -> None:
        async with programs.use(program(probe=TcpProbe())) as running:
            assert await ask(running)

    async def test_a_program_that_is_not_there(self, programs: Programs) -> None:
        with pytest.raises(BindingFailed, match=r"no cannot be started: .*No such file.*: 'no-such-program'"):
            await programs.use(Program("no", ("no-such-program",))).__aenter__()

    async def test_a_port_that_is_taken(self, programs: Programs) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(BindingFailed, match=f"its port {port} is taken by another program"):
                await programs.use(program(port=port)).__aenter__()

    async def test_a_free_port_that_was_lost_is_another_one_next_time(
        self, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            ports = [taken.getsockname()[1], free_port("127.0.0.1")]
            monkeypatch.setattr("greenroom.bindings.program_supervisor.free_port", lambda _host: ports.pop(0))
            async with programs.use(program(probe=HttpProbe(status=200))) as running:
                assert running.restarts == 1
                assert (await ask(running)).strip() == str(running.pid)

    async def test_one_that_was_given_up_is_not_hammered(self, sleeps: Sleeps) -> None:
        now = 100.0
        programs = Programs(sleep=sleeps, clock=lambda: now)
        sleeps.blocks = lambda seconds: seconds == 7
        bad = program("exit", "3", backoff=Backoff(start_attempts=1, cool_down_s=7))
        for _ in range(3):
            with pytest.raises(BindingFailed, match="exit code 3"):
                await programs.use(bad).__aenter__()
        assert [status.state for status in programs.status()] == [ProgramState.FAILED]
        supervisor = programs._entries["small"].supervisor
        now += 7
        with pytest.raises(BindingFailed, match="exit code 3"):
            await programs.use(bad).__aenter__()
        assert programs._entries["small"].supervisor is not supervisor
        async with programs.use(program()) as running:
            assert running.state is ProgramState.READY
        await programs.close()


class TestCrashing:
    async def test_it_is_restarted_on_its_port(self, programs: Programs) -> None:
        async with programs.use(program()) as running:
            pid, url = running.pid, running.url
            await crash(running)
            await running.ready()
            assert "bang, I am gone" in str(running.failed("broke off"))
            assert running.failed("broke off").retryable
            assert (running.restarts, running.url) == (1, url)
            assert (await ask(running)).strip() == str(running.pid) != str(pid)

    async def test_killed_with_what_it_had_started(self, programs: Programs) -> None:
        async with programs.use(program()) as running:
            grandchild = int(await ask(running, "/spawn"))
            psutil.Process(running.pid).kill()
            assert await gone(grandchild)
            await running.ready()
            assert running.restarts == 1

    async def test_one_that_hangs_is_killed_and_restarted(self, programs: Programs) -> None:
        async with programs.use(program(health_s=0.02, unhealthy_after=2, probe=Impatient())) as running:
            pid = running.pid
            await ask(running, "/mute")
            assert await gone(pid or 0)
            await running.ready()
            assert (await ask(running)).strip() == str(running.pid) != str(pid)

    async def test_again_and_again_it_is_given_up(self, programs: Programs, sleeps: Sleeps) -> None:
        settings = program(backoff=Backoff(first_s=1, longest_s=3, restarts=3, cool_down_s=0))
        async with programs.use(settings) as running:
            for _ in range(3):
                await crash(running)
                await running.ready()
            await crash(running)
            with pytest.raises(BindingFailed, match=r"(?s)small ended with exit code 7.*bang, I am gone"):
                await running.ready()
            assert running.state is ProgramState.FAILED
            assert not running.failed("is down").retryable
        assert sleeps.asked == [1, 2, 3]
        async with programs.use(settings) as running:
            assert running.state is ProgramState.READY

    async def test_a_long_run_makes_good_for_past_crashes(self, sleeps: Sleeps) -> None:
        now = 0.0
        programs = Programs(sleep=sleeps, clock=lambda: now)
        settings = program(backoff=Backoff(first_s=1, restarts=2, stable_s=60))
        async with programs.use(settings) as running:
            for _ in range(5):
                await crash(running)
                await running.ready()
                now += 60
        assert sleeps.asked == [1, 1, 1, 1, 1]


class TestStopping:
    async def test_although_in_use(self, programs: Programs) -> None:
        async with programs.use(program()) as running:
            pid = running.pid
            assert await programs.stop("small")
            assert await gone(pid or 0)
            with pytest.raises(Unavailable, match="has been stopped"):
                await running.ready()
            async with programs.use(program()) as again:
                assert again.pid != pid
        assert not await programs.stop("small")

    async def test_all(self, programs: Programs) -> None:
        async with programs.use(program(key="a")) as first, programs.use(program(key="b")) as second:
            pids = [first.pid, second.pid]
            await programs.close()
            assert [await gone(pid or 0) for pid in pids] == [True, True]
            with pytest.raises(Unavailable, match="is stopping"):
                await programs.use(program()).__aenter__()

    @pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
    async def test_when_the_server_is_killed(self, sent: signal.Signals) -> None:
        script = """
            import asyncio, sys
            from greenroom.bindings.programs import Program, Programs, HttpProbe

            async def main():
                program = Program("small", (sys.executable, sys.argv[1], "{port}"), probe=HttpProbe())
                async with Programs().use(program) as running:
                    print(running.pid, running.port, flush=True)
                    await asyncio.Event().wait()

            asyncio.run(main())
        """
        server = subprocess.Popen([sys.executable, "-c", dedent(script), SCRIPT], stdout=subprocess.PIPE)
        with server:
            assert server.stdout is not None
            pid, port = map(int, (await asyncio.to_thread(server.stdout.readline)).split())
            url = f"http://127.0.0.1:{port}/spawn"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                grandchild = int(await answer.text())
            server.send_signal(sent)
            assert await gone(pid)
            assert await gone(grandchild)


class TestCommands:
    def test_a_line_for_a_shell_is_refused(self) -> None:
        with pytest.raises(TypeError, match="not a line for a shell"):
            Program("a", "kobold --port 1")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="empty"):
            Program("a", ())

    def test_placeholders_are_filled_and_other_braces_stay(self) -> None:
        filled = Program("a", ("x", "--at={host}:{port}", '{"port": {port}}'), host="::1")
        assert filled.filled_command(7) == ["x", "--at=::1:7", '{"port": 7}']
        assert filled.url(7) == "http://[::1]:7"

    def test_a_users_line_becomes_arguments(self, tmp_path: Path) -> None:
        spaced = tmp_path / "my program"
        spaced.touch()
        assert split_command(str(spaced)) == (str(spaced),)
        assert split_command('python "a b.py" --x; rm') == ("python", "a b.py", "--x;", "rm")
        for wrong in (" ", '"open'):
            with pytest.raises(ValueError, match=r"empty|quotation"):
                split_command(wrong)


class TestLog:
    def test_rotation_and_tail(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "a.log"
        log = ProgramLog(path, max_bytes=100, kept=2)
        for index in range(40):
            reading, writing = os.pipe()
            thread = log.drain(reading)
            os.write(writing, f"line {index:04}\n".encode())
            os.close(writing)
            thread.join()
        assert log.last_words(2) == "line 0038\nline 0039"
        kept = sorted(path.parent.iterdir())
        assert [file.name for file in kept] == ["a.log", "a.log.1", "a.log.2"]
        assert all(file.stat().st_size <= 100 for file in kept)
        text = "".join(file.read_text() for file in (kept[2], kept[1], kept[0]))
        assert text.splitlines() == [f"line {index:04}" for index in range(40 - len(text) // 10, 40)]

    def test_a_file_that_cannot_be_written_stops_no_program(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        log = ProgramLog(tmp_path / "a" / "b.log")
        reading, writing = os.pipe()
        thread = log.drain(reading)
        os.write(writing, b"x" * 60_000)
        os.write(writing, b"\nend")
        os.close(writing)
        thread.join()
        assert log.last_words(1) == "end"
