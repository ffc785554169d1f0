"""Starting a program that dies with us, and stopping it with everything that it started itself.

    with start_child(["llama-server", "--port", "5001"]) as child:
        child.pid
        child.ended        a concurrent future of the exit code, minus the signal if one ended it
        child.stop(5.0)    SIGTERM, after five seconds SIGKILL, for its whole process group; waits for the end

On POSIX a small keeper process stands between (see :mod:`greenroom.rpc.processes.keeper`), on Windows a job object that
the kernel ends with us.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

ORPHAN_GRACE_S = 1.0
STOP_GRACE_S = 5.0
KILL_WAIT_S = 5.0
"""how long a killed program may take to disappear"""


class Child(ABC):
    """A running program. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.ended: Future[int] = Future()
        """the exit code; done when the program and its group are gone. A waiter's cancelling does not cancel it"""
        self.ended.set_running_or_notify_cancel()

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self.ended.result() if self.ended.done() else None

    @abstractmethod
    def terminate(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask it and its group to end, and kill them after ``grace_s`` seconds. Returns at once."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it and its group. Returns at once."""

    def force(self) -> None:
        """Kill it past whatever stands between, where :meth:`kill` had no effect."""
        self.kill()

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code. :raises TimeoutError: if it still runs."""
        return self.ended.result(timeout_s)

    def stop(self, grace_s: float = STOP_GRACE_S) -> int:
        """:meth:`terminate`, then wait for the end. Again is harmless."""
        self.terminate(grace_s)
        for wait_s, harder in ((grace_s + KILL_WAIT_S, self.kill), (KILL_WAIT_S, self.force)):
            try:
                return self.wait(wait_s)
            except TimeoutError:
                harder()
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: int | None = None,
    pass_fds: Sequence[int] = (),
    orphan_grace_s: float = ORPHAN_GRACE_S,
) -> Child:
    """Start ``command``, a list of arguments and never a shell's line. Blocks for some 30 ms.

    ``output``: a file descriptor for standard output and error; by default both are ours. Standard input is empty.
    ``pass_fds``: open in the program too, under the names that :func:`greenroom.rpc.processes.passing.name_of` gives.
    ``orphan_grace_s``: from SIGTERM to SIGKILL if we end without having stopped it (on Windows it is killed at once).

    :raises OSError: if the program cannot be started
    """
    if not command:
        raise ValueError("a command needs at least the program's name")
    if sys.platform == "win32":
        from greenroom.rpc.processes.windows import WindowsChild

        return WindowsChild(command, env, cwd, output, pass_fds)
    from greenroom.rpc.processes.posix import PosixChild

    return PosixChild(command, env, cwd, output, pass_fds, orphan_grace_s)
