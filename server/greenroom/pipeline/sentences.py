"""Deltas -> sentences, as early as each is proven, each with what is spoken of it.

Rules that hold whatever the text and however it is cut into deltas:

- the pieces' ``text`` joined is the input; white space between two pieces leads the second;
- the split is the same for every way of cutting: what a mark means is decided by ``ends`` from the text alone;
- no grapheme cluster is parted: a cut stands before white space, or between a mark and a character that starts anew;
- code blocks are one piece, and no piece ends within code, emotes, tags, links or short parentheses;
- the cost is linear: a character is looked at a few times, whatever the length of the answer.
"""

import re
from dataclasses import dataclass

from greenroom.pipeline.breaks import RETRY, place_to_break, worth_saying
from greenroom.pipeline.ends import End, end_of_run
from greenroom.pipeline.marks import (
    CLOSERS,
    ELLIPSES,
    SOFT,
    SOFT_SPACED,
    TERMINAL,
    UNSPACED,
    extends,
    is_unspaced,
)
from greenroom.pipeline.markup import SPAN_KINDS
from greenroom.pipeline.speech_text import spoken

LONGEST = 300
"""characters after which a sentence without an end is broken at a clause or a word"""

_SHORTEST_BREAK = 100
_SOFT_WRAP = 50
"""a line of so many characters that goes on with a small letter was wrapped, not ended"""

_PHRASE = {"thai": 20, "other": 40}
"""characters that a Thai or Lao, or a Khmer or Burmese, phrase has before the space behind it ends a piece"""

_ALWAYS = rf"[{re.escape(TERMINAL)}\n\r\x0b\x0c\x85\u2028\u2029`~*_<\[(（]|(?<=[{UNSPACED}])[ \u00a0]"
_EVENT = re.compile(_ALWAYS)
_FIRST_EVENT = re.compile(rf"{_ALWAYS}|[{re.escape(SOFT_SPACED + SOFT)}]")
_BREAKS = "\n\r\x0b\x0c\x85\u2028\u2029"
_LINE_BREAK = re.compile(f"[{_BREAKS}]")
_CONTENT = re.compile(r"\S")
_INDENT = re.compile(r"[ \t]{0,16}")
_FENCE = re.compile(r"`{3,}|~{3,}")


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    """a slice of the answer"""
    speech: str
    """what is spoken of it; empty for code, emotes and white space"""


class SentenceSplitter:
    """One answer's text in, its sentences out; after ``finish`` it is ready for another.

    :param first_clause: until something is to be spoken, a piece may also end at a comma, colon or dash once it is long
        enough to be worth speaking (about 0.7 s of speech and, in scripts with spaces, two words), so that the voice
        starts early.
    """

    def __init__(self, first_clause: bool = True) -> None:
        self._first_clause = first_clause
        self._restart()

    def _restart(self) -> None:
        self._early = self._first_clause
        self._quote_open = False
        self._buffer = ""
        self._new_piece()

    def _new_piece(self) -> None:
        self._at = 0
        self._content = -1
        self._limit = 0
        self._breakable = 0
        self._line = 0
        self._spans: list[tuple[int, int]] = []
        self._fence = ""
        self._fence_lines: list[str] = []

    def feed(self, text: str) -> list[Sentence]:
        """The sentences that this delta completes or proves complete."""
        self._buffer += text
        return self._scan(final=False)

    def finish(self) -> list[Sentence]:
        """All that is left; white space at the very end is a piece of its own with nothing to speak."""
        out = self._scan(final=True)
        if self._buffer or self._fence_lines:
            self._cut(out, len(self._buffer))
        self._restart()
        return out

    def _scan(self, final: bool) -> list[Sentence]:
        out: list[Sentence] = []
        while self._at < len(self._buffer):
            if self._fence:
                if not self._scan_fence(out, final):
                    break
                continue
            if self._content < 0 and not self._find_content():
                if self._at == len(self._buffer):
                    break
                continue
            event = (_FIRST_EVENT if self._early else _EVENT).search(self._buffer, self._at)
            reached = event.start() if event else len(self._buffer)
            if reached >= self._limit:
                while not (cut := self._break_long(out)) and reached >= self._limit:
                    pass
                if cut:
                    continue
            if event is None:
                self._at = reached
                break
            self._at = reached
            if not self._handle(out, self._buffer[reached], final):
                break
        return out

    def _find_content(self) -> bool:
        found = _CONTENT.search(self._buffer, self._at)
        if found is None:
            self._at = len(self._buffer)
            return False
        self._at = self._content = found.start()
        self._line = self._content
        self._limit = self._content + LONGEST
        self._breakable = self._content + _SHORTEST_BREAK
        return True

    def _cut(self, out: list[Sentence], end: int, speech: str | None = None) -> None:
        text = self._buffer[:end]
        if self._fence_lines or self._fence:
            text = "".join(self._fence_lines) + text
            speech = ""
        if speech is None:
            speech = spoken(text)
        if speech:
            self._early = False
        if '"' in text or self._quote_open:
            tail = text[max((text.rfind(mark) for mark in _BREAKS), default=-1) + 1 :]
            carried = self._quote_open and len(tail) == len(text)
            self._quote_open = (tail.count('"') + carried) % 2 == 1
        out.append(Sentence(text, speech))
        self._buffer = self._buffer[end:]
        self._new_piece()

    def _handle(self, out: list[Sentence], character: str, final: bool) -> bool:
        """Deals with the character at ``_at``; false if more text must be known."""
        if character in TERMINAL:
            return self._mark(out, final)
        if character in _BREAKS:
            return self._line_end(out, final)
        if character in "`~" and (fenced := self._fence_start(out, final)) is not None:
            return fenced
        if character in SPAN_KINDS:
            return self._span(character, final)
        if character.isspace():
            return self._phrase_end(out, final)
        if character in SOFT_SPACED or character in SOFT:
            return self._clause_end(out, character, final)
        self._at += 1
        return True

    def _mark(self, out: list[Sentence], final: bool) -> bool:
        verdict, end = end_of_run(self._buffer, self._at, final, self._quote_open)
        if verdict is End.WAIT:
            return False
        if verdict is End.SPLIT:
            self._cut(out, end)
        elif not (self._early and self._is_pause(end) and self._cut_if_worth(out, end)):
            self._at = end
        return True

    def _is_pause(self, end: int) -> bool:
        """Whether the mark at ``_at`` is an ellipsis that a space follows."""
        ellipsis = self._buffer[self._at] in ELLIPSES or self._buffer.startswith("..", self._at)
        return ellipsis and self._buffer[end : end + 1].isspace()

    def _line_end(self, out: list[Sentence], final: bool) -> bool:
        at = self._at
        if at - self._line >= _SOFT_WRAP and self._buffer[at] == "\n" and self._buffer[at - 1] not in TERMINAL + ":":
            indent = _INDENT.match(self._buffer, at + 1)
            following = indent.end() if indent else at + 1
            if following == len(self._buffer) and not final:
                return False
            if self._buffer[following : following + 1].islower():
                self._at = self._line = following
                return True
        self._cut(out, at)
        return True

    def _phrase_end(self, out: list[Sentence], final: bool) -> bool:
        at = self._at
        before = self._buffer[at - 1]
        if at + 1 == len(self._buffer) and not final:
            return False
        following = self._buffer[at + 1 : at + 2]
        length = at - self._content
        if (
            following
            and is_unspaced(following)
            and not extends(following)
            and before not in "ๆฯໆ"
            and following not in "ๆฯໆ"
        ):
            if length >= _PHRASE["thai" if before < "\u0f00" else "other"]:
                self._cut(out, at)
                return True
            if self._early and self._cut_if_worth(out, at):
                return True
        self._at = at + 1
        return True

    def _clause_end(self, out: list[Sentence], character: str, final: bool) -> bool:
        end = self._at + 1
        while end < len(self._buffer) and (self._buffer[end] in CLOSERS or extends(self._buffer[end])):
            if end > self._at + 8:
                break
            end += 1
        if end == len(self._buffer) and not final:
            return False
        following = self._buffer[end : end + 1]
        if character in SOFT_SPACED:
            spaced = following.isspace() and (character not in "–-" or self._buffer[self._at - 1].isspace())
        else:
            spaced = bool(following) and not following.isdigit() and following not in TERMINAL + SOFT
        if not (spaced and self._cut_if_worth(out, end)):
            self._at = end
        return True

    def _cut_if_worth(self, out: list[Sentence], end: int) -> bool:
        speech = spoken(self._buffer[:end])
        if not worth_saying(speech):
            return False
        self._cut(out, end, speech)
        return True

    def _span(self, character: str, final: bool) -> bool:
        at = self._at
        kind = SPAN_KINDS[character]
        window = at + kind.longest
        whole = kind.whole.match(self._buffer, at, window)
        uncertain = not final and len(self._buffer) < window and (whole is None or whole.end() == len(self._buffer))
        if uncertain and kind.open.match(self._buffer, at):
            return False
        if whole is None:
            self._at = at + 1
            return True
        end = whole.end()
        self._spans.append((at, end))
        inner = self._buffer[end - 2]
        self._at = end - 2 if character in "(（" and inner in TERMINAL else end
        return True

    def _fence_start(self, out: list[Sentence], final: bool) -> bool | None:
        """Whether a code block starts here, and if so what ``_handle`` returns; ``None`` if none does."""
        at = self._at
        run = _FENCE.match(self._buffer, at)
        if self._buffer[at] == "~" and at != self._content:
            return None
        if run is None:
            return False if not final and self._buffer[at:] in ("`", "``", "~", "~~") else None
        line_end = _LINE_BREAK.search(self._buffer, run.end())
        stop = line_end.start() if line_end else len(self._buffer)
        if "`" in self._buffer[run.end() : stop] or stop - at > LONGEST:
            self._at = run.end()
            return True
        if line_end is None:
            if not final:
                return False
            if run.end() < len(self._buffer):
                self._at = run.end()
                return True
        if at > self._content:
            self._cut(out, at)
            return True
        self._fence = run[0]
        self._at = stop
        return True

    def _scan_fence(self, out: list[Sentence], final: bool) -> bool:
        """Looks for the fence that closes: behind it stands white space, and the line starts or ends with it."""
        while (at := self._buffer.find(self._fence, self._at)) >= 0:
            end = at + len(self._fence)
            while end < len(self._buffer) and self._buffer[end] == self._fence[0]:
                end += 1
            if end == len(self._buffer) and not final:
                self._at = at
                return False
            behind = self._buffer[end : end + 1]
            line = self._buffer[max(self._buffer.rfind(mark, 0, at) for mark in "\n\r") + 1 : at]
            if not behind or behind in _BREAKS or (behind.isspace() and not line.strip(" \t>")):
                self._cut(out, end)
                return True
            self._at = end
        keep = max(self._buffer.rfind(mark) for mark in "\n\r")
        if keep > 0:
            self._fence_lines.append(self._buffer[:keep])
            self._buffer = self._buffer[keep:]
        self._at = max(0, len(self._buffer) - len(self._fence) + 1)
        return False

    def _break_long(self, out: list[Sentence]) -> bool:
        """Cuts before ``_limit`` if there is a place to; else tries again later."""
        upper = max(self._limit, self._at)
        cut = place_to_break(self._buffer, self._breakable, upper, self._spans)
        if cut is not None:
            self._cut(out, cut)
            return True
        self._limit = upper + RETRY
        self._breakable = upper - RETRY
        return False
