"""A callable in a fresh interpreter: what goes in, what comes back, and that nothing is ever left running."""

import asyncio
import functools
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID

import psutil
import pytest

from greenroom.errors import BindingFailed, NotFound
from greenroom.rpc.fork import Fork, ForkApp, signal_ready
from greenroom.rpc.fork_outcome import ChildTraceback, Decoder, ForkFailed

OWN_FACTOR = 3
"""a global of this module, which a fresh interpreter cannot import by name"""


class Colour(Enum):
    RED = 1
    GREEN = 2


class Rights(Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Point:
    x: int
    colour: Colour


class OwnError(Exception):
    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


def times(value: int, by: int = 2) -> int:
    return value * by * OWN_FACTOR


def run(method: Callable[[], object]) -> Any:
    return Fork(method).start().result(60)


def wait_for_ever() -> None:
    threading.Event().wait()


def start_and_tell(method: Callable[[], object]) -> Callable[[], None]:
    """A callable that says ``ready`` with a grandchild's process number and then runs ``method``."""

    def start() -> None:
        grandchild = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
        signal_ready(grandchild.pid)
        method()

    return start


def gone(pid: int) -> bool:
    """Whether it is gone, or gone within a minute."""
    try:
        psutil.Process(pid).wait(60)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


class TestWhatRuns:
    def test_a_closure(self) -> None:
        value = 20
        assert run(lambda: value + 1) == 21

    def test_a_partial_of_a_function_whose_module_cannot_be_imported(self) -> None:
        assert run(functools.partial(times, 2, by=5)) == 30

    def test_a_bound_method(self) -> None:
        class Counter:
            def __init__(self, start: int) -> None:
                self.start = start

            def __call__(self) -> int:
                return self.start + OWN_FACTOR

        assert run(Counter(4)) == 7

    def test_a_coroutine_function(self) -> None:
        async def later() -> str:
            await asyncio.sleep(0)
            return "done"

        assert run(later) == "done"

    def test_a_fresh_interpreter_with_our_import_path_and_arguments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", ["", *sys.path, "/one/more"])
        path, argv, pid, loaded = run(lambda: (list(sys.path), list(sys.argv), os.getpid(), "pytest" in sys.modules))
        assert path == [str(Path.cwd()), *sys.path[1:]]
        assert argv == sys.argv
        assert pid != os.getpid()
        assert not loaded

    def test_more_than_a_pipe_holds_goes_in_and_comes_out(self) -> None:
        blob = bytes(range(256)) * 4096
        assert run(lambda: blob + blob) == blob + blob

    def test_what_cannot_be_pickled_is_named(self) -> None:
        lock = threading.Lock()

        def hold() -> None:
            lock.acquire()

        with pytest.raises(ValueError, match=r"^Cannot pickle <function .*hold at .*> to run in fork$"):
            Fork(hold).start()

    def test_standard_input_is_empty(self) -> None:
        assert run(lambda: sys.stdin.read()) == ""

    def test_once_it_has_ended_it_can_be_started_again(self) -> None:
        fork = Fork(os.getpid).start()
        first = fork.result(60)
        with pytest.raises(RuntimeError, match="has not been started"):
            Fork(os.getpid).wait()
        assert fork.start().result(60) != first

    def test_two_runs_at_once_are_refused(self) -> None:
        with Fork(wait_for_ever) as fork, pytest.raises(RuntimeError, match="runs already"):
            fork.start()


class TestResults:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            [True, 1, -2.5, "ä\n"],
            {"a": [1], "b": {}},
            {"@": "mine"},
            {1: "one", (2, 3): {4}},
            (1, (2,), frozenset({"x"})),
            b"\x00\xff",
            bytearray(b"ab"),
            complex(1, 2),
            [datetime(2026, 1, 2, 3, tzinfo=UTC), date(2026, 1, 2), timedelta(days=1, microseconds=5)],
            [Decimal("1.50"), UUID(int=7), Path("a") / "b"],
            [Colour.GREEN, Rights.READ | Rights.WRITE, Rights(0), signal.SIGTERM],
            Point(3, Colour.RED),
        ],
        ids=repr,
    )
    def test_come_back_as_they_were(self, value: object) -> None:
        came = run(lambda: value)
        assert came == value
        assert type(came) is type(value)

    def test_a_type_of_main_is_the_parents_own(self) -> None:
        script = """
            from dataclasses import dataclass
            from greenroom.rpc.fork import Fork

            @dataclass
            class Mine:
                x: int

            class Bad(Exception):
                pass

            def fail():
                raise Bad("no")

            if __name__ == "__main__":
                print(isinstance(Fork(lambda: Mine(3)).start().result(), Mine))
                try:
                    Fork(fail).start().result()
                except Bad as error:
                    print(error)
        """
        done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["True", "no"]

    def test_so_is_one_that_a_function_or_a_class_holds(self) -> None:
        @dataclass
        class Local:
            x: int

            class Lost(Exception):
                pass

        def fail() -> None:
            raise Local.Lost("no")

        assert run(lambda: Local(3)) == Local(3)
        with pytest.raises(Local.Lost, match="no"):
            run(fail)

    def test_what_cannot_be_sent_is_an_error_only_for_who_asks(self) -> None:
        fork = Fork(lambda: io.StringIO()).start()
        assert fork.wait(60) == 0
        with pytest.raises(TypeError, match=r"_io\.StringIO cannot be sent back"):
            fork.result()

    @pytest.mark.parametrize(
        "sent",
        [
            {"@": "enum", "type": ["subprocess", "Popen"], "v": "x"},
            {"@": "dataclass", "type": ["os", "environ"], "v": {}},
            {"@": "dataclass", "type": ["antigravity", "fly"], "v": {}},
            {"@": "dataclass", "type": ["subprocess", "Popen"], "v": {}},
            {"@": "@base64", "v": "gASVAAA="},
            {"@": "tuple", "v": 3},
        ],
    )
    def test_a_child_gone_bad_makes_nothing_run_here(self, sent: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"no enum|not loaded|no dataclass|unknown mark|was due"):
            Decoder({}).value(sent)
        assert "antigravity" not in sys.modules


class TestFailures:
    def test_the_childs_exception_is_raised_here_with_its_traceback(self) -> None:
        def fail() -> None:
            raise OwnError("not today", code=7)

        with pytest.raises(OwnError, match="not today") as caught:
            run(fail)
        assert caught.value.code == 7
        assert isinstance(caught.value.__cause__, ChildTraceback)
        assert "in fail" in str(caught.value.__cause__)

    @pytest.mark.parametrize(
        "error",
        [
            FileNotFoundError(2, "nothing there", "a.txt"),
            KeyError("k"),
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
            BindingFailed("down", kind="x", retryable=True),
            NotFound("no voice", details={"known": ["a"]}),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_exceptions_keep_what_they_carry(self, error: Exception) -> None:
        def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            run(fail)
        assert str(caught.value) == str(error)
        assert vars(caught.value) == vars(error)

    def test_a_group_of_exceptions(self) -> None:
        def fail() -> None:
            raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])

        with pytest.raises(ExceptionGroup) as caught:
            run(fail)
        assert [type(one) for one in caught.value.exceptions] == [ValueError, KeyError]

    def test_an_unknown_type_is_told_by_name(self) -> None:
        def fail() -> None:
            namespace: dict[str, Any] = {}
            exec("class Odd(Exception): pass", namespace)  # noqa: S102 -- a type that only the child knows
            raise namespace["Odd"]("strange")

        with pytest.raises(ForkFailed, match=r"^Odd: strange$") as caught:
            run(fail)
        assert "strange" in caught.value.traceback_text

    @pytest.mark.parametrize(("how", "code"), [(lambda: sys.exit(3), 3), (lambda: os._exit(4), 4)])
    def test_leaving_without_a_result(self, how: Callable[[], object], code: int) -> None:
        fork = Fork(how, raise_if_exited=False).start()
        assert fork.wait(60) == code == fork.exit_code
        with pytest.raises(ForkFailed, match=f"exit code {code}") as caught:
            fork.result()
        assert caught.value.exit_code == code

    def test_a_killed_child(self) -> None:
        fork = Fork(start_and_tell(wait_for_ever)).start()
        grandchild = fork.wait_ready(60)
        psutil.Process(fork.pid).kill()
        with pytest.raises(ForkFailed, match="SIGKILL"):
            fork.wait(60)
        assert not fork.alive
        assert gone(grandchild)

    def test_the_with_block_raises_what_the_child_died_of(self) -> None:
        def fail() -> None:
            raise OwnError("early", code=1)

        with pytest.raises(OwnError, match="early"), Fork(fail) as fork, pytest.raises(OwnError, match="early"):
            fork.wait_ready(60)

    def test_an_error_of_the_with_block_goes_first_and_says_so(self) -> None:
        def fail() -> None:
            raise OwnError("early", code=1)

        def use() -> None:
            with Fork(fail) as fork:
                with pytest.raises(OwnError):
                    fork.wait(60)
                raise LookupError("mine")

        with pytest.raises(LookupError, match="mine") as caught:
            use()
        assert caught.value.__notes__ == ["the forked process had failed: OwnError: early"]

    def test_or_not_if_asked_not_to(self) -> None:
        with Fork(lambda: os._exit(5), raise_if_exited=False) as fork:
            assert fork.wait(60) == 5


class TestEnding:
    def test_readiness_then_the_end_of_the_whole_group(self) -> None:
        with Fork(start_and_tell(wait_for_ever)) as fork:
            grandchild = fork.wait_ready(60)
            child = fork.pid
            assert fork.alive
            assert child is not None
        assert gone(child)
        assert gone(grandchild)
        assert fork.exit_code == -signal.SIGTERM

    def test_a_grandchild_that_left_the_group(self) -> None:
        def start() -> None:
            grandchild = subprocess.Popen(
                [sys.executable, "-c", "import threading; threading.Event().wait()"], start_new_session=True
            )
            signal_ready(grandchild.pid)
            threading.Event().wait()

        with Fork(start) as fork:
            grandchild = fork.wait_ready(60)
        assert gone(grandchild)

    def test_one_that_ignores_sigterm_is_killed(self) -> None:
        def ignore() -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal_ready()
            threading.Event().wait()

        fork = Fork(ignore, terminate_grace_s=0.1).start()
        fork.wait_ready(60)
        fork.terminate()
        fork.terminate()
        assert fork.exit_code == -signal.SIGKILL

    def test_one_that_ends_unready_says_so(self) -> None:
        fork = Fork(lambda: None).start()
        with pytest.raises(ForkFailed, match="never was ready"):
            fork.wait_ready(60)
        assert fork.wait(60) == 0

    def test_slow_ones_time_out(self) -> None:
        with Fork(wait_for_ever) as fork:
            for wait in (fork.wait, fork.wait_ready, fork.result):
                with pytest.raises(TimeoutError):
                    wait(0)

    def test_a_thread_that_ends_takes_no_fork_along(self) -> None:
        forks: list[Fork] = []

        def start() -> None:
            forks.append(Fork(start_and_tell(wait_for_ever)).start())

        starter = threading.Thread(target=start)
        starter.start()
        starter.join()
        with forks[0] as fork:
            fork.wait_ready(60)
            assert fork.alive

    def test_killing_the_keeper_ends_child_and_grandchild(self) -> None:
        fork = Fork(start_and_tell(wait_for_ever)).start()
        grandchild = fork.wait_ready(60)
        keeper = psutil.Process(fork.pid).parent()
        assert keeper is not None
        keeper.kill()
        with pytest.raises(ForkFailed, match="SIGKILL"):
            fork.wait(60)
        assert gone(fork.pid or 0)
        assert gone(grandchild)


def test_a_keeper_that_was_stopped_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenroom.rpc.processes.child.KILL_WAIT_S", 0.1)
    fork = Fork(start_and_tell(wait_for_ever), terminate_grace_s=0.1).start()
    grandchild = fork.wait_ready(60)
    keeper = psutil.Process(fork.pid).parent()
    assert keeper is not None
    keeper.suspend()
    fork.terminate()
    assert not fork.alive
    assert gone(grandchild)


PARENT = """
    import os, signal, subprocess, sys, threading
    from greenroom.rpc.fork import Fork, signal_ready

    def serve():
        if {deaf}:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        wait = "import threading; threading.Event().wait()"
        subprocess.Popen([sys.executable, "-c", wait])
        subprocess.Popen([sys.executable, "-c", wait], start_new_session=True)
        signal_ready()
        threading.Event().wait()

    if __name__ == "__main__":
        fork = Fork(serve).start()
        fork.wait_ready()
        print("ready", flush=True)
        {then}
"""


class TestTheParentsEnd:
    """Every process below holds the same standard output: it reads as ended only when the last of them is gone."""

    @pytest.mark.parametrize("deaf", [False, True], ids=["", "deaf to SIGTERM"])
    @pytest.mark.parametrize(
        "then",
        [
            "os.kill(os.getpid(), signal.SIGKILL)",
            "os.kill(os.getpid(), signal.SIGTERM)",
            "os._exit(0)",
            "sys.exit(0)",
            "raise ValueError",
        ],
    )
    def test_takes_everything_along(self, then: str, deaf: bool) -> None:
        script = dedent(PARENT.format(then=then, deaf=deaf))
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
        assert done.stdout.startswith(b"ready")

    def test_even_where_a_multiprocessing_fork_holds_its_pipes(self) -> None:
        """A copy of the parent, made by ``os.fork`` without an ``exec``, keeps the keeper's input open."""
        hold = "threading.Event().wait() if os.fork() == 0 else os.kill(os.getpid(), signal.SIGKILL)"
        script = dedent(PARENT.format(then=f"pid = os.getpid(); {hold}", deaf=False)).replace(
            "signal_ready()", "signal_ready(os.getpid())"
        )
        script = script.replace("fork.wait_ready()", "print(fork.wait_ready(), flush=True)")
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert gone(child)
        parent.wait()
        os.killpg(parent.pid, signal.SIGKILL)
        parent.stdout.close()


class TestOutput:
    def test_none_is_lost_when_the_child_is_killed(self) -> None:
        script = """
            import os, signal, sys
            from greenroom.rpc.fork import Fork

            def speak():
                sys.stdout.write("half a line")
                sys.stderr.write("a warning")
                os.kill(os.getpid(), signal.SIGKILL)

            if __name__ == "__main__":
                Fork(speak, raise_if_exited=False).start().wait()
        """
        done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True)
        assert done.stdout == "half a line"
        assert done.stderr.startswith("a warning")


class TestForkApp:
    def test_supporting_callables_run_beside_main(self) -> None:
        def support() -> None:
            signal_ready()
            wait_for_ever()

        seen: list[bool] = []
        app = ForkApp(lambda: seen.extend(fork.wait_ready(60) is None for fork in app._forks), [support])
        app.run()
        assert seen == [True]
        assert app._forks == []

    def test_as_a_context_manager(self) -> None:
        with ForkApp(supporting=[wait_for_ever, wait_for_ever]) as app:
            forks = list(app._forks)
            assert [fork.alive for fork in forks] == [True, True]
        assert [fork.alive for fork in forks] == [False, False]

    def test_which_a_main_rules_out(self) -> None:
        with pytest.raises(ValueError, match="main"):
            ForkApp(wait_for_ever).__enter__()

    def test_without_main_it_runs_as_long_as_its_forks(self, tmp_path: Path) -> None:
        ForkApp(supporting=[lambda: (tmp_path / "a").write_text("x")]).run()
        assert (tmp_path / "a").exists()

    def test_one_that_cannot_start_ends_the_others(self) -> None:
        lock = threading.Lock()
        app = ForkApp(supporting=[wait_for_ever, lambda: lock])
        with pytest.raises(ValueError, match="Cannot pickle"):
            app.run()
        assert app._forks == []


def test_signal_ready_outside_a_fork_does_nothing() -> None:
    signal_ready("nobody hears it")
