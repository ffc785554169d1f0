"""The job endpoints: method, path, job, body, and an example of it.

Public documents of jaison and its source differ in places; both spellings are taken (see ``deprecated`` and
:func:`spelled`), and the source's is what this server says itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from greenroom.doors.rest import bodies
from greenroom.doors.rest.bodies import Body
from greenroom.protocol.commands import Command, ConfigureItem, LoadItem, UnloadItem, validation_problem
from greenroom.values import Role

_TIMESTAMP: Final = 1_735_689_600.0
_SAMPLES: Final = bytes(96)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """:param deprecated: a spelling of public documents, not of the original server."""

    method: str
    path: str
    job_type: str
    summary: str
    example: Body
    deprecated: bool = False

    @property
    def body(self) -> type[Body]:
        return type(self.example)

    def command(self, data: Mapping[str, Any]) -> Command:
        """:raises BadRequest, TooLarge: naming the member and what it wanted."""
        kind, data = spelled(self, data)
        try:
            return kind.model_validate(data).command()
        except ValidationError as error:
            raise validation_problem(self.job_type, error) from None

    @property
    def message(self) -> str:
        return f"JobType.{_ENUM.get(self.job_type, self.job_type.upper())} job created"


_ENUM: Final = {"operation_reload_from_config": "OPERATION_CONFIG_RELOAD"}
"""jaison's names of job types that are not the type in capitals"""


def spelled(endpoint: Endpoint, data: Mapping[str, Any]) -> tuple[type[Body], Mapping[str, Any]]:
    """The body that is meant, in the source's spelling."""
    if endpoint.path == "context/custom" and endpoint.method in ("PUT", "POST"):
        # Register is PUT in the source and POST in the guide; add is the other way round.
        if "context_name" in data:
            return bodies.CustomRegisterBody, data
        if "context_contents" in data:
            return bodies.CustomAddBody, data
    if endpoint.job_type == "config_update" and data and "config_d" not in data:
        return endpoint.body, {"config_d": data}
    return endpoint.body, data


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "response",
        "response",
        "The character answers the script as it stands; put the input into it first.",
        bodies.ResponseBody(include_audio=False),
    ),
    Endpoint("DELETE", "context", "context_clear", "Empty the script.", bodies.ContextClearBody()),
    Endpoint(
        "PUT",
        "context/config",
        "context_configure",
        "Change names, prompt files and the length of the script; what is absent stays.",
        bodies.ContextConfigureBody(name_translations={"xX_ben_Xx": "Ben"}, history_length=50),
    ),
    Endpoint(
        "POST",
        "context/request",
        "context_request_add",
        "Add a line that tells the character what to do.",
        bodies.ContextRequestBody(content="Thank Ana for her gift."),
    ),
    Endpoint(
        "POST",
        "context/conversation/text",
        "context_conversation_add_text",
        "Add a line that somebody wrote.",
        bodies.ConversationTextBody(user="Ana", content="Good evening!", timestamp=_TIMESTAMP),
    ),
    Endpoint(
        "POST",
        "context/conversation/audio",
        "context_conversation_add_audio",
        "Add a line that somebody spoke; it is transcribed.",
        bodies.ConversationAudioBody(user="Ana", audio_bytes=_SAMPLES, sr=16_000, sw=2, ch=1, timestamp=_TIMESTAMP),
    ),
    Endpoint(
        "PUT",
        "context/custom",
        "context_custom_register",
        "Register a context of its own, such as a summary of a chat; again: change it.",
        bodies.CustomRegisterBody(
            context_id="chat-summary", context_name="Chat Summary", context_description="what the chat talks about"
        ),
    ),
    Endpoint(
        "DELETE",
        "context/custom",
        "context_custom_remove",
        "Forget a context of its own; its lines stay.",
        bodies.CustomRemoveBody(context_id="chat-summary"),
    ),
    Endpoint(
        "POST",
        "context/custom",
        "context_custom_add",
        "Add a line of a registered context.",
        bodies.CustomAddBody(
            context_id="chat-summary", context_contents="Everybody likes the new hat.", timestamp=_TIMESTAMP
        ),
    ),
    Endpoint(
        "POST",
        "operations/load",
        "operation_load",
        "Load operations, one after the other; the first that fails ends the job.",
        bodies.OperationLoadBody(ops=[LoadItem(role=Role.FILTER_TEXT, id="filter_clean", loose_key="clean")]),
    ),
    Endpoint(
        "POST",
        "operations/reload",
        "operation_reload_from_config",
        "Close every operation and load those of the configuration.",
        bodies.OperationReloadBody(),
    ),
    Endpoint(
        "POST",
        "operations/unload",
        "operation_unload",
        "Unload operations.",
        bodies.OperationUnloadBody(ops=[UnloadItem(role=Role.FILTER_TEXT, id="filter_clean")]),
    ),
    Endpoint(
        "POST",
        "operations/config",
        "operation_configure",
        "Change the settings of loaded operations; a refused setting changes nothing.",
        bodies.OperationConfigureBody(
            ops=[ConfigureItem.model_validate({"role": "tts", "id": "espeak", "speed": 160})]
        ),
    ),
    Endpoint(
        "POST",
        "operations/use",
        "operation_use",
        "Give one input to an operation; one that is not loaded is loaded for this use.",
        bodies.OperationUseBody(role=Role.FILTER_TEXT, id="filter_clean", payload={"content": "[Robin]: Hello."}),
    ),
    Endpoint(
        "PUT",
        "config/load",
        "config_load",
        "Take a configuration by name; operations follow when they are reloaded.",
        bodies.ConfigLoadBody(config_name="evening"),
    ),
    Endpoint(
        "PUT",
        "config/update",
        "config_update",
        "Change fields of the configuration.",
        bodies.ConfigUpdateBody(config_d={"prompter": {"history_length": 80}}),
    ),
    Endpoint(
        "POST",
        "config/save",
        "config_save",
        "Write the configuration under a name.",
        bodies.ConfigSaveBody(config_name="evening"),
    ),
    # Spellings of jaison's public documents
    Endpoint(
        "POST",
        "operation/config",
        "operation_configure",
        "The same as operations/config.",
        bodies.OperationConfigureBody(
            ops=[ConfigureItem.model_validate({"role": "tts", "id": "espeak", "speed": 160})]
        ),
        deprecated=True,
    ),
    Endpoint(
        "POST",
        "config/load",
        "config_load",
        "The same by PUT.",
        bodies.ConfigLoadBody(config_name="evening"),
        deprecated=True,
    ),
    Endpoint(
        "POST",
        "config/update",
        "config_update",
        "The same by PUT.",
        bodies.ConfigUpdateBody(config_d={"prompter": {"history_length": 80}}),
        deprecated=True,
    ),
)

CANCEL: Final = Endpoint(
    "DELETE",
    "job",
    "cancel_job",
    "Cancel a job, running or queued; its end is told on the websocket when its turn comes.",
    bodies.CancelBody(job_id="5f0c7a3e-6f52-4d3e-9a59-1f4a3f6b0c11", reason="somebody else began to speak"),
)
"""The one that queues no job."""
