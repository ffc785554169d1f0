"""``greenroom say``: one question, one answer."""

import sys
from dataclasses import dataclass
from pathlib import Path

from greenroom.client import Room, connect
from greenroom.commandline.console import Console
from greenroom.commandline.loop import LoopThread
from greenroom.commandline.talk import Talk
from greenroom.commandline.trust import own_certificate
from greenroom.commandline.voice import NoVoice, VoiceSink, WavFile, open_speaker
from greenroom.errors import BadRequest

DEFAULT_OUT = Path("answer.wav")
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class SayOptions:
    url: str
    text: str | None = None
    """``-``: standard input"""
    audio: Path | None = None
    """a question by voice, a WAV file"""
    out: Path | None = None
    """write the voice there instead of playing it"""
    token: str | None = None
    session: str = "main"
    personality: str | None = None
    voice: bool = True
    insecure: bool = False
    """take any certificate of an https server"""


def say(options: SayOptions, console: Console) -> int:
    """-> exit code. :raises GreenroomError, OSError: with the reason."""
    text = sys.stdin.read().strip() if options.text == "-" else options.text
    if (not text) == (options.audio is None):
        raise BadRequest('wanted either what to say, as in: greenroom say "Hello", or --audio question.wav')
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise BadRequest(f"there is no folder {options.out.absolute().parent} to write {options.out.name} into")
    sink = _sink(options, console)
    talk: list[Talk] = []

    async def work() -> None:
        async with connect(
            options.url,
            session=options.session,
            token=options.token,
            away_limit_s=15,
            certificate=own_certificate(options.url),
            insecure=options.insecure,
        ) as room:
            talk.append(await _begin(room, text, options, console, sink))
            await talk[0].run()

    async def interrupt() -> None:
        if talk:
            await talk[0].interrupt()

    with LoopThread() as loop:
        try:
            loop.run(work(), interrupt)
        finally:
            told = sink.close()
            if told and talk:
                console.note(told)
    return INTERRUPTED if talk and talk[0].interrupted else 0


async def _begin(room: Room, text: str | None, options: SayOptions, console: Console, sink: VoiceSink) -> Talk:
    if options.personality is not None:
        await room.select_personality(options.personality)
    voice = options.voice
    turn = room.ask_audio(options.audio, voice=voice) if options.audio else room.ask(text or "", voice=voice)
    return Talk(room, turn, console, sink)


def _sink(options: SayOptions, console: Console) -> VoiceSink:
    if not options.voice:
        return NoVoice()
    if options.out is not None:
        return WavFile(options.out)
    speaker, why = open_speaker()
    if speaker is not None:
        return speaker
    console.note(f"{why}; the voice goes to {DEFAULT_OUT}")
    return WavFile(DEFAULT_OUT)
