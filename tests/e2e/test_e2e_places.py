"""Where the server keeps its files is the owner's to know: at every door, and in what a session's clients are told."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from e2e.visitor import Visitor, visitor
from fakes.every_door import OpenServer, open_server
from fakes.jaison_clients import Frames
from fakes.wyoming_client import Transcript, heard_until, wyoming

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER, PERFORMER, VIEWER = "the-owners-token", "the-performers-token", "the-viewers-token"
GUARDED = """
turn: {audio_lead_ms: 0}
operations: [{role: t2t, id: bare}]
server:
  tokens:
    - {name: bot, env: BOT_TOKEN, role: performer}
    - {name: overlay, env: OVERLAY_TOKEN, role: viewer}
"""
CARD = "name: Bare\nauthor: a test\nversion: 1.0\ndescription: It has no weights.\nroles: [t2t]\noffline: true\n"
BARE = """
from greenroom.bindings.roles import Binding, Engine, Options, Place, TextToText
from greenroom.errors import Unavailable
from greenroom.values import Role


class Bare(TextToText[Engine]):
    Options = Options

    @classmethod
    async def open_engine(cls, options: Options, place: Place) -> Engine:
        raise Unavailable(f"there is no model in {place.models}; put one there")


BINDING = Binding({Role.T2T: Bare})
"""
SENTENCE = "there is no model in {}; put one there"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OpenServer, None]:
    folder = tmp_path_factory.mktemp("places")
    for name, text in {"binding_card.yaml": CARD, "binding.py": BARE, "models.yaml": "[]\n"}.items():
        (folder / "bindings" / "bare" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "bindings" / "bare" / name).write_text(text, encoding="utf-8")
    odd = folder / "personalities" / "english" / "tests" / "odd"
    odd.mkdir(parents=True)
    (odd / "config.yaml").write_text("name: Odd\npersonality_conditioning: {a: b}\n", encoding="utf-8")
    (folder / "bindings" / "odd").mkdir()
    (folder / "bindings" / "odd" / "binding_card.yaml").write_text("- no card\n", encoding="utf-8")
    env = {"BOT_TOKEN": PERFORMER, "OVERLAY_TOKEN": VIEWER}
    async with open_server(folder, GUARDED, "--token", OWNER, env=env) as running:
        yield running


@pytest.fixture
def home(server: OpenServer) -> str:
    return str(server.process.home)


@pytest.fixture
def whole(home: str) -> str:
    return SENTENCE.format(Path(home) / "models" / "bare")


LESS = SENTENCE.format("models/bare")


async def test_in_what_a_session_is_told(server: OpenServer, home: str, whole: str) -> None:
    async with (
        visitor(server.url, session="main", token=OWNER) as owner,
        visitor(server.url, session="main", token=PERFORMER) as bot,
        visitor(server.url, session="main", token=VIEWER) as viewer,
        Frames.open(server.ws_url, session="main", token=OWNER) as owners_frames,
        Frames.open(server.ws_url, session="main", token=PERFORMER) as bots_frames,
        Frames.open(server.ws_url, session="main", token=VIEWER) as viewers_frames,
    ):
        job_id = await bot.job("response", text="Hello")
        for client, sentence in ((owner, whole), (bot, LESS), (viewer, LESS)):
            end = (await client.finished(job_id))[-1].data
            assert end["error"]["reason"] == sentence and end["error"]["code"] == "unavailable"
            assert client.named("generation_error")[0]["error"] == sentence
            assert len({told["seq"] for told in (end, client.named("generation_error")[0])}) == 2
        for frames, sentence in ((owners_frames, whole), (bots_frames, LESS), (viewers_frames, LESS)):
            assert (await frames.job(job_id))[-1]["result"]["reason"] == sentence
        assert home not in str(bot.told) + str(viewer.told) + str(bots_frames.texts) + str(viewers_frames.texts)
    assert f"told without its place: {whole}" in server.process.logged()


async def error_of(client: Visitor, event: str, **data: Any) -> str:
    return str((await client.refused(event, **data))["error"])


async def test_in_acknowledgements_and_lists(server: OpenServer, home: str) -> None:
    async with (
        visitor(server.url, session="main", token=OWNER) as owner,
        visitor(server.url, session="main", token=PERFORMER) as bot,
        visitor(server.url, session="main", token=VIEWER) as viewer,
    ):
        whole = await error_of(owner, "add_personality", path="english/tests/odd")
        less = await error_of(bot, "add_personality", path="english/tests/odd")
        assert whole.replace(f"{home}/", "") == less != whole
        told = [await client.done("list_available_bindings") for client in (owner, bot, viewer)]
        odd = [next(one for one in each["bindings"] if one["name"] == "odd")["error"] for each in told]
        assert home in odd[0] and odd[1] == odd[2] == odd[0].replace(f"{home}/", "")
        request_id = (await bot.done("generate_text", prompt="x"))["request_id"]
        assert (await bot.next("generation_error", request_id=request_id))["error"] == LESS
        assert home not in str(bot.told) + str(viewer.told)


async def test_in_openais_shape(server: OpenServer, whole: str) -> None:
    body = {"model": "greenroom", "messages": [{"role": "user", "content": "Hello"}]}
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        for token, sentence in ((OWNER, whole), (PERFORMER, LESS)):
            headers = {"Authorization": f"Bearer {token}"}
            for more in ({}, {"stream": True}, {"metadata": {"session": "main", "include_audio": "false"}}):
                answer = await http.post("/v1/chat/completions", json={**body, **more}, headers=headers)
                assert answer.json()["error"]["message"] == sentence, more


async def test_by_wyoming(server: OpenServer) -> None:
    async with wyoming(server.wyoming_uri) as house:
        await house.write_event(Transcript(text="Hello").event())
        told = await heard_until(house, "handled-stop")
    assert {one.type: one.data.get("text") for one in told if one.data} == {"error": LESS, "not-handled": LESS}
