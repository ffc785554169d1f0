"""A child under a keeper: Linux, macOS and other POSIX systems."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from greenroom.rpc.processes import keeper
from greenroom.rpc.processes.child import Child

if sys.platform == "win32":
    raise ImportError("on Windows: greenroom.rpc.processes.windows")

logger = logging.getLogger(__name__)

KEEPER = Path(keeper.__file__)


class PosixChild(Child):
    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: Path | None,
        output: int | None,
        pass_fds: Sequence[int],
        orphan_grace_s: float,
    ) -> None:
        super().__init__()
        self._ordering = threading.Lock()
        reading, reporting = os.pipe()
        try:
            passed = ",".join(str(fd) for fd in pass_fds)
            self._keeper = subprocess.Popen(  # noqa: S603 -- our own script, and a list of arguments
                [
                    *(sys.executable, "-I", "-S", str(KEEPER)),
                    *(str(reporting), str(os.getpid()), str(orphan_grace_s), passed, "--", *command),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=env,
                cwd=cwd,
                pass_fds=(reporting, *pass_fds),
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(reporting)
        self._reports = os.fdopen(reading, "rb")
        self._pid = self._read_start(command[0])
        threading.Thread(target=self._watch, name=f"greenroom-child-{self._pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._pid

    def terminate(self, grace_s: float = 5.0) -> None:
        self._order(f"terminate {grace_s}")

    def kill(self) -> None:
        self._order("kill")

    def force(self) -> None:
        """The keeper does not do its work (somebody may have stopped it): then without it."""
        self._keeper.kill()

    def _order(self, line: str) -> None:
        with self._ordering:
            if self.ended.done() or self._keeper.stdin is None or self._keeper.stdin.closed:
                return
            try:
                self._keeper.stdin.write(f"{line}\n".encode())
                self._keeper.stdin.flush()
            except BrokenPipeError:  # it has just ended
                pass

    def _read_start(self, program: str) -> int:
        word, _, rest = self._reports.readline().decode().strip().partition(" ")
        if word == "pid":
            return int(rest)
        self._close()
        if word == "failed":
            number, _, text = rest.partition(" ")
            raise OSError(int(number), text, program)
        raise OSError(f"{program}: its keeper ended before it could be started (exit code {self._keeper.returncode})")

    def _watch(self) -> None:
        code: int | None = None
        for line in self._reports:
            word, _, value = line.decode().strip().partition(" ")
            if word == "exit":
                code = int(value)
        if code is None:
            logger.warning("the keeper of process %d was killed; its process group is killed too", self._pid)
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            code = -signal.SIGKILL
        with self._ordering:
            self._close()
        self.ended.set_result(code)

    def _close(self) -> None:
        self._reports.close()
        if self._keeper.stdin is not None:
            try:
                self._keeper.stdin.close()
            except BrokenPipeError:
                pass
        self._keeper.wait()
