"""What a model is asked on behalf of a session: its context, character and settings put into prompts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from greenroom.config.schema import Config
from greenroom.errors import NotFound
from greenroom.personalities.folder import Personality
from greenroom.personalities.prompt import SpokenLine, chat_prompt, merged, persona
from greenroom.protocol.commands import GenerateText
from greenroom.session.session import Session
from greenroom.store.records import LineRecord
from greenroom.values import Prompt, Sampling

_BYTES_PER_TOKEN = 3
"""a cautious guess: the tokens of a model that is not loaded here are not known"""
_MAX_PROMPT_FILE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of ``generate_text`` and its answer."""

    prompt: str
    answer: str


def configured(config: Config) -> Sampling:
    generation = config.generation
    return Sampling(
        max_tokens=generation.n_predict,
        temperature=generation.temperature,
        top_p=generation.top_p,
        top_k=generation.top_k,
        repeat_penalty=generation.repeat_penalty,
        repeat_last_n=generation.repeat_last_n,
        seed=generation.seed if generation.seed is not None and generation.seed >= 0 else None,
    )


def _first(config: Config) -> Sampling:
    """The configuration's values where they are to win over the character's."""
    return configured(config) if config.generation.override_personality else Sampling()


def chat_prompt_of(session: Session, personality: Personality) -> Prompt:
    """A turn's prompt: files are read every time, so that an edited one counts at once."""
    config = session.house.config.value
    settings = session.context.settings
    prompts = session.house.prompts
    character = session.character_name()
    own_names = (character, session.context.translated(character))
    if settings.character_prompt_filename:
        text = prompt_file(prompts, "character", settings.character_prompt_filename)
        personality = replace(personality, conditioning=text)
    lines = [
        SpokenLine(True, line.content, line.user)
        if line.kind == "chat" and line.user in own_names
        else SpokenLine(False, line.content, line.user)
        if line.kind == "chat"
        else SpokenLine(False, session.context.script_line(line))
        for line in session.context.lines
    ]
    customs = [f"{item.name}: {item.description}" for item in settings.customs.values()]
    return chat_prompt(
        replace(personality, name=character),
        lines,
        user_name=config.user_name,
        sampling=_first(config),
        defaults=configured(config),
        instructions=_optional_file(prompts, "instruction", settings.instruction_prompt_filename),
        scene=_optional_file(prompts, "scene", settings.scene_prompt_filename),
        changing=["\n".join(customs)] if customs else (),
        ctx_size=config.generation.ctx_size,
    )


def history_of(session: Session, count: int) -> list[dict[str, Any]]:
    """The last ``count`` lines of the script in jaison's forms."""
    return [_message_of(line) for line in session.context.lines[-count:]] if count > 0 else []


def _message_of(line: LineRecord) -> dict[str, Any]:
    at = {"time": float(line.timestamp), "message": line.content}
    match line.kind:
        case "chat":
            return {"type": "chat", "user": line.user, **at}
        case "request":
            return {"type": "request", **at}
        case "custom":
            return {"type": "custom", "id": line.user, **at}
        case "tool":
            return {"type": "tool", "tool": line.user, **at}
    return {"type": "raw", "message": line.content}


def _optional_file(prompts: Path, kind: str, name: str) -> str:
    return prompt_file(prompts, kind, name) if name else ""


def prompt_file(prompts: Path, kind: str, name: str) -> str:
    """The text of ``prompts/<kind>s/<name>[.txt]``, looked up among the files that are there.

    :raises NotFound: naming those there are.
    """
    folder = prompts / f"{kind}s"
    files = {path.name: path for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
    path = files.get(name) or files.get(f"{name}.txt")
    if path is None:
        known = ", ".join(sorted(files)) or "none"
        raise NotFound(f"there is no {kind} prompt file {name[:80]!r}; there are: {known}")
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MAX_PROMPT_FILE_BYTES)


def discussion_prompt(
    command: GenerateText, personality: Personality, discussion: Iterable[Exchange], config: Config
) -> Prompt:
    """lollms' personality mode: the client's own discussion with this character; an empty prompt continues it."""
    lines: list[SpokenLine] = []
    for exchange in discussion:
        if exchange.prompt:
            lines.append(SpokenLine(False, exchange.prompt))
        if exchange.answer:
            lines.append(SpokenLine(True, exchange.answer))
    if command.prompt:
        lines.append(SpokenLine(False, command.prompt))
    ctx_size = config.generation.ctx_size
    if command.n_crop is not None and command.n_crop > 0:
        ctx_size = min(ctx_size, command.n_crop)
    return chat_prompt(
        personality,
        lines,
        user_name=config.user_name,
        sampling=merged(_asked(command), _first(config)),
        defaults=configured(config),
        ctx_size=ctx_size,
    )


def raw_prompt(command: GenerateText, personality: Personality | None, config: Config) -> Prompt:
    """lollms' raw mode: the text as it is, its end kept where it is longer than the context."""
    sampling = merged(_asked(command), configured(config))
    ctx_size = config.generation.ctx_size
    answer = min(sampling.max_tokens or config.generation.n_predict, max(1, ctx_size // 2))
    room = ctx_size - answer
    if command.n_crop is not None and command.n_crop > 0:
        room = min(room, command.n_crop)
    text = command.prompt.encode()[-room * _BYTES_PER_TOKEN :].decode("utf-8", "ignore")
    who = persona(personality, config.user_name) if personality else None
    prompt = Prompt(raw=text, sampling=replace(sampling, max_tokens=answer))
    return replace(prompt, persona=who) if who else prompt


def _asked(command: GenerateText) -> Sampling:
    given = command.parameters
    n_predicts = command.n_predicts
    return Sampling(
        max_tokens=n_predicts if n_predicts is not None and n_predicts > 0 else None,
        temperature=given.temperature,
        top_p=given.top_p,
        top_k=given.top_k if given.top_k is not None and given.top_k >= 0 else None,
        repeat_penalty=given.repeat_penalty,
        repeat_last_n=given.repeat_last_n,
        seed=given.seed if given.seed is not None and given.seed >= 0 else None,
    )
