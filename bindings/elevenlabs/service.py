"""The connections to ElevenLabs, shared by all sessions, and the voices of the account."""

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from pydantic import Field, field_validator

from greenroom.bindings.live_socket import Sockets
from greenroom.bindings.roles import OWNER_ONLY, Engine, Model, Options, Voice
from greenroom.bindings.service_failures import ServiceFailures
from greenroom.bindings.web_address import web_address
from greenroom.errors import BindingFailed

if TYPE_CHECKING:
    import httpx
    from elevenlabs.client import AsyncElevenLabs

KEY = "ELEVENLABS_API_KEY"
_OWN_HOST = "api.elevenlabs.io"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ID = re.compile(r"[A-Za-z0-9]{20}")
_PAGE = 100
_LIST_TIMEOUT_S = 10
_INACTIVITY_S = 180
"""the longest that the service allows between two pieces of text: a slow writer must not lose its voice"""

READY_MADE: tuple[Voice, ...] = (
    Voice("JBFqnCBsd6RMkjVDRZzb", "George", "en", "male"),
    Voice("21m00Tcm4TlvDq8ikWAM", "Rachel", "en", "female"),
    Voice("EXAVITQu4vr4xnSDxMaL", "Sarah", "en", "female"),
    Voice("XB0fDUnXU5powFXDhCwa", "Charlotte", "en", "female"),
    Voice("pFZP5JQG7iQjIQuC4Bku", "Lily", "en", "female"),
    Voice("cgSgspJ2msm6clMCkdW9", "Jessica", "en", "female"),
    Voice("XrExE9yKIg1WjnnlVkGX", "Matilda", "en", "female"),
    Voice("pNInz6obpgDQGcFmaJgB", "Adam", "en", "male"),
    Voice("nPczCjzI2devNBz1zQrb", "Brian", "en", "male"),
    Voice("onwK4e9ZLuTAKqWW03F9", "Daniel", "en", "male"),
    Voice("TX3LPaxmHKxFdv7VOQHJ", "Liam", "en", "male"),
    Voice("IKne3meq5aSn9XLyUdCD", "Charlie", "en", "male"),
)
"""what the service gives to every account"""


class ServiceOptions(Options):
    base_url: str = Field(
        "https://api.elevenlabs.io",
        max_length=300,
        description="the service; https://api.eu.residency.elevenlabs.io and others for accounts bound to a place",
        json_schema_extra=OWNER_ONLY,
    )
    connect_timeout_s: float = Field(5.0, gt=0, le=60, description="seconds to wait for a connection")
    read_timeout_s: float = Field(
        30.0, gt=0, le=600, description="longest silence of the service in seconds, while it owes something"
    )
    max_retries: int = Field(1, ge=0, le=5, description="further attempts where nothing had come yet")

    @field_validator("base_url")
    @classmethod
    def _is_web_address(cls, value: str) -> str:
        return web_address(value, "https://api.elevenlabs.io").rstrip("/")


class ElevenEngine(Engine):
    def __init__(
        self,
        client: "AsyncElevenLabs",
        http: "httpx.AsyncClient",
        sockets: Sockets,
        failures: ServiceFailures,
        base_url: str,
    ) -> None:
        self.client = client
        self._http = http
        self.sockets = sockets
        self.failures = failures
        self._base_url = base_url
        self._listing: asyncio.Task[Sequence[Voice]] | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"xi-api-key": self.failures.key} if self.failures.key else {}

    def check(self) -> None:
        """:raises BindingFailed: naming the key, where the service is known to want one and there is none."""
        if self.failures.key is None and self.failures.host == _OWN_HOST:
            raise self.failures.of_status(401, "")

    def live_url(self, voice_id: str, model: str, output_format: str, language: str) -> str:
        query = {
            "model_id": model,
            "output_format": output_format,
            "sync_alignment": "true",
            "inactivity_timeout": str(_INACTIVITY_S),
        }
        if language:
            query["language_code"] = language
        path = f"/v1/text-to-speech/{quote(voice_id, safe='')}/stream-input"
        return f"ws{self._base_url.removeprefix('http')}{path}?{urlencode(query)}"

    async def voice_id(self, name: str) -> str:
        """Of a voice named by id or name; for one that everybody has, nobody is asked.

        :raises BindingFailed: for a name that nobody has.
        """
        if _ID.fullmatch(name):
            return name
        wanted = name.strip().casefold()
        for voice in READY_MADE:
            if voice.name.casefold() == wanted:
                return voice.id
        voices = [*READY_MADE, *await self.voices()]
        for fits in (str.__eq__, str.startswith):  # the service adds to names: "George - Warm Storyteller"
            for voice in voices:
                if fits(voice.name.casefold(), wanted):
                    return voice.id
        known = ", ".join(sorted({voice.name for voice in voices})[:20])
        raise BindingFailed(f"{self.failures.host} has no voice {name!r}; some that it has: {known}")

    async def voices(self) -> Sequence[Voice]:
        """The account's, asked for once; ``()`` without a key or an answer."""
        if self.failures.key is None and self.failures.host == _OWN_HOST:
            return ()
        if self._listing is None:
            self._listing = asyncio.get_running_loop().create_task(self._list(), name="elevenlabs voices")
        listed = await asyncio.shield(self._listing)
        if not listed:
            self._listing = None
        return listed

    async def _list(self) -> Sequence[Voice]:
        import httpx
        from elevenlabs.core.api_error import ApiError

        found: list[Voice] = []
        token: str | None = None
        try:
            while True:
                page = await self.client.voices.search(
                    page_size=_PAGE,
                    next_page_token=token,
                    request_options={"timeout_in_seconds": _LIST_TIMEOUT_S, "max_retries": 0},
                )
                for entry in page.voices or ():
                    labels = entry.labels or {}
                    name, language = entry.name or entry.voice_id, labels.get("language", "")
                    found.append(Voice(entry.voice_id, name, language, labels.get("gender", "")))
                token = page.next_page_token
                if not page.has_more or not token:
                    return tuple(found)
        except (ApiError, httpx.HTTPError, ValueError, AttributeError):  # the last two: an answer of another kind
            return tuple(found)

    async def models(self) -> Sequence[Model]:
        import httpx
        from elevenlabs.core.api_error import ApiError

        try:
            listed = await self.client.models.list(
                request_options={"timeout_in_seconds": _LIST_TIMEOUT_S, "max_retries": 0}
            )
            return tuple(
                Model(entry.model_id, entry.name or "") for entry in listed or () if entry.can_do_text_to_speech
            )
        except (ApiError, httpx.HTTPError, ValueError, AttributeError):
            return ()

    async def close(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
        await self.sockets.close()
        await self._http.aclose()


def open_service(options: ServiceOptions, key: str | None) -> ElevenEngine:
    """In a thread: the SDK's import takes long. :raises BindingFailed: where the SDK is missing."""
    try:
        import httpx
        from elevenlabs.client import AsyncElevenLabs
    except ImportError as error:
        raise BindingFailed(f'elevenlabs needs its SDK: pip install "greenroom[elevenlabs]" ({error})') from error

    parts = urlsplit(options.base_url)
    failures = ServiceFailures(parts.netloc, KEY, key, options.read_timeout_s)
    http = httpx.AsyncClient(
        timeout=httpx.Timeout(options.read_timeout_s, connect=options.connect_timeout_s),
        trust_env=parts.hostname not in _LOOPBACK,
    )
    client = AsyncElevenLabs(base_url=options.base_url, api_key=key, httpx_client=http)
    return ElevenEngine(client, http, Sockets(failures, options.connect_timeout_s), failures, options.base_url)
