"""lollms' spellings: what its clients send, made into our commands; what they wait for, made from our replies.

Clients of mid-2023 send numbers as strings, sampling parameters beside the prompt, personalities as list elements,
positional arguments and members that nobody reads. All of that is accepted here and nowhere else.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from greenroom.errors import BadRequest, Busy
from greenroom.protocol.commands import COMMANDS
from greenroom.protocol.events import Busy as BusyEvent
from greenroom.protocol.events import Buzzy, GenerationCanceled, GenerationError, payload

Payload = dict[str, Any]

CANCELS: Final = frozenset({"cancel_generation", "cancel_text_generation"})
FAMILY: Final = frozenset(
    {
        "list_available_bindings",
        "list_available_models",
        "list_available_personalities",
        "list_available_personalities_languages",
        "list_available_personalities_categories",
        "list_available_personalities_names",
        "list_active_personalities",
        "select_binding",
        "select_model",
        "add_personality",
        "remove_personality",
        "activate_personality",
        "tokenize",
        "detokenize",
        "embed",
        "generate_text",
        "vectorize_text",
        "query_database",
        "install_model",
        "uninstall_model",
        "cancel_install",
        *CANCELS,
    }
)
"""events whose unknown members are passed over, as lollms does"""
_POSITIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "generate_text": ("prompt", "personality", "n_predicts", "parameters"),
}
_SAMPLING: Final = ("temperature", "top_k", "top_p", "repeat_penalty", "repeat_last_n", "seed")
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)
_ECHOED: Final[Mapping[str, tuple[str, ...]]] = {
    "select_binding": ("binding_name",),
    "select_model": ("model_name",),
    "activate_personality": ("id",),
    **dict.fromkeys(
        ("install_model", "uninstall_model", "cancel_install"), ("path", "name", "model_name", "model_url")
    ),
}
"""members of the request that stand in its reply"""
_FAILURE_EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "add_personality": ("personality_add_failed",),
    "activate_personality": ("personality_add_failed", "activate_personality"),
    "tokenize": (GenerationError.name,),
    "detokenize": (GenerationError.name,),
    "embed": (GenerationError.name,),
    "generate_text": (GenerationError.name,),
    "query_database": ("vector_db_query",),
}
_WITH_STATUS: Final = frozenset(
    {
        *("install_binding", "uninstall_binding", "install_model", "uninstall_model"),
        *("vectorize_text", "query_database"),
    }
)
_ECHO_CHARS: Final = 256


def normalise(event: str, arguments: list[Any]) -> Payload:
    """The arguments of an event as the one object that its command is made from.

    :raises BadRequest: they are no object.
    """
    if event in CANCELS:
        given = arguments[0] if arguments else None
        return {"command_id": given["command_id"]} if isinstance(given, dict) and "command_id" in given else {}
    data = _single(event, arguments)
    if event not in FAMILY:
        return data
    if (rewrite := _REWRITES.get(event)) is not None:
        rewrite(data)
    known = COMMANDS[event].model_fields
    return {key: value for key, value in data.items() if key in known}


def _single(event: str, arguments: list[Any]) -> Payload:
    names = _POSITIONAL.get(event)
    if names is not None and arguments and not isinstance(arguments[0], dict):
        if len(arguments) > len(names):
            raise BadRequest(f"{event}: {len(arguments)} arguments; at most {len(names)} are taken")
        return {name: value for name, value in zip(names, arguments, strict=False) if value is not None}
    if len(arguments) > 1:
        raise BadRequest(f"{event}: {len(arguments)} arguments; it takes one object")
    data = arguments[0] if arguments else None
    if data is None or data == "" or data == []:
        return {}
    if not isinstance(data, dict):
        raise BadRequest(f"{event}: wanted one object, with named members")
    return dict(data)


def _index_or_name(data: Payload, key: str) -> None:
    value = data.get(key)
    if isinstance(value, dict):
        value = value.get("name", value.get("folder"))
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None:
        data.pop(key, None)
    else:
        data[key] = value


def _generate_text(data: Payload) -> None:
    _index_or_name(data, "personality")
    if "n_predict" in data:
        data.setdefault("n_predicts", data["n_predict"])
    given = data.get("parameters")
    if given is None or given == "":
        given = {}
    if isinstance(given, dict):
        flat = {name: data[name] for name in _SAMPLING if name in data}
        data["parameters"] = {name: value for name, value in {**flat, **given}.items() if value not in (None, "")}
    for name in ("n_predicts", "n_crop"):
        if data.get(name) in (None, ""):
            data.pop(name, None)


def _activate_personality(data: Payload) -> None:
    if "id" not in data and "personality_name" in data:
        data["id"] = data["personality_name"]
    _index_or_name(data, "id")


def _model(data: Payload) -> None:
    """lollms names a model by its address, of later versions with one of its variants beside it; and in the order to
    stop by what it was told on the way."""
    given = (data.get(key) for key in ("name", "variant_name", "model_name", "path", "model_url"))
    if (name := next((one for one in given if one), None)) is not None:
        data["name"] = name
    if not data.get("binding") and data.get("binding_folder"):
        data["binding"] = data["binding_folder"]
    if data.get("binding") == "":
        data.pop("binding")


_REWRITES: Final[Mapping[str, Callable[[Payload], None]]] = {
    "generate_text": _generate_text,
    "activate_personality": _activate_personality,
    "remove_personality": lambda data: _index_or_name(data, "id"),
    **dict.fromkeys(("install_model", "uninstall_model", "cancel_install"), _model),
}


def _echo(event: str, arguments: list[Any]) -> Payload:
    data = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
    shown: Payload = {}
    for name in _ECHOED.get(event, ()):
        value = data.get(name)
        if isinstance(value, str):
            shown[name] = value[:_ECHO_CHARS]
        elif isinstance(value, int):
            shown[name] = value
    return shown


def success(event: str, arguments: list[Any], reply: Mapping[str, Any]) -> tuple[Payload, Iterable[str]]:
    """The acknowledgement, and the events that carry the same payload."""
    answer: Payload = {"success": True, **_echo(event, arguments), **reply}
    if event in CANCELS:
        answer = {**payload(GenerationCanceled()), **answer}
    command = COMMANDS.get(event)
    return answer, (command.reply_event,) if command is not None and command.reply_event else ()


def failure(event: str, arguments: list[Any], error: Payload) -> tuple[Payload, list[tuple[str, Payload]]]:
    """The acknowledgement, and the events by which lollms' clients learn of it, with their payloads."""
    answer: Payload = {"success": False, **_echo(event, arguments), **error}
    if event == "generate_text" and error.get("code") == Busy.code:
        return answer, [(told.name, {**answer, **payload(told)}) for told in (Buzzy(), BusyEvent())]
    if event in _WITH_STATUS:
        answer["status"] = False
    names: Iterable[str] = _FAILURE_EVENTS.get(event, ())
    if not names:
        command = COMMANDS.get(event)
        names = (command.reply_event,) if command is not None and command.reply_event else ()
    return answer, [(name, answer) for name in names]
