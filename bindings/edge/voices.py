"""The voices that the service lists; a few well-known ones where it cannot be asked."""

import asyncio
from collections.abc import Sequence
from typing import Any

from greenroom.bindings.roles import Voice

from .sdk import EdgeSdk

_TIMEOUT_S = 5.0

KNOWN_VOICES: tuple[Voice, ...] = tuple(
    Voice(f"{locale}-{name}", name.removesuffix("Neural"), locale, gender)
    for locale, name, gender in (
        ("en-US", "EmmaMultilingualNeural", "female"),
        ("en-US", "AvaMultilingualNeural", "female"),
        ("en-US", "AndrewMultilingualNeural", "male"),
        ("en-US", "BrianMultilingualNeural", "male"),
        ("en-US", "AriaNeural", "female"),
        ("en-US", "JennyNeural", "female"),
        ("en-US", "GuyNeural", "male"),
        ("en-US", "AnaNeural", "female"),
        ("en-GB", "SoniaNeural", "female"),
        ("en-GB", "RyanNeural", "male"),
        ("de-DE", "KatjaNeural", "female"),
        ("de-DE", "ConradNeural", "male"),
        ("fr-FR", "DeniseNeural", "female"),
        ("fr-FR", "HenriNeural", "male"),
        ("es-ES", "ElviraNeural", "female"),
        ("es-ES", "AlvaroNeural", "male"),
        ("it-IT", "ElsaNeural", "female"),
        ("pt-BR", "FranciscaNeural", "female"),
        ("ja-JP", "NanamiNeural", "female"),
        ("ja-JP", "KeitaNeural", "male"),
        ("ko-KR", "SunHiNeural", "female"),
        ("zh-CN", "XiaoxiaoNeural", "female"),
        ("zh-CN", "YunxiNeural", "male"),
    )
)


async def listed_voices(sdk: EdgeSdk, proxy: str) -> Sequence[Voice]:
    """``()`` if the service does not answer with a list in time."""
    import aiohttp

    try:
        async with asyncio.timeout(_TIMEOUT_S):
            listed = await sdk.list_voices(proxy=proxy or None)
    except (aiohttp.ClientError, sdk.errors.EdgeTTSException, OSError, ValueError, TypeError):
        return ()
    return tuple(_voice(entry) for entry in listed if isinstance(entry, dict) and entry.get("ShortName"))


def _voice(entry: dict[str, Any]) -> Voice:
    name = str(entry.get("FriendlyName") or entry["ShortName"])
    return Voice(
        str(entry["ShortName"]),
        name.removeprefix("Microsoft ").partition(" Online")[0],
        str(entry.get("Locale") or ""),
        str(entry.get("Gender") or "").lower(),
    )
