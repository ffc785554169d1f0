"""The weights of models over the wire: fetched, stopped, removed; and the voices that there are."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from e2e.conftest import QUICK, SCRIPTED, make_home
from e2e.visitor import Visitor, visitor
from fakes.download_server import Cut, DownloadServer, Hold, Status, sha256
from fakes.server_process import ServerProcess, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER, BAND = "the owner's", "the band's"
TOKENS = "server: {tokens: [{name: band, env: BAND_TOKEN, role: performer}]}\n"
CONFIG = QUICK + TOKENS + "operations: [{role: t2t, id: scripted}, {role: tts, id: espeak}]\n"
DATA = bytes(range(256)) * 4000
HUB_TOKEN = "hf_secret"  # noqa: S105 -- opens a fake only


def binary(server: DownloadServer, name: str) -> dict[str, Any]:
    url = server.put(f"files/{name}.bin", DATA)
    return {
        "name": name,
        "license": "MIT",
        "languages": ["en"],
        "files": [{"path": f"{name}.bin", "url": url, "size": len(DATA), "sha256": sha256(DATA)}],
    }


def lollms(server: DownloadServer, name: str) -> dict[str, Any]:
    server.put(f"files/{name}", DATA)
    return {"filename": name, "server": f"{server.url}/files", "SHA256": sha256(DATA), "file_size": len(DATA)}


@dataclass
class Warehouse:
    server: ServerProcess
    files: DownloadServer

    def model(self, path: str) -> Path:
        return self.server.home / "models" / "parrot" / path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def warehouse(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Warehouse, None]:
    home = make_home(tmp_path_factory.mktemp("warehouse") / "home", CONFIG)
    async with DownloadServer() as files:
        shutil.copytree(SCRIPTED, home / "bindings" / "parrot", ignore=shutil.ignore_patterns("__pycache__"))
        files.publish("owner/tiny", {"config.json": b"{}", "m.bin": DATA}, large=("m.bin",), token=HUB_TOKEN)
        entries = [
            *(binary(files, name) for name in ("amy", "ben", "cleo", "dan")),
            {"name": "tiny", "hub": "owner/tiny", "description": "from the hub"},
            lollms(files, "old.ggml.bin"),
            {"name": "bad", "files": [{"path": "../x", "url": "https://example.org/x"}]},
            {"name": "cloud", "type": "api"},
        ]
        (home / "bindings" / "parrot" / "models.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")
        variables = {"BAND_TOKEN": BAND, "GREENROOM_TOKEN": OWNER, "HF_ENDPOINT": files.url, "HF_TOKEN": HUB_TOKEN}
        async with running_server(home, env=variables) as server:
            yield Warehouse(server, files)


def news(client: Visitor) -> list[dict[str, Any]]:
    return client.named("install_progress")


async def listed(client: Visitor) -> dict[str, dict[str, Any]]:
    answer = await client.done("list_available_models", binding="parrot")
    return {one["name"]: one for one in answer["available_models"]}


async def test_from_0_to_100_to_the_caller_alone(warehouse: Warehouse, den: str) -> None:
    url = warehouse.server.url
    async with visitor(url, session=den, token=OWNER) as ana, visitor(url, session=den, token=OWNER) as ben:
        before = (await listed(ana))["amy"]
        assert (before["isInstalled"], before["filesize"], before["license"]) == (False, len(DATA), "MIT")
        assert before["install"] == [{"name": "amy", "size": len(DATA), "state": "missing"}]
        answer = await ana.done("install_model", binding="parrot", name="amy")
        await ana.seen(lambda each: each.name == "install_progress" and each.data["progress"] == 100)
        told = news(ana)
        assert told[-1] == answer
        assert (told[0]["progress"], told[0]["phase"], told[-1]["phase"]) == (0, "preparing", "done")
        assert all(first["progress"] <= second["progress"] for first, second in pairwise(told))
        assert [each["n"] for each in told] == list(range(1, len(told) + 1))
        assert len({each["request_id"] for each in told}) == 1
        for each in told:
            assert (each["status"], each["error"]) == (True, "")
            assert (each["binding_name"], each["binding_folder"], each["model_name"]) == ("parrot", "parrot", "amy")
            assert each["model_url"] == f"{warehouse.files.url}/files/amy.bin"
            assert each["total_size"] >= each["downloaded_size"] >= 0 and each["speed"] >= 0
        assert answer["total_size"] == answer["downloaded_size"] == len(DATA)
        assert warehouse.model("amy.bin").read_bytes() == DATA
        assert (await listed(ana))["amy"]["isInstalled"] is True

        asked = len(warehouse.files.asked("files/amy.bin"))
        assert (await ana.done("install_model", binding="parrot", name="amy"))["progress"] == 100
        assert len(warehouse.files.asked("files/amy.bin")) == asked
        removed = await ana.done("uninstall_model", binding="parrot", name="amy")
        assert (removed["status"], removed["removed"], removed["model_name"]) == (True, True, "amy")
        assert not warehouse.model("amy.bin").exists()
        assert (await ana.done("uninstall_model", binding="parrot", name="amy"))["removed"] is False
        assert (await listed(ana))["amy"]["isInstalled"] is False
        assert news(ben) == []


async def test_from_the_hub(warehouse: Warehouse, den: str) -> None:
    async with visitor(warehouse.server.url, session=den, token=OWNER) as ana:
        answer = await ana.done("install_model", name="tiny", binding="parrot")
        assert answer["model_url"] == "owner/tiny"
        assert warehouse.model("owner/tiny/m.bin").read_bytes() == DATA
        entry = (await listed(ana))["tiny"]
        assert entry["isInstalled"] and entry["install"][0]["size"] == len(DATA) + 2
        assert HUB_TOKEN not in warehouse.server.logged()


async def test_as_lollms_asks_for_it(warehouse: Warehouse, den: str) -> None:
    path = f"{warehouse.files.url}/files/old.ggml.bin"
    async with visitor(warehouse.server.url, token=OWNER) as page:
        assert (await listed(page))["old.ggml.bin"]["path"] == path
        answer = await page.ask("install_model", {"path": path, "type": "ggml", "client": "x"})
        assert answer["success"] is True and answer["model_name"] == "old.ggml.bin", answer
        assert warehouse.model("old.ggml.bin").read_bytes() == DATA
        assert (await page.ask("uninstall_model", {"path": path}))["removed"] is True
        # an address that no card names is never asked for anything
        warehouse.files.put("secret", DATA)
        refused = await page.ask("install_model", {"path": f"{warehouse.files.url}/secret"})
        assert (refused["success"], refused["status"], refused["code"]) == (False, False, "not_found")
        assert warehouse.files.asked("secret") == []
        last = await page.next("install_progress", status=False)
        assert last["error"] == refused["error"] and last["path"].endswith("/secret")


async def test_what_fails(warehouse: Warehouse, den: str) -> None:
    warehouse.files.faults("files/ben.bin", Status(404))
    async with visitor(warehouse.server.url, session=den, token=OWNER) as ana:
        refused = await ana.refused("install_model", binding="parrot", name="ben")
        assert (refused["status"], refused["code"], refused["name"]) == (False, "binding_failed", "ben")
        assert "has no such file" in refused["error"]
        assert (await ana.next("install_progress", status=False))["error"] == refused["error"]
        for name, code in (
            ("bad", "bad_request"),
            ("cloud", "bad_request"),
            ("../amy", "not_found"),
            ("x", "not_found"),
        ):
            for event in ("install_model", "uninstall_model", "cancel_install"):
                assert (await ana.refused(event, binding="parrot", name=name))["code"] == code
        assert (await ana.refused("install_model", binding="nobody", name="amy"))["code"] == "not_found"
        assert "files.0.path" in (await listed(ana))["bad"]["error"]
        assert (await ana.refused("cancel_install", binding="parrot", name="ben"))["code"] == "not_found"


async def test_only_the_owner(warehouse: Warehouse, den: str) -> None:
    async with visitor(warehouse.server.url, session=den, token=BAND) as ben:
        for event in ("install_model", "uninstall_model", "cancel_install"):
            assert (await ben.refused(event, binding="parrot", name="amy"))["code"] == "forbidden"
    assert not warehouse.model("amy.bin").exists()


async def test_nothing_waits_for_it_and_anybody_of_the_owners_can_stop_it(warehouse: Warehouse, den: str) -> None:
    files, url = warehouse.files, warehouse.server.url
    files.faults("files/cleo.bin", Cut(len(DATA) // 2), Hold(0))
    files.held.clear()
    files.left.clear()
    async with visitor(url, session=den, token=OWNER) as ana, visitor(url, token=OWNER) as ben, asyncio.timeout(60):
        installing = asyncio.create_task(ana.ask("install_model", {"binding": "parrot", "name": "cleo"}))
        await files.held.wait()
        assert (await ana.ask("session_state"))["success"] is True
        refused = await ana.refused("install_model", binding="parrot", name="cleo")
        assert refused["code"] == "conflict" and "wait until that is done" in refused["error"]
        stopped = await ben.ask("cancel_install", {"model_name": "cleo", "binding_folder": "parrot", "model_url": "x"})
        assert stopped["success"] is True, stopped
        answer = await installing
        assert (answer["success"], answer["code"]) == (False, "cancelled")
        assert "is kept for the next time" in answer["error"]
        await files.left.wait()
        assert (await listed(ana))["cleo"]["install"][0]["state"] == "partial"
        done = await ana.done("install_model", binding="parrot", name="cleo")
        assert done["progress"] == 100
        assert files.asked("files/cleo.bin")[-1].headers["range"] == f"bytes={len(DATA) // 2}-"


async def test_it_ends_with_its_caller_and_goes_on_after_a_restart(warehouse: Warehouse, den: str) -> None:
    files = warehouse.files
    files.faults("files/dan.bin", Cut(len(DATA) // 2), Hold(0))
    files.held.clear()
    files.left.clear()
    async with asyncio.timeout(60):
        async with visitor(warehouse.server.url, session=den, token=OWNER) as ana:
            await ana.tell("install_model", {"binding": "parrot", "name": "dan"})
            await files.held.wait()
        await files.left.wait()
        async with visitor(warehouse.server.url, session=den, token=OWNER) as ana:
            answer = await ana.ask("install_model", {"binding": "parrot", "name": "dan"})
            while answer.get("code") == "conflict":  # the first is just being cleared away
                answer = await ana.ask("install_model", {"binding": "parrot", "name": "dan"})
            assert answer["success"] is True, answer
    assert files.asked("files/dan.bin")[-1].headers["range"] == f"bytes={len(DATA) // 2}-"
    assert warehouse.model("dan.bin").read_bytes() == DATA


async def test_one_that_is_in_use_stays(warehouse: Warehouse, den: str) -> None:
    async with visitor(warehouse.server.url, session=den, token=OWNER) as ana:
        await ana.done("install_model", binding="parrot", name="ben")
        await ana.done("select_binding", binding_name="parrot")
        refused = await ana.refused("uninstall_model", name="ben")
        assert refused["code"] == "conflict" and "operation_unload" in refused["error"]
        assert warehouse.model("ben.bin").exists()
        await ana.done("select_binding", binding_name="eliza")
        assert (await ana.done("uninstall_model", name="ben"))["removed"] is True


async def test_voices(warehouse: Warehouse, den: str) -> None:
    async with (
        visitor(warehouse.server.url, session=den, token=BAND) as ben,
        visitor(warehouse.server.url, session=den, token=BAND, role="viewer") as eve,
    ):
        answer = await ben.done("list_voices")
        assert answer["binding"] == "espeak" and len(answer["voices"]) > 50
        assert set(answer["voices"][0]) == {"id", "name", "language", "gender"}
        assert (await ben.next("voices_list"))["voices"] == answer["voices"]
        assert (await ben.done("list_voices", binding="scripted"))["binding"] == "scripted"
        assert (await ben.refused("list_voices", binding="eliza"))["code"] == "not_found"
        assert (await ben.refused("list_voices", binding="nobody"))["code"] == "not_found"
        assert (await eve.refused("list_voices"))["code"] == "forbidden"
