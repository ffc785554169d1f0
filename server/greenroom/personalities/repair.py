"""Reading YAML that people wrote by hand: what is safe to mend is mended, the rest is named with file and line.

    config.yaml (bytes) -> mapping of plain values, lines that were mended

A file that parses is never touched. One that does not is taken apart into its top-level entries; each that fails alone
is mended by the first of a few known recipes that makes it parse, so a recipe can spoil nothing else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from greenroom.errors import BadRequest
from greenroom.yaml_text import MAX_DEPTH, load_yaml

MAX_FILE_BYTES = 1_000_000
MAX_NODES = 50_000

_ENTRY = re.compile(r"[^\s#\-][^:\n]*:(?=\s|$)")
_PLAIN_VALUE = re.compile(r"(?P<head>[^:\n]+:[ \t]+)(?P<value>\S.*?)(?P<end>\s*)")
_OPEN_COLLECTION = re.compile(r":[ \t]+(?:\[|\{(?!\{))")
_ITEM = re.compile(r"(?P<head>\s*-[ \t]+)(?P<value>[@`%!&*|>].*?)(?P<end>\s*)")


@dataclass(frozen=True, slots=True)
class YamlFile:
    values: dict[str, Any]
    mended: tuple[int, ...] = ()
    """the lines, counted from one, at which mended entries begin"""


def read_yaml(path: Path) -> YamlFile:
    """:raises BadRequest: naming file, line and reason."""
    text = read_text(path)
    try:
        return parse_yaml(text)
    except BadRequest as error:
        raise BadRequest(f"{path}, {error.message}") from error


def read_text(path: Path) -> str:
    """UTF-8, with or without a mark in front. :raises BadRequest: naming file and reason."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise BadRequest(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadRequest(f"{path}, line {line}: this is not UTF-8") from error


def parse_yaml(text: str) -> YamlFile:
    """:raises BadRequest: naming line and reason."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    mended: tuple[int, ...] = ()
    try:
        raw = load_yaml(text)
    except yaml.YAMLError as error:
        text, mended = _mended(text)
        try:
            raw = load_yaml(text)
        except yaml.YAMLError:
            raise BadRequest(_complaint(error)) from error
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        first = 1 + len(text) - len(text.lstrip("\n"))
        raise BadRequest(f"line {first}: wanted keys and values, found a {type(raw).__name__}")
    return YamlFile(_Plain().mapping(raw, 0), mended)


def _complaint(error: yaml.YAMLError) -> str:
    line = _line(getattr(error, "problem_mark", None) or getattr(error, "context_mark", None))
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    return f"line {line}: {problem}" + (f" ({context})" if context else "")


def _line(mark: Any) -> int:
    return 1 if mark is None else int(mark.line) + 1


class _Plain:
    """JSON-ready values: timestamps as ISO strings, keys as strings; counted, since aliases can unfold without end."""

    def __init__(self) -> None:
        self._nodes = 0

    def mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        return {"" if key is None else str(key): self._value(item, depth + 1) for key, item in value.items()}

    def _value(self, value: Any, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise BadRequest("line 1: too many values, or nested too deeply")
        if isinstance(value, dict):
            return self.mapping(value, depth)
        if isinstance(value, list | tuple):
            return [self._value(item, depth + 1) for item in value]
        if isinstance(value, set):
            return [self._value(item, depth + 1) for item in sorted(value, key=str)]
        if isinstance(value, datetime | date):
            return value.isoformat()
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value


def _mended(text: str) -> tuple[str, tuple[int, ...]]:
    """The text with every entry mended that can be, and the lines at which these begin."""
    pieces: list[str] = []
    lines: list[int] = []
    at = 1
    for entry in _entries(text):
        good = entry if _parses(entry) else next((fixed for fixed in _recipes(entry) if _parses(fixed)), None)
        if good is not None and good is not entry:
            lines.append(at)
        pieces.append(entry if good is None else good)
        at += entry.count("\n")
    return "".join(pieces), tuple(lines)


def _entries(text: str) -> Iterator[str]:
    """Top-level ``key: value`` blocks with the comments and blank lines behind them, and what precedes the first."""
    block: list[str] = []
    for line in _lines(text):
        if block and _ENTRY.match(line):
            yield "".join(block)
            block = []
        block.append(line if line.endswith("\n") else line + "\n")
    if block:
        yield "".join(block)


def _lines(text: str) -> list[str]:
    """With their line ends. Of the marks that Python splits at, YAML files hold only this one between lines."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _parses(entry: str) -> bool:
    try:
        value = load_yaml(entry)
    except yaml.YAMLError:
        return False
    return value is None or isinstance(value, dict)


def _recipes(entry: str) -> Iterator[str]:
    yield _spaces_for_tabs(entry)
    yield _closed_quotes(entry)
    yield _quoted_items(entry)
    yield _quoted_value(entry)


def _spaces_for_tabs(entry: str) -> str:
    return "".join(re.sub(r"^[ \t]+", lambda m: m[0].replace("\t", "  "), line) for line in _lines(entry))


def _closed_quotes(entry: str) -> str:
    """``key: 'it's'`` -> ``key: 'it''s'``: apostrophes inside a single-quoted text, ``\\'`` as well."""
    body, comments = _without_trailing_comments(entry)
    head, _, value = body.partition(":")
    value = value.strip()
    if len(value) < 2 or not (value.startswith("'") and value.endswith("'")):
        return entry
    inner = value[1:-1].replace("\\'", "'").replace("''", "'").replace("'", "''")
    return f"{head}: '{inner}'\n{comments}"


def _without_trailing_comments(entry: str) -> tuple[str, str]:
    lines = _lines(entry)
    end = len(lines)
    while end > 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return "".join(lines[:end]), "".join(lines[end:])


def _quoted_items(entry: str) -> str:
    """``- @title@text: x`` -> ``- '@title@text: x'``: list items that begin with a character YAML keeps for itself."""
    return "".join(_quoted_line(line, _ITEM) for line in _lines(entry))


def _quoted_value(entry: str) -> str:
    """``key: !!> Student:`` -> ``key: '!!> Student:'``: a value on one line that must not stand without quotes.

    A list or mapping that is not closed is no such value: what was meant can only be guessed.
    """
    body, comments = _without_trailing_comments(entry)
    if body.count("\n") > 1 or _OPEN_COLLECTION.search(body):
        return entry
    return _quoted_line(body, _PLAIN_VALUE) + comments


def _quoted_line(line: str, form: re.Pattern[str]) -> str:
    found = form.fullmatch(line)
    if found is None or found["value"][0] in "'\"":
        return line
    quoted = found["value"].replace("'", "''")
    return f"{found['head']}'{quoted}'{found['end']}"
