"""``greenroom chat``: a conversation at the terminal, or line by line from a pipe."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from greenroom.client import Room, connect
from greenroom.commandline.commands import Commands, Quit
from greenroom.commandline.console import Console
from greenroom.commandline.loop import LoopThread
from greenroom.commandline.talk import Talk
from greenroom.commandline.trust import own_certificate
from greenroom.commandline.voice import NoVoice, VoiceSink, open_speaker, sound_output
from greenroom.errors import GreenroomError, Unauthorized

PROMPT = "you> "


@dataclass(frozen=True, slots=True)
class ChatOptions:
    url: str
    token: str | None = None
    session: str = "main"
    personality: str | None = None
    voice: bool = True
    insecure: bool = False
    """take any certificate of an https server"""


def chat(options: ChatOptions, console: Console) -> int:
    """-> exit code; 1 if something that came from a pipe failed. :raises GreenroomError: if it cannot begin."""
    with LoopThread() as loop:
        room = connect(
            options.url,
            session=options.session,
            token=options.token,
            away_limit_s=30,
            certificate=own_certificate(options.url),
            insecure=options.insecure,
        )
        loop.run(room.__aenter__())
        try:
            return Chat(options, console, room, loop).run()
        finally:
            loop.run(room.__aexit__(None, None, None))


class Chat:
    def __init__(self, options: ChatOptions, console: Console, room: Room, loop: LoopThread) -> None:
        self._options = options
        self._console = console
        self._room = room
        self._loop = loop
        self._typed = sys.stdin.isatty()
        self._failed = False
        self._commands = Commands(room, console, voice=options.voice)

    def run(self) -> int:
        if self._options.personality is not None:
            self._loop.run(self._room.select_personality(self._options.personality))
        if self._typed:
            self._greet()
        try:
            for line in self._lines():
                self._do(line)
        except Quit:
            pass
        return 1 if self._failed and not self._typed else 0

    def _greet(self) -> None:
        active = self._loop.run(self._room.active_personalities())
        who = f" with {', '.join(active)}" if active else ""
        self._console.note(f"talking{who} in session {self._options.session}; /help lists commands, /quit leaves")
        if self._options.voice:
            playing, sentence = sound_output()
            if playing is None:
                self._console.note(f"text only: {sentence}")

    def _lines(self) -> Iterator[str]:
        if not self._typed:
            yield from (line.strip() for line in sys.stdin)
            return
        _edit_lines()
        while True:
            try:
                yield input(PROMPT).strip()
            except EOFError:
                self._console.line()
                return
            except KeyboardInterrupt:
                self._console.line()
                self._console.note("/quit or Ctrl-D leaves")

    def _do(self, line: str) -> None:
        try:
            if line.startswith("/"):
                self._loop.run(self._commands.do(line))
            elif line:
                self._ask(line)
        except Unauthorized:
            raise
        except GreenroomError as error:
            self._failed = True
            self._console.note(f"[{error.message}]")
        except KeyboardInterrupt:
            self._console.note("[stopped]")

    def _ask(self, line: str) -> None:
        sink = self._sink()
        talk = Talk(self._room, self._room.ask(line, voice=not isinstance(sink, NoVoice)), self._console, sink)
        try:
            self._loop.run(talk.run(), talk.interrupt)
        finally:
            sink.close()

    def _sink(self) -> VoiceSink:
        speaker = open_speaker()[0] if self._commands.voice else None
        return speaker or NoVoice()


def _edit_lines() -> None:
    """Arrow keys and a history for ``input`` where Python was built with readline; Windows' console has its own."""
    try:
        import readline  # noqa: F401 -- importing it is what switches it on
    except ImportError:
        return
