"""Run as a program: holds an isolated binding in the middle of a stream, prints its child's number, and waits."""

import asyncio
from contextlib import aclosing

from fakes.isolation_rig import answer, asked, isolated


async def main() -> None:
    async with isolated() as rig:
        text = await rig.text()
        pid = await answer(text, "pid")
        async with aclosing(text.generate(asked("hang"))) as deltas:
            async for _ in deltas:
                print(pid, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
