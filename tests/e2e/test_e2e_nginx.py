"""Behind a real nginx with TLS, below a path: whether it takes the path off or leaves it on."""

import json
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import socketio

import greenroom.client
from e2e.conftest import QUICK, make_home
from fakes.nginx import free_port, nginx
from fakes.server_process import running_server
from greenroom.serving.certificate import own_certificate

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "localhost"
_SERVER = """
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    location /greenroom/ {{
      proxy_pass http://127.0.0.1:{upstream}{path};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      {prefix}
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_buffering off;
    }}
  }}
"""


@dataclass(frozen=True, slots=True)
class Place:
    url: str
    direct: str
    cert: Path

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.cert))

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/greenroom")


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["told and stripped", "configured and stripped", "configured and kept"]
)
async def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Place, None]:
    folder = tmp_path_factory.mktemp("nginx")
    told, kept = request.param.startswith("told"), request.param.endswith("kept")
    root = "" if told else "root_path: /greenroom, "
    home = make_home(folder / "home", f"{QUICK}server: {{{root}trusted_proxies: [127.0.0.1]}}\n")
    certificate = own_certificate(folder / "tls")
    port = free_port()
    async with running_server(home) as server:
        block = _SERVER.format(
            port=port,
            cert=certificate.cert,
            key=certificate.key,
            upstream=server.url.rpartition(":")[2].partition("/")[0],
            path="" if kept else "/",
            prefix="proxy_set_header X-Forwarded-Prefix /greenroom;" if told else "",
        )
        async with nginx(folder / "nginx", block, port):
            direct = server.url.removesuffix("/greenroom")
            yield Place(f"https://{NAME}:{port}/greenroom", direct, certificate.cert)


@pytest_asyncio.fixture(loop_scope="module")
async def http(place: Place) -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=place.tls)) as session:
        yield session


async def test_the_page_knows_where_it_is(place: Place, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{place.url}/") as answer:
        page = await answer.text()
    assert f'io("{place.origin}", {{ path: "/greenroom/socket.io/"' in page
    assert 'href="/greenroom/health"' in page
    async with http.get(f"{place.url}/health") as answer:
        assert (await answer.json())["status"] == "ok"
    async with http.get(f"{place.url}/images/default_model.png") as answer:
        assert answer.status == 200 and answer.content_type == "image/png"
    async with http.get(f"{place.url}/nowhere") as answer:
        assert answer.status == 404


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_socketio(place: Place, http: aiohttp.ClientSession, transport: str) -> None:
    client = socketio.AsyncClient(reconnection=False, http_session=http)
    await client.connect(
        place.origin,
        socketio_path="greenroom/socket.io",
        transports=[transport],
        headers={"Origin": place.origin},
        auth={"session": transport},
    )
    try:
        state = await client.call("session_state", {}, timeout=60)
        assert state["success"] and state["session"] == transport
    finally:
        await client.disconnect()
        await client.shutdown()
        if client.eio.ws is not None:
            await client.eio.ws.close()


async def test_the_client_library(place: Place) -> None:
    async with greenroom.client.connect(place.url, session="library", certificate=place.cert) as room:
        answer = await room.ask("Hello, who are you?", voice=False)
        assert answer.text


async def test_a_page_of_its_own_name_may_and_others_may_not(place: Place, http: aiohttp.ClientSession) -> None:
    for origin, status in ((place.origin, 200), ("https://evil.example", 403), (f"https://{NAME}", 403)):
        url = f"{place.url}/socket.io/?EIO=4&transport=polling"
        async with http.get(url) as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        async with http.post(f"{url}&sid={sid}", data="40", headers={"Origin": origin}) as answer:
            assert answer.status == status, (origin, await answer.text())
    async with http.get(f"{place.url}/health", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403


async def test_jaisons_doors(place: Place, http: aiohttp.ClientSession) -> None:
    async with http.ws_connect(f"{place.url}/", headers={"Origin": place.origin}) as ws:
        async with http.post(f"{place.url}/api/response", json={"include_audio": False}) as answer:
            assert answer.status == 200
            job_id = (await answer.json())["response"]["job_id"]
        while True:
            told = await ws.receive_json(timeout=30)
            if told[0]["response"].get("job_id") == job_id and told[0]["response"].get("finished"):
                break
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{place.url}/", headers={"Origin": "https://evil.example"})
    assert refused.value.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{place.url}/elsewhere")
    assert refused.value.status == 404


async def test_the_openai_door_streams(place: Place, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{place.url}/v1/models") as answer:
        models = [model["id"] for model in (await answer.json())["data"]]
    asked = {"model": models[0], "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    async with http.post(f"{place.url}/v1/chat/completions", json=asked) as answer:
        assert answer.status == 200 and answer.content_type == "text/event-stream"
        lines = [line async for line in answer.content if line.startswith(b"data:")]
    assert lines[-1].strip() == b"data: [DONE]" and len(lines) > 2


async def test_without_the_proxy_it_is_still_there(place: Place) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{place.direct}/health") as answer:
        assert answer.status == 200
