"""One child that serves a binding, from its start to its end.

start    the interpreter of the binding's own environment, or ours, runs ``start.py``; its secret and its address
         stand in its environment
output   read by a thread; log records come back as records, other lines as lines, all tagged with the binding's id
end      whoever waits hears how it ended, and its last words
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
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from greenroom.bindings.environments import held
from greenroom.bindings.installing.carried import child_variables
from greenroom.bindings.isolation import start
from greenroom.bindings.isolation.address import Address
from greenroom.bindings.isolation.spec import READY, RECORD, VARIABLE, HostSpec
from greenroom.bindings.roles import Place
from greenroom.errors import BindingFailed, GreenroomError
from greenroom.log import bind_job, bind_session
from greenroom.rpc.processes.child import Child, start_child
from greenroom.rpc.processes.passing import name_of

logger = logging.getLogger(__name__)

START_SCRIPT: Final = Path(start.__file__)
STOP_GRACE_S: Final = 2.5
LAST_WORDS: Final = 20
"""lines of output that are remembered"""
LINE_CHARS: Final = 64 * 1024
"""a longer line is taken for several: some programs print without ever ending one"""
LAST_WORDS_S: Final = 2.0
"""how long the end of a child whose connection was lost may take to be told"""


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
        self._holding = contextlib.ExitStack()
        """what keeps the environment that it runs in from being removed"""

    @property
    def pid(self) -> int:
        return self._child.pid if self._child is not None else 0

    def launch(self, place: Place, python: Path | None, logs: Path | None) -> None:
        """Blocks for some 30 ms.

        :param python: the interpreter of the binding's own environment; ours without one.
        :param logs: for what external programs print.
        :raises OSError: if the interpreter cannot be started. :raises Unavailable: its environment is being removed.
        """
        if python is not None:
            self._holding.enter_context(held(python))
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
            assets=str(place.assets),
            logs=str(logs or ""),
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
            while line := lines.readline(LINE_CHARS):
                self._heard(line.rstrip("\n"))
        code = child.wait()
        self._clean()
        self._post(self._finish, code)

    def _heard(self, line: str) -> None:
        if line.startswith(READY):
            self._post(self._listening, line.removeprefix(READY))
            return
        level, source, message, ids = logging.INFO, "", line, {}
        if line.startswith(RECORD):
            with contextlib.suppress(ValueError, KeyError):
                entry = json.loads(line.removeprefix(RECORD))
                level, source, message = int(entry["level"]), f"{entry['logger']}: ", str(entry["message"])
                ids = entry["ids"]
        if not message.strip():
            return
        self.last_words.extend(part[:500] for part in message.splitlines() if part.strip())
        with bind_session(str(ids.get("session", ""))), bind_job(str(ids.get("job", ""))):
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
        self._holding.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _environment(environ: Mapping[str, str], spec: HostSpec, *, own: bool) -> dict[str, str]:
    """``own``: for another interpreter than ours, which must not be told where our packages are."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__") if own else ()
    kept = {name: value for name, value in environ.items() if not name.startswith("GREENROOM_") and name not in ours}
    kept |= child_variables() if own else {}
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


async def has_ended(process: HostProcess) -> bool:
    """Wait a little for the end of a process that has let go of its connections, and for its last words."""
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            await asyncio.shield(process.ended)
    except TimeoutError:
        return False
    return True


def failure_of(process: HostProcess) -> BindingFailed:
    details: dict[str, object] = {"last_words": list(process.last_words)}
    if process.ended.done():
        details["exit_code"] = process.ended.result()
    return BindingFailed(process.end_sentence(), details=details, retryable=True)
