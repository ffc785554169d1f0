"""Recognisers in child processes: one utterance at a time each, started on demand, shared by all sessions."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from greenroom.bindings.roles import Engine
from greenroom.bindings.threads import Worker
from greenroom.errors import BindingFailed

from .recognizer import TEXT, read_frame, write_frame

PROGRAM = Path(__file__).with_name("recognizer.py")


class Decoder:
    """One child. Requests queue in its own thread, so one that is given up leaves the next in step."""

    def __init__(self, model: Mapping[str, str]) -> None:
        self._command = [sys.executable, str(PROGRAM), json.dumps(dict(model))]
        self._worker = Worker("pocketsphinx")
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._broken = False

    @property
    def usable(self) -> bool:
        ended = self._process is not None and self._process.poll() is not None
        return not (self._closed or self._broken or ended)

    async def start(self) -> None:
        """Return when the model is loaded. :raises BindingFailed: with the reason."""
        await self._worker.call(self._spawn)

    async def request(self, kind: bytes, payload: bytes = b"") -> str:
        """:raises BindingFailed: if it fails; ``usable`` is false if the child has gone."""
        if self._closed:
            raise BindingFailed("the speech recogniser is closed")
        return await self._worker.call(lambda: self._exchange(kind, payload))

    async def close(self) -> None:
        """End the child now, whatever it is doing."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
        try:
            await self._worker.call(self._reap)
        finally:
            self._worker.close()

    def _spawn(self) -> None:
        if self._closed:
            return
        self._process = subprocess.Popen(  # noqa: S603 -- this Python, with a program of this folder
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        if self._closed:
            return
        try:
            self._read()
        except BindingFailed as error:
            if not self._broken:
                raise
            raise BindingFailed("the speech recogniser could not load its model: it is broken or incomplete") from error

    def _exchange(self, kind: bytes, payload: bytes) -> str:
        if self._process is None or self._process.stdin is None:
            raise BindingFailed("the speech recogniser is closed")
        try:
            write_frame(self._process.stdin, kind, payload)
        except OSError as error:
            raise self._gone() from error
        return self._read()

    def _read(self) -> str:
        if self._process is None or self._process.stdout is None:
            raise BindingFailed("the speech recogniser is closed")
        answer = read_frame(self._process.stdout)
        if answer is None:
            raise self._gone()
        kind, payload = answer
        text = payload.decode(errors="replace")
        if kind != TEXT:
            raise BindingFailed(text)
        return text

    def _gone(self) -> BindingFailed:
        self._broken = True
        return BindingFailed("the speech recogniser stopped; it starts again with the next utterance", retryable=True)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:  # what was not flushed cannot be any more
                        pass
            self._process.wait()


class Decoders(Engine):
    """At most ``limit`` children. Who comes when all are busy waits, first come first served."""

    def __init__(self, model: Mapping[str, str], limit: int) -> None:
        self._model = model
        self._free = asyncio.Semaphore(limit)
        self._idle: list[Decoder] = []
        self._all: set[Decoder] = set()
        self._closed = False

    async def preload(self) -> None:
        """Start the first child, so that a bad model is reported when it is chosen."""
        async with self.decoder():
            pass

    @asynccontextmanager
    async def decoder(self) -> AsyncIterator[Decoder]:
        async with self._free:
            decoder = await self._take()
            try:
                yield decoder
            finally:
                if decoder.usable and not self._closed:
                    self._idle.append(decoder)
                else:
                    await self._discard(decoder)

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*(self._discard(decoder) for decoder in tuple(self._all)))

    async def _take(self) -> Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.usable:
                return decoder
            await self._discard(decoder)
        if self._closed:
            raise BindingFailed("the speech recogniser is closed")
        decoder = Decoder(self._model)
        self._all.add(decoder)
        try:
            await decoder.start()
        except BaseException:
            await self._discard(decoder)
            raise
        return decoder

    async def _discard(self, decoder: Decoder) -> None:
        if decoder in self._all:
            self._all.discard(decoder)
            await decoder.close()
