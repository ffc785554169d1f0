import _thread
import io
import sys
from collections.abc import Iterator

import pytest

from fakes.mini_server import ThreadedServer
from fakes.sound_device import SoundDevice
from greenroom.cli import main
from greenroom.commandline.console import Console

Captured = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def piped(server: ThreadedServer, monkeypatch: pytest.MonkeyPatch) -> "Talk":
    return Talk(server, monkeypatch)


class Talk:
    def __init__(self, server: ThreadedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self._server = server
        self._monkeypatch = monkeypatch

    def __call__(self, lines: str, *arguments: str) -> int:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        return main(["chat", "--url", self._server.url, *arguments])


def test_lines_from_a_pipe_are_asked_one_by_one(piped: Talk, capsys: Captured) -> None:
    assert piped("Hello\n\nHow are you?\n") == 0
    told = capsys.readouterr()
    assert told.out == "You said: Hello Fine.\nYou said: How are you? Fine.\n"
    assert told.err == ""


def test_quit_leaves(piped: Talk, server: ThreadedServer) -> None:
    assert piped("/quit\nnever asked\n") == 0
    assert "response" not in [name for name, _ in server.server.seen]


def test_every_command_that_help_lists_works(piped: Talk, server: ThreadedServer, capsys: Captured) -> None:
    assert piped("/help\n") == 0
    commands = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert commands == ["/help", "/personality", "/binding", "/model", "/voice", "/history", "/clear", "/quit"]
    assert piped("\n".join(commands)) == 0
    told = capsys.readouterr()
    assert "* english/tests/fake  a fake" in told.out
    assert "fake  t2t, tts  ready" in told.out
    assert "words  a few words" in told.out
    assert "reads aloud" not in told.out
    assert "[voice on]" in told.err
    assert "[forgotten]" in told.err


def test_choosing(piped: Talk, server: ThreadedServer, capsys: Captured) -> None:
    chosen = "/personality english/tests/fake\n/binding fake\n/model more\n/voice off\n/voice deep\n/v on\n"
    assert piped(f"{chosen}Hi\n/history 1\n") == 0
    told = capsys.readouterr()
    expected = "[Fake is here]\n[fake thinks now]\n[model more]\n[voice off]\n[voice deep]\n[voice on]\n"
    assert told.err == expected
    assert told.out.splitlines()[-1] == "[Fake]: You said: Hi Fine."
    configured = [data["ops"] for name, data in server.server.seen if name == "operation_configure"]
    assert configured == [[{"role": "tts", "config": {"voice": "deep"}}]]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/sing", "[there is no command /sing; /help lists them]"),
        ("/", "[there is no command /; /help lists them]"),
        ("/history many", "[wanted a number of lines from 1 to 1000, as in: /history 5]"),
        ("/binding nothing", "[there is no binding 'nothing']"),
    ],
)
def test_what_does_not_work_is_said_and_the_talk_goes_on(
    line: str, sentence: str, piped: Talk, capsys: Captured
) -> None:
    assert piped(f"{line}\nHello\n") == 1
    told = capsys.readouterr()
    assert told.err.splitlines() == [sentence]
    assert told.out == "You said: Hello Fine.\n"


def test_a_failed_answer(piped: Talk, server: ThreadedServer, capsys: Captured) -> None:
    server.server.fail_with = {"code": "binding_failed", "type": "unknown", "reason": "the backend is down"}
    assert piped("one\ntwo\n") == 1
    told = capsys.readouterr()
    assert told.err == "[the backend is down]\n"
    assert told.out == "You said: two Fine.\n"


def test_the_voice_is_asked_for_only_where_it_can_be_heard(
    piped: Talk, server: ThreadedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert piped("one\n") == 0
    device = SoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    assert piped("two\n", "--no-voice") == 0
    wanted = [data["include_audio"] for name, data in server.server.seen if name == "response"]
    assert wanted == [False, False]
    assert device.streams == []


def typed(lines: list[str | type[BaseException]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let ``input`` give these, or raise them, then the end. -> the prompts shown."""
    prompts: list[str] = []
    waiting: Iterator[str | type[BaseException]] = iter(lines)

    def read(prompt: str = "") -> str:
        prompts.append(prompt)
        line = next(waiting, EOFError)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", read)
    return prompts


def test_at_a_terminal(server: ThreadedServer, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    prompts = typed(["Hello", "/sing", KeyboardInterrupt, "  Bye  "], monkeypatch)
    assert main(["chat", "--url", server.url, "-p", "english/tests/fake"]) == 0
    told = capsys.readouterr()
    assert "talking with Fake in session main; /help lists commands, /quit leaves" in told.err
    assert "text only: the package sounddevice is not installed" in told.err
    assert "Ctrl-D leaves" in told.err
    assert "You said: Hello Fine.\n" in told.out
    assert "You said: Bye Fine.\n" in told.out
    assert prompts == ["you> "] * 5


def test_ctrl_c_stops_the_answer_and_not_the_talk(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    typed(["Hello", "Again"], monkeypatch)
    server.hold()
    show = Console.write

    def write(self: Console, text: str) -> None:
        show(self, text)
        if text == "said: ":
            monkeypatch.setattr(Console, "write", show)
            _thread.interrupt_main()

    monkeypatch.setattr(Console, "write", write)
    assert main(["chat", "--no-voice", "--url", server.url]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["You said: ", "You said: Again Fine."]
