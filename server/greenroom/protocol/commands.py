"""What clients ask, one class per event. ``COMMANDS`` maps the wire name to its class or classes.

A command is immediate (the answer is in the acknowledgement), a change (applied at once to the turns that follow) or a
job (queued; what becomes of it comes as events).
"""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from greenroom.errors import BadRequest, GreenroomError, NotFound, TooLarge
from greenroom.protocol import changes, jobs, questions
from greenroom.protocol.changes import (
    ActivatePersonality,
    AddPersonality,
    InstallBinding,
    InstallModel,
    RemovePersonality,
    SelectBinding,
    SelectModel,
    UninstallBinding,
    UninstallModel,
)
from greenroom.protocol.command import Change, Command, JobCommand, Kind, Reach
from greenroom.protocol.jobs import (
    ConfigLoad,
    ConfigSave,
    ConfigUpdate,
    ConfigureItem,
    ContextAdd,
    ContextAddAudio,
    ContextAddChat,
    ContextAddCustom,
    ContextAddRequest,
    ContextClear,
    ContextConfigure,
    ContextCustomRegister,
    ContextCustomRemove,
    GenerateText,
    GenerationParameters,
    LoadItem,
    OperationConfigure,
    OperationLoad,
    OperationReloadFromConfig,
    OperationUnload,
    OperationUse,
    Response,
    Say,
    UnloadItem,
)
from greenroom.protocol.questions import (
    AudioHeard,
    CancelGeneration,
    CancelInstall,
    CancelJob,
    CancelTextGeneration,
    ConfigGet,
    Detokenize,
    Embed,
    HistoryGet,
    Interrupt,
    ListActivePersonalities,
    ListAvailableBindings,
    ListAvailableModels,
    ListAvailablePersonalities,
    ListAvailablePersonalitiesCategories,
    ListAvailablePersonalitiesLanguages,
    ListAvailablePersonalitiesNames,
    ListOperations,
    ListVoices,
    QueryDatabase,
    SessionJoin,
    SessionLeave,
    SessionList,
    SessionState,
    Tokenize,
    VectorizeText,
    VectorMethod,
    VectorPayload,
)


def _of(module: ModuleType) -> Iterator[type[Command]]:
    """In the order in which they stand there."""
    for found in vars(module).values():
        if (
            isinstance(found, type)
            and issubclass(found, Command)
            and found.event
            and found.__module__ == module.__name__
        ):
            yield found


COMMANDS: Mapping[str, type[Command]] = {
    command.event: command
    for module in (questions, changes, jobs)
    for command in _of(module)
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


__all__ = [
    "COMMANDS",
    "CONTEXT_KINDS",
    "ActivatePersonality",
    "AddPersonality",
    "AudioHeard",
    "CancelGeneration",
    "CancelInstall",
    "CancelJob",
    "CancelTextGeneration",
    "Change",
    "Command",
    "ConfigGet",
    "ConfigLoad",
    "ConfigSave",
    "ConfigUpdate",
    "ConfigureItem",
    "ContextAdd",
    "ContextAddAudio",
    "ContextAddChat",
    "ContextAddCustom",
    "ContextAddRequest",
    "ContextClear",
    "ContextConfigure",
    "ContextCustomRegister",
    "ContextCustomRemove",
    "Detokenize",
    "Embed",
    "GenerateText",
    "GenerationParameters",
    "HistoryGet",
    "InstallBinding",
    "InstallModel",
    "Interrupt",
    "JobCommand",
    "Kind",
    "ListActivePersonalities",
    "ListAvailableBindings",
    "ListAvailableModels",
    "ListAvailablePersonalities",
    "ListAvailablePersonalitiesCategories",
    "ListAvailablePersonalitiesLanguages",
    "ListAvailablePersonalitiesNames",
    "ListOperations",
    "ListVoices",
    "LoadItem",
    "OperationConfigure",
    "OperationLoad",
    "OperationReloadFromConfig",
    "OperationUnload",
    "OperationUse",
    "QueryDatabase",
    "Reach",
    "RemovePersonality",
    "Response",
    "Say",
    "SelectBinding",
    "SelectModel",
    "SessionJoin",
    "SessionLeave",
    "SessionList",
    "SessionState",
    "Tokenize",
    "UninstallBinding",
    "UninstallModel",
    "UnloadItem",
    "VectorMethod",
    "VectorPayload",
    "VectorizeText",
    "parse_command",
    "validation_problem",
]
