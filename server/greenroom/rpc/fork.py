"""A callable in a fresh interpreter: closures, lambdas, partials and classes of ``__main__`` too.

    with Fork(lambda: serve(port)) as fork:
        fork.wait_ready(10)            where the callable calls signal_ready() when it is
        ...
    fork.exit_code

    Fork(compute).start().result()     what it returned, or its exception raised here, with its traceback as the cause

The child and whatever it starts end when the ``with`` block does, and when this process ends, however it ends. What it
prints goes, unbuffered, to where our own output goes. Results come back as data (see ``fork_child.encode``).
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from greenroom.rpc import fork_child
from greenroom.rpc.fork_outcome import Decoder, ForkFailed
from greenroom.rpc.fork_payload import make_payload
from greenroom.rpc.processes.child import STOP_GRACE_S, Child, start_child
from greenroom.rpc.processes.passing import name_of

logger = logging.getLogger(__name__)

CHILD_SCRIPT = Path(fork_child.__file__)
LAST_REPORTS_WAIT_S = 5.0
"""how long the report pipe may stay open after the child's end (a stray that escaped its group may hold it)"""


def signal_ready(value: object = None) -> None:
    """Called in a forked child: whoever waits in :meth:`Fork.wait_ready` goes on. Anywhere else it does nothing.

    :raises TypeError: if ``value`` is nothing that can be sent
    """
    reports = getattr(sys.modules["__main__"], "fork_reports", None)
    if reports is not None:
        reports.ready(value)


class Fork:
    """``raise_if_exited``: a child that failed by itself raises when its ``with`` block ends, and in :meth:`wait`.

    Its failure is logged in any case. A callable that returns has not failed; a child that was told to end has not.
    """

    def __init__(
        self, method: Callable[[], object], raise_if_exited: bool = True, *, terminate_grace_s: float = STOP_GRACE_S
    ) -> None:
        self._method = method
        self._raise_if_exited = raise_if_exited
        self._grace_s = terminate_grace_s
        self._run: _Run | None = None

    def __repr__(self) -> str:
        return f"Fork({self._method!r})"

    def start(self) -> Self:
        """:raises ValueError: ``Cannot pickle <method> to run in fork``. :raises RuntimeError: if it runs already."""
        if self.alive:
            raise RuntimeError(f"{self!r} runs already")
        self._run = _Run(self._method)
        return self

    @property
    def alive(self) -> bool:
        return self._run is not None and self._run.child.exit_code is None

    @property
    def pid(self) -> int | None:
        """The child's, the leader of its process group; ``None`` before the start."""
        return None if self._run is None else self._run.child.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` before the end; minus the signal if one ended it."""
        return None if self._run is None else self._run.child.exit_code

    def wait_ready(self, timeout_s: float | None = None) -> Any:
        """What the child gave to :func:`signal_ready`.

        :raises TimeoutError: if it says nothing in time. :raises ForkFailed: or the child's own exception, if it ended.
        """
        return self._started().ready.result(timeout_s)

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code. :raises TimeoutError: if it still runs. ``raise_if_exited``: also its failure, see above."""
        run = self._started()
        code = run.finished.result(timeout_s)
        if self._raise_if_exited and (failure := run.own_failure()) is not None:
            raise failure
        return code

    def result(self, timeout_s: float | None = None) -> Any:
        """What the callable returned.

        :raises TimeoutError: if it still runs
        :raises ForkFailed: if it was killed or left by ``sys.exit``, or raised an exception whose type is unknown here
        :raises TypeError: if it returned what cannot be sent
        :raises Exception: the child's own; its ``__cause__`` is the traceback there
        """
        run = self._started()
        run.finished.result(timeout_s)
        return run.result()

    def terminate(self) -> None:
        """End the child and its group: SIGTERM, five seconds later SIGKILL. Twice or before the start is fine."""
        if self._run is not None:
            self._run.stop(self._grace_s)

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run = self._started()
        run.stop(self._grace_s)
        failure = run.own_failure() if self._raise_if_exited else None
        if failure is None:
            return
        if error is None:
            raise failure
        error.add_note(f"the forked process had failed: {type(failure).__name__}: {failure}")

    def _started(self) -> "_Run":
        if self._run is None:
            raise RuntimeError(f"{self!r} has not been started")
        return self._run


class _Run:
    """One run of a callable in one child, and what is known of it."""

    def __init__(self, method: Callable[[], object]) -> None:
        payload, sent = make_payload(method)
        self._name = repr(method)
        self._decoder = Decoder(sent)
        self._reported: dict[str, Any] = {}
        self._stopping = False
        self.ready: Future[Any] = Future()
        self.finished: Future[int] = Future()
        """the exit code; done when all that the child reported has been read"""
        for future in (self.ready, self.finished):
            future.set_running_or_notify_cancel()
        self.child, self._payload, reports = _start()
        self._listener = threading.Thread(target=self._listen, args=(reports,), name="greenroom-fork", daemon=True)
        self._listener.start()
        self.child.ended.add_done_callback(
            lambda _ended: threading.Thread(target=self._finish, name="greenroom-fork-end", daemon=True).start()
        )
        try:
            self._payload.write(payload)
            self._payload.flush()
        except OSError:  # it has ended already; how, `finished` tells
            pass

    def stop(self, grace_s: float) -> None:
        if self.child.exit_code is None:
            self._stopping = True
        self.child.stop(grace_s)
        self.finished.result()

    def own_failure(self) -> BaseException | None:
        """Why the child ended, if it was not told to and did not simply return."""
        if "error" in self._reported:
            return self._decoder.error(self._reported["error"])
        code = self.child.exit_code
        if code in (0, None) or self._stopping:
            return None
        return ForkFailed(f"the forked {self._name} ended with {_said(code)}", code)

    def result(self) -> Any:
        if (failure := self.own_failure()) is not None:
            raise failure
        if "unsendable" in self._reported:
            raise TypeError(self._reported["unsendable"])
        if "result" not in self._reported:
            code = self.child.exit_code
            raise ForkFailed(f"the forked {self._name} returned nothing: it ended with {_said(code)}", code)
        return self._decoder.value(self._reported["result"])

    def _listen(self, reports: BinaryIO) -> None:
        with reports:
            for line in reports:
                if not line.endswith(b"\n"):  # it was killed while it wrote
                    break
                word, value = json.loads(line)
                if word == "ready":
                    self._set_ready(value)
                else:
                    self._reported[word] = value

    def _set_ready(self, value: Any) -> None:
        if self.ready.done():
            return
        try:
            self.ready.set_result(self._decoder.value(value))
        except ValueError as error:
            self.ready.set_exception(error)

    def _finish(self) -> None:
        self._listener.join(LAST_REPORTS_WAIT_S)
        try:
            self._payload.close()
        except OSError:  # what it never read is of no use now
            pass
        failure = self.own_failure()
        if failure is not None:
            logger.error("the forked %s failed: %s: %s", self._name, type(failure).__name__, failure)
        if not self.ready.done():
            code = self.child.exit_code
            self.ready.set_exception(
                failure or ForkFailed(f"the forked {self._name} ended with {_said(code)} and never was ready", code)
            )
        self.finished.set_result(self.child.ended.result())


def _start() -> tuple[Child, BinaryIO, BinaryIO]:
    """A child that waits for its payload, the pipe for that, and the pipe of its reports."""
    with ExitStack() as theirs, ExitStack() as ours:
        payload_read, payload_write = os.pipe()
        theirs.callback(os.close, payload_read)
        payload = ours.enter_context(os.fdopen(payload_write, "wb"))
        reports_read, reports_write = os.pipe()
        theirs.callback(os.close, reports_write)
        reports = ours.enter_context(os.fdopen(reports_read, "rb"))
        child = start_child(
            [sys.executable, "-u", "-P", str(CHILD_SCRIPT), name_of(payload_read), name_of(reports_write)],
            pass_fds=(payload_read, reports_write),
        )
        ours.pop_all()
    return child, payload, reports


def _said(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return signal.Signals(-exit_code).name
        except ValueError:
            return f"signal {-exit_code}"
    return f"exit code {exit_code}"


class ForkApp:
    """``main`` here, and each of ``supporting`` in a fork of its own for as long."""

    def __init__(
        self, main: Callable[[], object] | None = None, supporting: Sequence[Callable[[], object]] = ()
    ) -> None:
        self.main = main
        self.supporting = tuple(supporting)
        self._forks: list[Fork] = []

    def run(self) -> None:
        """Start the forks, run ``main``, end the forks. Without ``main``: until the last has ended by itself."""
        self._start()
        try:
            if self.main is not None:
                self.main()
            else:
                for fork in self._forks:
                    fork.wait()
        finally:
            self.terminate()

    def terminate(self) -> None:
        """In the reverse order of their start."""
        while self._forks:
            self._forks.pop().terminate()

    def __enter__(self) -> Self:
        """:raises ValueError: with ``main``: then :meth:`run` is the way"""
        if self.main is not None:
            raise ValueError("a ForkApp with a main is run(), not entered")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    def _start(self) -> None:
        try:
            for method in self.supporting:
                self._forks.append(Fork(method).start())
        except BaseException:
            self.terminate()
            raise
