"""What may be configured: one frozen model for each section of ``config.yaml``. The file, the environment, the command
line, ``config_update`` and the key reference all follow from these types."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from greenroom.config.network import JaisonConfig, ListenEntry, ServerConfig, TlsFiles, TokenEntry, WyomingConfig
from greenroom.config.options import checked_options
from greenroom.config.parts import (
    DAY_S,
    KIB,
    MIB,
    OWNER,
    BindingId,
    OptionalText,
    Section,
    SessionName,
    ShortText,
)
from greenroom.values import Role

__all__ = [
    "OWNER",
    "BindingId",
    "Config",
    "ContextConfig",
    "GenerationConfig",
    "JaisonConfig",
    "LimitsConfig",
    "ListenEntry",
    "LogConfig",
    "OperationEntry",
    "Section",
    "ServerConfig",
    "SessionConfig",
    "SessionName",
    "ShortText",
    "StoreConfig",
    "TlsFiles",
    "TokenEntry",
    "TurnConfig",
    "WyomingConfig",
]


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _database(value: str) -> str:
    if value and not re.match(r"[A-Za-z][A-Za-z0-9+]*://", value):
        raise PydanticCustomError("database", "wanted a database URL such as postgresql+psycopg://host/greenroom")
    return value


def _isolation(value: str) -> str:
    if value not in ("process", "none") and not re.fullmatch(r"(https?://[^/\s?#@]+/?|unix:/\S+)", value):
        raise PydanticCustomError(
            "isolation", "wanted process, none, http(s)://host:port of a `greenroom bind serve`, or unix:/path"
        )
    return value


class SessionConfig(Section):
    """Sessions, their queues and their history."""

    default: Annotated[SessionName, Field(description="session of a client that names none")] = "main"
    max_sessions: Annotated[int, Field(ge=1, le=100_000, description="sessions at once", json_schema_extra=OWNER)] = 200
    history_length: Annotated[int, Field(ge=1, le=10_000, description="lines of the conversation in a prompt")] = 200
    queued_jobs: Annotated[
        int, Field(ge=1, le=100_000, description="jobs that may wait in one session", json_schema_extra=OWNER)
    ] = 256
    replay_log_bytes: Annotated[
        int,
        Field(
            ge=64 * KIB,
            le=1024 * MIB,
            description="bytes of a session's events kept for clients that reconnect",
            json_schema_extra=OWNER,
        ),
    ] = 4 * MIB
    idle_close_s: Annotated[
        int,
        Field(
            ge=0,
            le=365 * DAY_S,
            description="seconds after which a session without clients leaves memory; 0: never",
            json_schema_extra=OWNER,
        ),
    ] = 3600


class ContextConfig(Section):
    """What a new session starts with; the event ``context_configure`` changes it for a running one."""

    character_name: Annotated[
        Annotated[str, StringConstraints(max_length=256)],
        Field(description="the character's name in the script; empty: the personality's"),
    ] = ""
    name_translations: Annotated[
        dict[ShortText, ShortText],
        Field(description="names as they come: names as the script shows them", examples=[{"xX_bob_Xx": "Bob"}]),
    ] = {}  # noqa: RUF012 -- pydantic copies it
    instruction_prompt_filename: Annotated[
        OptionalText, Field(description="file of prompts/instructions/; empty: none")
    ] = ""
    character_prompt_filename: Annotated[
        OptionalText, Field(description="file of prompts/characters/; empty: the personality's text")
    ] = ""
    scene_prompt_filename: Annotated[OptionalText, Field(description="file of prompts/scenes/; empty: none")] = ""


class TurnConfig(Section):
    """How an answer is spoken."""

    sentences_ahead: Annotated[int, Field(ge=1, le=8, description="sentences synthesised ahead of the one sent")] = 3
    audio_lead_ms: Annotated[
        int, Field(ge=0, le=600_000, description="milliseconds of audio sent ahead of its playback; 0: no limit")
    ] = 3000
    first_clause: Annotated[bool, Field(description="speak an answer's first clause before its sentence ends")] = True
    thoughts: Annotated[
        Literal["hidden", "shown"], Field(description="a model's reasoning in the text; it is never spoken")
    ] = "hidden"
    chunk_ms: Annotated[int, Field(ge=20, le=1000, description="milliseconds of audio in one audio_chunk")] = 200
    timeout_s: Annotated[
        float,
        Field(
            gt=0,
            le=DAY_S,
            description="seconds without a sign of life from a backend after which a turn is given up",
            json_schema_extra=OWNER,
        ),
    ] = 600


class GenerationConfig(Section):
    """Sampling. A request's values come first, then the character's, then these, then the backend's own."""

    ctx_size: Annotated[
        int, Field(ge=128, le=16_777_216, description="tokens that a prompt and its answer may fill")
    ] = 4096
    n_predict: Annotated[int, Field(ge=1, le=1_000_000, description="tokens of an answer at most")] = 1024
    temperature: Annotated[float | None, Field(ge=0, le=10, description="how freely tokens are drawn")] = None
    top_k: Annotated[int | None, Field(ge=0, le=1_000_000, description="draw from the k likeliest tokens; 0: all")] = (
        None
    )
    top_p: Annotated[float | None, Field(ge=0, le=1, description="draw from the tokens that make up this share")] = None
    repeat_penalty: Annotated[float | None, Field(ge=0, le=10, description="penalty on repeated tokens; 1: none")] = (
        None
    )
    repeat_last_n: Annotated[
        int | None, Field(ge=-1, le=16_777_216, description="tokens that the penalty looks back on; -1: all")
    ] = None
    seed: Annotated[int | None, Field(ge=-1, le=2**63 - 1, description="seed of the draw; -1: a new one each time")] = (
        None
    )
    override_personality: Annotated[
        bool, Field(description="these values win over the character's, as lollms' override flag says")
    ] = False
    max_parallel: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="generate_text requests served at once, and /v1's of each kind",
            json_schema_extra=OWNER,
        ),
    ] = 8
    separator: Annotated[str, Field(max_length=64, description="lollms' mark before each speaker of a discussion")] = (
        "!@>"
    )


class OperationEntry(BaseModel):
    """One operation to load, in jaison's shape: the binding's options stand flat beside ``role`` and ``id``."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True, protected_namespaces=())

    role: Annotated[Role, Field(description="what it does")]
    id: Annotated[BindingId, Field(description="the binding that does it")]

    @model_validator(mode="before")
    @classmethod
    def _plain_options(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        return {**checked_options({name: value for name, value in given.items() if name not in own}), **own}

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class StoreConfig(Section):
    """Where conversations are kept."""

    url: Annotated[
        Annotated[str, AfterValidator(_database)],
        Field(
            description="database URL; empty: data/greenroom.db; one with a password goes into GREENROOM_STORE_URL",
            json_schema_extra=OWNER,
        ),
    ] = ""
    synchronous: Annotated[
        Literal["normal", "full"],
        Field(description="SQLite: full also survives a power cut, at some cost per line", json_schema_extra=OWNER),
    ] = "normal"


class LimitsConfig(Section):
    """Bounds on what one client may send, and on what waits for it."""

    text_bytes: Annotated[int, Field(ge=256, le=16 * MIB, description="bytes of one text", json_schema_extra=OWNER)] = (
        64 * KIB
    )
    context_line_bytes: Annotated[
        int, Field(ge=256, le=16 * MIB, description="bytes of one line of the conversation", json_schema_extra=OWNER)
    ] = 64 * KIB
    audio_bytes: Annotated[
        int, Field(ge=KIB, le=15 * MIB, description="bytes of one recording", json_schema_extra=OWNER)
    ] = 15 * MIB
    audio_s: Annotated[float, Field(gt=0, le=3600, description="seconds of one recording", json_schema_extra=OWNER)] = (
        300
    )
    requests_per_s: Annotated[
        float,
        Field(
            gt=0,
            le=100_000,
            description="events or requests a second that a client may send: at Socket.IO each connection, at every "
            "other door all that comes from one address with one token",
            json_schema_extra=OWNER,
        ),
    ] = 200
    requests_burst: Annotated[
        int,
        Field(ge=1, le=1_000_000, description="those that it may send at once", json_schema_extra=OWNER),
    ] = 400
    outbox_bytes: Annotated[
        int,
        Field(ge=64 * KIB, le=256 * MIB, description="bytes that may wait for a slow client", json_schema_extra=OWNER),
    ] = 4 * MIB
    inbox_events: Annotated[
        int, Field(ge=1, le=100_000, description="events of one client that may wait", json_schema_extra=OWNER)
    ] = 64
    send_packets: Annotated[
        int, Field(ge=1, le=1024, description="packets given to one connection at a time", json_schema_extra=OWNER)
    ] = 8


class LogConfig(Section):
    """What is logged, and where. Logs hold ids and timings, never what people said."""

    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        BeforeValidator(_upper),
        Field(description="the least that is logged", json_schema_extra=OWNER),
    ] = "INFO"
    file: Annotated[
        OptionalText,
        Field(
            description="log file beside the console, relative to logs/; empty: none",
            examples=["greenroom.log"],
            json_schema_extra=OWNER,
        ),
    ] = ""
    file_bytes: Annotated[
        int, Field(ge=64 * KIB, le=1024 * MIB, description="size at which a new file begins", json_schema_extra=OWNER)
    ] = 10 * MIB
    file_count: Annotated[
        int, Field(ge=2, le=1000, description="files kept, the current one among them", json_schema_extra=OWNER)
    ] = 5
    json_lines: Annotated[
        bool, Field(description="one JSON object a line instead of text", json_schema_extra=OWNER)
    ] = False


DEFAULT_OPERATIONS = (
    OperationEntry(role=Role.T2T, id="eliza"),
    OperationEntry(role=Role.TTS, id="espeak"),
    OperationEntry(role=Role.STT, id="pocketsphinx"),
    OperationEntry(role=Role.FILTER_TEXT, id="filter_clean"),
)


class Config(Section):
    """The whole configuration."""

    user_name: Annotated[ShortText, Field(description="name of a person who gives none")] = "User"
    personalities: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=1024)], ...],
        Field(max_length=1000, description="characters on call: language/category/name, category/name or a card"),
    ] = ("english/companions/robin",)
    active_personality: Annotated[int, Field(ge=0, le=999, description="which of them answers, counted from 0")] = 0
    operations: Annotated[
        tuple[OperationEntry, ...],
        Field(
            max_length=64,
            description="backends, in the order in which filters apply; options stand beside role and id",
            examples=[
                [
                    {"role": "t2t", "id": "openai", "base_url": "http://localhost:11434/v1", "model": "llama3.2"},
                    {"role": "tts", "id": "espeak"},
                ]
            ],
        ),
    ] = DEFAULT_OPERATIONS
    bindings: Annotated[
        dict[BindingId, Annotated[dict[str, Any], AfterValidator(checked_options)]],
        Field(
            max_length=256,
            description="options for every use of a binding; an operation's own come first",
            examples=[{"openai": {"base_url": "http://localhost:8080/v1"}}],
        ),
    ] = {}  # noqa: RUF012 -- pydantic copies it
    isolation: Annotated[
        dict[BindingId, Annotated[str, AfterValidator(_isolation)]],
        Field(
            max_length=256,
            description="where bindings run: process (one of its own), none (the server's) or the address of a "
            "`greenroom bind serve`; else as a binding's card says",
            examples=[{"pocketsphinx": "process", "melo": "http://192.168.1.20:9610"}],
            json_schema_extra=OWNER,
        ),
    ] = {}  # noqa: RUF012 -- pydantic copies it
    isolation_idle_s: Annotated[
        float,
        Field(
            ge=0,
            le=DAY_S,
            description="seconds without work after which a binding's own process is stopped; 0: never",
            json_schema_extra=OWNER,
        ),
    ] = 900
    listen: Annotated[
        tuple[ListenEntry, ...],
        Field(
            max_length=32,
            description="addresses and the doors open at each; empty: server.host and server.port with every HTTP door",
            examples=[
                [
                    {"address": "127.0.0.1:9601"},
                    {"address": "0.0.0.0:7272", "doors": ["jaison"]},
                    {"address": "tcp://127.0.0.1:10200"},
                ]
            ],
            json_schema_extra=OWNER,
        ),
    ] = ()
    server: ServerConfig = ServerConfig()
    session: SessionConfig = SessionConfig()
    context: ContextConfig = ContextConfig()
    turn: TurnConfig = TurnConfig()
    generation: GenerationConfig = GenerationConfig()
    store: StoreConfig = StoreConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    jaison: JaisonConfig = JaisonConfig()
    wyoming: WyomingConfig = WyomingConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if self.active_personality >= max(1, len(self.personalities)):
            raise PydanticCustomError(
                "active_personality",
                "wanted a number below {count}, the length of personalities, found {given}",
                {"count": len(self.personalities), "given": self.active_personality, "key": "active_personality"},
            )
        addresses = [entry.address for entry in self.listen]
        for index, address in enumerate(addresses):
            if address in addresses[:index] and not address.endswith(":0"):
                raise PydanticCustomError(
                    "duplicate", "{address} stands there twice", {"address": address, "key": f"listen.{index}.address"}
                )
        seen: set[tuple[Role, str]] = set()
        for entry in self.operations:
            place = (entry.role, entry.id if entry.role.is_filter else "")
            if place in seen:
                raise PydanticCustomError(
                    "operation_duplicate",
                    "{what} stands there twice",
                    {
                        "what": f"{entry.role} {entry.id}" if entry.role.is_filter else f"role {entry.role}",
                        "key": "operations",
                    },
                )
            seen.add(place)
        return self
