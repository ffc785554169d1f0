"""The voices that the service lists for its region; a few well-known ones where it cannot be asked."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from greenroom.bindings.roles import Voice
from greenroom.errors import BindingFailed

from .account import Account

_TIMEOUT_S = 5.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

KNOWN_VOICES: tuple[Voice, ...] = tuple(
    Voice(f"{locale}-{name}", name.removesuffix("Neural"), locale, gender)
    for locale, name, gender in (
        ("en-US", "AshleyNeural", "female"),
        ("en-US", "AriaNeural", "female"),
        ("en-US", "JennyNeural", "female"),
        ("en-US", "GuyNeural", "male"),
        ("en-US", "DavisNeural", "male"),
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


async def listed_voices(account: Account) -> Sequence[Voice]:
    """``()`` without key or region, and if the service does not answer with a list."""
    import httpx

    try:
        account.check()
    except BindingFailed:
        return ()
    parts = urlsplit(account.voices_url)
    headers = {"Ocp-Apim-Subscription-Key": account.key} if account.key else {}
    trust_env = parts.hostname not in _LOOPBACK
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=trust_env) as client:
            answer = await client.get(account.voices_url, headers=headers)
            listed = answer.json() if answer.status_code == 200 else []
    except (httpx.HTTPError, ValueError):
        return ()
    entries = listed if isinstance(listed, list) else []
    return tuple(_voice(entry) for entry in entries if isinstance(entry, dict) and entry.get("ShortName"))


def _voice(entry: dict[str, Any]) -> Voice:
    return Voice(
        str(entry["ShortName"]),
        str(entry.get("DisplayName") or entry["ShortName"]),
        str(entry.get("Locale") or ""),
        str(entry.get("Gender") or "").lower(),
    )
