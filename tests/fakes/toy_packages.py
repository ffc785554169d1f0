"""Tiny packages in a folder that stands for an index, and one whose building waits until the test lets it go on."""

import asyncio
import os
import tarfile
import zipfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

DOOR_VARIABLE = "TOY_DOOR"

_BACKEND = """
import os, socket, zipfile

INFO = "slow_toy-1.0.dist-info"
FILES = {
    "slow_toy.py": "VERSION = '1.0'\\n",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: slow-toy\\nVersion: 1.0\\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nGenerator: toy\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.makedirs(os.path.join(folder, INFO), exist_ok=True)
    for name, text in FILES.items():
        if name.startswith(INFO):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
    return INFO

def build_wheel(folder, config_settings=None, metadata_directory=None):
    with socket.create_connection(("127.0.0.1", int(os.environ["TOY_DOOR"]))) as door:
        if door.recv(2) != b"go":
            raise RuntimeError("the door was shut")
    with zipfile.ZipFile(os.path.join(folder, "slow_toy-1.0-py3-none-any.whl"), "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{INFO}/RECORD", "".join(f"{name},,\\n" for name in FILES))
    return "slow_toy-1.0-py3-none-any.whl"
"""
_PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def make_wheel(folder: Path, name: str, version: str, *, requires: tuple[str, ...] = (), size: int = 0) -> Path:
    """A wheel with one module, which knows its ``VERSION``; ``size`` bytes of ballast."""
    folder.mkdir(parents=True, exist_ok=True)
    information = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{information}/METADATA": "\n".join(
            [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                f"Version: {version}",
                *(f"Requires-Dist: {r}" for r in requires),
            ]
        )
        + "\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if size:
        files[f"{name}_ballast.txt"] = "x" * size
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{information}/RECORD", "".join(f"{file},,\n" for file in files))
    return path


def make_source(folder: Path, backend: str = _BACKEND, name: str = "slow_toy") -> Path:
    """A source distribution with a build backend of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in (
            ("pyproject.toml", _PROJECT),
            ("backend.py", backend),
            ("PKG-INFO", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"),
        ):
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text)
            archive.addfile(member, BytesIO(text.encode()))
    return path


def make_binding(
    home: Path,
    name: str,
    requirements: str,
    *,
    imports: tuple[str, ...] = (),
    in_card: bool = False,
    alone: tuple[str, ...] = (),
) -> Path:
    """A binding in a home that only asks for packages."""
    folder = home / "bindings" / name
    folder.mkdir(parents=True, exist_ok=True)
    card = f"name: {name}\nroles: [t2t]\nimports: [{', '.join(imports)}]\nrequirements_no_deps: {list(alone)}\n"
    if in_card:
        card += f"requirements: [{requirements!r}]\n"
    else:
        (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    (folder / "binding_card.yaml").write_text(card, encoding="utf-8")
    return folder


def offline(wheels: Path, **more: str) -> dict[str, str]:
    """The process's environment as of a user who takes packages from that folder alone."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("PIP_", "UV_"))}
    return {
        **kept,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": wheels.as_uri(),
        "PIP_CACHE_DIR": str(wheels.parent / "cache"),
        "PIP_NO_COMPILE": "1",
        "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheels),
        "UV_CACHE_DIR": str(wheels.parent / "uv-cache"),
        "UV_LINK_MODE": "copy",
        **more,
    }


@dataclass
class Door:
    """Where the building of ``slow-toy`` knocks; it waits there until it is let in."""

    port: int = 0
    knocked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """who knocked is gone, without having been let in"""
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def variables(self) -> Mapping[str, str]:
        return {DOOR_VARIABLE: str(self.port)}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.knocked.set()
        leaving = asyncio.create_task(_end(reader))
        opening = asyncio.create_task(self.open.wait())
        await asyncio.wait({leaving, opening}, return_when=asyncio.FIRST_COMPLETED)
        if self.open.is_set():
            writer.write(b"go")
        else:
            self.left.set()
        for task in (leaving, opening):
            task.cancel()
        await asyncio.gather(leaving, opening, return_exceptions=True)
        writer.close()


async def _end(reader: asyncio.StreamReader) -> None:
    try:
        await reader.read()
    except ConnectionError:
        return


@asynccontextmanager
async def toy_door() -> AsyncGenerator[Door, None]:
    door = Door()
    server = await asyncio.start_server(door.answer, "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    async with server:
        yield door
