"""The key reference ``docs/configuration.md`` and the shipped ``config.yaml``, both made from the schema.

``python -m greenroom.config.reference docs/configuration.md config.yaml`` writes them; a test fails when one is stale.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from greenroom.config.keys import Key, sections, walk
from greenroom.config.schema import ListenEntry, OperationEntry, Section, TokenEntry
from greenroom.config.wording import schema_at, wanted

_PLAIN = re.compile(r"[A-Za-z0-9][\w./-]*")

_INTRODUCTION = """\
# Configuration

*Generated from the schema by `python -m greenroom.config.reference`; do not edit.*

Each key has a default, so an empty file, or none, is a complete configuration. What is set further down wins:

1. the defaults below;
2. `config.yaml` in the home folder (`--home`, else `GREENROOM_HOME`, else the folder of the nearest `config.yaml`, else
   the platform's user data folder), or the file given with `--config`;
3. the environment: `server.port` is `GREENROOM_SERVER_PORT`, `user_name` is `GREENROOM_USER_NAME`; lists and maps are
   written as YAML or JSON, an empty variable counts as not set;
4. the command line.

An unknown key or a bad value stops the start, with file, line, key and what was wanted. Secrets are no part of the
configuration: they stand in the environment or in the file `.env` of the home folder.

While the server runs, `config_update` merges keys, `config_load` and `config_save` name a file of `configs/` in the
home folder. Keys marked **owner** can be changed over the wire by the owner alone; so can every option of a binding
that is a path, a URL or a command. Saving writes only what has changed and keeps comments and order.

A configuration of jaison or of lollms (version 11) loads as it is; what has no meaning here is named in the log.
"""


def configuration_page() -> str:
    """The whole of ``docs/configuration.md``."""
    parts = [_INTRODUCTION, "## Top level\n", _table(key for key in walk() if len(key.path) == 1)]
    parts += ["Entries of `operations` (other keys are the binding's options):\n"]
    parts += [_entry_table(OperationEntry, ("operations", 0))]
    parts += ["Entries of `listen`:\n", _entry_table(ListenEntry, ("listen", 0))]
    for name, section in sections().items():
        parts += [f"## {name}\n", f"{_purpose(section)}\n", _table(key for key in walk() if key.path[0] == name)]
        if name == "server":
            parts += ["Entries of `server.tokens`:\n", _entry_table(TokenEntry, ("server", "tokens", 0))]
    return "\n".join(parts)


def _purpose(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split()).replace("``", "`")


def _table(keys: Iterator[Key]) -> str:
    lines = ["| key | meaning | wanted | default | |", "|---|---|---|---|---|"]
    for key in keys:
        mark = "owner" if key.owner_only else ""
        default = _in_flow(_plain(key.default))
        lines.append(_row(f"`{key.name}`", key.field.description, _wish(key), f"`{default}`", mark))
    return "\n".join(lines) + "\n"


def _entry_table(model: type[BaseModel], way: tuple[str | int, ...]) -> str:
    lines = ["| key | meaning | wanted | default |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{_in_flow(_plain(field.default))}`"
        lines.append(_row(f"`{name}`", field.description, wanted(schema_at((*way, name)) or {}), default))
    return "\n".join(lines) + "\n"


def _row(*cells: str | None) -> str:
    return "| " + " | ".join((cell or "").replace("|", "\\|") for cell in cells) + " |"


def _wish(key: Key) -> str:
    return wanted(schema_at(key.path) or {})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _in_flow(value: Any) -> str:
    """A value as YAML on one line."""
    if value is None:
        return "null"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) is not None and yaml.safe_load(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1_000_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def shipped_config() -> str:
    """The whole of ``config.yaml``: every key with its default, in the order of the schema."""
    lines = [
        "# Greenroom's configuration. Every key is here with its default; a file may leave out any of them.",
        "# Keys in full: docs/configuration.md. Secrets belong into the environment or the file .env, not here.",
        "",
    ]
    lines += [line for key in walk() if len(key.path) == 1 for line in _example(key, "")]
    for name, section in sections().items():
        lines += ["", f"# {_purpose(section).replace('`', '')}", f"{name}:"]
        lines += [line for key in walk() if key.path[0] == name for line in _example(key, "  ")]
    return "\n".join(lines) + "\n"


def _example(key: Key, indent: str) -> Iterator[str]:
    yield f"{indent}# {key.field.description}"
    name, default = key.path[-1], _plain(key.default)
    if isinstance(default, list) and default and isinstance(default[0], dict):
        yield f"{indent}{name}:"
        yield from (f"{indent}  - {_in_flow(entry)}" for entry in default)
    elif default is None:
        yield f"{indent}# {name}:"
    else:
        yield f"{indent}{name}: {_in_flow(default)}"
    for example in key.field.examples or ():
        yield f"{indent}# {name}: {_in_flow(example)}"


def main(arguments: list[str]) -> None:
    page, config = arguments
    Path(page).write_text(configuration_page(), encoding="utf-8", newline="\n")
    Path(config).write_text(shipped_config(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
