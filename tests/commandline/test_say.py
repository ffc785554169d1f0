import _thread
import io
import sys
from pathlib import Path

import pytest

from fakes.mini_server import GOOD_TOKEN, ThreadedServer, threaded_server, tone
from fakes.sound_device import SoundDevice
from greenroom.cli import main
from greenroom.client import WavWriter, read_wav
from greenroom.commandline.voice import WavFile
from greenroom.values import Audio

Captured = pytest.CaptureFixture[str]


def test_the_answer_is_printed_and_its_voice_written(server: ThreadedServer, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "voice.wav"
    assert main(["say", "Hello", "--out", str(out), "--url", server.url]) == 0
    told = capsys.readouterr()
    assert told.out == "You said: Hello Fine.\n"
    assert str(out) in told.err
    assert read_wav(out) == Audio(b"".join(tone(40, number) for number in range(4)), 16000)


def test_without_a_sound_device_the_voice_goes_to_a_file(
    server: ThreadedServer, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["say", "Hello", "--url", server.url]) == 0
    assert "pip install sounddevice" in capsys.readouterr().err
    assert read_wav(tmp_path / "answer.wav").duration_ms == 160


@pytest.mark.parametrize(("device", "why"), [(SoundDevice(there=False), "no sound output")])
def test_a_machine_without_output(
    device: SoundDevice, why: str, server: ThreadedServer, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    assert main(["say", "Hello", "--url", server.url]) == 0
    assert why in capsys.readouterr().err


def test_a_device_that_refuses_the_voice(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", SoundDevice(refuses=True))
    assert main(["say", "Hello", "--url", server.url]) == 1
    assert "--out" in capsys.readouterr().err


def test_text_only(server: ThreadedServer, tmp_path: Path, capsys: Captured) -> None:
    assert main(["say", "Hello", "--no-voice", "--url", server.url]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("You said: Hello Fine.\n", "")
    assert not (tmp_path / "answer.wav").exists()


def test_a_question_by_voice(server: ThreadedServer, tmp_path: Path, capsys: Captured) -> None:
    question = tmp_path / "question.wav"
    with question.open("wb") as file, WavWriter(file) as writer:
        writer.write(Audio(tone(100), 16000))
    assert main(["say", "--audio", str(question), "--no-voice", "--url", server.url]) == 0
    told = capsys.readouterr()
    assert "heard: 3200 bytes of sound" in told.err
    assert told.out == "You said: 3200 bytes of sound Fine.\n"


def test_a_question_from_a_pipe(server: ThreadedServer, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Grüße\n"))
    assert main(["say", "-", "--no-voice", "--url", server.url]) == 0
    assert capsys.readouterr().out == "You said: Grüße Fine.\n"


@pytest.mark.parametrize("arguments", [[], ["Hello", "--audio", "q.wav"], ["", "--no-voice"]])
def test_neither_or_both_questions(arguments: list[str], tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "q.wav").write_bytes(b"")
    assert main(["say", *arguments]) == 1
    assert "--audio question.wav" in capsys.readouterr().err


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: Captured) -> None:
    assert main(["say", "Hello", "--out", str(tmp_path / "no" / "a.wav")]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_a_file_that_cannot_be_written(server: ThreadedServer, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "a.wav").mkdir()
    assert main(["say", "Hello", "--out", str(tmp_path / "a.wav"), "--url", server.url]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_what_is_no_sound_file(server: ThreadedServer, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "q.wav").write_text("no sound")
    assert main(["say", "--audio", "q.wav", "--url", server.url]) == 1
    assert "16 bit PCM" in capsys.readouterr().err


def test_choosing_who_answers(server: ThreadedServer, capsys: Captured) -> None:
    assert main(["say", "Hello", "--no-voice", "-p", "english/tests/fake", "--url", server.url]) == 0
    assert main(["say", "Hello", "--no-voice", "-p", "nobody", "--url", server.url]) == 1
    assert capsys.readouterr().err == "greenroom: there is no personality 'nobody'\n"


def test_a_failed_answer(server: ThreadedServer, capsys: Captured) -> None:
    server.server.fail_with = {"code": "binding_failed", "type": "unknown", "reason": "the backend is down"}
    assert main(["say", "Hello", "--no-voice", "--url", server.url]) == 1
    assert capsys.readouterr().err == "greenroom: the backend is down\n"


def test_a_token_by_option_and_by_environment(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with threaded_server(token=GOOD_TOKEN) as server:
        assert main(["say", "Hello", "--no-voice", "--token", GOOD_TOKEN, "--url", server.url]) == 0
        assert main(["say", "Hello", "--no-voice", "--url", server.url]) == 1
        assert "opens nothing" in capsys.readouterr().err
        monkeypatch.setenv("GREENROOM_TOKEN", GOOD_TOKEN)
        assert main(["say", "Hello", "--no-voice", "--url", server.url]) == 0


def test_words_do_not_steer_the_terminal(server: ThreadedServer, capsys: Captured) -> None:
    assert main(["say", "\x1b[2Jclear\x07", "--no-voice", "--url", server.url]) == 0
    assert capsys.readouterr().out == "You said: [2Jclear Fine.\n"


def test_ctrl_c_interrupts_the_character_and_the_file_is_whole(
    server: ThreadedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    server.hold()
    written: list[Audio] = []
    write = WavFile.play

    def play(self: WavFile, audio: Audio) -> None:
        write(self, audio)
        written.append(audio)
        if len(written) == 2:
            _thread.interrupt_main()

    monkeypatch.setattr(WavFile, "play", play)
    assert main(["say", "Hello", "--url", server.url]) == 130
    assert capsys.readouterr().out == "You said: \n"
    assert read_wav(tmp_path / "answer.wav").pcm == tone(40, 0) + tone(40, 1)
    assert [name for name, _ in server.server.seen].count("interrupt") == 1
