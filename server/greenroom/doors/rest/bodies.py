"""The bodies of the job endpoints, and the command that each stands for. Their members are jaison's."""

import base64
from abc import abstractmethod
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PlainSerializer, StrictBool, WithJsonSchema

from greenroom.doors.rest.spellings import A_NUMBER, Moment, NamedByType
from greenroom.protocol.commands import (
    CancelJob,
    Command,
    ConfigLoad,
    ConfigSave,
    ConfigUpdate,
    ConfigureItem,
    ContextAddAudio,
    ContextAddChat,
    ContextAddCustom,
    ContextAddRequest,
    ContextClear,
    ContextConfigure,
    ContextCustomRegister,
    ContextCustomRemove,
    LoadItem,
    OperationConfigure,
    OperationLoad,
    OperationReloadFromConfig,
    OperationUnload,
    OperationUse,
    Response,
    UnloadItem,
)
from greenroom.protocol.fields import (
    MAX_LIST_ITEMS,
    MAX_NAME_CHARS,
    Channels,
    FilledText,
    Name,
    Pcm,
    SampleRate,
    SampleWidth,
    Settings,
    ShortText,
    Text,
)
from greenroom.protocol.jobs import AnyRole

PcmText = Annotated[
    Pcm,
    PlainSerializer(lambda pcm: base64.b64encode(pcm).decode(), when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^(?:[A-Za-z0-9+/]{4})+$",
            "minLength": 44,
            "description": "base64 of raw little-endian PCM, no WAV header",
        }
    ),
]


class Body(BaseModel):
    """One class for each job; an unknown member is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @abstractmethod
    def command(self) -> Command: ...


class ResponseBody(Body):
    include_audio: Annotated[
        StrictBool,
        Field(
            validation_alias=AliasChoices("include_audio", "output_audio"),
            description="the answer is spoken, too, if a voice is loaded",
        ),
    ] = True

    def command(self) -> Command:
        # These clients keep what is to be played themselves; a job that ended only with its playback would delay
        # everything that is queued behind it.
        return Response(include_audio=self.include_audio, audio_lead_ms=0)


class ContextClearBody(Body):
    def command(self) -> Command:
        return ContextClear()


class ContextConfigureBody(Body):
    name_translations: Annotated[
        dict[Name, Name] | None, Field(max_length=1000, description="names as they come: names in the script")
    ] = None
    character_name: Annotated[ShortText | None, Field(description="empty: the personality's")] = None
    history_length: Annotated[int | None, Field(ge=1, le=10_000, description="lines of the script"), A_NUMBER] = None
    instruction_prompt_filename: Annotated[
        ShortText | None, Field(description="file of prompts/instructions/, with or without .txt; empty: none")
    ] = None
    character_prompt_filename: Annotated[
        ShortText | None, Field(description="file of prompts/characters/, with or without .txt; empty: none")
    ] = None
    scene_prompt_filename: Annotated[
        ShortText | None, Field(description="file of prompts/scenes/, with or without .txt; empty: none")
    ] = None

    def command(self) -> Command:
        return ContextConfigure(**self.model_dump())


class ContextRequestBody(Body):
    content: Annotated[FilledText, Field(description="what the character is to do")]

    def command(self) -> Command:
        return ContextAddRequest(kind="request", content=self.content)


class ConversationTextBody(Body):
    user: Name
    content: FilledText
    timestamp: Annotated[Moment | None, Field(description="seconds since 1970, or ISO 8601; absent: now")] = None

    def command(self) -> Command:
        return ContextAddChat(kind="chat", user=self.user, content=self.content, timestamp=self.timestamp)


class ConversationAudioBody(Body):
    user: Name
    audio_bytes: PcmText
    sr: Annotated[SampleRate, A_NUMBER]
    sw: Annotated[SampleWidth, A_NUMBER]
    ch: Annotated[Channels, A_NUMBER]
    timestamp: Annotated[Moment | None, Field(description="seconds since 1970, or ISO 8601; absent: now")] = None

    def command(self) -> Command:
        return ContextAddAudio(
            kind="audio",
            user=self.user,
            audio=self.audio_bytes,
            sr=self.sr,
            sw=self.sw,
            ch=self.ch,
            timestamp=self.timestamp,
        )


class CustomRegisterBody(Body):
    context_id: Name
    context_name: Name
    context_description: Annotated[Text | None, Field(description="what the model is told of its lines")] = None

    def command(self) -> Command:
        return ContextCustomRegister(**self.model_dump())


class CustomRemoveBody(Body):
    context_id: Name

    def command(self) -> Command:
        return ContextCustomRemove(context_id=self.context_id)


class CustomAddBody(Body):
    context_id: Annotated[Name, Field(description="one that is registered")]
    context_contents: FilledText
    timestamp: Annotated[Moment | None, Field(description="seconds since 1970, or ISO 8601; absent: now")] = None

    def command(self) -> Command:
        return ContextAddCustom(
            kind="custom", context_id=self.context_id, content=self.context_contents, timestamp=self.timestamp
        )


class OperationLoadBody(Body):
    ops: Annotated[list[Annotated[LoadItem, NamedByType]], Field(max_length=MAX_LIST_ITEMS)] = []

    def command(self) -> Command:
        return OperationLoad(ops=self.ops)


class OperationReloadBody(Body):
    def command(self) -> Command:
        return OperationReloadFromConfig()


class OperationUnloadBody(Body):
    ops: Annotated[
        list[Annotated[UnloadItem, NamedByType]], Field(max_length=MAX_LIST_ITEMS, description="filters need their id")
    ]

    def command(self) -> Command:
        return OperationUnload(ops=self.ops)


class OperationConfigureBody(Body):
    ops: Annotated[
        list[Annotated[ConfigureItem, NamedByType]],
        Field(max_length=MAX_LIST_ITEMS, description="settings beside role and id"),
    ]

    def command(self) -> Command:
        return OperationConfigure(ops=self.ops)


class OperationUseBody(Body):
    role: Annotated[AnyRole, Field(validation_alias=AliasChoices("role", "type", "op_type"))]
    id: Annotated[
        Name | None,
        Field(
            validation_alias=AliasChoices("id", "op_id"),
            description="absent: the one that is loaded, or all filters of the role",
        ),
    ] = None
    payload: Annotated[Settings, Field(description="what the role takes: content; or audio_bytes, sr, sw, ch; ...")]

    def command(self) -> Command:
        return OperationUse(role=self.role, id=self.id, payload=self.payload)


class ConfigLoadBody(Body):
    config_name: Annotated[Name, Field(description="a file of configs/, with or without .yaml")]

    def command(self) -> Command:
        return ConfigLoad(config_name=self.config_name)


class ConfigUpdateBody(Body):
    config_d: Annotated[Settings, Field(description="keys and values; jaison's names are understood")]

    def command(self) -> Command:
        return ConfigUpdate(config=self.config_d)


class ConfigSaveBody(Body):
    config_name: Annotated[Name, Field(description="a file of configs/, which is made if need be")]

    def command(self) -> Command:
        return ConfigSave(config_name=self.config_name)


class CancelBody(Body):
    """Of the one endpoint that queues no job."""

    job_id: Name
    reason: Annotated[
        Text | None, Field(description=f"told to everybody, with the end of the job; {MAX_NAME_CHARS} characters of it")
    ] = None

    def command(self) -> Command:
        return CancelJob(job_id=self.job_id, reason=(self.reason or "")[:MAX_NAME_CHARS])


def members(body: Body) -> dict[str, Any]:
    """As a client would write them."""
    return body.model_dump(mode="json", exclude_unset=True)
