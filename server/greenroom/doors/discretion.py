"""What a sentence may say to whom: where the server keeps its files is for its owner alone.

    there is no model in /srv/greenroom/models/minilm   ->   there is no model in models/minilm

Sentences are made far below the doors, for whoever reads them; each door hands them through here on their way out. The
log keeps them whole.
"""

import logging
import re
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from greenroom.errors import GreenroomError
from greenroom.paths import Home
from greenroom.protocol import events
from greenroom.protocol.events import Event
from greenroom.values import Access

logger = logging.getLogger(__name__)

Error = TypeVar("Error", bound=GreenroomError)

_SENTENCES: Final = frozenset({"error", "errors", "reason", "message", "warnings", "problem"})
"""members of replies and events that are said by the server, not by a person"""
_SPEAKING: Final = (
    events.JobFinished,
    events.GenerationError,
    events.ToolResult,
    events.JobProgress,
    events.StateChanged,
    events.SessionJoined,
)
"""events in which the server itself says what is wrong"""
_LOGGED: Final = 256
"""sentences remembered as logged, so that who asks again and again fills no log"""
_SEPARATOR: Final = r"[\\/]+"
_BEFORE: Final = r"(?<![\w.\-])"
_AFTER: Final = r"(?![\w\-]|\.\w)"


class Discretion:
    """:param places: folders, each with what it is called where nothing in it is named, and what stands for it before
    the name of something in it. Without any, every sentence stays as it is.
    """

    def __init__(self, places: Iterable[tuple[Path, str, str]] = ()) -> None:
        found: dict[tuple[str, ...], tuple[str, str]] = {}
        for folder, called, before in places:
            for form in (folder, _resolved(folder)):
                if len(form.parts) > 1:  # the root of a disk would be found in every path
                    found.setdefault(form.parts, (called, before))
        # The longest first: a home may lie in the user's, and in it the installation.
        ordered = sorted(found, key=len, reverse=True)
        self._said = [found[parts] for parts in ordered]
        self._pattern: re.Pattern[str] | None = None
        if ordered:
            forms = "|".join(f"({_form(*parts)})" for parts in ordered)
            self._pattern = re.compile(
                rf"{_BEFORE}(?:{forms})(?:(?P<inside>{_SEPARATOR})(?=[\w.\-~])|{_SEPARATOR}|{_AFTER})", re.IGNORECASE
            )
        self._logged: OrderedDict[str, None] = OrderedDict()

    @classmethod
    def of(cls, home: Home) -> "Discretion":
        places = [(home.root, "the home folder", ""), (home.built_in.bindings.parent, "the installation", "")]
        places.append((Path(sys.prefix), "Python's folder", ""))
        try:
            places.append((Path.home(), "~", "~/"))
        except RuntimeError:
            pass  # a user without a home folder, as in some containers
        return cls(places)

    def text(self, sentence: str) -> str:
        """For somebody who is no owner."""
        if self._pattern is None:
            return sentence
        told = self._pattern.sub(self._name, sentence)
        if told == sentence:
            return sentence
        self._log(sentence)
        return told

    def _name(self, found: re.Match[str]) -> str:
        called, before = self._said[next(n for n in range(len(self._said)) if found[n + 1] is not None)]
        return before if found["inside"] else called

    def _log(self, sentence: str) -> None:
        if sentence in self._logged:
            return
        self._logged[sentence] = None
        if len(self._logged) > _LOGGED:
            self._logged.popitem(last=False)
        logger.info("told without its place: %s", sentence)

    def error(self, error: Error, access: Access) -> Error:
        """The same, as it may be told; for an owner the very same."""
        if access >= Access.OWNER:
            return error
        message, details = self.text(error.message), self._everything(error.details)
        if message == error.message and details is error.details:
            return error
        told = error.__class__.__new__(error.__class__)
        told.__dict__.update(error.__dict__)
        told.args = (message,)
        told.message, told.details = message, details
        return told

    def failed(self, answer: dict[str, Any], access: Access) -> dict[str, Any]:
        """A failed acknowledgement: all of it is said by the server."""
        found: dict[str, Any] = answer if access >= Access.OWNER else self._everything(answer)
        return found

    def reply(self, reply: Mapping[str, Any], access: Access) -> Mapping[str, Any]:
        """Of an answer, the sentences that tell what is wrong with something in it."""
        found: Mapping[str, Any] = reply if access >= Access.OWNER else self._sentences(reply)
        return found

    def event(self, event: Event, access: Access) -> Event:
        """The event as that role may hear it; the same object if nothing in it has to change."""
        if access >= Access.OWNER or not isinstance(event, _SPEAKING):
            return event
        match event:
            case events.JobFinished(error=error) if error:
                told = self._everything(error)
                return event if told is error else replace(event, error=told)
            case events.GenerationError() | events.ToolResult(error=str()):
                text = self.text(str(event.error))
                return event if text == event.error else replace(event, error=text)
            case events.JobProgress():
                result = self._sentences(event.result)
                return event if result is event.result else replace(event, result=result)
            case events.StateChanged():
                changed = self._sentences(event.changed)
                return event if changed is event.changed else replace(event, changed=changed)
            case events.SessionJoined():
                state = self._sentences(event.state)
                return event if state is event.state else replace(event, state=state)
        return event

    def _everything(self, value: Any) -> Any:
        """Every text in it; the same object if none has to change."""
        return self.text(value) if isinstance(value, str) else _within(value, lambda _, inner: self._everything(inner))

    def _sentences(self, value: Any) -> Any:
        """Those texts in it that are the server's own."""
        return _within(
            value, lambda name, inner: self._everything(inner) if name in _SENTENCES else self._sentences(inner)
        )


def _within(value: Any, change: Any) -> Any:
    """``change(name, inner)`` for what is in it, the name of a list's items being empty."""
    if isinstance(value, Mapping):
        changed = {name: change(name, inner) for name, inner in value.items()}
        return changed if any(changed[name] is not inner for name, inner in value.items()) else value
    if isinstance(value, list | tuple) and value and not isinstance(value[0], float | int | bytes):  # a vector is long
        items = [change("", inner) for inner in value]
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    return value


def _resolved(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return folder


def _form(anchor: str, *names: str) -> str:
    """A folder with either separator, and either of them doubled, as in a text that was quoted for programmers."""
    return _SEPARATOR.join(map(re.escape, (anchor.rstrip("\\/"), *names)))
