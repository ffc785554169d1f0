"""Models that take seconds to make: made once for each version of their recipe, and shared by every test process."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_LOCK_PATIENCE_S = 120.0


def made_once(module: str, what: str, suffix: str = "") -> Path:
    """The file or folder that ``python -m <module> <path> <what>`` makes, if this machine has none of this version yet.

    A child makes it, so that torch stays out of the test's own process, with one thread: two that wait for each other
    are slower.
    """
    recipe = Path(__file__).parents[1] / Path(*module.split(".")).with_suffix(".py")
    version = hashlib.sha256(recipe.read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"greenroom-tests-{_user()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{recipe.stem}-{what}-{version}"
    path = folder / (name + suffix)
    if not path.exists():
        with _only_one(folder / f"{name}.lock"):
            if not path.exists():
                partial = folder / f"{name}.{os.getpid()}.partial"
                _make_in_a_child(module, partial, what)
                partial.replace(path)
    return path


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """One process makes it while the others wait; a lock that a killed process left behind is taken over."""
    give_up = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            lock.open("x").close()
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > _LOCK_PATIENCE_S or time.monotonic() > give_up:
                    lock.unlink()
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _make_in_a_child(module: str, path: Path, what: str) -> None:
    tests = str(Path(__file__).parents[1])
    if path.is_dir():
        shutil.rmtree(path)
    subprocess.run(
        [sys.executable, "-m", module, str(path), what],
        check=True,
        env=os.environ | {"PYTHONPATH": tests, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
