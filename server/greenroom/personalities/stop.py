"""Ending an answer where the model begins to speak for somebody else.

    StopCutter(("User:",)):  "Sure.\\nUs" -> "Sure.\\n"     "er: and" -> ""  (stopped)

Case does not count. Only what may still become a stop text is held back; the work is linear in the text, however many
stop texts there are (Aho and Corasick, 1975).
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TypeVar

from greenroom.values import Ended, ModelOutput, TextDelta

T = TypeVar("T", bound=ModelOutput)


class StopCutter:
    """One answer. Feed it the text as it comes; after ``stopped`` it passes nothing more."""

    def __init__(self, stops: Iterable[str]) -> None:
        self.stopped = False
        self.stop = ""
        """the stop text that was found, folded"""
        self._next: list[dict[str, int]] = [{}]
        self._depth: list[int] = [0]
        self._ends: list[str] = [""]
        self._fallback: list[int] = [0]
        for stop in {_fold(stop) for stop in stops if stop}:
            self._add(stop)
        self._link()
        self._state = 0
        self._held = ""

    def feed(self, text: str) -> str:
        """What may be shown of all that was fed and not shown before."""
        if self.stopped:
            return ""
        if len(self._next) == 1:
            return text
        state = self._state
        for at, char in enumerate(_fold(text)):
            while state and char not in self._next[state]:
                state = self._fallback[state]
            state = self._next[state].get(char, 0)
            if self._ends[state]:
                self.stopped = True
                self.stop = self._ends[state]
                shown = (self._held + text[: at + 1])[: -len(self.stop)]
                self._held = ""
                return shown
        self._state = state
        pending = self._held + text
        keep = len(pending) - self._depth[state]
        self._held = pending[keep:]
        return pending[:keep]

    def finish(self) -> str:
        """What was held back, now that nothing follows."""
        held, self._held, self._state = self._held, "", 0
        return held

    def _add(self, stop: str) -> None:
        state = 0
        for char in stop:
            if char not in self._next[state]:
                self._next[state][char] = len(self._next)
                self._next.append({})
                self._depth.append(self._depth[state] + 1)
                self._ends.append("")
                self._fallback.append(0)
            state = self._next[state][char]
        self._ends[state] = stop

    def _link(self) -> None:
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for char, child in self._next[state].items():
                queue.append(child)
                back = self._fallback[state]
                while back and char not in self._next[back]:
                    back = self._fallback[back]
                self._fallback[child] = self._next[back].get(char, 0)
                self._ends[child] = self._ends[child] or self._ends[self._fallback[child]]


def _fold(text: str) -> str:
    """Folded one to one, so that places in the folded text are places in the text."""
    folded = text.casefold()
    if len(folded) == len(text) and text.isascii():
        return folded
    return "".join(low if len(low := char.casefold()) == 1 else char for char in text)


async def cut(deltas: AsyncIterator[T], stops: Iterable[str]) -> AsyncIterator[T | TextDelta]:
    """A model's stream up to the first stop text; thoughts and tool calls pass as they are. Its ``Ended`` stays last,
    and is missing where the stream was cut.

    The stream is closed as soon as it was cut, and with it the work of the backend. Consume under ``aclosing``.
    """
    cutter = StopCutter(stops)
    async with _closing(deltas) as source:
        async for delta in source:
            if isinstance(delta, Ended) and (rest := cutter.finish()):
                yield TextDelta(rest)
            if not isinstance(delta, TextDelta) or delta.thought:
                yield delta
                continue
            shown = cutter.feed(delta.text)
            if shown:
                yield TextDelta(shown)
            if cutter.stopped:
                return
    rest = cutter.finish()
    if rest:
        yield TextDelta(rest)


def _closing(deltas: AsyncIterator[T]) -> "aclosing[AsyncGenerator[T, None]]":
    """A backend may return any async iterator; only generators have something to close."""
    if isinstance(deltas, AsyncGenerator):
        return aclosing(deltas)

    async def generator() -> AsyncGenerator[T, None]:
        async for item in deltas:
            yield item

    return aclosing(generator())
