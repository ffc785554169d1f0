"""What every endpoint of this door is given."""

from dataclasses import dataclass

from greenroom.config.schema import Config
from greenroom.doors.door import Rooms
from greenroom.doors.openai.admission import Admission
from greenroom.doors.openai.backends import Backends
from greenroom.doors.openai.models import ModelDirectory
from greenroom.doors.openai.voices import VoiceLists
from greenroom.protocol.grant import Grant
from greenroom.session.direct import at_hand
from greenroom.session.session import Session


@dataclass(frozen=True, slots=True)
class Context:
    rooms: Rooms
    models: ModelDirectory
    backends: Backends
    admission: Admission
    voices: VoiceLists

    @property
    def config(self) -> Config:
        return self.rooms.house.config.value

    async def session(self, grant: Grant) -> Session:
        """The one whose backends serve requests that name none: the default, or the first that the token opens."""
        return at_hand(await self.rooms.sessions.get(grant.session_or(self.rooms.default_session)))
