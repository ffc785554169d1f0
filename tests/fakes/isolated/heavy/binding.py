"""Imports at its top what only a process of its own has: here, a process started as a binding's."""

import sys
from collections.abc import AsyncGenerator

from pydantic import Field

from greenroom.bindings.roles import OWNER_ONLY, Binding, Engine, Options, TextToText
from greenroom.values import Prompt, Role, TextDelta

if not sys.argv[0].endswith("start.py"):
    raise ImportError("no module named 'something_very_large'")


class HeavyOptions(Options):
    model: str = Field("large", description="which one")
    size: int = Field(1, ge=1, le=9)
    base_url: str = Field("", json_schema_extra=OWNER_ONLY)


class HeavyText(TextToText[Engine]):
    Options = HeavyOptions
    options: HeavyOptions

    async def generate(self, prompt: Prompt) -> AsyncGenerator[TextDelta, None]:
        yield TextDelta(f"{self.options.model} {self.options.size}")


BINDING = Binding({Role.T2T: HeavyText})
