"""Removes the speaker labels that models write before a line (``[Mira]: ``), while the text streams.

"[Mira]: Hel", "lo." -> "Hel", "lo."
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from greenroom.bindings.roles import Binding, Effect, Engine, TextFilter, Unit
from greenroom.values import Role, TextChunk

LONGEST_LABEL = 200
"""characters that are held back at most: a bracket that stays open longer opens no label"""


class LabelRemover:
    r"""Deletes ``\[[^\[\]]+\]:\s*`` until none is left, as labels are completed, whatever the cut.

    Held back is a stack of brackets that may yet belong to a label: ``[name`` is open, ``[name]`` waits for its colon.
    One that has vanished lets the one below go on (``[a][b]: : `` and ``[a [b]: c]: `` vanish whole); one that cannot
    vanish any more lets none below vanish.
    """

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._length = 0
        self._after_label = False

    def feed(self, text: str) -> str:
        if not self._stack and not self._after_label and "[" not in text:
            return text
        return "".join(passed for character in text if (passed := self._step(character)))

    def finish(self) -> str:
        self._after_label = False
        return self._give_up()

    def _step(self, character: str) -> str:
        if self._after_label and character.isspace():
            return ""
        self._after_label = False
        if character == "[":
            self._stack.append("[")
            self._length += 1
            return self._shortened()
        if not self._stack:
            return character
        top = self._stack[-1]
        if top.endswith("]"):
            if character == ":":
                self._length -= len(self._stack.pop())
                self._after_label = True
                return ""
            return self._give_up() + character
        if character == "]" and top == "[":
            return self._give_up() + character
        self._stack[-1] = top + character
        self._length += 1
        return self._shortened()

    def _shortened(self) -> str:
        passed = ""
        while self._length > LONGEST_LABEL:
            self._length -= len(self._stack[0])
            passed += self._stack.pop(0)
        return passed

    def _give_up(self) -> str:
        passed = "".join(self._stack)
        self._stack.clear()
        self._length = 0
        return passed


class CleanFilter(TextFilter[Engine]):
    unit = Unit.DELTA
    effect = Effect.TRANSFORM

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
        """Chunks of which nothing is left are dropped; what was held back at the end has the last chunk's extras."""
        remover = LabelRemover()
        last = TextChunk("")
        async for last in text:
            if passed := remover.feed(last.text):
                yield last if passed == last.text else replace(last, text=passed)
        if rest := remover.finish():
            yield replace(last, text=rest)


BINDING = Binding({Role.FILTER_TEXT: CleanFilter})
