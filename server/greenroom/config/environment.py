"""Configuration by environment: ``server.port`` is ``GREENROOM_SERVER_PORT``. Lists and maps are YAML or JSON text; an
empty variable counts as not set."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from greenroom.config.document import parse_value
from greenroom.config.keys import Key, Path, walk
from greenroom.config.problems import Origin, Problem, nearest
from greenroom.config.wording import schema_at, shown, wanted

PREFIX = "GREENROOM_"
OWN_VARIABLES = frozenset({"GREENROOM_HOME", "GREENROOM_TOKEN", "GREENROOM_URL", "GREENROOM_BIND_TOKEN"})
"""Read elsewhere: the home folder, the token, the address that clients use, and the token of bindings elsewhere."""

_SERVICE_LINK = re.compile(r"GREENROOM_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_\w+)?)$")
"""What Kubernetes and old Docker links set by themselves where a service is called greenroom."""


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    values: Mapping[Path, Any]
    problems: tuple[Problem, ...]


def read_environment(env: Mapping[str, str]) -> FromEnvironment:
    """The configuration's keys that ``env`` sets."""
    names = {name.upper(): name for name in env if name.upper().startswith(PREFIX)}
    if not names:
        return FromEnvironment({}, ())
    values: dict[Path, Any] = {}
    problems: list[Problem] = []
    for key in walk():
        text = env[names[key.variable]] if key.variable in names else ""
        if not text:
            continue
        try:
            values[key.path] = _value(key, text)
        except ValueError as error:
            problems.append(Problem(Origin(key.variable), key.name, str(error)))
    return FromEnvironment(values, tuple(problems))


def _value(key: Key, text: str) -> Any:
    if isinstance(key.default, tuple | dict):
        return _collection(key, text)
    if not key.is_text and text.strip().lower() in ("null", "none"):
        return None
    return text if key.is_text else text.strip()


def _collection(key: Key, text: str) -> Any:
    is_list = isinstance(key.default, tuple)
    try:
        value = parse_value(text)
    except ValueError as error:
        raise ValueError(f"{_wish(key)}: {error}") from None
    if is_list and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list if is_list else dict):
        raise ValueError(f"{_wish(key)}, found {shown(text)}")
    return value


def _wish(key: Key) -> str:
    return f"wanted {wanted(schema_at(key.path) or {})} as YAML or JSON"


def unknown_variables(env: Mapping[str, str], also_known: Iterable[str]) -> list[str]:
    """A sentence for each variable with our prefix that means nothing. ``also_known``: those that hold tokens."""
    variables = {key.variable: key.name for key in walk()}
    known = OWN_VARIABLES | set(also_known)
    sentences = []
    for name in sorted(env):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in variables or name in known or upper in known:
            continue
        if _SERVICE_LINK.match(upper):
            continue
        close = nearest(upper, [*variables, *known])
        hint = f"; did you mean {close}?" if close else ""
        sentences.append(f"environment variable {name} is not known and has no effect{hint}")
    return sentences
