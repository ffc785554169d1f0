"""One personality folder: ``config.yaml`` in lollms' fields, or ``SOUL.md``, read with defaults and known oddities."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenroom.errors import BadRequest
from greenroom.personalities.repair import read_yaml
from greenroom.personalities.soul import SOUL_FILE, SPELLINGS, read_soul
from greenroom.values import Sampling

CONFIG_FILE = "config.yaml"
DESCRIPTION_FILES = (CONFIG_FILE, SOUL_FILE)
"""what makes a folder a personality; where both are there, the first counts"""
PROCESSOR_FILE = "processor.py"
LOGO_SUFFIXES = ("gif", "webp", "png", "jpg", "jpeg", "bmp")

DEFAULT_NAME = "No Name"
DEFAULT_AUTHOR = "ParisNeo"
DEFAULT_VERSION = "1.0.0"
DEFAULT_CONDITIONING = (
    "You are {{char}}, a friendly companion. You answer {{user}} helpfully, truthfully and briefly.\n"
    "Today is {{date}}.\n"
)
DEFAULT_WELCOME = "Hello! I am {{char}}. What shall we talk about?"

# a template name of another program that its author forgot to fill in
_LEAKED_TEMPLATE = re.compile(r"\{self\.config\.\w+\}")
_TEXT_KEYS = frozenset(
    {
        *("name", "personality_description", "author", "version", "personality_conditioning", "welcome_message"),
        *("user_name", "user_message_prefix", "ai_message_prefix", "link_text", "disclaimer"),
    }
)
_SAMPLING_KEYS = {
    "model_temperature": "temperature",
    "model_n_predicts": "max_tokens",
    "model_top_k": "top_k",
    "model_top_p": "top_p",
    "model_repeat_penalty": "repeat_penalty",
    "model_repeat_last_n": "repeat_last_n",
}
_WHOLE_NUMBERS = frozenset({"max_tokens", "top_k", "repeat_last_n"})
_WELCOME_KEYS = ("include_welcome_message_in_discussion", "include_welcome_message_in_disucssion")
_OTHER_KEYS = frozenset({"dependencies", "anti_prompts", "processor_cfg", "voice", "eliza", *_WELCOME_KEYS})


@dataclass(frozen=True, slots=True)
class Personality:
    """A character as its folder describes it. Texts still hold their ``{{placeholders}}``."""

    id: str
    """``language/category/folder``"""
    folder: Path
    language: str
    category: str
    folder_name: str
    name: str
    description: str
    author: str
    version: str
    conditioning: str
    welcome_message: str
    user_name: str
    user_message_prefix: str
    ai_message_prefix: str
    link_text: str
    disclaimer: str
    anti_prompts: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    """``None`` where the folder says nothing"""
    dependencies: tuple[str, ...] = ()
    processor_cfg: Mapping[str, bool] = field(default_factory=dict)
    include_welcome_message: bool = True
    has_scripts: bool = False
    logo: Path | None = None
    voice: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """options for speech by binding: ``{"espeak": {"voice": "en-us"}}``"""
    eliza: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    """every other key, as it stands in the file"""
    notes: tuple[str, ...] = ()
    """what was mended or ignored while reading"""


def read_personality(
    folder: Path, *, language: str = "", category: str = "", config_file: str = CONFIG_FILE
) -> Personality:
    """``language`` and ``category`` are the folder's place; empty: the names of the folders above it.

    :raises BadRequest: naming file, line and reason.
    """
    path = folder / config_file
    is_soul = config_file == SOUL_FILE
    source = read_soul(path) if is_soul else read_yaml(path)
    reader = _Reader(path, source.values, SPELLINGS if is_soul else {})
    reader.notes.extend(f"{path.name}, line {line}: mended, it is not valid YAML" for line in source.mended)
    category = category or folder.parent.name
    language = language or folder.parent.parent.name
    name = reader.text("name", DEFAULT_NAME).strip() or DEFAULT_NAME
    return Personality(
        id=f"{language}/{category}/{folder.name}",
        folder=folder,
        language=language,
        category=category,
        folder_name=folder.name,
        name=name,
        description=reader.text("personality_description", "").strip(),
        author=reader.text("author", DEFAULT_AUTHOR),
        version=reader.text("version", DEFAULT_VERSION) or DEFAULT_VERSION,
        conditioning=reader.text("personality_conditioning", DEFAULT_CONDITIONING),
        welcome_message=reader.text("welcome_message", DEFAULT_WELCOME),
        user_name=reader.text("user_name", "user"),
        user_message_prefix=_LEAKED_TEMPLATE.sub("", reader.text("user_message_prefix", "!@> Human: ")),
        ai_message_prefix=_LEAKED_TEMPLATE.sub("", reader.text("ai_message_prefix", f"!@> {name}:")),
        link_text=reader.text("link_text", "\n").replace("\\n", "\n"),
        disclaimer=reader.text("disclaimer", ""),
        anti_prompts=reader.texts("anti_prompts"),
        sampling=reader.sampling(),
        dependencies=reader.texts("dependencies"),
        processor_cfg=reader.switches("processor_cfg"),
        include_welcome_message=all(bool(source.values.get(key, True)) for key in _WELCOME_KEYS),
        has_scripts=(folder / "scripts" / PROCESSOR_FILE).is_file(),
        logo=find_logo(folder / "assets"),
        voice=reader.voice(),
        eliza=reader.block("eliza"),
        extras={
            key: value
            for key, value in source.values.items()
            if key not in _TEXT_KEYS and key not in _SAMPLING_KEYS and key not in _OTHER_KEYS
        },
        notes=tuple(reader.notes),
    )


def find_logo(assets: Path) -> Path | None:
    """The picture of the first known kind, in lollms' order."""
    try:
        names = {name.casefold(): name for name in os.listdir(assets)}
    except OSError:
        return None
    for suffix in LOGO_SUFFIXES:
        if f"logo.{suffix}" in names:
            return assets / names[f"logo.{suffix}"]
    return None


class _Reader:
    def __init__(self, path: Path, values: Mapping[str, Any], spellings: Mapping[str, str]) -> None:
        self._path = path
        self._values = values
        self._spellings = spellings
        self.notes: list[str] = []

    def text(self, key: str, default: str) -> str:
        """A null is an empty text, a number its spelling, a list its lines."""
        if key not in self._values:
            return default
        value = self._values[key]
        if value is None:
            return ""
        if isinstance(value, list):
            return "\n".join(str(item) for item in value if item is not None)
        if isinstance(value, dict):
            raise self._wrong(key, "a text")
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key)
        items = value if isinstance(value, list) else [] if value is None else [value]
        return tuple(str(item) for item in items if item is not None and str(item))

    def switches(self, key: str) -> dict[str, bool]:
        value = self._values.get(key)
        return {name: bool(on) for name, on in value.items()} if isinstance(value, dict) else {}

    def block(self, key: str) -> dict[str, Any]:
        value = self._values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(key, "keys and values")
        return value

    def voice(self) -> dict[str, dict[str, Any]]:
        found = self.block("voice")
        if not all(isinstance(options, dict) for options in found.values()):
            raise self._wrong("voice", "for each binding its options, as in `espeak: {voice: en-us}`")
        return found

    def sampling(self) -> Sampling:
        found: dict[str, Any] = {}
        for key, name in _SAMPLING_KEYS.items():
            value = self._values.get(key)
            if value is None:
                continue
            number = _number(value)
            if number is None or (number < 0 and name not in _WHOLE_NUMBERS):
                self.notes.append(f"{self._where(key)}: wanted a number, found {value!r}; ignored")
            elif number >= 0 and not (number == 0 and name == "max_tokens"):
                found[name] = int(number) if name in _WHOLE_NUMBERS else number
        return Sampling(**found)

    def _wrong(self, key: str, wanted: str) -> BadRequest:
        return BadRequest(f"{self._path}, {self._where(key)}: wanted {wanted}")

    def _where(self, key: str) -> str:
        """Line and key, as the file spells it. The file is read again only here, where something is wrong in it."""
        text = self._path.read_text(encoding="utf-8-sig", errors="replace")
        for name in (self._spellings.get(key, key), key):
            for indent in ("", "[ \t]+"):
                found = re.search(rf"^{indent}[\"']?{re.escape(name)}[\"']?\s*:", text, re.MULTILINE)
                if found:
                    return f"line {text.count(chr(10), 0, found.start()) + 1}: {name}"
        return f"line 1: {key}"


def _number(value: object) -> float | None:
    """Also from a string with a decimal comma; never a truth value, an infinity or something huge."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) < 1e9 else None
