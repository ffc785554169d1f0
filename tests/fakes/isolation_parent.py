"""Run as a program: holds isolated bindings in the middle of a stream, prints their processes' numbers, and waits.

python -m fakes.isolation_parent         the child of `apart`
python -m fakes.isolation_parent runner  the child of `runner`, and the program that it has started
"""

import asyncio
import sys
from contextlib import aclosing

from fakes.isolation_rig import answer, asked, isolated
from greenroom.values import Role


async def main(binding: str) -> None:
    async with isolated() as rig:
        text = (await rig.load(Role.T2T, binding)).operation
        pids = await answer(text, "pid")
        async with aclosing(text.generate(asked("hang"))) as deltas:  # type: ignore[attr-defined]
            async for _ in deltas:
                print(pids, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or ["apart"]))
