"""Tokens, one after another -> text, as soon as it is certain.

A character may be several tokens, and a stop string may come in pieces: what could still become either is held back.
"""

from collections.abc import Callable, Sequence

_UNFINISHED = "\ufffd"
_LONGEST_CHARACTER = 8
"""tokens after which a character that is still broken stays so"""


class AnswerText:
    """:param decode: tokens -> text, special ones left out; :param stops: what ends the answer, itself left out"""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = tuple(filter(None, stops))
        self._tokens: list[int] = []
        self._begin = 0
        """first token that is decoded again, so that spaces between words come out right"""
        self._read = 0
        self._held = ""
        self.has_stopped = False

    def feed(self, token: int) -> str:
        """What of the text is certain now."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._begin : self._read])
        now = self._decode(self._tokens[self._begin :])
        if now.endswith(_UNFINISHED) and len(self._tokens) - self._read < _LONGEST_CHARACTER:
            return ""
        if len(now) <= len(before):
            return ""
        self._begin, self._read = self._read, len(self._tokens)
        return self._certain(self._held + now[len(before) :])

    def finish(self) -> str:
        """What was held back."""
        if self.has_stopped:
            return ""
        before = self._decode(self._tokens[self._begin : self._read])
        now = self._decode(self._tokens[self._begin :])
        self._begin = self._read = len(self._tokens)
        text = self._certain(self._held + now[len(before) :])
        rest, self._held = self._held, ""
        return text if self.has_stopped else text + rest

    def _certain(self, text: str) -> str:
        if self.has_stopped:
            return ""
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.has_stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of the text with which the stop string begins."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
