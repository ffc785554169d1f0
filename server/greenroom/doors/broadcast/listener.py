"""One client of the websocket: what waits for it, within a bound, and who it is to its session."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from greenroom.doors.broadcast.frames import Frame
from greenroom.protocol.events import Event
from greenroom.protocol.grant import Grant
from greenroom.session.handle import Reply
from greenroom.values import Access, new_id

PATIENCE_S: Final = 2.0
"""without any frame taken, behind more than may wait"""
_HARD_LIMIT: Final = 4
"""times what may wait: a burst that nobody could have taken in time is no reason to drop anybody before"""


class Listener:
    """:param documented: it hears an answer in the documented order.
    :param limit_chars: of frames that may wait before it counts as too slow; frames are shared by all listeners.
    """

    def __init__(
        self,
        access: Access,
        *,
        documented: bool,
        limit_chars: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.access = access
        self.documented = documented
        self.slow = asyncio.Event()
        """set once, when more waits than may"""
        self.ending = False
        self.client_id = new_id()
        self._limit_chars = limit_chars
        self._clock = clock
        self._waiting: deque[str] = deque()
        self._chars = 0
        self._progress_at = clock()
        self._news = asyncio.Event()

    @property
    def waiting_chars(self) -> int:
        return self._chars

    def hear(self, frame: Frame) -> None:
        text = frame.heard_by(self.access)
        if not text or self.ending or self.slow.is_set():
            return
        if not self._waiting:
            self._progress_at = self._clock()
        self._waiting.append(text)
        self._chars += len(text)
        if self._chars > self._limit_chars:
            stuck = self._clock() - self._progress_at > PATIENCE_S
            if stuck or self._chars > _HARD_LIMIT * self._limit_chars:
                self.slow.set()
                self._waiting.clear()
                self._chars = 0
        self._news.set()

    def end(self) -> None:
        """Nothing more is heard; what waits may still be taken."""
        self.ending = True
        self._news.set()

    async def next(self) -> str | None:
        """The next frame; ``None`` when there will be none."""
        while not self._waiting:
            if self.ending or self.slow.is_set():
                return None
            self._news.clear()
            await self._news.wait()
        text = self._waiting.popleft()
        self._chars -= len(text)
        self._progress_at = self._clock()
        return text


class Member:
    """A listener as its session knows it. One member of a session is also shown its prompts and what models say.

    These are told to all listeners of the feed; which of them may hear it is decided there.
    """

    debug = True

    def __init__(self, client_id: str, told: Callable[[Event], None], generated: Callable[[str, str], None]) -> None:
        self.client_id = client_id
        self.label = "jaison"
        self.grant = Grant(Access.PERFORMER)
        self.access = self.grant.access
        self._told = told
        self._generated = generated

    def accept(self, reply: Reply) -> None:
        """It asks for nothing."""

    def send(self, event: Event, request_id: str) -> None:
        self._told(event)

    def generated(self, job_id: str, text: str) -> None:
        self._generated(job_id, text)


class Guest(Member):
    """A further listener of the same feed, so that the session counts its clients right."""

    debug = False
