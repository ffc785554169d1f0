"""Small items or sound as fast as they are taken: what is measured is the way to the reader."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator

from pydantic import Field

from greenroom.bindings.roles import Binding, Engine, Options, TextToSpeech, TextToText
from greenroom.values import Audio, Prompt, Role, SpeechText, TextDelta


class TapOptions(Options):
    items: int = Field(1, ge=0, description="items of one stream")
    item_bytes: int = Field(9600, ge=2, description="bytes of one piece of sound")
    ticks: bool = Field(False, description="let the event loop run after every item")
    hangs: bool = Field(False, description="after the items, wait to be cancelled; then tell the time")
    tell: int = Field(0, description="port of this machine to which it is told")


class TapText(TextToText[Engine]):
    Options = TapOptions
    options: TapOptions

    async def generate(self, prompt: Prompt) -> AsyncGenerator[TextDelta, None]:
        for number in range(self.options.items):
            yield TextDelta(f"item {number}")
            if self.options.ticks:
                await asyncio.sleep(0)
        if self.options.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                heard = time.monotonic()
                with socket.create_connection(("127.0.0.1", self.options.tell)) as told:
                    told.sendall(f"{heard}\n".encode())


class TapSound(TextToSpeech[Engine]):
    Options = TapOptions
    options: TapOptions

    async def speak(self, text: AsyncIterator[SpeechText]) -> AsyncGenerator[Audio, None]:
        pcm = bytes(self.options.item_bytes)
        async for _ in text:
            for _ in range(self.options.items):
                yield Audio(pcm, 24_000)
                if self.options.ticks:
                    await asyncio.sleep(0)


BINDING = Binding({Role.T2T: TapText, Role.TTS: TapSound})
