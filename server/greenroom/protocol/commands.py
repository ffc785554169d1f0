"""What clients ask, one class per event. ``COMMANDS`` maps the wire name to its class or classes.

A command is immediate (the answer is in the acknowledgement), a change (applied at once to the turns that follow) or a
job (queued; what becomes of it comes as events).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from greenroom.errors import BadRequest, GreenroomError, NotFound, TooLarge
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


class Kind(StrEnum):
    IMMEDIATE = "immediate"
    CHANGE = "change"
    JOB = "job"
    PRIVATE = "private"
    """a job of its caller alone, outside the session's order"""


class Command(BaseModel):
    """``command_id``: a repeat of it returns the first answer and does nothing again."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    event: ClassVar[str] = ""
    kind_of: ClassVar[Kind] = Kind.IMMEDIATE
    access: ClassVar[Access] = Access.VIEWER
    reply_event: ClassVar[str] = ""
    joins: ClassVar[bool] = False
    """sending it makes the client hear the session"""
    overtakes: ClassVar[bool] = False
    """handled before whatever else that client has sent"""
    takes_long: ClassVar[bool] = False
    """minutes, perhaps: handled beside what else that client sends, so that nothing waits for it"""

    command_id: Annotated[str, Field(max_length=128)] | None = None

    def args(self) -> dict[str, Any]:
        """What ``job_started`` repeats: audio as ``true``, absent members left out."""
        given = self.model_dump(mode="python", exclude_none=True, exclude={"command_id"})
        return {key: True if isinstance(value, bytes) else value for key, value in given.items()}


# Listing and looking


class ListAvailableBindings(Command):
    """The bindings found, with card, models, roles, options and what is wrong with them."""

    event = "list_available_bindings"
    reply_event = "bindings_list"


class ListAvailableModels(Command):
    """The models of the selected binding, or of the one named."""

    event = "list_available_models"
    reply_event = "available_models_list"
    binding: Name | None = None


class ListAvailablePersonalities(Command):
    """Every character, by language and category."""

    event = "list_available_personalities"
    reply_event = "personalities_list"


class ListAvailablePersonalitiesLanguages(Command):
    event = "list_available_personalities_languages"
    reply_event = "available_personalities_languages_list"


class ListAvailablePersonalitiesCategories(Command):
    """Without ``language``: the categories of all."""

    event = "list_available_personalities_categories"
    reply_event = "available_personalities_categories_list"
    language: ShortText | None = None


class ListAvailablePersonalitiesNames(Command):
    event = "list_available_personalities_names"
    reply_event = "list_available_personalities_names_list"
    language: ShortText | None = None
    category: Name


class ListActivePersonalities(Command):
    """The session's characters, in the order that ``generate_text`` and ``activate_personality`` count in."""

    event = "list_active_personalities"
    reply_event = "active_personalities_list"


class ListOperations(Command):
    event = "list_operations"


class SessionState(Command):
    event = "session_state"


class SessionList(Command):
    event = "session_list"


class SessionJoin(Command):
    """Act on a session, and hear it: from ``last_seq`` on, if ``epoch`` is current or left out."""

    event = "session_join"
    session: Name = "main"
    epoch: ShortText | None = None
    last_seq: Annotated[int, Field(ge=0)] | None = None
    plays: bool | None = None


class SessionLeave(Command):
    """Stop hearing the session; the client still acts on it."""

    event = "session_leave"


class HistoryGet(Command):
    """The last ``limit`` lines, oldest first, or those before the line ``before``."""

    event = "history_get"
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    before: ShortText | None = None


class ConfigGet(Command):
    event = "config_get"
    access = Access.PERFORMER


class Tokenize(Command):
    event = "tokenize"
    reply_event = "tokenized"
    access = Access.PERFORMER
    prompt: Text


class Detokenize(Command):
    event = "detokenize"
    reply_event = "detokenized"
    access = Access.PERFORMER
    prompt: Annotated[list[int | str], Field(max_length=MAX_TOKENS, fail_fast=True)]


class Embed(Command):
    event = "embed"
    reply_event = "embeded"
    access = Access.PERFORMER
    prompt: FilledText


class VectorPayload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    path: ShortText = ""
    text: Text


VectorMethod = Literal["ftidf_vectorizer", "tfidf_vectorizer", "model_embedding"]


class VectorizeText(Command):
    """Cut texts into pieces of ``chunk_size`` words and make vectors of them; the client keeps what is returned."""

    event = "vectorize_text"
    reply_event = "vectorized_db"
    access = Access.PERFORMER
    payloads: Annotated[list[VectorPayload], Field(max_length=256)]
    chunk_size: Annotated[int, Field(ge=1, le=65_536)] = 512
    vectorization_method: VectorMethod = "ftidf_vectorizer"
    return_database: bool = True
    database_path: ShortText | None = None


class QueryDatabase(Command):
    """The pieces nearest to ``query`` in what ``vectorize_text`` returned."""

    event = "query_database"
    reply_event = "vectorized_db"
    access = Access.PERFORMER
    query: FilledText
    database: Settings = {}
    vectorization_method: VectorMethod = "ftidf_vectorizer"
    top_k: Annotated[int, Field(ge=1, le=100)] = 3
    database_path: ShortText | None = None


class CancelJob(Command):
    """Acknowledged at once; the job's own end event follows."""

    event = "cancel_job"
    access = Access.PERFORMER
    overtakes = True
    job_id: Name
    reason: ShortText = ""


class Interrupt(Command):
    """Ends the running turn, or the playback of one that has ended; the context keeps what was heard."""

    event = "interrupt"
    access = Access.PERFORMER
    overtakes = True
    heard_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    heard_text: Text | None = None
    job_id: Name | None = None


class CancelGeneration(Command):
    """Ends the caller's own ``generate_text``, nothing else."""

    event = "cancel_generation"
    reply_event = "generation_canceled"
    access = Access.PERFORMER
    overtakes = True


class CancelTextGeneration(CancelGeneration):
    """The later spelling of ``cancel_generation``."""

    event = "cancel_text_generation"


class AudioHeard(Command):
    """Playback progress from the session's player: ``ms`` of sentence ``index`` have been heard."""

    event = "audio_heard"
    job_id: Name
    index: Annotated[int, Field(ge=0)]
    ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]


# Changing the session


class Change(Command):
    kind_of = Kind.CHANGE
    access = Access.PERFORMER


class SelectBinding(Change):
    """The same as loading that binding's ``t2t``."""

    event = "select_binding"
    reply_event = "select_binding"
    binding_name: Name
    options: Settings | None = None


class SelectModel(Change):
    event = "select_model"
    reply_event = "select_model"
    model_name: Name


class AddPersonality(Change):
    """``language/category/name``, or the absolute path of a folder that lies under an allowed root."""

    event = "add_personality"
    reply_event = "personality_added"
    path: Annotated[str, Field(min_length=1, max_length=4096)]


class RemovePersonality(Change):
    event = "remove_personality"
    reply_event = "personality_removed"
    id: int | Name


class ActivatePersonality(Change):
    """``id``: the index in ``list_active_personalities``, or a name."""

    event = "activate_personality"
    reply_event = "activate_personality"
    id: int | Name


class InstallBinding(Change):
    """Build the environment that the binding asks for. The answer comes when it is done; until then
    ``install_progress`` tells its caller how far it is. It is stopped when its caller leaves, or by
    ``uninstall_binding``."""

    event = "install_binding"
    reply_event = "install_progress"
    access = Access.OWNER
    takes_long = True
    name: Name
    upgrade: bool = False


class UninstallBinding(Change):
    """Remove the binding's environment; refused while it is in use. An installation that runs is stopped first."""

    event = "uninstall_binding"
    reply_event = "install_progress"
    access = Access.OWNER
    takes_long = True
    name: Name


# Jobs


class JobCommand(Command):
    kind_of = Kind.JOB
    access = Access.PERFORMER
    joins = True


class Response(JobCommand):
    """The character answers the context; with ``text`` that line is added first, in the same job."""

    event = "response"
    include_audio: bool = True
    user: Name | None = None
    text: FilledText | None = None


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


class LoadItem(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Role
    id: Name
    config: Settings | None = None
    loose_key: Any = None


class UnloadItem(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Role
    id: Name | None = None


class ConfigureItem(BaseModel):
    """The settings stand flat beside ``role`` and ``id``, or under ``config``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    role: Role
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
    role: Role
    id: Name | None = None
    payload: Settings


class ConfigLoad(JobCommand):
    event = "config_load"
    config_name: Name


class ConfigUpdate(JobCommand):
    event = "config_update"
    config: Settings


class ConfigSave(JobCommand):
    """Writes a file on the server, and so is the owner's."""

    event = "config_save"
    access = Access.OWNER
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


def _concrete(base: type[Command]) -> list[type[Command]]:
    found: list[type[Command]] = []
    for child in base.__subclasses__():
        if child.event:
            found.append(child)
        found.extend(_concrete(child))
    return found


COMMANDS: Mapping[str, type[Command]] = {
    command.event: command
    for command in _concrete(Command)
    if not command.__name__.startswith("ContextAdd") or command is ContextAdd
}
CONTEXT_KINDS: Mapping[str, type[ContextAdd]] = {
    "chat": ContextAddChat,
    "request": ContextAddRequest,
    "audio": ContextAddAudio,
    "custom": ContextAddCustom,
}


def parse_command(event: str, data: Mapping[str, Any]) -> Command:
    """:raises NotFound: unknown event. :raises BadRequest, TooLarge: naming the field and what it wanted."""
    command = COMMANDS.get(event)
    if command is None:
        raise NotFound(f"there is no event {event[:80]!r}")
    if command is ContextAdd:
        kind = data.get("kind")
        if not isinstance(kind, str) or kind not in CONTEXT_KINDS:
            raise BadRequest(f"context_add: kind: wanted one of {', '.join(CONTEXT_KINDS)}", details={"field": "kind"})
        command = CONTEXT_KINDS[kind]
    try:
        return command.model_validate(data)
    except ValidationError as error:
        raise validation_problem(event, error) from None


def validation_problem(event: str, error: ValidationError) -> GreenroomError:
    """The first problem as a sentence, all of them in ``details``; never repeats the value that was sent."""
    problems = [
        {"field": ".".join(str(part)[:80] for part in item["loc"]) or "data", "message": item["msg"]}
        for item in error.errors(include_url=False, include_input=False, include_context=False)[:8]
    ]
    first = problems[0]
    message = f"{event}: {first['field']}: {first['message']}"
    large = any(item["type"] == "too_large" for item in error.errors(include_url=False, include_input=False))
    kind: type[GreenroomError] = TooLarge if large else BadRequest
    return kind(message, details={"field": first["field"], "errors": problems})
