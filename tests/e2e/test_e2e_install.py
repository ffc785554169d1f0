"""Installing over the wire: the owner's, told to its caller alone, beside everything else."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from e2e.conftest import QUICK, make_home
from e2e.visitor import ACKNOWLEDGED, visitor
from fakes.server_process import ServerProcess, running_server
from fakes.toy_packages import Door, make_binding, make_source, make_wheel, offline, toy_door

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER, BAND = "the owner's", "the band's"
TOKENS = "server: {tokens: [{name: band, env: BAND_TOKEN, role: performer}]}\n"


@dataclass
class Workshop:
    server: ServerProcess
    door: Door

    def environments(self, binding: str) -> list[Path]:
        return [path for path in self.server.home.glob(f"environments/{binding}-*") if path.is_dir()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workshop(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Workshop, None]:
    folder = tmp_path_factory.mktemp("workshop")
    wheels = folder / "wheels"
    make_wheel(wheels, "toy", "1.0")
    make_source(wheels)
    home = make_home(folder / "home", QUICK + TOKENS)
    make_binding(home, "parrot", "toy\n", imports=("toy",))
    make_binding(home, "crow", "toy==7\n")
    make_binding(home, "snail", "slow-toy\n")
    async with toy_door() as door:
        variables = offline(wheels, **door.variables(), BAND_TOKEN=BAND, GREENROOM_TOKEN=OWNER)
        async with running_server(home, env=variables) as server:
            yield Workshop(server, door)


async def test_from_0_to_100_to_the_caller_alone(workshop: Workshop, den: str) -> None:
    url = workshop.server.url
    async with visitor(url, session=den, token=OWNER) as ana, visitor(url, session=den, token=OWNER) as ben:
        answer = await ana.ask("install_binding", {"name": "parrot"})
        assert answer["success"] is True and answer["status"] is True, answer
        await ana.seen(lambda each: each.name == "install_progress" and each.data["progress"] == 100)
        told = [each.data for each in ana.told if each.name == "install_progress"]
        assert told[-1] == answer
        assert told[0]["progress"] == 0 and told[0]["phase"] == "preparing"
        assert all(before["progress"] <= after["progress"] for before, after in pairwise(told))
        assert [each["n"] for each in told] == list(range(1, len(told) + 1))
        assert len({each["request_id"] for each in told}) == 1
        for each in told:
            assert each["status"] is True and each["error"] == ""
            assert each["binding_folder"] == each["binding_name"] == "parrot"
            assert each["total_size"] >= each["downloaded_size"] >= 0 and each["speed"] >= 0
            assert len(each["start_time"]) == len("2023-07-31 18:05:09")
        (environment,) = workshop.environments("parrot")
        assert (environment / "environment.json").is_file()

        again = await ana.ask("install_binding", {"name": "parrot"})
        assert (again["success"], again["progress"]) == (True, 100)
        removed = await ana.ask("uninstall_binding", {"name": "parrot"})
        assert (removed["success"], removed["removed"]) == (True, True)
        assert workshop.environments("parrot") == []
        assert not [each for each in ben.told if each.name == "install_progress"]


async def test_what_fails(workshop: Workshop, den: str) -> None:
    async with visitor(workshop.server.url, session=den, token=OWNER) as ana:
        answer = await ana.ask("install_binding", {"name": "crow"})
        assert (answer["success"], answer["status"], answer["code"]) == (False, False, "binding_failed")
        assert "toy==7" in answer["error"] and "What to do:" in answer["error"]
        await ana.seen(lambda each: each.name == "install_progress" and each.data["status"] is False)
        ends = [each.data for each in ana.told if each.name == "install_progress" and not each.data["status"]]
        assert len(ends) == 1 and ends[0]["error"] == answer["error"]
        for name in ("penguin", "../parrot", "parrot/../parrot"):
            for event in ("install_binding", "uninstall_binding"):
                assert (await ana.ask(event, {"name": name}))["code"] == "not_found"
        nothing = await ana.ask("install_binding", {"name": "scripted"})
        assert (nothing["success"], nothing["progress"]) == (True, 100)


async def test_only_the_owner(workshop: Workshop, den: str) -> None:
    async with visitor(workshop.server.url, session=den, token=BAND) as ben:
        for event in ("install_binding", "uninstall_binding"):
            assert (await ben.ask(event, {"name": "parrot"}))["code"] == "forbidden"
    assert workshop.environments("parrot") == []


async def test_nothing_waits_for_it_and_uninstalling_stops_it(workshop: Workshop, den: str) -> None:
    workshop.door.knocked.clear()
    workshop.door.left.clear()
    async with visitor(workshop.server.url, session=den, token=OWNER) as ana, asyncio.timeout(60):
        installing = asyncio.create_task(ana.ask("install_binding", {"name": "snail"}))
        await workshop.door.knocked.wait()
        assert (await ana.ask("session_state"))["success"] is True
        refused = await ana.ask("install_binding", {"name": "snail"})
        assert refused["code"] == "conflict" and "wait until that is done" in refused["error"]
        removed = await ana.ask("uninstall_binding", {"name": "snail"})
        assert removed["success"] is True
        stopped = await installing
        assert (stopped["success"], stopped["code"]) == (False, "cancelled")
        await workshop.door.left.wait()
        assert len([each for each in ana.told if each.name == ACKNOWLEDGED]) == 4
    assert workshop.environments("snail") == []


async def test_a_server_that_stops_takes_the_installer_with_it(tmp_path: Path) -> None:
    make_source(tmp_path / "wheels")
    home = make_home(tmp_path / "home", QUICK)
    make_binding(home, "snail", "slow-toy\n")
    async with (
        asyncio.timeout(60),
        toy_door() as door,
        running_server(home, env=offline(tmp_path / "wheels", **door.variables())) as server,
    ):
        async with visitor(server.url) as ana:
            await ana.tell("install_binding", {"name": "snail"})
            await door.knocked.wait()
            assert await server.stop() == 0
        await door.left.wait()
        assert "Traceback" not in server.logged()
    assert not list(home.glob("environments/*/environment.json"))


async def test_it_ends_with_its_caller(workshop: Workshop, den: str) -> None:
    workshop.door.knocked.clear()
    workshop.door.left.clear()
    async with asyncio.timeout(60):
        async with visitor(workshop.server.url, session=den, token=OWNER) as ana:
            await ana.tell("install_binding", {"name": "snail"})
            await workshop.door.knocked.wait()
        await workshop.door.left.wait()
        workshop.door.open.set()
        async with visitor(workshop.server.url, session=den, token=OWNER) as ana:
            answer = await ana.ask("install_binding", {"name": "snail"})
            while answer.get("code") == "conflict":  # the first is just being cleared away
                answer = await ana.ask("install_binding", {"name": "snail"})
            assert answer["success"] is True, answer
    assert len(workshop.environments("snail")) == 1
