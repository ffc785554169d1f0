"""A model's deltas -> its answer and its inline thoughts, apart.

Models without a field of their own for reasoning write it between tags: ``<think>...</think>`` and kin. Tags may be cut
anywhere between deltas. Text that only looks like the start of a tag is held until the next character says
otherwise; all other text leaves in the call that brought it.
"""

import re

from greenroom.values import TextDelta

_FAMILIES = (
    ("think", "thinking", "thought", "thoughts", "seed:think"),
    ("reasoning", "reason"),
    ("reflection",),
    ("scratchpad",),
    ("inner_monologue",),
)
"""Models mix the names of one family up (``<thinking>...</think>``); of different families they nest."""

_PAIRS = (
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|begin_of_thinking|>", "<|end_of_thinking|>"),
    ("<|begin_of_reasoning|>", "<|end_of_reasoning|>"),
    ("<|start_thinking|>", "<|end_thinking|>"),
    ("◁think▷", "◁/think▷"),
)

_UPPER_PAIR = ("[THINK]", "[/THINK]")
"""Only so spelled: ``[think]`` is an emotion that characters write."""

_MAX_ATTRIBUTES = 100
"""characters between a tag's name and its ``>``; a longer one is text"""

_FAMILY_OF = {name: family[0] for family in _FAMILIES for name in family}
_OPENING = {opening: opening for opening, _ in _PAIRS} | {_UPPER_PAIR[0]: _UPPER_PAIR[0]}
_CLOSING = {closing: opening for opening, closing in _PAIRS} | {_UPPER_PAIR[1]: _UPPER_PAIR[0]}
_STARTS = tuple(f"<{slash}{name}" for name in _FAMILY_OF for slash in ("", "/"))
_MARKERS = (*(marker for pair in _PAIRS for marker in pair), *_UPPER_PAIR)

_TAG_START = re.compile(r"[<\[◁]")
_XML_TAG = re.compile(
    rf"<(/?)({'|'.join(sorted(_FAMILY_OF, key=len, reverse=True))})(?:\s[^<>]{{0,{_MAX_ATTRIBUTES}}})?(/?)>",
    re.I | re.A,
)
_XML_OPEN_END = re.compile(
    rf"</?(?:{'|'.join(sorted(_FAMILY_OF, key=len, reverse=True))})(?:/|\s[^<>]{{0,{_MAX_ATTRIBUTES}}})?\Z", re.I | re.A
)
_LITERAL = re.compile("|".join(map(re.escape, sorted(_MARKERS, key=len, reverse=True))), re.I | re.A)


class ThoughtSplitter:
    """Deltas in, ``TextDelta`` with ``thought`` set or not out, tags left out, nothing else lost or changed.

    - A thought ends at the first closing tag of its opening tag's family; other tags inside are part of it.
    - A closing tag with no opening one is left out, and what follows is the answer. Where a chat template opens the
      thought unseen, the text before was already passed on as answer; who knows of such a template sets ``thinking``.
    - A tag right behind a backtick is being talked about, not used: it stays text.
    - A thought that never ends is a thought to its end.
    """

    def __init__(self, thinking: bool = False) -> None:
        self._held = ""
        self._previous = ""
        self._thought: str | None = _FAMILIES[0][0] if thinking else None

    def feed(self, text: str) -> list[TextDelta]:
        if not self._held and not _TAG_START.search(text):
            if not text:
                return []
            self._previous = text[-1]
            return [TextDelta(text, self._thought is not None)]
        return self._scan(self._held + text, final=False)

    def finish(self) -> list[TextDelta]:
        """What was held back as a possible tag; it was none."""
        return self._scan(self._held, final=True) if self._held else []

    def _scan(self, text: str, final: bool) -> list[TextDelta]:
        out: list[TextDelta] = []
        start = at = 0
        self._held = ""
        while found := _TAG_START.search(text, at):
            at = found.start()
            previous = text[at - 1] if at else self._previous
            tag = None if previous == "`" else self._tag(text, at)
            if tag is not None:
                self._pass(out, text[start:at])
                end, self._thought = tag
                self._previous = text[end - 1]
                start = at = end
            elif not final and previous != "`" and _may_become_tag(text[at : at + _MAX_ATTRIBUTES + 40]):
                self._held = text[at:]
                text = text[:at]
                break
            else:
                at += 1
        self._pass(out, text[start:])
        return out

    def _pass(self, out: list[TextDelta], text: str) -> None:
        if text:
            thought = self._thought is not None
            self._previous = text[-1]
            if out and out[-1].thought == thought:
                text = out.pop().text + text
            out.append(TextDelta(text, thought))

    def _tag(self, text: str, at: int) -> tuple[int, str | None] | None:
        """Where the tag at ``at`` ends and which thought is open behind it; ``None`` where there is none to obey."""
        if found := _XML_TAG.match(text, at):
            closing, family = found[1] == "/", _FAMILY_OF[found[2].lower()]
            empty = found[3] == "/"
        elif found := _LITERAL.match(text, at):
            marker = found[0] if found[0][0] == "[" else found[0].lower()
            if marker not in _OPENING and marker not in _CLOSING:
                return None  # [Think] and other spellings
            closing, empty = marker in _CLOSING, False
            family = _CLOSING[marker] if closing else _OPENING[marker]
        else:
            return None
        if self._thought is None:
            return found.end(), None if closing or empty else family
        return (found.end(), None) if closing and family == self._thought else None


def _may_become_tag(tail: str) -> bool:
    if tail[0] == "[":
        return any(marker.startswith(tail) for marker in _UPPER_PAIR)
    low = tail.lower()
    if any(start.startswith(low) for start in _STARTS) or any(marker.startswith(low) for marker in _MARKERS):
        return True
    return _XML_OPEN_END.match(tail) is not None
