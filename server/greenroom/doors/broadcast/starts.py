"""The first event of each job: jaison's name of the job, and its arguments in jaison's order."""

from collections.abc import Callable, Mapping
from typing import Any, Final

_CONTEXT_ADD: Final = {
    "chat": "context_conversation_add_text",
    "audio": "context_conversation_add_audio",
    "request": "context_request_add",
    "custom": "context_custom_add",
}
SPOKEN: Final = "response"


def job_name(job_type: str, args: Mapping[str, Any]) -> str:
    """A text that the character only says has the frames of an answer, and is told as one: its hearers play it."""
    if job_type == "context_add":
        return _CONTEXT_ADD.get(str(args.get("kind")), _CONTEXT_ADD["chat"])
    return SPOKEN if job_type == "say" else job_type


def _members(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """These arguments in this order, ``null`` where one was not given."""
    return lambda args: {name: args.get(name) for name in names}


def _audio(args: Mapping[str, Any]) -> dict[str, Any]:
    found = _members("user", "timestamp", "sr", "sw", "ch")(args)
    return {**found, "audio_bytes": bool(args.get("audio"))}


_ARGUMENTS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "context_clear": _members(),
    "context_configure": _members(
        "name_translations",
        "character_name",
        "history_length",
        "instruction_prompt_filename",
        "character_prompt_filename",
        "scene_prompt_filename",
    ),
    "context_request_add": _members("content"),
    "context_conversation_add_text": _members("user", "timestamp", "content"),
    "context_conversation_add_audio": _audio,
    "context_custom_register": _members("context_id", "context_name", "context_description"),
    "context_custom_remove": _members("context_id"),
    "context_custom_add": lambda args: {
        "context_id": args.get("context_id"),
        "context_contents": args.get("content"),
        "timestamp": args.get("timestamp"),
    },
    "operation_load": _members("ops"),
    "operation_unload": _members("ops"),
    "operation_configure": _members("ops"),
    "operation_reload_from_config": _members(),
    "operation_use": _members("role", "id"),
    "config_load": _members("config_name"),
    "config_update": lambda args: {"config_d": args.get("config")},
    "config_save": _members("config_name"),
}


def start_arguments(name: str, args: Mapping[str, Any], *, speaks: bool) -> dict[str, Any]:
    """:param speaks: a voice is loaded; without one an answer is not spoken, whatever was asked."""
    if name == SPOKEN:
        return {"include_audio": bool(args.get("include_audio", True)) and speaks}
    arguments = _ARGUMENTS.get(name)
    return arguments(args) if arguments is not None else dict(args)
