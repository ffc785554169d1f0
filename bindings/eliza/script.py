"""What the engine speaks from: a language's script in YAML, overlaid by what a personality brings along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from greenroom.errors import BadRequest, BindingFailed
from greenroom.yaml_text import load_yaml

from .matching import Pattern, Substitutions, fold, words

GOTO = "goto "
NEXT = "next"
SECTIONS = ("greetings", "farewells", "silence", "repeats", "default")
PERSONA_RANK = 40
"""Above every rank of the shipped scripts: what a character knows about itself comes first."""


class _Sheet(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class RuleSheet(_Sheet):
    match: str = "*"
    say: list[str] = Field(min_length=1, description="answers, used in turn")
    keep: list[str] = Field(default=[], description="lines to come back to when nothing else fits")


class KeywordSheet(_Sheet):
    key: list[str] = Field(min_length=1, description="words or phrases; @group stands for its synonyms")
    rank: int | None = None
    rules: list[RuleSheet] = []

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            value = dict(value)
            if isinstance(value.get("key"), str):
                value["key"] = [value["key"]]
            if "say" in value:
                value["rules"] = [*value.get("rules", ()), {"say": value.pop("say"), "keep": value.pop("keep", [])}]
        return value


class MannerSheet(_Sheet):
    openers: list[str] = Field(default=[], description="put before an answer")
    closers: list[str] = Field(default=[], description="put behind an answer")
    every: int = Field(default=2, ge=1, description="1: each answer, 2: every other one, ...")
    replace: dict[str, str] = Field(default={}, description="words of the shipped script that the character says so")


class PersonaSheet(_Sheet):
    """The ``eliza`` block of a personality."""

    friend: str = Field(default="", description="what a user without a name is called")
    keywords: list[KeywordSheet] = []
    greetings: list[str] = []
    farewells: list[str] = []
    silence: list[str] = []
    repeats: list[str] = []
    default: list[str] = []
    manner: MannerSheet = MannerSheet()

    @field_validator("keywords", mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        """``{tea: [answer, ...]}`` is the short form of a list of keywords."""
        if isinstance(value, Mapping):
            return [{"key": [str(key)], "say": [say] if isinstance(say, str) else say} for key, say in value.items()]
        return value


class ScriptSheet(_Sheet):
    language: str
    aliases: list[str] = []
    friend: str = Field(description="what a user without a name is called")
    before: dict[str, str] = Field(default={}, description="replaced in what the user said, before anything else")
    swap: dict[str, str] = Field(default={}, description="persons exchanged in what is quoted back")
    synonyms: dict[str, list[str]] = {}
    quit: list[str] = []
    greetings: list[str] = Field(min_length=1)
    farewells: list[str] = Field(min_length=1)
    silence: list[str] = Field(min_length=1)
    repeats: list[str] = Field(min_length=1)
    default: list[str] = Field(min_length=1)
    keywords: list[KeywordSheet] = []


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    pattern: Pattern
    say: tuple[str, ...]
    keep: tuple[str, ...] = ()
    own: bool = False
    """written for this character: no manner is laid over it"""


@dataclass(frozen=True, slots=True)
class Keyword:
    phrase: tuple[str, ...]
    rank: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Script:
    language: str
    aliases: frozenset[str]
    friend: str
    before: Substitutions
    swap: Substitutions
    synonyms: Mapping[str, list[str]]
    quit: frozenset[tuple[str, ...]]
    by_first: Mapping[str, tuple[Keyword, ...]]
    """keywords by the first word of their phrase"""
    by_name: Mapping[str, Keyword]
    """what ``goto`` leads to; the sections are here too"""
    manner: MannerSheet = field(default_factory=MannerSheet)
    spoken: Substitutions = field(default_factory=lambda: Substitutions({}))

    def extended(self, sheet: PersonaSheet, greetings: Iterable[str] = ()) -> Script:
        """This script in a character's mouth; ``greetings`` come before those of the sheet.

        :raises ValueError: for a pattern or a ``goto`` that leads nowhere.
        """
        by_first = dict(self.by_first)
        by_name = dict(self.by_name)
        for keyword in _keywords(sheet.keywords, self.synonyms, prefix="own", rank=PERSONA_RANK, own=True):
            first = keyword.phrase[0]
            by_first[first] = (keyword, *by_first.get(first, ()))
            by_name[" ".join(keyword.phrase)] = keyword
        for section in SECTIONS:
            lines = list(getattr(sheet, section))
            if section == "greetings":
                lines = [*greetings, *lines]
            if lines:
                by_name[section] = _section(section, lines, own=True)
        script = replace(
            self,
            friend=sheet.friend or self.friend,
            by_first=by_first,
            by_name=by_name,
            manner=sheet.manner,
            spoken=Substitutions(sheet.manner.replace),
        )
        _check_gotos(script)
        return script


def _section(name: str, lines: Iterable[str], *, own: bool = False) -> Keyword:
    return Keyword((name,), 0, (Rule(f"#{name}", Pattern("*", {}), tuple(lines), own=own),))


def _keywords(
    sheets: Iterable[KeywordSheet], synonyms: Mapping[str, list[str]], *, prefix: str, rank: int, own: bool
) -> list[Keyword]:
    found: list[Keyword] = []
    for number, sheet in enumerate(sheets):
        if not sheet.rules:
            raise ValueError(f"keyword {sheet.key[0]!r} has no answers: give it `say` or `rules`")
        rules = tuple(
            Rule(f"{prefix}{number}.{index}", _pattern(rule.match, synonyms), tuple(rule.say), tuple(rule.keep), own)
            for index, rule in enumerate(sheet.rules)
        )
        for phrase in _phrases(sheet.key, synonyms):
            found.append(Keyword(phrase, rank if sheet.rank is None else sheet.rank, rules))
    return found


def _pattern(source: str, synonyms: Mapping[str, list[str]]) -> Pattern:
    try:
        return Pattern(source, synonyms)
    except KeyError as error:
        raise ValueError(f"pattern {source!r}: there are no synonyms {error}") from None


def _phrases(keys: Iterable[str], synonyms: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    phrases: list[tuple[str, ...]] = []
    for key in keys:
        if key.startswith("@") and key[1:] not in synonyms:
            raise ValueError(f"keyword {key!r}: there are no such synonyms")
        for text in synonyms[key[1:]] if key.startswith("@") else [key]:
            phrase = tuple(fold(word) for word in words(text))
            if not phrase:
                raise ValueError(f"keyword {key!r} holds no word")
            phrases.append(phrase)
    return phrases


def _check_gotos(script: Script) -> None:
    for keyword in script.by_name.values():
        for rule in keyword.rules:
            for answer in (*rule.say, *rule.keep):
                if answer.startswith(GOTO) and answer[len(GOTO) :].strip() not in script.by_name:
                    raise ValueError(f"{answer!r} leads nowhere")


def build_script(sheet: ScriptSheet) -> Script:
    """:raises ValueError: for a pattern or a ``goto`` that leads nowhere."""
    by_first: dict[str, tuple[Keyword, ...]] = {}
    by_name: dict[str, Keyword] = {}
    for keyword in _keywords(sheet.keywords, sheet.synonyms, prefix="", rank=1, own=False):
        by_first[keyword.phrase[0]] = (*by_first.get(keyword.phrase[0], ()), keyword)
        by_name.setdefault(" ".join(keyword.phrase), keyword)
    for section in SECTIONS:
        by_name[section] = _section(section, getattr(sheet, section))
    script = Script(
        language=sheet.language,
        aliases=frozenset(alias.casefold() for alias in (sheet.language, *sheet.aliases)),
        friend=sheet.friend,
        before=Substitutions(sheet.before),
        swap=Substitutions(sheet.swap),
        synonyms=sheet.synonyms,
        quit=frozenset(tuple(fold(word) for word in words(phrase)) for phrase in sheet.quit),
        by_first=by_first,
        by_name=by_name,
    )
    _check_gotos(script)
    return script


def read_script(path: Path) -> Script:
    """:raises BindingFailed: naming the file and what is wrong in it."""
    try:
        raw = load_yaml(path.read_text(encoding="utf-8"))
        return build_script(ScriptSheet.model_validate(raw))
    except OSError as error:
        raise BindingFailed(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise BindingFailed(f"{path}: {first_complaint(error)}") from error
    except BadRequest as error:
        raise BindingFailed(f"{path}, {error.message}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise BindingFailed(f"{path}: {error}") from error


def read_persona(raw: Mapping[str, Any], name: str) -> PersonaSheet:
    """:raises BindingFailed: naming the character, the key and what was wanted."""
    try:
        return PersonaSheet.model_validate(dict(raw))
    except ValidationError as error:
        raise BindingFailed(f"the eliza block of {name or 'this character'}: {first_complaint(error)}") from error


def first_complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
