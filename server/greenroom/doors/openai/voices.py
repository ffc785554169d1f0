"""Which voices a voice has: asked of its operation, and believed for a minute, since some ask a service far away."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import TextToSpeech, Voice
from greenroom.doors.openai.failures import bad_field
from greenroom.doors.openai.models import OWN
from greenroom.session.operations import operation_as

_BELIEVED_S = 60.0
_SHOWN = 8
_KEPT = 100
_THEIRS = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""OpenAI's; where a voice has none of that name, the one that is configured speaks"""


class VoiceLists:
    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Sequence[Voice]]] = {}

    async def of(self, loaded: LoadedOperation) -> Sequence[Voice]:
        key = f"{loaded.binding_id} {_sorted(loaded.raw_options)}"
        now = time.monotonic()
        at, voices = self._known.get(key, (0.0, ()))
        if key not in self._known or now - at > _BELIEVED_S:
            with guarded(loaded.binding_id):
                voices = await operation_as(TextToSpeech, loaded).voices()
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = now, voices
        return voices

    async def choose(self, loaded: LoadedOperation, wanted: str | None) -> str:
        """What the operation is told; empty: as it is configured. :raises BadRequest: it has no such voice."""
        if not wanted or wanted in (OWN, "default"):
            return ""
        voices = await self.of(loaded)
        if not voices or any(voice.id == wanted for voice in voices):
            return "" if not voices and wanted in _THEIRS else wanted
        named = [voice.id for voice in voices if voice.name.casefold() == wanted.casefold()]
        if len(named) == 1:
            return named[0]
        if wanted in _THEIRS:
            return ""
        some = ", ".join(voice.id for voice in voices[:_SHOWN])
        raise bad_field("voice", f"there is no such voice; there are {some}: GET /v1/audio/voices lists them all")


def _sorted(options: Mapping[str, Any]) -> str:
    return str(sorted(options.items(), key=str))
