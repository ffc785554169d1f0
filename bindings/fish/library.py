"""Voices of Fish Audio: the account's own, then much used ones of the public library."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenroom.bindings.roles import Voice
from greenroom.errors import BindingFailed

from .service import FishEngine

if TYPE_CHECKING:
    from fishaudio.types.voices import Voice as FishVoice

_PAGE = 50


async def library_voices(engine: FishEngine, current: str) -> Sequence[Voice]:
    """The configured voice stands first. What the service does not list, for whatever reason, is left out."""
    found = {current: Voice(current, current)} if current else {}
    if engine.failures.key is None:
        return tuple(found.values())
    for own in (True, False):
        for entry in await _listed(engine, own):
            if entry.id == current or entry.id not in found:
                found[entry.id] = Voice(entry.id, entry.title, ", ".join(entry.languages))
    return tuple(found.values())


async def _listed(engine: FishEngine, own: bool) -> "list[FishVoice]":
    import httpx
    from fishaudio.exceptions import FishAudioError

    try:
        page = await engine.client.voices.list(
            page_size=_PAGE, self_only=own, sort_by="created_at" if own else "task_count"
        )
    except (FishAudioError, BindingFailed, httpx.HTTPError, ValueError):
        return []
    return list(page.items)
