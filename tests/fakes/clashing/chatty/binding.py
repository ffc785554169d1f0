"""Says which toyvoice it runs with."""

from collections.abc import AsyncGenerator

import toyvoice  # type: ignore[import-not-found]

from greenroom.bindings.roles import Binding, Engine, TextToText
from greenroom.values import Prompt, Role, TextDelta


class Text(TextToText[Engine]):
    async def generate(self, prompt: Prompt) -> AsyncGenerator[TextDelta, None]:
        yield TextDelta("I am toyvoice ")
        yield TextDelta(f"{toyvoice.VERSION}.")


BINDING = Binding({Role.T2T: Text})
