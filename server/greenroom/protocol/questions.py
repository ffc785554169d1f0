"""Commands that are answered in their acknowledgement: listing, looking, stopping."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from greenroom.protocol.command import Command, Reach
from greenroom.protocol.fields import MAX_TOKENS, FilledText, ModelName, Name, Settings, ShortText, Text
from greenroom.values import Access


class ListAvailableBindings(Command):
    """The bindings found, with card, models, roles, options and what is wrong with them."""

    event = "list_available_bindings"
    reply_event = "bindings_list"


class ListAvailableModels(Command):
    """The models of the selected binding, or of the one named."""

    event = "list_available_models"
    reply_event = "available_models_list"
    binding: Name | None = None


class ListVoices(Command):
    """The voices of the session's speech, or of the binding named, which is loaded for this one question:
    ``voices: [{id, name, language, gender}]``, where ``id`` is what that binding's option takes."""

    event = "list_voices"
    reply_event = "voices_list"
    access = Access.PERFORMER
    takes_long = True
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
    database: Settings = Field({})
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


class CancelInstall(Command):
    """Ends the installation of a model, whoever began it; what has come is kept for the next time."""

    event = "cancel_install"
    access = Access.OWNER
    reach = Reach.SERVER
    overtakes = True
    binding: Name | None = None
    name: ModelName


class AudioHeard(Command):
    """Playback progress from the session's player: ``ms`` of sentence ``index`` have been heard."""

    event = "audio_heard"
    job_id: Name
    index: Annotated[int, Field(ge=0)]
    ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
