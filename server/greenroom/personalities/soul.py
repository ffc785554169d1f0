"""``SOUL.md``, lollms' newer form of a character, as the same keys and values that a ``config.yaml`` holds.

    ---                            no front matter: sections
    name: Bear                         ## Description
    author: Ana                        ## Conditioning
    temperature: 0.6                   ## Welcome Message
    description: A bear.               ## Metadata      YAML, perhaps fenced
    ---

    Act as a bear.

    Hello! I am Bear.

The front matter may hold every key of a ``config.yaml`` too. ``welcome_message`` there moves the border that is
otherwise guessed: all of the body is then the system prompt.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greenroom.errors import BadRequest
from greenroom.personalities.repair import YamlFile, parse_yaml, read_text
from greenroom.personalities.welcome import split_body

SOUL_FILE = "SOUL.md"
SPELLINGS = {"personality_description": "description", "model_temperature": "temperature"}
"""how ``SOUL.md`` spells what ``config.yaml`` calls otherwise"""
OLDER_TEMPERATURE = 0.7

_MARK = re.compile(r"---[ \t]*")
_FENCE = re.compile(r" {0,3}(```+|~~~+)(.*)")
_SECTION = re.compile(r"##[ \t](.*)")
_KEY_OF_SECTION = {
    "description": "personality_description",
    "conditioning": "personality_conditioning",
    "welcome message": "welcome_message",
}
_METADATA = "metadata"


def read_soul(path: Path) -> YamlFile:
    """:raises BadRequest: naming file, line and reason."""
    text = read_text(path)
    try:
        return parse_soul(text, path.parent.name)
    except BadRequest as error:
        raise BadRequest(f"{path}, {error.message}") from error


def parse_soul(text: str, folder_name: str) -> YamlFile:
    """``folder_name`` is the name of one that states none. :raises BadRequest: naming line and reason."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((at for at, line in enumerate(lines) if line.strip()), 0)
    if _MARK.fullmatch(lines[start]):
        values, mended = _with_front_matter(lines, start)
    else:
        sections = list(_sections(lines))
        if any(_known(title) for title, _, _ in sections):
            values, mended = _of_sections(sections)
        else:
            values, mended = _with_body({}, "\n".join(lines)), ()
    if not str(values.get("name") or "").strip():
        values["name"] = folder_name
    values.setdefault("welcome_message", "")
    return YamlFile(values, mended)


def _with_front_matter(lines: list[str], start: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    end = next((at for at in range(start + 1, len(lines)) if _MARK.fullmatch(lines[at])), None)
    if end is None:
        raise BadRequest(f"line {start + 1}: the front matter is not closed by a line `---`")
    front = parse_yaml(_at_line(start + 1, lines[start + 1 : end]))
    return _with_body(_respelled(front.values), "\n".join(lines[end + 1 :])), front.mended


def _with_body(values: dict[str, Any], body: str) -> dict[str, Any]:
    body = body.strip()
    if "welcome_message" not in values:
        body, values["welcome_message"] = split_body(body)
    if body:
        values["personality_conditioning"] = body
    return values


def _of_sections(sections: list[tuple[str, int, list[str]]]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Other sections are kept under their headings, which are no keys of a configuration: ``## Stories``."""
    values: dict[str, Any] = {"model_temperature": OLDER_TEMPERATURE}
    mended: tuple[int, ...] = ()
    texts: dict[str, list[str]] = {}
    for title, at, content in sections:
        if _known(title) == _METADATA:
            metadata = parse_yaml(_at_line(at, _without_fence(content)))
            values |= _flattened(metadata.values)
            mended += metadata.mended
        else:
            key = _KEY_OF_SECTION.get(_known(title), f"## {title}".rstrip())
            texts.setdefault(key, []).append("\n".join(content).strip())
    for key, found in texts.items():
        text = "\n\n".join(part for part in found if part)
        if text or key == "welcome_message":
            values[key] = text
    return values, mended


def _flattened(metadata: dict[str, Any]) -> dict[str, Any]:
    """``model_parameters: {temperature: 0.6}`` -> ``model_temperature: 0.6``; also ``temperature`` by itself."""
    values = _respelled(metadata)
    if isinstance(values.get("model_parameters"), dict):
        parameters: dict[str, Any] = values.pop("model_parameters")
        values |= {f"model_{key.removeprefix('model_')}": value for key, value in parameters.items()}
    return values


def _respelled(values: dict[str, Any]) -> dict[str, Any]:
    values = dict(values)
    for key, spelling in SPELLINGS.items():
        if spelling in values:
            values[key] = values.pop(spelling)
    return values


def _sections(lines: list[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Title, the number of lines up to and with it, and what stands below; what precedes the first has no title."""
    title, begin = "", 0
    for at, inside in enumerate(_fenced(lines)):
        found = None if inside else _SECTION.fullmatch(lines[at])
        if found is not None:
            if title or any(line.strip() for line in lines[begin:at]):
                yield title, begin, lines[begin:at]
            title, begin = found[1].strip(), at + 1
    yield title, begin, lines[begin:]


def _known(title: str) -> str:
    name = " ".join(title.rstrip("#: \t").casefold().replace("_", " ").split())
    return name if name in _KEY_OF_SECTION or name == _METADATA else ""


def _fenced(lines: list[str]) -> list[bool]:
    """For each line whether it stands in a fenced block; a fence that is never closed is none."""
    inside = [False] * len(lines)
    opened: tuple[int, str] | None = None
    for at, line in enumerate(lines):
        found = _FENCE.fullmatch(line)
        if opened is None:
            opened = (at, found[1]) if found else None
        elif found and found[1].startswith(opened[1]) and not found[2].strip():
            inside[opened[0] : at + 1] = [True] * (at + 1 - opened[0])
            opened = None
    return inside


def _without_fence(lines: list[str]) -> list[str]:
    """The lines in as many places, those of the fence and around it emptied."""
    inside = _fenced(lines)
    if not any(inside):
        return lines
    first = inside.index(True)
    last = next((at for at in range(first + 1, len(lines)) if not inside[at]), len(lines)) - 1
    return ["" if at <= first or at >= last else line for at, line in enumerate(lines)]


def _at_line(before: int, lines: list[str]) -> str:
    """Behind so many empty lines, so that complaints name the lines of the file."""
    return "\n" * before + "\n".join(lines).rstrip() + "\n"
