"""Talk to a running Greenroom as Home Assistant does. The server was started with --wyoming tcp://127.0.0.1:10200.

First: pip install wyoming
"""

import asyncio

from wyoming.asr import Transcript
from wyoming.client import AsyncClient
from wyoming.handle import HandledChunk


async def main() -> None:
    async with AsyncClient.from_uri("tcp://127.0.0.1:10200") as client:
        await client.write_event(Transcript(text="Hello, who are you?").event())
        while (event := await client.read_event()) is not None and event.type != "handled-stop":
            if HandledChunk.is_type(event.type):
                print(HandledChunk.from_event(event).text, end="", flush=True)
        print()


asyncio.run(main())
