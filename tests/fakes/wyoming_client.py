"""The wyoming package's own client, as Home Assistant uses it, and its types.

async with wyoming(uri) as client:
    await client.write_event(Describe().event())
    info = Info.from_event(await heard(client, "info"))
"""

import asyncio
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it still looks for audioop first
    from wyoming.asr import Transcribe, Transcript, TranscriptChunk
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncClient
    from wyoming.event import Event
    from wyoming.handle import Handled, HandledChunk
    from wyoming.info import Describe, Info, SelectProgram
    from wyoming.ping import Ping, Pong
    from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from greenroom.values import Audio

__all__ = [
    "AsyncClient",
    "AudioChunk",
    "AudioStart",
    "AudioStop",
    "Describe",
    "Event",
    "Handled",
    "HandledChunk",
    "Info",
    "Ping",
    "Pong",
    "SelectProgram",
    "Synthesize",
    "SynthesizeChunk",
    "SynthesizeStart",
    "SynthesizeStop",
    "SynthesizeVoice",
    "Transcribe",
    "Transcript",
    "TranscriptChunk",
    "heard",
    "heard_until",
    "record",
    "wyoming",
]

PATIENCE_S = 60.0


@asynccontextmanager
async def wyoming(uri: str) -> AsyncGenerator[AsyncClient, None]:
    client = AsyncClient.from_uri(uri, connect_timeout=PATIENCE_S, read_timeout=PATIENCE_S)
    async with client:
        yield client


async def heard_until(client: AsyncClient, *last: str) -> list[Event]:
    """Everything up to the first event of these types. :raises AssertionError: the connection ended before."""
    found: list[Event] = []
    while True:
        event = await client.read_event()
        assert event is not None, f"closed after {[one.type for one in found]}"
        found.append(event)
        if event.type in last:
            return found


async def heard(client: AsyncClient, kind: str) -> Event:
    return (await heard_until(client, kind))[-1]


async def record(client: AsyncClient, speech: Audio, *, chunk_ms: int = 64, pace_s: float = 0.0) -> None:
    """From audio-start to audio-stop."""
    form = {"rate": speech.sample_rate, "width": speech.sample_width, "channels": speech.channels}
    await client.write_event(AudioStart(**form).event())
    step = speech.sample_rate * speech.frame_bytes * chunk_ms // 1000 // speech.frame_bytes * speech.frame_bytes
    for at in range(0, len(speech.pcm), step):
        await client.write_event(AudioChunk(audio=speech.pcm[at : at + step], **form).event())
        await asyncio.sleep(pace_s)
    await client.write_event(AudioStop().event())
