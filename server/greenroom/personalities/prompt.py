"""Building what a model is asked, from a character and the lines that were said. Pure functions.

    chat_prompt: system text and messages, for a session's turn
    raw_prompt:  one text in the character's own template, for ``generate_text`` in personality mode

What stays the same from turn to turn comes first, so that backends find it in their prefix caches.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Protocol

from greenroom.personalities.folder import Personality
from greenroom.personalities.placeholders import fill
from greenroom.values import Message, Persona, Prompt, Sampling, ToolSpec

SEPARATOR = "!@>"
DEFAULT_ANSWER_TOKENS = 1024
MIN_ANSWER_TOKENS = 64
"""room for an answer that is left even where the last line of the user alone fills the context"""
_BARE_SPEAKER = re.compile(r"[\w .'’\-]*\w\s*")

TokenCounter = Callable[[str], int]


class Line(Protocol):
    """One line of a conversation."""

    @property
    def by_character(self) -> bool: ...
    @property
    def name(self) -> str:
        """who said it; may be empty"""
        ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SpokenLine:
    by_character: bool
    text: str
    name: str = ""


def estimated_tokens(text: str) -> int:
    """A cautious guess where the model's own tokens are not known: one for three bytes of UTF-8."""
    return -(-len(text.encode("utf-8", "replace")) // 3)


def merged(*layers: Sampling) -> Sampling:
    """The first layer that says something wins, value by value: client, personality, configuration. Stops add up."""
    values = {
        field.name: next((value for layer in layers if (value := getattr(layer, field.name)) is not None), None)
        for field in fields(Sampling)
        if field.name != "stop"
    }
    stops = dict.fromkeys(stop for layer in layers for stop in layer.stop if stop)
    return Sampling(**values, stop=tuple(stops))


def stops(personality: Personality, separator: str = SEPARATOR) -> tuple[str, ...]:
    """What ends an answer, for :class:`greenroom.personalities.stop.StopCutter`: the separator and the anti-prompts."""
    return tuple(dict.fromkeys((separator, *personality.anti_prompts) if separator else personality.anti_prompts))


def persona(personality: Personality, user_name: str = "", now: datetime | None = None) -> Persona:
    """What a scripted backend may use of the character."""
    user = user_name or personality.user_name
    greeting = fill(personality.welcome_message, user=user, char=personality.name, now=now).strip()
    return Persona(
        name=personality.name,
        user_name=user,
        language=personality.language,
        greetings=(greeting,) if greeting else (),
        extras=personality.eliza,
    )


def conditioning(personality: Personality, user_name: str = "", now: datetime | None = None) -> str:
    """The character's instructions with their placeholders filled, ending in one line end unless empty."""
    user = user_name or personality.user_name
    text = fill(personality.conditioning, user=user, char=personality.name, now=now).rstrip()
    return f"{text}\n" if text else ""


def chat_prompt(
    personality: Personality,
    lines: Iterable[Line],
    *,
    user_name: str = "",
    sampling: Sampling = Sampling(),  # noqa: B008 -- frozen
    defaults: Sampling = Sampling(),  # noqa: B008 -- frozen
    instructions: str = "",
    scene: str = "",
    changing: Sequence[str] = (),
    tools: tuple[ToolSpec, ...] = (),
    ctx_size: int = 0,
    count_tokens: TokenCounter = estimated_tokens,
    now: datetime | None = None,
) -> Prompt:
    """A session's turn as system text and messages.

    The system text is ``instructions``, the character, ``scene``, and last what is ``changing``. A line of the
    character becomes an ``assistant`` message, any other a ``user`` message; of speakers other than ``user_name`` with
    their name in front: ``[Ana]: hello``. ``ctx_size`` in tokens (0: no limit): the oldest lines are left out until
    the rest and an answer fit. ``sampling`` is the client's, ``defaults`` the configuration's.
    """
    user = user_name or personality.user_name
    parts = [instructions, conditioning(personality, user_name, now), scene, *changing]
    system = "\n\n".join(part.strip() for part in parts if part.strip())
    messages = [_message(line, user) for line in lines]
    wanted = merged(sampling, personality.sampling, defaults)
    limits = wanted
    if ctx_size > 0:
        sizes = [count_tokens(message.content) for message in messages]
        budget = _Budget(ctx_size, count_tokens(system) + (sizes[-1] if sizes else 0), wanted.max_tokens)
        keep = budget.fit(sizes[:-1])
        messages = messages[len(messages) - keep - 1 :] if messages else []
        limits = replace(wanted, max_tokens=budget.answer)
    return Prompt(
        system=system,
        messages=tuple(messages),
        tools=tools,
        sampling=replace(limits, stop=tuple(dict.fromkeys((*limits.stop, *stops(personality))))),
        persona=persona(personality, user_name, now),
    )


def _message(line: Line, user: str) -> Message:
    if line.by_character:
        return Message("assistant", line.text)
    foreign = line.name and line.name != user
    return Message("user", f"[{line.name}]: {line.text}" if foreign else line.text)


def raw_prompt(
    personality: Personality,
    lines: Sequence[Line],
    *,
    user_name: str = "",
    sampling: Sampling = Sampling(),  # noqa: B008 -- frozen
    defaults: Sampling = Sampling(),  # noqa: B008 -- frozen
    ctx_size: int = 0,
    count_tokens: TokenCounter = estimated_tokens,
    separator: str = SEPARATOR,
    use_user_name: bool = False,
    now: datetime | None = None,
) -> Prompt:
    """lollms' personality mode: the conditioning once, the turns between ``link_text``, then the character's prefix.

    Where the last line is the character's own, the model continues it. ``ctx_size`` in tokens (0: no limit): the oldest
    lines are left out and ``max_tokens`` is lowered, so that the conditioning and the last line always fit; where even
    these two are longer than the context, the end of the line and the beginning of the conditioning are kept.
    ``use_user_name``: the user's turns begin with separator and name.
    """
    user = user_name or personality.user_name
    prefix = f"{separator}{user}: " if use_user_name and user else _speaker(personality.user_message_prefix, separator)
    own_prefix = _speaker(personality.ai_message_prefix, separator)
    link = personality.link_text or "\n"
    head = conditioning(personality, user_name, now)
    turns = [f"{own_prefix if line.by_character else prefix}{line.text.strip()}" for line in lines]
    if turns and lines[-1].by_character:
        last = turns.pop()
    else:
        last = f"{turns.pop()}{link}{own_prefix}" if turns else own_prefix
    wanted = merged(sampling, personality.sampling, defaults)
    if ctx_size > 0:
        room = ctx_size - min(MIN_ANSWER_TOKENS, max(1, ctx_size // 4))
        last = _cropped(last, max(room - count_tokens(head), room // 2), count_tokens, keep_end=True)
        head = _cropped(head, room - count_tokens(last), count_tokens, keep_end=False)
        budget = _Budget(ctx_size, count_tokens(head) + count_tokens(last), wanted.max_tokens)
        keep = budget.fit([count_tokens(turn + link) for turn in turns])
        turns = turns[len(turns) - keep :]
        wanted = replace(wanted, max_tokens=budget.answer)
    return Prompt(
        raw=head + link.join([*turns, last]),
        sampling=replace(wanted, stop=tuple(dict.fromkeys((*wanted.stop, *stops(personality, separator))))),
        persona=persona(personality, user_name, now),
    )


def _speaker(prefix: str, separator: str) -> str:
    """Configurations of 2025 say ``User`` where older ones say ``!@> User: ``."""
    return f"{separator}{prefix.strip()}: " if _BARE_SPEAKER.fullmatch(prefix) else prefix


class _Budget:
    """Tokens of a context: what is fixed, as many earlier lines as fit beside a quarter for the answer, the answer."""

    def __init__(self, ctx_size: int, fixed: int, wanted: int | None) -> None:
        self._left = max(0, ctx_size - fixed)
        self._wanted = DEFAULT_ANSWER_TOKENS if wanted is None or wanted <= 0 else wanted
        self._reserve = min(self._wanted, ctx_size // 4, self._left)

    def fit(self, sizes: Sequence[int]) -> int:
        """How many of the last lines fit; what they need is taken off."""
        kept = 0
        for size in reversed(sizes):
            if size > self._left - self._reserve:
                break
            self._left -= size
            kept += 1
        return kept

    @property
    def answer(self) -> int:
        return max(1, min(self._wanted, self._left))


def _cropped(text: str, tokens: int, count_tokens: TokenCounter, *, keep_end: bool) -> str:
    """The longest end or beginning of the text that has so many tokens, found by halving."""
    if count_tokens(text) <= tokens:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(text[-middle:] if keep_end else text[:middle]) <= tokens:
            low = middle
        else:
            high = middle - 1
    return (text[-low:] if keep_end else text[:low]) if low else ""
