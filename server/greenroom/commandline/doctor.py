"""``greenroom doctor``: what works on this machine, and what to do about what does not."""

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit

from greenroom import __version__
from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.environments import Environments, State
from greenroom.client import connect
from greenroom.commandline.console import Console
from greenroom.commandline.exposure import exposure
from greenroom.commandline.finding import Finding, Status
from greenroom.commandline.local import Local, find_local
from greenroom.commandline.model_findings import models
from greenroom.commandline.voice import sound_output
from greenroom.errors import GreenroomError, Unauthorized

OLDEST_PYTHON = (3, 11)


def diagnose(
    console: Console, *, home: Path | None = None, config: Path | None = None, token: str | None = None
) -> int:
    """-> 1 if something essential does not work. :raises GreenroomError: if there is not even a home folder."""
    local = find_local(home, config)
    findings = [
        *_installation(),
        *_folders(local),
        *_server(local, token),
        *exposure(local, token),
        *_backends(local),
        *_sound(),
    ]
    console.table(
        "greenroom doctor", ("what", "", "finding"), [(one.what, one.status, one.sentence) for one in findings]
    )
    failed = sum(one.status is Status.FAILED for one in findings)
    console.note(f"{failed} of {len(findings)} do not work" if failed else "everything essential works")
    return 1 if failed else 0


def _installation() -> Iterator[Finding]:
    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= OLDEST_PYTHON:
        yield Finding("python", Status.OK, f"{running} at {sys.executable}")
    else:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("python", Status.FAILED, f"{running} is too old; install Python {wanted} or newer")
    missing = _missing_packages()
    if missing:
        names = " ".join(missing)
        yield Finding("packages", Status.FAILED, f"missing: {names}; mend with: pip install -U greenroom")
    else:
        yield Finding("packages", Status.OK, f"greenroom {__version__} has all it needs")


def _missing_packages() -> list[str]:
    """What greenroom requires and is not installed; a source tree that is not installed can name nothing."""
    try:
        required = requires("greenroom") or []
    except PackageNotFoundError:
        return []
    names = [_name_of(line) for line in required if "extra ==" not in line]
    return [name for name in names if not _installed(name)]


def _name_of(requirement: str) -> str:
    name = ""
    for letter in requirement:
        if not (letter.isalnum() or letter in "-_."):
            break
        name += letter
    return name


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


# Home, configuration, database


def _folders(local: Local) -> Iterator[Finding]:
    yield _home(local.home.root)
    read = local.loaded.path if local.loaded is not None else None
    source = read or "no config.yaml; the defaults apply"
    if local.problem:
        yield Finding("configuration", Status.FAILED, local.problem)
    else:
        yield Finding("configuration", Status.OK, str(source))
    for note in local.notes:
        yield Finding("configuration", Status.NOTE, note)
    yield _database(local)


def _home(root: Path) -> Finding:
    folder = next((one for one in (root, *root.parents) if one.is_dir()), root)
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        mend = "choose another folder with --home or GREENROOM_HOME"
        return Finding("home", Status.FAILED, f"{root} cannot be written: {reason}; {mend}")
    return Finding("home", Status.OK, str(root) if root.is_dir() else f"{root} (made when it is needed)")


def _database(local: Local) -> Finding:
    if local.config.store.url:
        scheme = urlsplit(local.config.store.url).scheme
        return Finding("database", Status.NOTE, f"a {scheme} server keeps the conversations; it is not looked at here")
    path = local.home.database
    if not path.exists():
        return Finding("database", Status.OK, f"{path} is made with the first conversation")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)
        try:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        return Finding("database", Status.NOTE, f"{path} cannot be looked at now: {error}")
    except sqlite3.DatabaseError as error:
        return Finding("database", Status.FAILED, f"{path} is damaged: {error}; {_MEND_DATABASE}")
    if verdict != "ok":
        return Finding("database", Status.FAILED, f"{path} is damaged: {verdict}; {_MEND_DATABASE}")
    size = path.stat().st_size / 1_000_000
    return Finding("database", Status.OK, f"{path} ({size:.1f} MB, {tables} tables)")


_MEND_DATABASE = "move it away to begin anew, or put a copy of yours back"


# The server


def _server(local: Local, token: str | None) -> Iterator[Finding]:
    yield asyncio.run(_knock(local, token or local.secrets.get("GREENROOM_TOKEN")))


async def _knock(local: Local, token: str | None) -> Finding:
    url = local.url
    try:
        certificate = local.home.tls / "cert.pem" if local.config.server.tls == "auto" else None
        known = certificate if certificate is not None and certificate.is_file() else None
        async with connect(url, token=token, away_limit_s=0, connect_timeout_s=3, certificate=known) as room:
            server = room.joined.server
            return Finding("server", Status.OK, f"{server.get('name')} {server.get('version')} answers at {url}")
    except Unauthorized:
        return Finding("server", Status.OK, f"a Greenroom answers at {url}; it wants a token (--token)")
    except GreenroomError as error:
        if error.kind == "unreachable":
            return await _port_free(url)
        mend = "stop it, or choose another port with --port"
        return Finding("server", Status.FAILED, f"the port is taken: {error.message}; {mend}")


async def _port_free(url: str) -> Finding:
    parts = urlsplit(url)
    try:
        listening = await asyncio.start_server(lambda _reader, writer: writer.close(), parts.hostname, parts.port)
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding("server", Status.FAILED, f"{url} cannot be used: {reason}; choose another port with --port")
    listening.close()
    return Finding("server", Status.OK, f"not running; {url} is free; start it with: greenroom serve")


# Backends


def _backends(local: Local) -> Iterator[Finding]:
    wanted = {entry.id for entry in local.config.operations}
    found = local.bindings().all()
    for binding_id in sorted(wanted - found.keys()):
        known = ", ".join(found) or "none"
        sentence = f"the configuration names it, but there is no such binding; known: {known}"
        yield Finding(f"binding {binding_id}", Status.FAILED, sentence)
    environments = Environments(local.home)
    for binding_id, binding in found.items():
        yield _backend(binding_id, binding, needed=binding_id in wanted)
        yield from _environment(binding, environments)
    yield from models(local, found)
    yield _speech()
    shelf = local.personalities()
    count, broken = len(shelf.all()), shelf.broken()
    yield Finding("personalities", Status.OK if count else Status.FAILED, f"{count} characters")
    for name, why in broken.items():
        yield Finding("personalities", Status.NOTE, f"{name} is left out: {why}")


def _backend(binding_id: str, binding: FoundBinding, *, needed: bool) -> Finding:
    name = f"binding {binding_id}"
    problem = binding.problem or (_does_not_load(binding) if needed else "")
    if problem:
        return Finding(name, Status.FAILED if needed else Status.NOTE, problem)
    use = "in use: " if needed else ""
    return Finding(name, Status.OK, f"{use}{', '.join(map(str, binding.card.roles))}")


def _environment(binding: FoundBinding, environments: Environments) -> Iterator[Finding]:
    """Of a binding that has one of its own. One that lacks it may still run inside the server."""
    name = f"environment of {binding.id}"
    if binding.error:
        return
    try:
        status = environments.status(binding)
    except GreenroomError as error:
        yield Finding(name, Status.NOTE, error.message)
        return
    if status.state is not State.NOT_NEEDED:
        yield Finding(name, Status.OK if status.state is State.READY else Status.NOTE, status.sentence)


def _does_not_load(binding: FoundBinding) -> str:
    try:
        binding.load()
    except GreenroomError as error:
        return error.message
    return ""


def _speech() -> Finding:
    """The default voice and ears."""
    missing = [name for name in ("espeakng_loader", "pocketsphinx") if find_spec(name) is None]
    if missing:
        names = " ".join(name.replace("_", "-") for name in missing)
        return Finding("speech", Status.NOTE, f"not installed; mend with: pip install {names}")
    return Finding("speech", Status.OK, "espeak-ng speaks, pocketsphinx listens")


def _sound() -> Iterator[Finding]:
    module, sentence = sound_output()
    if module is None:
        sentence += "; the server needs none, `greenroom say` writes a WAV file instead"
    yield Finding("sound", Status.NOTE if module is None else Status.OK, sentence)
