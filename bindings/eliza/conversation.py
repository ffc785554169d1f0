"""The engine proper: one conversation replayed from its messages, so that nothing is kept between two calls.

user's text -> clauses -> keywords by rank -> decomposition -> reassembly -> the character's manner -> answer
"""

import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime

from .matching import MAX_FRAGMENT_WORDS, Span, bounded, clauses, fold, words
from .script import GOTO, NEXT, Keyword, Rule, Script

MEMORY_LINES = 8
MAX_GOTOS = 8
_FRAGMENT = re.compile(r"\((\d)\)")
_SPACES = re.compile(r" {2,}")
_SPACE_BEFORE_MARK = re.compile(r" +([.,;:!?…])")
_NAMELESS = frozenset({"", "user", "human", "you"})


class Conversation:
    def __init__(self, script: Script, name: str, user_name: str, *, offset: int = 0) -> None:
        """``offset``: where each rule's answers begin to be used in turn (0 = with the first)."""
        self._script = script
        self._name = name
        self._user = script.friend if user_name.casefold() in _NAMELESS else user_name
        self._offset = offset
        self._used: dict[str, int] = {}
        self._memory: deque[str] = deque(maxlen=MEMORY_LINES)
        self._last_said: list[list[str]] = []
        self._turns = 0

    def answer(self, text: str, recent: Sequence[str] = ()) -> str:
        """``recent``: what the character said lately; not said again while another answer is left."""
        said = [self._script.before.apply(clause) for clause in clauses(bounded(text))]
        self._turns += 1
        reply = self._reply(said, recent)
        self._last_said = said
        return reply

    def greeting(self, recent: Sequence[str] = ()) -> str:
        """What the character says where nobody has spoken yet."""
        return self._section("greetings", recent)

    def _reply(self, said: list[list[str]], recent: Sequence[str]) -> str:
        if not said:
            return self._section("silence", recent)
        if self._is_farewell(said):
            return self._section("farewells", recent)
        if said == self._last_said and sum(map(len, said)) > 1:
            return self._section("repeats", recent)
        for clause, keyword in self._ranked(said):
            reply = self._from_keyword(keyword, clause, recent)
            if reply is not None:
                return reply
        if self._memory:
            return self._memory.popleft()
        return self._section("default", recent)

    def _is_farewell(self, said: list[list[str]]) -> bool:
        keys = [tuple(map(fold, clause)) for clause in said]
        return all(clause in self._script.quit for clause in keys) or keys[-1] in self._script.quit

    def _ranked(self, said: list[list[str]]) -> list[tuple[list[str], Keyword]]:
        """Every keyword that was said, the highest rank first, then in the order in which they were said."""
        found: list[tuple[int, list[str], Keyword]] = []
        for clause in said:
            keys = [fold(word) for word in clause]
            for at, key in enumerate(keys):
                for keyword in self._script.by_first.get(key, ()):
                    if tuple(keys[at : at + len(keyword.phrase)]) == keyword.phrase:
                        found.append((-keyword.rank, clause, keyword))
        found.sort(key=lambda item: item[0])
        return [(clause, keyword) for _, clause, keyword in found]

    def _section(self, name: str, recent: Sequence[str]) -> str:
        return self._from_keyword(self._script.by_name[name], [], recent) or ""

    def _from_keyword(
        self, keyword: Keyword, clause: list[str], recent: Sequence[str], gotos: int = MAX_GOTOS
    ) -> str | None:
        """``None``: no rule fits, or the answer is to go on with the next keyword."""
        keys = [fold(word) for word in clause]
        for rule in keyword.rules:
            spans = rule.pattern.match(keys)
            lines = [] if spans is None else _sayable(rule.say, spans)
            if spans is None or not lines:
                continue
            kept = _sayable(rule.keep, spans)
            if kept and gotos == MAX_GOTOS:
                self._memory.append(self._dressed(rule, self._assembled(self._turn(rule, kept), clause, spans)))
            return self._from_rule(rule, lines, clause, spans, recent, gotos)
        return None

    def _from_rule(
        self, rule: Rule, lines: list[str], clause: list[str], spans: list[Span], recent: Sequence[str], gotos: int
    ) -> str | None:
        start = self._used.get(rule.id, self._offset)
        self._used[rule.id] = start + 1
        stale: str | None = None
        for step in range(len(lines)):
            line = lines[(start + step) % len(lines)]
            if line == NEXT:
                return None
            if line.startswith(GOTO):
                target = self._script.by_name[line[len(GOTO) :].strip()]
                return self._from_keyword(target, clause, recent, gotos - 1) if gotos else None
            reply = self._assembled(line, clause, spans)
            if not any(reply in earlier for earlier in recent):
                return self._dressed(rule, reply)
            stale = stale or reply
        return self._dressed(rule, stale or "")

    def _turn(self, rule: Rule, lines: list[str]) -> str:
        count = self._used.get(f"{rule.id} keep", self._offset)
        self._used[f"{rule.id} keep"] = count + 1
        return lines[count % len(lines)]

    def _assembled(self, line: str, clause: list[str], spans: list[Span]) -> str:
        def fragment(number: re.Match[str]) -> str:
            index = int(number[1]) - 1
            if not 0 <= index < len(spans):
                return ""
            start, end = spans[index]
            return " ".join(self._script.swap.apply(clause[start : min(end, start + MAX_FRAGMENT_WORDS)]))

        # the name and the time are put in first: what the user said is never read as a placeholder
        line = line.replace("{name}", self._name).replace("{user}", self._user)
        line = line.replace("{time}", datetime.now().astimezone().strftime("%H:%M"))
        return _tidy(_FRAGMENT.sub(fragment, line))

    def _dressed(self, rule: Rule, reply: str) -> str:
        if rule.own or not reply:
            return reply
        manner = self._script.manner
        if manner.replace:
            reply = _respelt(reply, self._script)
        beat, off_beat = divmod(self._turns, manner.every)
        if off_beat == 0:
            if manner.openers:
                reply = f"{manner.openers[beat % len(manner.openers)]} {reply}"
            if manner.closers:
                reply = f"{reply} {manner.closers[beat % len(manner.closers)]}"
        return reply


def _sayable(lines: Sequence[str], spans: list[Span]) -> list[str]:
    """The lines that do not quote what nobody said: of "than I am" nothing is left behind "I am"."""
    empty = [f"({number})" for number, (start, end) in enumerate(spans, 1) if start == end]
    return [line for line in lines if not any(fragment in line for fragment in empty)]


def _tidy(reply: str) -> str:
    reply = _SPACE_BEFORE_MARK.sub(r"\1", _SPACES.sub(" ", reply)).strip()
    return reply[:1].upper() + reply[1:]


def _respelt(reply: str, script: Script) -> str:
    """The character's own words for common ones, one word at a time, punctuation and capitals kept."""
    pieces: list[str] = []
    for piece in re.split(r"(\s+)", reply):
        found = words(piece)
        if len(found) == 1:
            changed = " ".join(script.spoken.apply(found))
            if changed != found[0]:
                changed = changed[:1].upper() + changed[1:] if found[0][:1].isupper() else changed
                piece = piece.replace(found[0], changed, 1)
        pieces.append(piece)
    return "".join(pieces)
