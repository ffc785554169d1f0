"""The small process between a parent and the program that it starts (POSIX); it sees to it that nothing is left behind.

    parent --starts--> keeper --starts--> program (leader of a process group) --starts--> whatever it likes

However the parent ends, by SIGKILL too, the keeper learns of it (its standard input closes; on Linux a pidfd becomes
readable as well) and ends the program with its whole group; on Linux it also adopts and ends what left the group. If
the keeper itself is killed, the program gets SIGKILL from the kernel (Linux) or from the parent.

A keeper has one thread and the standard library only, so it may fork, and nothing that the program does can hold it up.
It runs as a script in an isolated interpreter::

    keeper.py REPORT_FD PARENT_PID ORPHAN_GRACE_S PASSED_FDS -- PROGRAM ARGUMENT...

Standard input carries orders, a line each: ``terminate SECONDS`` (SIGTERM, then SIGKILL) and ``kill``. REPORT_FD gets
``pid N`` or ``failed ERRNO TEXT``, and once nothing of the program is left ``exit CODE``, minus the signal if one did
it.
"""

import os
import select
import signal
import sys
import time
from typing import Final, NoReturn

if sys.platform == "win32":
    raise ImportError("Windows has job objects instead of a keeper")

IGNORED: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGUSR1", "SIGUSR2")
"""A service manager may send its signal to every process at once: the keeper goes last."""
SET_PARENT_DEATH_SIGNAL: Final = 1
SET_CHILD_SUBREAPER: Final = 36
SWEEP_S: Final = 2.0
"""how long killed processes may take to disappear before they are given up (one may be stuck in the kernel)"""
GROUP_CHECK_S: Final = 0.02


def prctl(option: int, value: int) -> None:
    """Linux only, elsewhere nothing; a kernel that knows no such option is no reason to fail."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class Keeper:
    def __init__(self, report: int, parent: int, orphan_grace_s: float, passed: list[int], command: list[str]) -> None:
        self._report = report
        self._parent = parent
        self._orphan_grace_s = orphan_grace_s
        self._passed = passed
        self._command = command
        self._program = 0
        self._exit_code: int | None = None
        self._deadline: float | None = None
        """set from SIGTERM to SIGKILL"""
        self._killed = False
        self._deaf: list[str] = []
        self._orders = b""
        self._hears_orders = True
        self._death = -1
        self._waker = -1

    def run(self) -> None:
        os.set_inheritable(self._report, False)
        self._deaf = [name for name in IGNORED if signal.getsignal(getattr(signal, name)) == signal.SIG_IGN]
        for name in IGNORED:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        self._waker, waking = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(waking, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        self._watch_parent()
        if os.getppid() != self._parent:
            return
        prctl(SET_CHILD_SUBREAPER, 1)
        if not self._start():
            return
        self._tell(f"pid {self._program}")
        while not self._over():
            self._wait()
        self._sweep()
        self._tell(f"exit {self._exit_code}")

    def _watch_parent(self) -> None:
        if sys.platform == "linux" and hasattr(os, "pidfd_open"):
            try:
                self._death = os.pidfd_open(self._parent)
            except OSError:  # an old kernel, or a sandbox without the call: standard input tells as well
                self._death = -1
        elif sys.platform != "linux" and hasattr(select, "kqueue"):
            queue = select.kqueue()
            ended = select.kevent(self._parent, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            queue.control([ended], 0)
            self._death = os.dup(queue.fileno())

    def _start(self) -> bool:
        """Whether the program runs; where it does not, the reason has been reported."""
        failure, telling = os.pipe()
        keeper = os.getpid()
        self._program = os.fork()
        if self._program == 0:
            self._become_program(keeper, telling)
        os.close(telling)
        try:
            os.setpgid(self._program, self._program)
        except OSError:  # it has done so itself and already runs
            pass
        reason = b""
        while piece := os.read(failure, 4096):
            reason += piece
        os.close(failure)
        if reason:
            os.waitpid(self._program, 0)
            self._tell(f"failed {reason.decode(errors='replace')}")
            return False
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        for passed in {*self._passed, null} - {1, 2}:
            os.close(passed)
        return True

    def _become_program(self, keeper: int, telling: int) -> NoReturn:
        try:
            os.setpgid(0, 0)
            prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(127)
            for name in (*IGNORED, "SIGCHLD", "SIGXFSZ"):
                if name not in self._deaf or name == "SIGPIPE":
                    signal.signal(getattr(signal, name), signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            for passed in self._passed:
                os.set_inheritable(passed, True)
            os.execvp(self._command[0], self._command)  # noqa: S606 -- a list of arguments, no shell
        except OSError as error:
            os.write(telling, f"{error.errno} {error.strerror}".encode())
        finally:
            os._exit(127)

    def _over(self) -> bool:
        """Once SIGTERM was sent the group has until the deadline; a program that ends by itself takes all along."""
        if self._exit_code is None:
            return False
        return self._deadline is None or not self._group_lives()

    def _wait(self) -> None:
        wait_s = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if wait_s == 0:
            self._kill()
            return
        if self._exit_code is not None:
            # The leader is gone, others of its group use the time that is left; the kernel tells of no empty group.
            wait_s = GROUP_CHECK_S if wait_s is None else min(wait_s, GROUP_CHECK_S)
        watched = [self._waker]
        if self._hears_orders:
            watched.append(0)
        if self._death >= 0:
            watched.append(self._death)
        ready, _, _ = select.select(watched, [], [], wait_s)
        if self._waker in ready:
            os.read(self._waker, 4096)
        self._reap()
        if self._death in ready:
            os.close(self._death)
            self._death = -1
            self._parent_died()
        if 0 in ready:
            self._read_orders()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._program:
                self._exit_code = os.waitstatus_to_exitcode(status)

    def _read_orders(self) -> None:
        read = os.read(0, 4096)
        if not read:
            self._hears_orders = False
            self._parent_died()
            return
        *lines, self._orders = (self._orders + read).split(b"\n")
        for line in lines:
            word, _, value = line.decode().partition(" ")
            if word == "terminate":
                self._terminate(float(value))
            elif word == "kill":
                self._kill()

    def _parent_died(self) -> None:
        self._terminate(self._orphan_grace_s)

    def _terminate(self, grace_s: float) -> None:
        if self._killed:
            return
        deadline = time.monotonic() + grace_s
        if self._deadline is None:
            self._deadline = deadline
            self._signal(signal.SIGTERM)
        else:
            self._deadline = min(self._deadline, deadline)

    def _kill(self) -> None:
        self._killed = True
        self._deadline = None
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._program, number)
        except (ProcessLookupError, PermissionError):
            pass
        if self._exit_code is None:  # it may have left its group; while it is not reaped its number is its own
            try:
                os.kill(self._program, number)
            except (ProcessLookupError, PermissionError):
                pass

    def _group_lives(self) -> bool:
        try:
            os.killpg(self._program, 0)
        except (ProcessLookupError, PermissionError):  # macOS: not permitted where only zombies are left
            return False
        return True

    def _sweep(self) -> None:
        """Kill what is left of the group, and (Linux) every descendant that had left it."""
        self._signal(signal.SIGKILL)
        until = time.monotonic() + SWEEP_S
        while time.monotonic() < until:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid:
                continue
            for stray in children_of(os.getpid()):
                try:
                    os.kill(stray, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
            select.select([self._waker], [], [], GROUP_CHECK_S)
            try:
                os.read(self._waker, 4096)
            except BlockingIOError:
                pass

    def _tell(self, line: str) -> None:
        try:
            os.write(self._report, f"{line}\n".encode())
        except OSError:  # the parent is gone
            pass


def children_of(parent: int) -> list[int]:
    """Process numbers from ``/proc``; empty where there is none."""
    found = []
    try:
        entries = os.listdir("/proc")
    except OSError:
        return []
    for entry in entries:
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    after_name = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(after_name[1]) == parent:
                found.append(int(entry))
    return found


def main(arguments: list[str]) -> None:
    report, parent, grace_s, passed, dashes, *command = arguments
    if dashes != "--":
        raise SystemExit("started by greenroom.rpc.processes, not by hand")
    fds = [int(fd) for fd in passed.split(",") if fd]
    Keeper(int(report), int(parent), float(grace_s), fds, command).run()


if __name__ == "__main__":
    main(sys.argv[1:])
