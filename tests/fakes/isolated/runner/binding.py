"""A backend whose process has started an external program.

"pid"      its process number and the program's
"assets"   what lies in its folder of assets
"hang"     "hanging ", then nothing
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from greenroom.bindings.programs import RunningProgram
from greenroom.bindings.roles import Binding, Engine, Options, Place, TextToText
from greenroom.values import Prompt, Role, TextDelta

SCRIPT = Path(__file__).parents[2] / "small_program.py"


class Running(Engine):
    def __init__(self, place: Place, stack: AsyncExitStack, program: RunningProgram) -> None:
        self.place = place
        self.program = program
        self._stack = stack

    async def close(self) -> None:
        await self._stack.aclose()


class Text(TextToText[Running]):
    @classmethod
    async def open_engine(cls, options: Options, place: Place) -> Running:
        assert place.program is not None
        program = place.program.program("small", {"python": f'"{sys.executable}"', "script": str(SCRIPT)})
        stack = AsyncExitStack()
        return Running(place, stack, await stack.enter_async_context(place.programs().use(program)))

    async def generate(self, prompt: Prompt) -> AsyncGenerator[TextDelta, None]:
        match prompt.messages[-1].content:
            case "pid":
                yield TextDelta(f"{os.getpid()} {self.engine.program.pid}")
            case "assets":
                yield TextDelta(" ".join(path.name for path in self.engine.place.assets.iterdir()))
            case "hang":
                yield TextDelta("hanging ")
                await asyncio.Event().wait()


BINDING: Any = Binding({Role.T2T: Text})
