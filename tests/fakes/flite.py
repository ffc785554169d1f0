"""Clear synthetic speech for recognisers, by the program flite (Debian and Ubuntu: ``apt-get install flite``)."""

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import pytest

from greenroom.values import Audio


def flite(text: str, voice: str = "slt") -> Audio:
    """What flite says: 16 bit mono at 16 kHz (``slt``, ``rms``, ``awb``, ``kal16``) or 8 kHz (``kal``)."""
    program = shutil.which("flite")
    if program is None:
        pytest.fail("this test needs the program flite; install it with: apt-get install flite")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run([program, "-voice", voice, "-t", text, "-o", str(path)], check=True, capture_output=True)
        with wave.open(str(path)) as sound:
            return Audio(sound.readframes(sound.getnframes()), sound.getframerate())


def word_errors(said: str, heard: str) -> int:
    """Words wrong, missing or too many: the edit distance of the two word lists."""
    reference, hypothesis = said.split(), heard.split()
    row = list(range(len(hypothesis) + 1))
    for count, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], count
        for index, other in enumerate(hypothesis, 1):
            diagonal, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, diagonal + (word != other))
    return row[-1]
