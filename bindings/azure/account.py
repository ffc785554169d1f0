"""Where the service is and with which key: what both roles' options have in common.

region, or host, or endpoint -> the URL that a key is bound to -> the SDK's configuration
"""

import asyncio
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from greenroom.bindings.roles import OWNER_ONLY, Options, Place
from greenroom.errors import BindingFailed

if TYPE_CHECKING:
    from azure.cognitiveservices.speech import SpeechConfig

KEY, REGION = "AZURE_API_KEY", "AZURE_REGION"
FAREWELL_S = 1.0
"""how long an engine that is closed waits for connections to be closed properly"""
_REGION = re.compile(r"[a-z0-9]{1,40}")
_DOMAINS = (("china", "azure.cn"), ("usgov", "azure.us"), ("usdod", "azure.us"))
"""clouds of their own, by how the names of their regions begin"""

Service = Literal["tts", "stt"]


class AccountOptions(Options):
    region: str = Field(
        "", max_length=40, description="the resource's region, such as westeurope; empty: AZURE_REGION says it"
    )
    host: str = Field(
        "",
        max_length=300,
        description="in place of a region: a container or private host, wss://speech.example.com or ws://localhost:5000",
        json_schema_extra=OWNER_ONLY,
    )
    endpoint: str = Field(
        "",
        max_length=600,
        description="in place of both: the whole address of the service, as a custom model has one",
        json_schema_extra=OWNER_ONLY,
    )
    read_timeout_s: float = Field(
        15.0, gt=0, le=600, description="longest silence of the service in seconds, while it owes something"
    )
    max_retries: int = Field(1, ge=0, le=5, description="further attempts where nothing had come yet")

    @field_validator("region")
    @classmethod
    def _is_region(cls, value: str) -> str:
        value = value.strip().lower()
        if value and not _REGION.fullmatch(value):
            raise ValueError("wanted the name of a region, such as westeurope")
        return value

    @field_validator("host", "endpoint")
    @classmethod
    def _is_address(cls, value: str) -> str:
        value = value.strip()
        if not value:
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("ws", "wss", "http", "https") or not parts.hostname:
            raise ValueError("wanted an address such as wss://speech.example.com")
        if parts.username or parts.password:
            raise ValueError("wanted an address without user and password")
        return value


def account_key(options: Any) -> Hashable:
    """Operations that agree in this may share connections."""
    return (options.region, options.host, options.endpoint)


@dataclass(frozen=True, slots=True)
class Account:
    service: Service
    region: str
    host: str
    endpoint: str
    key: str | None

    @property
    def url(self) -> str:
        return self.endpoint or self.host or region_url(self.region, self.service)

    @property
    def name(self) -> str:
        """The host as messages name it."""
        return urlsplit(self.url).netloc

    @property
    def voices_url(self) -> str:
        """The list of voices, over HTTP."""
        parts = urlsplit(self.url)
        scheme = "http" if parts.scheme in ("ws", "http") else "https"
        return f"{scheme}://{parts.netloc}/cognitiveservices/voices/list"

    def check(self) -> None:
        """:raises BindingFailed: naming the variable that is missing."""
        if self.endpoint or self.host:
            return
        if not self.region:
            raise BindingFailed(f"no region of Azure is set: set {REGION}, or the option region, to your resource's")
        if self.key is None:
            if not is_public(self.region):
                raise BindingFailed(
                    f"the region {self.region} belongs to a cloud of its own: set host to "
                    f"wss://{self.name}, so that the key may go there"
                )
            raise BindingFailed(f"Azure wants a key and none is set: set {KEY} to a key of your Speech resource")

    def speech_config(self) -> "SpeechConfig":
        """Call :meth:`check` before."""
        from azure.cognitiveservices.speech import SpeechConfig

        if self.endpoint:
            return SpeechConfig(endpoint=self.endpoint, subscription=self.key)
        if self.host:
            return SpeechConfig(host=self.host, subscription=self.key)
        return SpeechConfig(region=self.region, subscription=self.key)


def region_url(region: str, service: Service) -> str:
    domain = next((domain for start, domain in _DOMAINS if region.startswith(start)), "microsoft.com")
    return f"wss://{region or 'unknown'}.{service}.speech.{domain}"


def is_public(region: str) -> bool:
    return not any(region.startswith(start) for start, _ in _DOMAINS)


def account_of(options: AccountOptions, service: Service, place: Place) -> Account:
    """Nothing is refused here: lists work without a key."""
    region = options.region or (place.secret(REGION, region_url("", service)) or "").strip().lower()
    if not _REGION.fullmatch(region):
        region = ""
    account = Account(service, region, options.host, options.endpoint, None)
    return Account(service, region, options.host, options.endpoint, place.secret(KEY, account.url))


async def load_sdk() -> None:
    """Import it in a thread: it loads a large library. :raises BindingFailed: with what mends it."""

    def load() -> None:
        import azure.cognitiveservices.speech  # noqa: F401

    try:
        await asyncio.to_thread(load)
    except ImportError as error:
        raise BindingFailed(
            f'azure needs its SDK: pip install "greenroom[azure]" ({type(error).__name__}: {error})'
        ) from error
    except OSError as error:  # its library lacks one of the system's
        raise BindingFailed(f"Azure's SDK does not load on this system: {error}") from error
