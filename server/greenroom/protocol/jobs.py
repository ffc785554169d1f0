"""Commands that queue a job; what becomes of it comes as events."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer

from greenroom.protocol.command import Command, JobCommand, Kind, Reach
from greenroom.protocol.fields import (
    MAX_LIST_ITEMS,
    MAX_TOKENS,
    Channels,
    FilledText,
    Name,
    Pcm,
    SampleRate,
    SampleWidth,
    Settings,
    ShortText,
    Text,
    Timestamp,
)
from greenroom.values import Access, Role


class Response(JobCommand):
    """The character answers the context; with ``text`` that line is added first, in the same job."""

    event = "response"
    include_audio: bool = True
    user: Name | None = None
    text: FilledText | None = None
    audio_lead_ms: Annotated[
        int | None,
        Field(ge=0, le=600_000, description="milliseconds of audio sent ahead of its playback; 0: no limit"),
    ] = None


class Say(JobCommand):
    """The character speaks this text; no model is asked."""

    event = "say"
    text: FilledText
    include_audio: bool = True


class ContextAdd(JobCommand):
    event = "context_add"


class ContextAddChat(ContextAdd):
    """A line that somebody said."""

    kind: Literal["chat"]
    user: Name
    content: FilledText
    timestamp: Timestamp | None = None


class ContextAddRequest(ContextAdd):
    """A line that tells the character what to do."""

    kind: Literal["request"]
    content: FilledText
    timestamp: Timestamp | None = None


class ContextAddAudio(ContextAdd):
    """Speech, to be transcribed into a chat line. ``audio``: whole frames of little-endian PCM, binary or base64."""

    kind: Literal["audio"]
    user: Name
    audio: Pcm
    sr: SampleRate
    sw: SampleWidth = 2
    ch: Channels = 1
    timestamp: Timestamp | None = None


class ContextAddCustom(ContextAdd):
    """A line of a registered custom context."""

    kind: Literal["custom"]
    context_id: Name
    content: FilledText
    timestamp: Timestamp | None = None


class ContextClear(JobCommand):
    event = "context_clear"


class ContextConfigure(JobCommand):
    """An empty name or file means none: the personality's own."""

    event = "context_configure"
    name_translations: Annotated[dict[Name, Name], Field(max_length=1000)] | None = None
    character_name: ShortText | None = None
    history_length: Annotated[int, Field(ge=1, le=10_000)] | None = None
    instruction_prompt_filename: ShortText | None = None
    character_prompt_filename: ShortText | None = None
    scene_prompt_filename: ShortText | None = None


class ContextCustomRegister(JobCommand):
    event = "context_custom_register"
    context_id: Name
    context_name: Name
    context_description: Text | None = None


class ContextCustomRemove(JobCommand):
    event = "context_custom_remove"
    context_id: Name


AnyRole = Annotated[Role | Name, Field(union_mode="left_to_right", description="one that does not exist fails the job")]


class _Item(BaseModel):
    """Told again as it was given: what was named ``null`` too, what was not named not at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="plain")
    def _as_given(self) -> dict[str, Any]:
        names = (*type(self).model_fields, *(self.model_extra or ()))
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


class LoadItem(_Item):
    role: AnyRole
    id: Name
    config: Settings | None = None
    loose_key: Any = None


class UnloadItem(_Item):
    role: AnyRole
    id: Name | None = None


class ConfigureItem(_Item):
    """The settings stand flat beside ``role`` and ``id``, or under ``config``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    role: AnyRole
    id: Name | None = None
    config: Settings | None = None

    def settings(self) -> dict[str, Any]:
        return {**(self.config or {}), **(self.model_extra or {})}


class OperationLoad(JobCommand):
    event = "operation_load"
    ops: Annotated[list[LoadItem], Field(max_length=MAX_LIST_ITEMS)]


class OperationUnload(JobCommand):
    event = "operation_unload"
    ops: Annotated[list[UnloadItem], Field(max_length=MAX_LIST_ITEMS)]


class OperationConfigure(JobCommand):
    event = "operation_configure"
    ops: Annotated[list[ConfigureItem], Field(max_length=MAX_LIST_ITEMS)]


class OperationReloadFromConfig(JobCommand):
    event = "operation_reload_from_config"


class OperationUse(JobCommand):
    """One input through one operation, or through the whole chain of a filter role."""

    event = "operation_use"
    role: AnyRole
    id: Name | None = None
    payload: Settings


class ConfigLoad(JobCommand):
    """Take a configuration of ``configs/`` for the whole server."""

    event = "config_load"
    reach = Reach.SERVER
    config_name: Name


class ConfigUpdate(JobCommand):
    """Change the configuration that all sessions share."""

    event = "config_update"
    reach = Reach.SERVER
    config: Settings


class ConfigSave(JobCommand):
    """Writes a file on the server, and so is the owner's."""

    event = "config_save"
    access = Access.OWNER
    reach = Reach.SERVER
    config_name: Name


class GenerationParameters(BaseModel):
    """lollms' sampling parameters; any of them may be missing."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    repeat_penalty: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    repeat_last_n: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None


class GenerateText(Command):
    """lollms' generation: private to its caller, with a discussion of its own per client and personality."""

    event = "generate_text"
    kind_of = Kind.PRIVATE
    access = Access.PERFORMER
    prompt: Text
    personality: int | Name = -1
    n_predicts: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = None
    n_crop: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = None
    parameters: GenerationParameters = GenerationParameters()
