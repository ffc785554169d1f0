"""From plain data to a ``Config``, or to every problem that it has.

{"server": {"port": "96o1"}} + where each value came from -> ConfigError("config.yaml, line 4: server.port: wanted a
whole number from 0 to 65535, found '96o1'")
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from greenroom.config.keys import sections, walk
from greenroom.config.problems import ConfigError, Origin, Problem, nearest
from greenroom.config.schema import Config
from greenroom.config.wording import schema_at, shown, wanted

Way = tuple[str | int, ...]


class Locate(Protocol):
    """Where the value at ``way`` was given, and under which key it stands there (a foreign file has its own names)."""

    def __call__(self, way: Way, /) -> tuple[Origin, Way]: ...


def validated(data: Mapping[str, Any], locate: Locate, *, also: Sequence[Problem] = ()) -> Config:
    """:raises ConfigError: with ``also`` and everything that is wrong with ``data``."""
    problems = list(also)
    try:
        config = Config.model_validate(dict(data))
    except ValidationError as error:
        problems.extend(_problems(error.errors(include_url=False), locate))
        problems.sort(key=lambda problem: problem.origin.line)
    else:
        if not problems:
            return config
    raise ConfigError(problems)


def at(label: str) -> Locate:
    """For data that has no lines: all of it comes from ``label``."""
    return lambda way: (Origin(label), way)


def dotted(way: Way) -> str:
    return ".".join(str(part) for part in way)


def _problems(errors: Sequence[ErrorDetails], locate: Callable[[Way], tuple[Origin, Way]]) -> Iterator[Problem]:
    for error in errors:
        way = tuple(part for part in error["loc"] if part != "[key]")
        context = error.get("ctx") or {}
        if "key" in context:
            way += tuple(int(part) if part.isdecimal() else part for part in str(context["key"]).split("."))
        origin, given_way = locate(way)
        key = dotted(given_way)
        if error["type"] == "extra_forbidden":
            yield Problem(origin, key, unknown_key_sentence(way), unknown_key=True)
        else:
            yield Problem(origin, key, _sentence(error, way))


def unknown_key_sentence(way: Way) -> str:
    """``is not a known key; did you mean server.port?``"""
    *above, name = way
    schema = schema_at(above) or {}
    siblings = list(schema.get("properties", {}))
    prefix = "".join(f"{part}." for part in above)
    close = nearest(str(name), siblings)
    if close:
        return f"is not a known key; did you mean {prefix}{close}?"
    leaves = {key.path[-1]: key.name for key in walk()}
    elsewhere = leaves.get(str(name)) or leaves.get(nearest(str(name), leaves))
    if elsewhere and elsewhere != dotted(way):
        return f"is not a known key; did you mean {elsewhere}?"
    known = siblings or list(sections())
    return f"is not a known key; known here: {', '.join(known)}"


def _sentence(error: ErrorDetails, way: Way) -> str:
    schema = schema_at(way)
    wish = wanted(schema) if schema is not None else ""
    kind = error["type"]
    if kind == "missing":
        return f"is missing; wanted {wish}" if wish else "is missing"
    if kind == "invalid_key":
        return f"wanted a text as key, found {shown(error['input'])}"
    if kind == "string_pattern_mismatch":
        pattern = (error.get("ctx") or {}).get("pattern", "")
        return f"wanted text that matches {pattern}, found {shown(error['input'])}"
    if not wish or _is_ours(kind):
        found = "" if "found" in error["msg"] or kind in _SPEAKING else f", found {shown(error['input'])}"
        return f"{error['msg']}{found}"
    if kind in ("too_long", "too_short"):
        return f"{error['msg'][0].lower()}{error['msg'][1:]}"
    return f"wanted {wish}, found {shown(error['input'])}"


_SPEAKING = frozenset({"secret", "plain", "duplicate", "operation_duplicate", "active_personality"})


def _is_ours(kind: str) -> bool:
    """Errors that the schema's own validators raise: they say themselves what they wanted."""
    return kind in _SPEAKING or kind in ("origin", "host", "database", "address", "network", "root_path", "listen")
