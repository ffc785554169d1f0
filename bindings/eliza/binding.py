"""The default t2t: keyword-and-reassembly conversation from a script, streamed like a model's answer."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Hashable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from greenroom.bindings.roles import Binding, Engine, Model, Options, Place, TextToText
from greenroom.errors import BindingFailed, NotFound
from greenroom.values import Persona, Prompt, Role, Sampling, TextDelta

from .conversation import Conversation
from .script import Script, read_persona, read_script
from .transcript import read_transcript

AUTO = "auto"
FALLBACK = "english"
MAX_CACHED_CHARACTERS = 64
MAX_CACHED_LANGUAGES = 64
QUICK_CHARS = 6_000
_DELTA = re.compile(r"\s*\S+|\s+$")


class ElizaOptions(Options):
    model: str = Field(
        default=AUTO,
        max_length=100,
        description="the script to speak from: auto (the character's language) or a script's name",
    )
    tokens_per_second: float = Field(
        default=60.0, ge=0, le=10_000, description="words a second, the first one at once; 0: without any delay"
    )


class ElizaEngine(Engine):
    """The scripts, each read when it is first needed, and the characters that spoke lately."""

    def __init__(self, folders: Sequence[Path]) -> None:
        found = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))]
        self._paths = {path.stem.casefold(): path for path in found}
        self._scripts: dict[str, Script] = {}
        self._characters: dict[str, Script] = {}
        self._names: dict[str, str] = {}
        """the script of each language that was asked for"""

    @property
    def names(self) -> list[str]:
        return sorted(self._paths)

    def script(self, name: str) -> Script:
        """:raises NotFound, BindingFailed: with the scripts there are, or with what is wrong in this one."""
        if name not in self._scripts:
            path = self._paths.get(name)
            if path is None:
                raise NotFound(f"eliza has no script {name!r}; its scripts: {', '.join([AUTO, *self.names])}")
            self._scripts[name] = read_script(path)
        return self._scripts[name]

    def script_for(self, language: str) -> Script:
        """By name or alias, ``de-AT`` as ``de``; the English one for a language without a script."""
        name = self._names.get(language)
        if name is None:
            name = self._name_for(language)
            if len(self._names) < MAX_CACHED_LANGUAGES:
                self._names[language] = name
        return self.script(name)

    def _name_for(self, language: str) -> str:
        wanted = language.strip().casefold().replace("_", "-")
        spellings = (wanted, wanted.split("-")[0])
        for name in self.names:
            if name in spellings:
                return name
        for name in self.names:
            if self.script(name).aliases.intersection(spellings):
                return name
        return FALLBACK

    def character(self, script: Script, persona: Persona) -> Script:
        """The script in a character's mouth. :raises BindingFailed: for a block that cannot be understood."""
        key = json.dumps([script.language, persona.greetings, dict(persona.extras)], sort_keys=True, default=str)
        found = self._characters.pop(key, None)
        if found is None:
            try:
                found = script.extended(read_persona(persona.extras, persona.name), persona.greetings)
            except ValueError as error:
                raise BindingFailed(f"the eliza block of {persona.name or 'this character'}: {error}") from error
        self._characters[key] = found
        while len(self._characters) > MAX_CACHED_CHARACTERS:
            self._characters.pop(next(iter(self._characters)), None)
        return found

    def is_quick(self, prompt: Prompt, model: str) -> bool:
        """Whether ``answer`` takes about a millisecond: no script to be read, no long history to be replayed."""
        name = model if model != AUTO else self._names.get(prompt.persona.language)
        size = sum(len(message.content) for message in prompt.messages) + len(prompt.raw or "")
        return name in self._scripts and size <= QUICK_CHARS

    def answer(self, prompt: Prompt, model: str) -> str:
        persona = prompt.persona
        base = self.script_for(persona.language) if model == AUTO else self.script(model)
        script = self.character(base, persona)
        seed = prompt.sampling.seed or 0
        conversation = Conversation(script, persona.name or "Eliza", persona.user_name, offset=max(0, seed))
        transcript = read_transcript(prompt)
        if not transcript.said:
            return conversation.greeting(transcript.recent)
        *earlier, last = transcript.said
        for text in earlier:
            conversation.answer(text)
        return conversation.answer(last, transcript.recent)


class ElizaText(TextToText[ElizaEngine]):
    Options = ElizaOptions
    options: ElizaOptions

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return "scripts"

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> ElizaEngine:
        engine = ElizaEngine((place.folder / "scripts", place.models))
        await asyncio.to_thread(engine.script, FALLBACK if options.model == AUTO else options.model)
        return engine

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        names = ElizaEngine((place.folder / "scripts", place.models)).names
        return [Model(AUTO, "the script in the character's language"), *(Model(n, f"the {n} script") for n in names)]

    async def generate(self, prompt: Prompt) -> AsyncIterator[TextDelta]:
        if self.engine.is_quick(prompt, self.options.model):
            answer = self.engine.answer(prompt, self.options.model)
        else:
            answer = await asyncio.to_thread(self.engine.answer, prompt, self.options.model)
        deltas = _limited(answer, prompt.sampling)
        loop = asyncio.get_running_loop()
        start = loop.time()
        speed = self.options.tokens_per_second
        for index, delta in enumerate(deltas):
            await asyncio.sleep(start + index / speed - loop.time() if speed and index else 0)
            yield TextDelta(delta)


def _limited(answer: str, sampling: Sampling) -> list[str]:
    """Words with the space before them, up to the first stop text, at most ``max_tokens`` of them."""
    ends = [at for stop in sampling.stop if stop and (at := answer.find(stop)) >= 0]
    deltas = _DELTA.findall(answer[: min(ends)] if ends else answer)
    limit = sampling.max_tokens
    return deltas[:limit] if limit is not None and limit > 0 else deltas


BINDING = Binding(operations={Role.T2T: ElizaText})
