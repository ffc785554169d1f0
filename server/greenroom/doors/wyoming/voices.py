"""Which voices there are, told in time.

Home Assistant waits one second for a description, asks three times and then gives up, while a list of voices may come
from a service far away, or the voice's engine be still opening.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from greenroom.bindings.roles import Voice

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 0.5
_KEPT: Final = 32

Look = Callable[[], Awaitable[Sequence[Voice]]]


class VoiceLists:
    """Every question is asked anew, and answered with what was found before where that takes too long.

    :param patience_s: how long one who asks waits.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._known: dict[str, Sequence[Voice]] = {}
        self._looking: dict[str, asyncio.Task[Sequence[Voice]]] = {}

    async def of(self, binding_id: str, options: Mapping[str, Any], look: Look) -> Sequence[Voice]:
        """Empty: none that have a name, or none yet. :raises GreenroomError: the voice failed to say."""
        key = f"{binding_id} {json.dumps(dict(options), sort_keys=True, default=str)}"
        looking = self._looking.get(key)
        if looking is None:
            looking = asyncio.get_running_loop().create_task(self._look(key, look), name=f"voices of {binding_id}")
            looking.add_done_callback(_noted)
            self._looking[key] = looking
        done, _ = await asyncio.wait({looking}, timeout=self._patience_s)
        if done:
            return looking.result()
        logger.info("the voices of %s take long to find out", binding_id)
        return self._known.get(key, ())

    async def _look(self, key: str, look: Look) -> Sequence[Voice]:
        try:
            found = await look()
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = found
            return found
        finally:
            del self._looking[key]

    async def close(self) -> None:
        looking = list(self._looking.values())
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


def _noted(looking: asyncio.Task[Sequence[Voice]]) -> None:
    """Whoever waited hears of a failure from the task; where nobody did, this takes it."""
    if not looking.cancelled() and looking.exception() is not None:
        logger.debug("%s: %s", looking.get_name(), looking.exception())
