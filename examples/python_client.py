"""Ask a running Greenroom one question: the text is printed while it comes, the voice is written to answer.wav."""

import asyncio

import greenroom.client


async def main() -> None:
    async with greenroom.client.connect("http://127.0.0.1:9601") as room:
        await room.select_personality("english/companions/robin")
        answer = greenroom.client.Answer()
        async for received in room.ask("Hello, who are you?"):
            print(received.text, end="", flush=True)
            answer.add(received)
        print()
        answer.save("answer.wav")


asyncio.run(main())
