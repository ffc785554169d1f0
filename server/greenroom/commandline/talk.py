"""One turn of the character at the terminal: text while it comes, the voice to its sink, Ctrl-C interrupts."""

from greenroom.client import Room, Turn
from greenroom.commandline.console import Console
from greenroom.commandline.voice import VoiceSink
from greenroom.errors import GreenroomError
from greenroom.protocol import events


class Talk:
    def __init__(self, room: Room, turn: Turn, console: Console, sink: VoiceSink) -> None:
        self._room = room
        self._turn = turn
        self._console = console
        self._sink = sink
        self.interrupted = False

    async def run(self) -> None:
        """:raises GreenroomError: as the turn fails."""
        try:
            async for received in self._turn:
                self._console.write(received.text)
                voice = received.voice
                if voice is not None:
                    self._sink.play(voice)
                match received.event:
                    case events.Transcript(content=content, final=True):
                        self._console.note(f"heard: {content}")
                    case events.Interrupted():
                        self._sink.silence()
                    case events.SessionJoined():
                        self._console.note("[the connection was away; some of the answer is missing]")
            self._console.end_line()
            await self._sink.finish()
        finally:
            self._console.end_line()

    async def interrupt(self) -> None:
        """The character falls silent, whether it still thinks or only its voice is still heard."""
        self.interrupted = True
        heard_ms = self._sink.heard_ms
        self._sink.silence()
        try:
            await self._room.interrupt(heard_ms, job_id=await self._turn.start())
        except GreenroomError as error:
            self._console.note(f"[the server was not told to stop: {error.message}]")
