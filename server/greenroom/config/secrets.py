"""Secrets: from the environment, else from the ``.env`` file of the home folder. Nothing here prints a value."""

import re
from collections.abc import Mapping
from pathlib import Path

from greenroom.config.load import read_text

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


class Secrets:
    def __init__(self, env: Mapping[str, str], dotenv: Mapping[str, str] | None = None) -> None:
        self._env = env
        self._dotenv = dotenv or {}

    def get(self, name: str) -> str | None:
        """The value; ``None`` if it is set nowhere, or empty."""
        return self._env.get(name) or self._dotenv.get(name) or None

    def environment(self) -> dict[str, str]:
        """The environment over ``.env``: what ``GREENROOM_...`` settings are read from."""
        return {
            **self._dotenv,
            **{name: value for name, value in self._env.items() if value or name not in self._dotenv},
        }

    def __repr__(self) -> str:
        return f"Secrets({len(self._env)} variables, {len(self._dotenv)} in .env)"


def read_dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    """The variables of a ``.env`` file, and a sentence for each line that is none. No file: no variables.

    A line is ``NAME=value``, ``NAME='as it stands'`` or ``NAME="with \\n escapes"``; `` #`` begins a comment.

    :raises ConfigError: if the file cannot be read.
    """
    if not path.is_file():
        return {}, []
    values: dict[str, str] = {}
    warnings = []
    for number, line in enumerate(read_text(path, path.name).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        value = _unquoted(match[2]) if match else None
        if match is None or value is None:
            warnings.append(f"{path.name}, line {number}: wanted NAME=value; the line is ignored")
        else:
            values[match[1]] = value
    return values, warnings


def _unquoted(text: str) -> str | None:
    """The value of one line; ``None`` where a quote is not closed."""
    if text.startswith("'"):
        match = re.fullmatch(r"'([^']*)'(?:\s+#.*)?", text)
        return match[1] if match else None
    if text.startswith('"'):
        match = re.fullmatch(r'"((?:[^"\\]|\\.)*)"(?:\s+#.*)?', text)
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), match[1]) if match else None
    return re.sub(r"(?:^|\s+)#.*", "", text)
