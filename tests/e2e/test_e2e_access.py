"""Who may come in, and what each may do: tokens with roles and sessions, web pages, other machines."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio

from e2e.conftest import make_home
from e2e.visitor import Visitor, end_of, text_of, visitor
from fakes.server_process import ServerProcess, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER, PERFORMER, VIEWER = "the-owners-token", "the-performers-token", "the-viewers-token"
CONFIG = """
server:
  max_clients: 6
  allowed_origins: ["https://overlay.example.org"]
  tokens:
    - {name: bot, env: BOT_TOKEN, role: performer, sessions: [stage, rehearsal]}
    - {name: overlay, env: OVERLAY_TOKEN, role: viewer, sessions: [stage]}
operations: [{role: t2t, id: scripted}, {role: tts, id: scripted}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ServerProcess, None]:
    home = make_home(tmp_path_factory.mktemp("guarded"), CONFIG)
    (home / ".env").write_text(f"BOT_TOKEN={PERFORMER}\nOVERLAY_TOKEN={VIEWER}\n", encoding="utf-8")
    async with running_server(home, "--token", OWNER) as process:
        yield process


async def refusal(url: str, auth: Any = None, **headers: str) -> dict[str, Any]:
    """What a client that must not come in is told."""
    told: list[Any] = []
    async with aiohttp.ClientSession() as http:
        client = Visitor(http)
        client.sio.on("connect_error", told.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(url, auth, headers=headers)
        await client.close()
    assert told[0]["message"] and told[0]["data"]["message"] == told[0]["message"]
    data: dict[str, Any] = told[0]["data"]
    return data


async def code(client: Visitor, event: str, **data: Any) -> str:
    return str((await client.refused(event, **data))["code"])


# Tokens


async def test_without_a_token_nobody_comes_in(guarded: ServerProcess) -> None:
    assert (await refusal(guarded.url))["code"] == "unauthorized"
    assert (await refusal(guarded.url, {"session": "stage"}))["code"] == "unauthorized"
    assert (await refusal(guarded.url, {"token": "wrong"}))["code"] == "unauthorized"
    assert (await refusal(guarded.url, {"token": ""}))["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"token": VIEWER, "role": "owner"}, "forbidden"),
        ({"token": VIEWER, "role": "king"}, "bad_request"),
        ({"token": VIEWER, "session": "rehearsal"}, "forbidden"),
        ({"token": VIEWER, "session": "a/b"}, "forbidden"),
        ({"token": OWNER, "session": "a/b"}, "bad_request"),
        ({"token": OWNER, "colour": "red"}, "bad_request"),
        ({"token": 7}, "bad_request"),
        ([VIEWER], "bad_request"),
    ],
)
async def test_what_auth_must_not_say(guarded: ServerProcess, auth: Any, expected: str) -> None:
    assert (await refusal(guarded.url, auth))["code"] == expected


async def test_a_viewer_listens_and_nothing_else(guarded: ServerProcess) -> None:
    async with (
        visitor(guarded.url, session="stage", token=VIEWER, debug=True) as viewer,
        visitor(guarded.url, session="stage", token=PERFORMER) as bot,
    ):
        assert viewer.named("session_joined")[0]["role"] == "viewer"
        told = await bot.run("response", text="say Good evening.")
        heard = await viewer.finished(str(told[0].job_id))
        assert [each for each in heard if each.name != "prompt_built"] == told
        assert text_of(told).strip() == "Good evening."
        asked: dict[str, dict[str, Any]] = {
            "response": {},
            "say": {"text": "x"},
            "context_add": {"kind": "chat", "user": "x", "content": "x"},
            "context_clear": {},
            "interrupt": {},
            "cancel_job": {"job_id": str(told[0].job_id)},
            "select_binding": {"binding_name": "eliza"},
            "activate_personality": {"id": 0},
            "generate_text": {"prompt": "x"},
            "operation_unload": {"ops": []},
            "config_get": {},
            "config_update": {"config": {}},
        }
        for event, data in asked.items():
            assert await code(viewer, event, **data) == "forbidden", event
        assert len((await viewer.done("history_get"))["lines"]) == 2
        assert (await viewer.done("session_state"))["state"]["binding"] == "scripted"


async def test_a_performer_keeps_to_its_sessions(guarded: ServerProcess) -> None:
    async with (
        visitor(guarded.url, session="rehearsal", token=PERFORMER) as bot,
        visitor(guarded.url, session="secret", token=OWNER) as owner,
    ):
        await owner.run("say", text="Nobody knows.", include_audio=False)
        assert await code(bot, "session_join", session="secret") == "forbidden"
        listed = [each["name"] for each in (await bot.done("session_list"))["sessions"]]
        assert "rehearsal" in listed and "secret" not in listed and "main" not in listed
        assert "secret" in [each["name"] for each in (await owner.done("session_list"))["sessions"]]
        await bot.done("session_join", session="stage")
        assert end_of(await bot.run("say", text="Here I am.", include_audio=False))["success"]
        assert "Nobody knows" not in str(bot.told)


async def test_old_clients_with_a_token_act_on_a_session_that_it_opens(guarded: ServerProcess) -> None:
    async with visitor(guarded.url, {"token": PERFORMER}) as old:
        await old.tell("generate_text", {"prompt": "say Hello"})
        assert (await old.next("text_generated"))["text"] == "Hello "
        assert (await old.done("session_state"))["session"] in ("stage", "rehearsal")


async def test_what_reaches_out_is_the_owners(guarded: ServerProcess) -> None:
    """A URL set over the wire would send the owner's key there, a path would open it, a command would run it."""
    evil = "http://127.0.0.1:9/v1"
    async with (
        visitor(guarded.url, session="stage", token=PERFORMER) as bot,
        visitor(guarded.url, session="stage", token=OWNER) as owner,
    ):
        assert await code(bot, "select_binding", binding_name="openai", options={"base_url": evil}) == "forbidden"
        load = {"ops": [{"role": "t2t", "id": "openai", "config": {"base_url": evil}}]}
        assert end_of(await bot.run("operation_load", **load))["error"]["code"] == "forbidden"
        configure = {"ops": [{"role": "t2t", "secret_url": evil}]}
        assert end_of(await bot.run("operation_configure", **configure))["error"]["code"] == "forbidden"
        updates: list[dict[str, Any]] = [{"bindings": {"openai": {"base_url": evil}}}, {"server": {"insecure": True}}]
        for update in (*updates, {"user_name": "Guest"}):  # its token is for the stage alone, the configuration for all
            assert await code(bot, "config_update", config=update) == "forbidden"
        assert await code(bot, "config_save", config_name="mine") == "forbidden"
        assert (await owner.done("session_state"))["state"]["binding"] == "scripted"
        assert end_of(await owner.run("operation_configure", **configure))["success"]
        assert end_of(await owner.run("config_save", config_name="mine"))["success"]
        assert evil not in str(bot.named("state_changed"))


async def test_a_lower_role_can_be_asked_for(guarded: ServerProcess) -> None:
    async with visitor(guarded.url, session="stage", token=OWNER, role="viewer") as modest:
        assert modest.named("session_joined")[0]["role"] == "viewer"
        assert await code(modest, "say", text="x") == "forbidden"


async def test_no_more_clients_than_may_be(guarded: ServerProcess) -> None:
    async with aiohttp.ClientSession() as http:
        crowd = [await Visitor(http).connect(guarded.url, {"token": OWNER}) for _ in range(6)]
        try:
            assert (await refusal(guarded.url, {"token": OWNER}))["code"] == "busy"
            await crowd[0].ask("session_state", {})
        finally:
            for each in crowd:
                await each.close()


# Pages and names


async def test_pages_of_other_origins_are_refused(shared: ServerProcess, guarded: ServerProcess) -> None:
    port = shared.url.rpartition(":")[2]
    for origin in ("https://evil.example", "http://localhost:1", f"http://evil.example:{port}", "null"):
        assert (await refusal(shared.url, Origin=origin))["code"] == "forbidden"
    for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
        async with visitor(shared.url, headers={"Origin": origin}) as page:
            assert (await page.ask("session_state", {}))["success"]
    async with visitor(guarded.url, {"token": OWNER}, headers={"Origin": "https://overlay.example.org"}) as page:
        assert (await page.ask("session_state", {}))["success"]


async def test_a_rebound_name_is_refused(shared: ServerProcess) -> None:
    """The page's origin and the name agree, since the browser takes them for the same; neither is ours."""
    port = shared.url.rpartition(":")[2]
    host = f"evil.example:{port}"
    assert (await refusal(shared.url, Host=host, Origin=f"http://{host}"))["code"] == "forbidden"
    async with aiohttp.ClientSession() as http:
        for path in ("/health", "/metrics", "/", "/personalities/english/companions/robin/assets/logo.png"):
            async with http.get(f"{shared.url}{path}", headers={"Host": host}) as response:
                assert response.status == 403
            async with http.get(f"{shared.url}{path}") as response:
                assert response.status == 200


async def polled(http: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, str]:
    """-> status of the message that joins, and what the server says next."""
    address = f"{url}/socket.io/?EIO=4&transport=polling"
    async with http.get(address, headers=headers) as response:
        allowed = response.headers.get("Access-Control-Allow-Origin")
        assert allowed is None or allowed == headers.get("Origin")
        address = f"{address}&sid={json.loads((await response.text())[1:])['sid']}"
    async with http.post(address, data="40", headers=headers) as response:
        if response.status != 200:
            return response.status, await response.text()
    async with http.get(address, headers=headers) as response:
        return response.status, await response.text()


async def test_polling(shared: ServerProcess, guarded: ServerProcess) -> None:
    async with aiohttp.ClientSession() as http:
        status, said = await polled(http, shared.url)
        assert (status, said[:7]) == (200, '40{"sid')
        status, said = await polled(http, shared.url, Origin=shared.url)
        assert (status, said[:7]) == (200, '40{"sid')
        status, said = await polled(http, guarded.url)
        assert status == 200 and said.startswith("44") and json.loads(said[2:])["data"]["code"] == "unauthorized"
        status, said = await polled(http, shared.url, Origin="https://evil.example")
        assert status == 403 and json.loads(said)["code"] == "forbidden"


async def test_listening_beyond_this_machine_wants_a_token(tmp_path: Path) -> None:
    async with running_server(make_home(tmp_path / "home"), "--host", "0.0.0.0", "--token", OWNER) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert (await refusal(url))["code"] == "unauthorized"
        async with visitor(url, {"token": OWNER}) as owner:
            assert (await owner.ask("session_state", {}))["success"]
    with pytest.raises(RuntimeError, match="--insecure"):
        async with running_server(tmp_path / "home", "--host", "0.0.0.0"):
            pass
    async with (
        running_server(tmp_path / "home", "--host", "0.0.0.0", "--insecure") as server,
        visitor(server.url.replace("0.0.0.0", "127.0.0.1"), session="main") as anybody,
    ):
        assert anybody.named("session_joined")[0]["role"] == "owner"
