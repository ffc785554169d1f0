"""The HTTP side: health, metrics, pictures, the landing page, and what it refuses."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from fakes.running_door import RunningDoor, running_door
from greenroom.doors.web.assets import DEFAULT_LOGO, find_file

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 20


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for folder in ("personality/assets", "eliza", "plain"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "personality/assets/logo.png").write_bytes(PNG)
    (tmp_path / "personality/assets/notes.txt").write_text("not media")
    (tmp_path / "personality/assets/sub.png").mkdir()
    (tmp_path / "personality/config.png").write_bytes(b"outside of assets")
    (tmp_path / "eliza/logo.webp").write_bytes(b"RIFFxxxxWEBP")
    (tmp_path / "secret.png").write_bytes(b"outside")
    return tmp_path


@pytest.fixture
async def server(folders: Path) -> AsyncIterator[RunningDoor]:
    async with running_door(folders=folders) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_health(server: RunningDoor, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/health") as answer:
        assert answer.status == 200
        found = await answer.json()
        assert found["status"] == "ok" and found["version"]
        assert found["sessions"] == 0
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_metrics(server: RunningDoor, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/metrics") as answer:
        text = await answer.text()
        assert "greenroom_clients 0.0" in text
        assert "greenroom_events_sent_total" in text


async def test_landing_page(server: RunningDoor, http: aiohttp.ClientSession) -> None:
    async with http.get(server.url) as answer:
        text = await answer.text()
        assert answer.content_type == "text/html"
        assert server.url in text and "greenroom say" in text


async def test_pictures(server: RunningDoor, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/personalities/english/tests/c%23%20&%20co/assets/logo.png") as answer:
        assert await answer.read() == PNG
        assert answer.content_type == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
    async with http.get(f"{server.url}/bindings/eliza/logo.png") as answer:
        assert answer.content_type == "image/webp"
    for path in ("/bindings/plain/logo.png", "/images/default_model.png"):
        async with http.get(server.url + path) as answer:
            assert await answer.read() == DEFAULT_LOGO.read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/personalities/english/tests/nobody/assets/logo.png",
        "/personalities/english/tests/c%23%20&%20co/assets/notes.txt",
        "/personalities/english/tests/c%23%20&%20co/assets/sub.png",
        "/personalities/english/tests/c%23%20&%20co/assets/none.png",
        "/personalities/english/tests/c%23%20&%20co/assets/..%2Fconfig.png",
        "/personalities/english/tests/c%23%20&%20co/assets/..%5Cconfig.png",
        "/personalities/english/tests/c%23%20&%20co/assets/%2e%2e%2f%2e%2e%2fsecret.png",
        "/personalities/english/tests/c%23%20&%20co/assets/logo.png%00.png",
        "/bindings/..%2f..%2fsecret/logo.png",
        "/bindings/nobody/logo.png",
        "/images/other.png",
    ],
)
async def test_unknown_paths_are_a_404_in_json(server: RunningDoor, http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(URL(server.url + path, encoded=True)) as answer:
        assert answer.status == 404
        assert (await answer.json())["code"] == "not_found"


def test_a_link_that_leads_out_is_not_followed(folders: Path) -> None:
    with contextlib.suppress(OSError):  # Windows lets only some users make links; without one the answer is the same
        (folders / "personality/assets/leak.png").symlink_to(folders / "secret.png")
    assert find_file(folders / "personality/assets", "leak.png") is None
    assert find_file(folders / "personality/assets", "logo.png") is not None
    assert find_file(folders / "nowhere", "logo.png") is None


async def test_other_methods_and_foreign_names(server: RunningDoor, http: aiohttp.ClientSession) -> None:
    async with http.post(f"{server.url}/health") as answer:
        assert answer.status == 405
        assert (await answer.json())["code"] == "bad_request"
    async with http.post(f"{server.url}/health", headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 403
    async with http.get(f"{server.url}/health", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403
        assert (await answer.json())["code"] == "forbidden"
    async with http.get(f"{server.url}/health", headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 200
        assert "access-control-allow-origin" not in answer.headers


async def test_a_websocket_elsewhere_is_refused(server: RunningDoor, http: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect(f"{server.url}/elsewhere")
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket&sid=nobody")
