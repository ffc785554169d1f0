"""jaison's configuration under our names: operations, prompt settings at top level or under ``prompter``, KoboldCPP."""

from collections.abc import Mapping
from typing import Any

from greenroom.config import jaison_operations
from greenroom.config.translation import Mapped, Way

PROMPTER = {
    "history_length": ("session", "history_length"),
    "character_name": ("context", "character_name"),
    "name_translations": ("context", "name_translations"),
    "instruction_prompt_filename": ("context", "instruction_prompt_filename"),
    "character_prompt_filename": ("context", "character_prompt_filename"),
    "scene_prompt_filename": ("context", "scene_prompt_filename"),
}

BINDING_PATHS = {
    "kobold_filepath": ("bindings", "kobold", "kobold_filepath"),
    "kcpps_filepath": ("bindings", "kobold", "kcpps_filepath"),
}

_FIXED_FOLDER = "prompt files are read from prompts/{} in the home folder"
MEANINGLESS = {
    "CONFIG_DIR": "named configurations are read from configs/ in the home folder",
    "WORKING_DIR": "no working files are written",
    "PROMPT_DIR": "prompt files are read from prompts/ in the home folder",
    "PROMPT_INSTRUCTION_SUBDIR": _FIXED_FOLDER.format("instructions/"),
    "PROMPT_CHARACTER_SUBDIR": _FIXED_FOLDER.format("characters/"),
    "PROMPT_SCENE_SUBDIR": _FIXED_FOLDER.format("scenes/"),
    "MCP_DIR": "a tool server's command and folder say where it is",
    "MELO_DIR": "models are read from models/ in the home folder",
    "history_filepath": "conversations are kept in the database (store.url)",
    "stt_working_src": "no working files are written",
    "ffmpeg_working_src": "no working files are written",
    "ffmpeg_working_dest": "no working files are written",
    "spacy_model": "sentences are split without a language model",
    "current_config": "a configuration's name is the name of its file",
}

_PROMPTER_NAMES = {path: name for name, path in PROMPTER.items()}

KEYS = frozenset({"prompter", "mcp", *PROMPTER, *BINDING_PATHS, *MEANINGLESS})
"""Keys that only jaison's configuration has; ``operations`` is ours too."""


def translate(mapped: Mapped) -> None:
    for name, value in mapped.raw.items():
        if name == "operations":
            mapped.take(("operations",), ("operations",), jaison_operations.translated(mapped, value))
        elif name == "prompter":
            _prompter(mapped, value)
        elif name in PROMPTER:
            _prompt_setting(mapped, (name,), name, value)
        elif name in BINDING_PATHS:
            if value is not None:
                mapped.take((name,), BINDING_PATHS[name], value)
        elif name == "mcp":
            _tool_servers(mapped, value)
        elif name in MEANINGLESS:
            mapped.ignore((name,), MEANINGLESS[name])
            if name != "current_config":
                mapped.unused[name] = value
        else:
            mapped.unknown((str(name),), {"operations", *KEYS})


def translated_back(
    changes: Mapping[tuple[str, ...], Any], bindings: Mapping[str, Mapping[str, Any]], ways: Mapping[Way, Way]
) -> dict[tuple[str, ...], Any] | None:
    """Our changes under jaison's names; ``None`` where it has no name for one of them.

    :param bindings: what the file says of bindings, under our names. :param ways: where it says what.
    """
    found: dict[tuple[str, ...], Any] = {}
    for path, value in changes.items():
        if path == ("operations",):
            found[path] = value
        elif path in _PROMPTER_NAMES:
            written = ways.get(path, ("prompter", _PROMPTER_NAMES[path]))
            found[tuple(str(part) for part in written)] = value
        elif path == ("bindings",):
            settings = _changed_settings(bindings, value)
            if settings is None:
                return None
            found |= settings
        else:
            return None
    return found


def _changed_settings(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, ...], Any] | None:
    names = {path[1:]: name for name, path in BINDING_PATHS.items()}
    found: dict[tuple[str, ...], Any] = {}
    for binding in {*before, *after}:
        old, new = before.get(binding, {}), after.get(binding, {})
        for option in {*old, *new}:
            if old.get(option) == new.get(option):
                continue
            name = names.get((binding, option))
            if name is None:
                return None
            found[(name,)] = new.get(option)
    return found


def _prompter(mapped: Mapped, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        mapped.ignore(("prompter",), "wanted a mapping of prompt settings")
        return
    for name, inner in value.items():
        if name in PROMPTER:
            _prompt_setting(mapped, ("prompter", name), name, inner)
        else:
            mapped.unknown(("prompter", str(name)), PROMPTER)


def _prompt_setting(mapped: Mapped, foreign: tuple[str, ...], name: str, value: Any) -> None:
    if value is not None:
        mapped.take(foreign, PROMPTER[name], value)


def _tool_servers(mapped: Mapped, value: Any) -> None:
    servers = value if isinstance(value, list) else []
    names = ", ".join(str(server.get("id")) for server in servers if isinstance(server, Mapping))
    if names:
        mapped.ignore(("mcp",), f"tool servers are not started ({names})")
    elif value:
        mapped.ignore(("mcp",), "wanted a list of tool servers")
