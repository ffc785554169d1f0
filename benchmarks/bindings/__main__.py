"""``python -m benchmarks.bindings [--home FOLDER] [--only NAME ...]``: which voice, which ear?

Every tts and stt binding that can be opened here (its package, weights and key are there) is measured with the options
of ``config.yaml``; the others are listed with what they lack.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.bindings.measuring import HEARD, PATIENCE_S, Measured, measure
from greenroom.commandline.local import Local, find_local
from greenroom.errors import GreenroomError
from greenroom.values import Audio, Role

ROLES = (Role.TTS, Role.STT)
HEADINGS: Mapping[Role, tuple[str, ...]] = {
    Role.TTS: ("voice", "first sound", "first call / tenth", "of real time", "memory", "load"),
    Role.STT: ("ear", "first word", "transcript after the end", "words wrong", "of real time", "memory", "load"),
}


def spoken() -> list[Audio]:
    """``HEARD`` as flite says it. :raises SystemExit: without flite."""
    if shutil.which("flite") is None:
        raise SystemExit("the ears are tested with the program flite; install it with: apt-get install flite")
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        for text in HEARD:
            subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True, capture_output=True)
            with wave.open(str(path)) as sound:
                made.append(Audio(sound.readframes(sound.getnframes()), sound.getframerate()))
    return made


def options_of(local: Local, role: Role, binding_id: str) -> dict[str, Any]:
    options = dict(local.config.bindings.get(binding_id, {}))
    for entry in local.config.operations:
        if entry.role is role and entry.id == binding_id:
            options |= entry.settings
    return options


def measured_here(local: Local, role: Role, binding_id: str, given: dict[str, Any]) -> Measured:
    speech = spoken() if role is Role.STT else []
    try:
        options = options_of(local, role, binding_id) | given
        return asyncio.run(measure(local, role, binding_id, options, speech))
    except GreenroomError as error:
        return Measured(binding_id, str(role), problem=error.message)


def measured_apart(arguments: argparse.Namespace, python: Path, role: Role, binding_id: str) -> Measured:
    command = [str(python), "-m", "benchmarks.bindings", "--one", str(role), binding_id]
    command += ["--home", str(arguments.home)] if arguments.home else []
    command += [part for option in arguments.option for part in ("--option", option)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return Measured(binding_id, str(role), problem=f"not done within {2 * PATIENCE_S} s")
    line = run.stdout.strip().splitlines()[-1:]
    if run.returncode or not line:
        last = run.stderr.strip().splitlines()[-1:]
        return Measured(binding_id, str(role), problem=f"ended with {run.returncode}: {''.join(last)}")
    return Measured(**json.loads(line[0]))


def row(found: Measured) -> tuple[str, ...]:
    memory, load = f"{found.memory_mib:.0f} MiB", f"{found.load_ms / 1000:.2f} s"
    if found.role == Role.TTS:
        first = (f"{found.first_ms:.1f} ms", f"{found.warm:.2f}", f"{found.realtime:.3f}")
        return (found.binding, *first, memory, load)
    word = f"{found.first_ms:.0f} ms" if found.first_ms else "at the end"
    share = (f"{found.final_ms:.0f} ms", f"{found.word_errors:.0%}", f"{found.realtime:.3f}")
    return (found.binding, word, *share, memory, load)


def table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown, aligned."""
    widths = [max(len(line[column]) for line in (headings, *rows)) for column in range(len(headings))]
    lines = [headings, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bindings", description=__doc__)
    parser.add_argument("--home", type=Path, help="folder with config.yaml, models/ and .env")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this binding; may be given again")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="an option beside those of config.yaml"
    )
    parser.add_argument("--one", nargs=2, metavar=("ROLE", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    local = find_local(arguments.home)
    if arguments.one:
        role, binding_id = Role(arguments.one[0]), arguments.one[1]
        extra = {name: yaml.safe_load(value) for name, _, value in (item.partition("=") for item in arguments.option)}
        print(json.dumps(measured_here(local, role, binding_id, extra).plain()))
        return 0
    from greenroom.bindings.environments import Environments

    environments = Environments(local.home)
    lacking: list[str] = []
    for role in ROLES:
        rows = []
        for binding_id, found in local.bindings_here().all().items():
            if role not in found.card.roles or (arguments.only and binding_id not in arguments.only):
                continue
            python = environments.python_for(found) or Path(sys.executable)
            result = measured_apart(arguments, python, role, binding_id)
            if result.problem:
                lacking.append(f"{role} {binding_id}: {result.problem}")
            else:
                rows.append(row(result))
        if rows:
            print(table(HEADINGS[role], rows), end="\n\n", flush=True)
    if lacking:
        print("not measured:", *lacking, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
