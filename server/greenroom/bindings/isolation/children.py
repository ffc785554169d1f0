"""Children that serve a binding: started when they are needed, restarted with back-off, stopped when they idle.

start    the interpreter of the binding's own environment, or ours, runs ``start.py``; its secret and its address
         stand in its environment
output   read by a thread; log records come back as records, other lines as lines, all tagged with the binding's id
end      whoever waited for an answer hears how it ended, and its last words
ours     :mod:`greenroom.rpc.processes` sees to it that no child outlives us, however we end
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from greenroom.bindings.isolation import start
from greenroom.bindings.isolation.handshake import Address, open_link
from greenroom.bindings.isolation.link import Link
from greenroom.bindings.isolation.peer import Peer
from greenroom.bindings.isolation.spec import READY, RECORD, VARIABLE, HostSpec
from greenroom.bindings.roles import Place
from greenroom.errors import BindingFailed, GreenroomError, Unavailable
from greenroom.rpc.processes.child import Child, start_child
from greenroom.rpc.processes.passing import name_of

logger = logging.getLogger(__name__)

START_SCRIPT: Final = Path(start.__file__)
START_S: Final = 60.0
STOP_GRACE_S: Final = 2.5
LAST_WORDS: Final = 20
"""lines of output that are remembered"""
LAST_WORDS_S: Final = 2.0
"""how long the end of a child whose link was lost may take to be told"""
BACK_OFF_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""before the next start, by crashes in a row"""
PATIENCE_S: Final = 3.0
"""how long a call waits for a start that is held back, before it is told to come later"""
HEALTHY_S: Final = 60.0
"""a child that lived so long has not crashed in a row"""


class HostProcess:
    """One child, from its start to its end. Made by :meth:`launch`."""

    def __init__(self, binding_id: str, loop: asyncio.AbstractEventLoop) -> None:
        self.binding_id = binding_id
        self.token = secrets.token_urlsafe(32)
        self.last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self.address: asyncio.Future[Address] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        """its exit code, once the last of its output has been read"""
        self.began = time.monotonic()
        self.stopping = False
        self._loop = loop
        self._child: Child | None = None
        self._folder: Path | None = None

    @property
    def pid(self) -> int:
        return self._child.pid if self._child is not None else 0

    def launch(self, place: Place, python: Path | None) -> None:
        """Blocks for some 30 ms. :raises OSError: if the interpreter cannot be started."""
        listen = "http://127.0.0.1:0"
        if sys.platform != "win32":
            self._folder = Path(tempfile.mkdtemp(prefix="greenroom-"))
            listen = f"unix:{self._folder / 'link'}"
        reading, output = os.pipe()
        asking, ask = os.pipe()
        answer, answering = os.pipe()
        spec = HostSpec(
            binding_id=place.binding_id,
            folder=str(place.folder),
            models=str(place.models),
            token=self.token,
            listen=listen,
            ask=name_of(ask),
            answer=name_of(answer),
            log_level=logging.getLogger("greenroom").getEffectiveLevel(),
        )
        try:
            self._child = start_child(
                [str(python or sys.executable), "-P", str(START_SCRIPT)],
                env=_environment(os.environ, spec, own=python is not None),
                output=output,
                pass_fds=(ask, answer),
            )
        except BaseException:
            for fd in (reading, asking, answering):
                os.close(fd)
            self._clean()
            raise
        finally:
            for fd in (output, ask, answer):
                os.close(fd)
        reader = threading.Thread(target=self._read, args=(reading, self._child), name="greenroom-child-log")
        teller = threading.Thread(target=_tell_secrets, args=(asking, answering, place), name="greenroom-child-secrets")
        for thread in (reader, teller):
            thread.daemon = True
            thread.start()

    async def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.stopping = True
        if self._child is not None:
            self._child.terminate(STOP_GRACE_S)
            await asyncio.shield(self.ended)

    def end_sentence(self) -> str:
        """How it ended and what it said last; to be asked after ``ended``."""
        code = self.ended.result() if self.ended.done() else None
        if code is None:
            how = "does not answer any more"
        elif code < 0:
            how = f"was killed by signal {-code}{_signal_name(-code)}"
        else:
            how = f"ended with exit code {code}"
        words = " | ".join(list(self.last_words)[-3:])
        return f"the process of {self.binding_id} {how}" + (f"; its last words: {words}" if words else "")

    def _read(self, reading: int, child: Child) -> None:
        """In a thread: everything that the child prints, until nobody can print any more."""
        with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._heard(line.rstrip("\n"))
        code = child.wait()
        self._clean()
        self._post(self._finish, code)

    def _heard(self, line: str) -> None:
        if line.startswith(READY):
            self._post(self._listening, line.removeprefix(READY))
            return
        level, source, message = logging.INFO, "", line
        if line.startswith(RECORD):
            with contextlib.suppress(ValueError, KeyError):
                entry = json.loads(line.removeprefix(RECORD))
                level, source, message = int(entry["level"]), f"{entry['logger']}: ", str(entry["message"])
        if not message.strip():
            return
        self.last_words.extend(part[:500] for part in message.splitlines() if part.strip())
        logger.log(level, "%s: %s%s", self.binding_id, source, message, extra={"binding": self.binding_id})

    def _listening(self, text: str) -> None:
        if not self.address.done():
            with contextlib.suppress(GreenroomError):
                self.address.set_result(Address.parse(text))

    def _finish(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)
        if not self.address.done():
            self.address.cancel()

    def _post(self, call: object, *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)  # type: ignore[arg-type]
        except RuntimeError:  # the loop has closed: nobody wants to know
            pass

    def _clean(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _environment(environ: Mapping[str, str], spec: HostSpec, *, own: bool) -> dict[str, str]:
    """``own``: for another interpreter than ours, which must not be told where our packages are."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__") if own else ()
    kept = {name: value for name, value in environ.items() if not name.startswith("GREENROOM_") and name not in ours}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", VARIABLE: spec.text()}


def _tell_secrets(asking: int, answering: int, place: Place) -> None:
    """In a thread: answer the child's questions for secrets, as the place would in this process."""
    with os.fdopen(asking, "rb") as questions, os.fdopen(answering, "wb", buffering=0) as answers:
        for question in questions:
            try:
                name, url = json.loads(question)
                value = place.secret(str(name), str(url))
                answers.write(json.dumps(value).encode() + b"\n")
            except (ValueError, TypeError):  # no question of ours
                answers.write(b"null\n")
            except OSError:  # the child has ended
                return


def _signal_name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""


class ChildPeer(Peer):
    """A binding in a child of ours."""

    def __init__(self, place: Place, python: Callable[[], Path | None], idle_s: float) -> None:
        super().__init__(place.binding_id)
        self._place = place
        self._python = python
        self._idle_s = idle_s
        self._process: HostProcess | None = None
        self._lock = asyncio.Lock()
        self._crashes = 0
        self._not_before = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._watchers: set[asyncio.Task[None]] = set()
        self._last_end = ""

    @property
    def pid(self) -> int | None:
        """The child's, ``None`` while there is none."""
        process = self._process
        return process.pid if process is not None and not process.ended.done() else None

    async def connect(self) -> Link:
        process = await self._running()
        try:
            return await open_link(process.address.result(), self.binding_id, process.token)
        except Unavailable:
            if not await _has_ended(process):
                raise
        process = await self._running()  # the other had ended, and word of it was still on its way
        return await open_link(process.address.result(), self.binding_id, process.token)

    async def failure(self) -> BindingFailed:
        process = self._process
        if process is None:
            return BindingFailed(self._last_end or f"the process of {self.binding_id} was stopped", retryable=True)
        await _has_ended(process)
        return _failed(process)

    async def _running(self) -> HostProcess:
        async with self._lock:
            if self._process is not None and not self._process.ended.done():
                return self._process
            await self._hold_back()
            self._process = await self._start()
            self.generation += 1
            return self._process

    async def _hold_back(self) -> None:
        wait_s = self._not_before - time.monotonic()
        if wait_s > PATIENCE_S:
            raise BindingFailed(
                f"{self._last_end}; it crashed {self._crashes} times in a row and is started again in {wait_s:.0f} s",
                retryable=True,
            )
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _start(self) -> HostProcess:
        loop = asyncio.get_running_loop()
        process = HostProcess(self.binding_id, loop)
        launching = loop.run_in_executor(None, process.launch, self._place, self._python())
        try:
            await asyncio.shield(launching)
        except OSError as error:
            raise BindingFailed(f"the process of {self.binding_id} cannot be started: {error}") from error
        except asyncio.CancelledError:
            await asyncio.gather(launching, return_exceptions=True)
            await process.stop()
            raise
        self._process = process
        watcher = loop.create_task(self._watch(process), name=f"watch {self.binding_id}")
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        try:
            async with asyncio.timeout(START_S):
                await asyncio.shield(process.address)
        except TimeoutError:
            await process.stop()
            raise BindingFailed(f"the process of {self.binding_id} was not ready within {START_S:g} s") from None
        except asyncio.CancelledError:
            if process.ended.done():
                raise _failed(process) from None
            await process.stop()
            raise
        logger.info("%s runs in process %d", self.binding_id, process.pid, extra={"binding": self.binding_id})
        return process

    async def _watch(self, process: HostProcess) -> None:
        await process.ended
        self.drop_spare()
        self._last_end = process.end_sentence()
        if process.stopping:
            return
        if time.monotonic() - process.began > HEALTHY_S:
            self._crashes = 0
        wait_s = BACK_OFF_S[min(self._crashes, len(BACK_OFF_S) - 1)]
        self._crashes += 1
        self._not_before = time.monotonic() + wait_s
        logger.warning("%s", self._last_end, extra={"binding": self.binding_id})

    def became_busy(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def went_idle(self) -> None:
        if self._idle_s and not self._closed:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._idle_s, self._stop_idle)

    def _stop_idle(self) -> None:
        self._idle = None
        if self._active == 0 and self._process is not None:
            task = asyncio.get_running_loop().create_task(self._stop_process(), name=f"stop {self.binding_id}")
            self._watchers.add(task)
            task.add_done_callback(self._watchers.discard)

    async def _stop_process(self) -> None:
        async with self._lock:
            if self._active == 0 and self._process is not None and not self._process.ended.done():
                logger.info("%s has idled and is stopped", self.binding_id, extra={"binding": self.binding_id})
                self.drop_spare()
                await self._process.stop()

    async def close(self) -> None:
        self.became_busy()
        await super().close()
        async with self._lock:
            if self._process is not None:
                await self._process.stop()
        await asyncio.gather(*self._watchers, return_exceptions=True)


async def _has_ended(process: HostProcess) -> bool:
    """Wait a little for the end of a process that has let go of its links, and for its last words."""
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            await asyncio.shield(process.ended)
    except TimeoutError:
        return False
    return True


def _failed(process: HostProcess) -> BindingFailed:
    details = {"last_words": list(process.last_words)}
    if process.ended.done():
        details |= {"exit_code": process.ended.result()}  # type: ignore[dict-item]
    return BindingFailed(process.end_sentence(), details=details, retryable=True)
