"""What was said by whom, read back from a prompt: chat messages, or a raw text with speakers at the line starts."""

import re
from dataclasses import dataclass

from greenroom.values import Prompt

MAX_REPLAYED_TURNS = 40
MAX_REPLAYED_CHARS = 40_000
RECENT_ANSWERS = 6
_SCRIPT_SPEAKER = re.compile(r"\s*\[([^\]\n]{1,80})\]\s*:\s*")
_NOT_SPEECH = ("CONTEXT#", "MCP#")
_RAW_SPEAKER = re.compile(r"\s*(?P<speaker>[!@>#<|\s]{0,12}[^\W\d][^:\n]{0,39}:)\s*")
_TEMPLATE_TAG = re.compile(r"\s*(?:<\|?[^<>\n]{1,40}\|?>|\[/?[A-Z_]{1,20}\])\s*")
_RAW_TAIL_CHARS = 8_000


@dataclass(frozen=True, slots=True)
class Transcript:
    said: tuple[str, ...]
    """the user's turns, the one to answer last; empty if nobody has spoken"""
    recent: tuple[str, ...] = ()
    """the character's latest answers"""


def read_transcript(prompt: Prompt) -> Transcript:
    return _from_raw(prompt.raw) if prompt.raw is not None else _from_messages(prompt)


def _from_messages(prompt: Prompt) -> Transcript:
    said: list[str] = []
    recent: list[str] = []
    chars = 0
    for message in reversed(prompt.messages):
        if message.role == "assistant":
            if len(recent) < RECENT_ANSWERS:
                recent.append(message.content)
        elif message.role == "user":
            text = _spoken(message.content, prompt.persona.user_name)
            if text is None:
                continue
            chars += len(text)
            if said and (chars > MAX_REPLAYED_CHARS or len(said) == MAX_REPLAYED_TURNS):
                break
            said.append(text)
    return Transcript(tuple(reversed(said)), tuple(recent))


def _spoken(content: str, user_name: str) -> str | None:
    """The words of a script line without its speaker; ``None`` for lines that nobody said."""
    speaker = _SCRIPT_SPEAKER.match(content)
    if speaker is not None:
        return None if speaker[1].startswith(_NOT_SPEECH) else content[speaker.end() :]
    if user_name and content.startswith(f"{user_name}:"):
        return content[len(user_name) + 1 :]
    return content


def _from_raw(raw: str) -> Transcript:
    """The last line with words in it is the user's; earlier ones that begin with the same speaker are theirs too."""
    lines = [line for line in raw[-_RAW_TAIL_CHARS:].splitlines() if line.strip() and not _TEMPLATE_TAG.fullmatch(line)]
    spoken = [(_speaker(line), line) for line in lines]
    while spoken and spoken[-1][0] and not spoken[-1][1][len(spoken[-1][0]) :].strip():
        spoken.pop()
    if not spoken:
        return Transcript(())
    speaker, last = spoken[-1]
    if not speaker:
        return Transcript((last.strip(),))
    said = [line[len(who) :].strip() for who, line in spoken if who == speaker]
    others = [line[len(who) :].strip() for who, line in spoken if who != speaker]
    return Transcript(tuple(said[-MAX_REPLAYED_TURNS:]), tuple(reversed(others[-RECENT_ANSWERS:])))


def _speaker(line: str) -> str:
    """``"!@> Human: hello"`` -> ``"!@> Human:"``; empty if the line names nobody."""
    found = _RAW_SPEAKER.match(line)
    return line[: found.end("speaker")] if found else ""
