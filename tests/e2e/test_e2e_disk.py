"""A disk without room: said plainly, nothing lost that was announced, no restart needed once there is room again."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from e2e.conftest import QUICK, make_home
from e2e.promises import check_numbers, check_text
from e2e.test_e2e_start import refused
from e2e.visitor import Visitor, end_of, visitor
from fakes.server_process import running_server

LONG = "word " * 2000


class Disk:
    """The home's ``data`` folder, a small file system of its own where mounting one is permitted; else the server is
    not allowed to make any file larger than it is, which for it is much the same."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "data"
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(self.folder)]
        try:
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            self.mounted = False

    def fill(self, pid: int | None = None) -> None:
        if self.mounted:
            with (self.folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(4096))
        elif pid is not None:
            psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (4096, psutil.RLIM_INFINITY))
        else:
            self.folder.rmdir()
            self.folder.write_bytes(b"stands in the way")

    def make_room(self, pid: int | None = None) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)
        if pid is not None and not self.mounted:
            psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))

    def remove(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=True)


async def history(client: Visitor) -> list[str]:
    return [line["content"] for line in (await client.done("history_get", limit=1000))["lines"]]


if sys.platform == "linux":  # neither tmpfs nor limits on a running process are to be had elsewhere

    @pytest.fixture
    def disk(tmp_path: Path) -> Iterator[Disk]:
        small = Disk(make_home(tmp_path / "home", f"{QUICK}operations: [{{role: t2t, id: scripted}}]\n"))
        yield small
        small.remove()

    async def test_a_disk_that_fills_up(disk: Disk) -> None:
        home = disk.folder.parent
        async with running_server(home) as server, visitor(server.url, session="den") as ana:
            await ana.run("context_add", kind="chat", user="Ana", content="before")
            disk.fill(server.pid)
            reasons = []
            for number in range(400):
                answer = await ana.ask("context_add", {"kind": "chat", "user": "Ana", "content": f"{number} {LONG}"})
                if not answer["success"]:
                    reasons.append((answer["code"], answer["error"]))
                    break
                end = end_of(await ana.finished(answer["job_id"]))
                if not end["success"]:
                    reasons.append((end["error"]["code"], end["error"]["reason"]))
                    break
            (reason,) = reasons
            assert reason[0] == "unavailable" and "disk" in reason[1], reason
            announced = [line["content"] for line in ana.named("context_added")]
            assert await history(ana) == announced
            # What needs no room is still answered.
            assert (await ana.done("list_active_personalities"))["personalities"] == ["Robin"]
            disk.make_room(server.pid)
            check_text(await ana.run("response", text="say And on we go."))
            announced = [line["content"] for line in ana.named("context_added")]
            assert announced[-2:] == ["say And on we go.", "And on we go."]
            check_numbers(ana)
        async with running_server(home) as server, visitor(server.url, session="den") as ana:
            assert await history(ana) == announced

    async def test_a_disk_that_is_full_from_the_start(disk: Disk) -> None:
        disk.fill()
        said = await refused(disk.folder.parent)
        assert "room" in said or "full" in said or "in the way" in said
