"""lollms' main configuration (``configs/config.yaml``, version 11) under our names."""

from typing import Any

from greenroom.config.schema import Config
from greenroom.config.translation import Ignored, Mapped
from greenroom.values import Role

DIRECT = {
    "host": ("server", "host"),
    "port": ("server", "port"),
    "discussion_prompt_separator": ("generation", "separator"),
    "seed": ("generation", "seed"),
    "n_predict": ("generation", "n_predict"),
    "ctx_size": ("generation", "ctx_size"),
    "temperature": ("generation", "temperature"),
    "top_k": ("generation", "top_k"),
    "top_p": ("generation", "top_p"),
    "repeat_last_n": ("generation", "repeat_last_n"),
    "repeat_penalty": ("generation", "repeat_penalty"),
    "override_personality_model_parameters": ("generation", "override_personality"),
    "personalities": ("personalities",),
    "user_name": ("user_name",),
}

BINDINGS = {
    "llama_cpp_official": "llamacpp",
    "py_llama_cpp": "llamacpp",
    "llama_cpp": "llamacpp",
    "python_llama_cpp": "llamacpp",
    "open_ai": "openai",
}
"""lollms' binding -> ours, where ours serves the same models under another name."""

MEANINGLESS = {
    "enable_gpu": "a binding uses the GPU where it can; its own options say how",
    "n_threads": "set it as an option of the binding that has one",
    "user_description": "put it into the personality's conditioning",
    "use_user_name_in_discussions": "the user's name always stands in the prompt",
    "user_avatar": "clients show their own pictures",
    "auto_update": "the server does not update itself",
}

_SPECIAL = frozenset({"binding_name", "model_name", "active_personality_id", "debug", "version"})
KEYS = frozenset({*DIRECT, *MEANINGLESS, *_SPECIAL} - {"personalities", "user_name"})
"""Keys that only lollms' configuration has."""


def translate(mapped: Mapped, base: Config) -> None:
    raw = mapped.raw
    for name, value in raw.items():
        if name in DIRECT:
            if value is not None:
                mapped.take((name,), DIRECT[name], value)
        elif name in MEANINGLESS:
            mapped.ignore((name,), MEANINGLESS[name])
        elif name not in _SPECIAL:
            mapped.unknown((str(name),), {"personalities", "user_name", *KEYS})
    _text_operation(mapped, base)
    _active_personality(mapped, base)
    if "debug" in raw:
        if raw["debug"] is True:
            mapped.take(("debug",), ("log", "level"), "DEBUG")
        elif raw["debug"] is not False and raw["debug"] is not None:
            mapped.ignore(("debug",), "wanted true or false")


def _text_operation(mapped: Mapped, base: Config) -> None:
    binding, model = mapped.raw.get("binding_name"), mapped.raw.get("model_name")
    if not binding and not model:
        return
    current = next((entry for entry in base.operations if entry.role is Role.T2T), None)
    if not binding and current is None:
        mapped.ignore(("model_name",), "there is no text binding to load it with")
        return
    known = BINDINGS.get(str(binding), binding) if binding else current.id if current else ""
    settings = current.settings if current is not None and current.id == known else {}
    if model:
        settings["model"] = model
    if binding and known != binding:
        mapped.ignored.append(Ignored(("binding_name",), f"binding_name: {binding} is served by {known}"))
    operations: list[Any] = [entry.model_dump(mode="json") for entry in base.operations if entry.role is not Role.T2T]
    mapped.values["operations"] = [{**settings, "role": "t2t", "id": known}, *operations]
    mapped.ways["operations", 0] = ("binding_name",) if binding else ("model_name",)
    mapped.ways["operations", 0, "model"] = ("model_name",)


def _active_personality(mapped: Mapped, base: Config) -> None:
    if mapped.raw.get("active_personality_id") is None:
        return
    given = mapped.raw["active_personality_id"]
    personalities = mapped.raw.get("personalities", base.personalities)
    count = len(personalities) if isinstance(personalities, list | tuple) else 0
    if isinstance(given, int) and not 0 <= given < max(count, 1):
        mapped.ignore(("active_personality_id",), f"there is no personality {given}; the first one is taken")
        return
    mapped.take(("active_personality_id",), ("active_personality",), given)
