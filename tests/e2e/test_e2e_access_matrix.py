"""Every way in, the least role that it takes, and whether a token for some sessions will do. Whoever adds one has to
say here who may use it.

A refusal is ``unauthorized`` or ``forbidden``; whatever else is answered, the role was good enough.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio

from e2e.visitor import Visitor, visitor
from fakes.every_door import CONFIG, OpenServer, open_server
from greenroom.doors.openai.door import ENDPOINTS as OPENAI_ENDPOINTS
from greenroom.doors.rest.endpoints import CANCEL
from greenroom.doors.rest.endpoints import ENDPOINTS as JOB_ENDPOINTS
from greenroom.doors.table import DOORS
from greenroom.doors.web.app import create_web_app
from greenroom.protocol.commands import COMMANDS, Reach
from greenroom.values import Access

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIEWER, PERFORMER, OWNER = Access.VIEWER, Access.PERFORMER, Access.OWNER
TOKENS = {VIEWER: "a-viewers-token", PERFORMER: "a-performers-token", OWNER: "an-owners-token"}
BOUND = "a-token-for-the-stage"
BOUND_OWNER = "an-owners-token-for-the-stage"
HOME_CONFIG = f"""{CONFIG}
server:
  tokens:
    - {{name: overlay, env: OVERLAY_TOKEN, role: viewer}}
    - {{name: bot, env: BOT_TOKEN, role: performer}}
    - {{name: guest, env: GUEST_TOKEN, role: performer, sessions: [stage]}}
    - {{name: director, env: DIRECTOR_TOKEN, role: owner, sessions: [stage]}}
"""
NOBODY = "no-such-thing"


@dataclass(frozen=True)
class Way:
    """``least``: ``None``: also without any token. ``server_wide``: not with a token for some sessions."""

    least: Access | None
    data: Mapping[str, Any] = field(default_factory=dict)
    server_wide: bool = False

    @property
    def opens_to_bound(self) -> bool:
        """To a performer's token for some sessions."""
        return not self.server_wide and self.least is not None and self.least <= PERFORMER


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "greenroom", "messages": [{"role": "user", "content": "say Hello"}], **more}


# What is asked is harmless where it is allowed: most of it names something that is not there.
EVENTS: Mapping[str, Way] = {
    "list_available_bindings": Way(VIEWER),
    "list_available_models": Way(VIEWER),
    "list_voices": Way(PERFORMER),
    "list_available_personalities": Way(VIEWER),
    "list_available_personalities_languages": Way(VIEWER),
    "list_available_personalities_categories": Way(VIEWER),
    "list_available_personalities_names": Way(VIEWER, {"category": "companions"}),
    "list_active_personalities": Way(VIEWER),
    "list_operations": Way(VIEWER),
    "session_state": Way(VIEWER),
    "session_list": Way(VIEWER),
    "session_join": Way(VIEWER, {"session": "main"}),
    "session_leave": Way(VIEWER),
    "history_get": Way(VIEWER),
    "audio_heard": Way(VIEWER, {"job_id": NOBODY, "index": 0, "ms": 1}),
    "config_get": Way(PERFORMER),
    "tokenize": Way(PERFORMER, {"prompt": "x"}),
    "detokenize": Way(PERFORMER, {"prompt": [1]}),
    "embed": Way(PERFORMER, {"prompt": "x"}),
    "vectorize_text": Way(PERFORMER, {"payloads": []}),
    "query_database": Way(PERFORMER, {"query": "x"}),
    "cancel_job": Way(PERFORMER, {"job_id": NOBODY}),
    "interrupt": Way(PERFORMER),
    "cancel_generation": Way(PERFORMER),
    "cancel_text_generation": Way(PERFORMER),
    "generate_text": Way(PERFORMER, {"prompt": "say x"}),
    "select_binding": Way(PERFORMER, {"binding_name": NOBODY}),
    "select_model": Way(PERFORMER, {"model_name": NOBODY}),
    "add_personality": Way(PERFORMER, {"path": NOBODY}),
    "remove_personality": Way(PERFORMER, {"id": NOBODY}),
    "activate_personality": Way(PERFORMER, {"id": NOBODY}),
    "response": Way(PERFORMER, {"include_audio": False}),
    "say": Way(PERFORMER, {"text": "x", "include_audio": False}),
    "context_add": Way(PERFORMER, {"kind": "chat", "user": "x", "content": "x"}),
    "context_clear": Way(PERFORMER),
    "context_configure": Way(PERFORMER),
    "context_custom_register": Way(PERFORMER, {"context_id": "x", "context_name": "x"}),
    "context_custom_remove": Way(PERFORMER, {"context_id": NOBODY}),
    "operation_load": Way(PERFORMER, {"ops": []}),
    "operation_unload": Way(PERFORMER, {"ops": []}),
    "operation_configure": Way(PERFORMER, {"ops": []}),
    "operation_reload_from_config": Way(PERFORMER),
    "operation_use": Way(PERFORMER, {"role": "embedding", "payload": {"content": "x"}}),
    "config_load": Way(PERFORMER, {"config_name": NOBODY}, server_wide=True),
    "config_update": Way(PERFORMER, {"config": {}}, server_wide=True),
    "config_save": Way(OWNER, {"config_name": ".."}, server_wide=True),
    "install_binding": Way(OWNER, {"name": NOBODY}, server_wide=True),
    "uninstall_binding": Way(OWNER, {"name": NOBODY}, server_wide=True),
    "install_model": Way(OWNER, {"binding": NOBODY, "name": NOBODY}, server_wide=True),
    "uninstall_model": Way(OWNER, {"binding": NOBODY, "name": NOBODY}, server_wide=True),
    "cancel_install": Way(OWNER, {"binding": NOBODY, "name": NOBODY}, server_wide=True),
}

JOBS: Mapping[str, Way] = {
    "POST response": Way(PERFORMER, {"include_audio": False}),
    "DELETE context": Way(PERFORMER),
    "PUT context/config": Way(PERFORMER),
    "POST context/request": Way(PERFORMER, {"content": "x"}),
    "POST context/conversation/text": Way(PERFORMER, {"user": "x", "content": "x"}),
    "POST context/conversation/audio": Way(
        PERFORMER, {"user": "x", "audio_bytes": "AAAA" * 16, "sr": 16000, "sw": 2, "ch": 1}
    ),
    "PUT context/custom": Way(PERFORMER, {"context_id": "y", "context_name": "y"}),
    "DELETE context/custom": Way(PERFORMER, {"context_id": NOBODY}),
    "POST context/custom": Way(PERFORMER, {"context_id": NOBODY, "context_contents": "x"}),
    "POST operations/load": Way(PERFORMER, {"ops": []}),
    "POST operations/reload": Way(PERFORMER),
    "POST operations/unload": Way(PERFORMER, {"ops": []}),
    "POST operations/config": Way(PERFORMER, {"ops": []}),
    "POST operation/config": Way(PERFORMER, {"ops": []}),
    "POST operations/use": Way(PERFORMER, {"role": "embedding", "payload": {"content": "x"}}),
    "PUT config/load": Way(PERFORMER, {"config_name": NOBODY}, server_wide=True),
    "PUT config/update": Way(PERFORMER, {"config_d": {}}, server_wide=True),
    "POST config/save": Way(OWNER, {"config_name": ".."}, server_wide=True),
    "POST config/load": Way(PERFORMER, {"config_name": NOBODY}, server_wide=True),
    "POST config/update": Way(PERFORMER, {"config_d": {}}, server_wide=True),
    "DELETE job": Way(PERFORMER, {"job_id": NOBODY}),
}
REST: Mapping[str, Way] = {
    **{f"{name.partition(' ')[0]} /api/{name.partition(' ')[2]}": way for name, way in JOBS.items()},
    "GET /api/operations": Way(VIEWER),
    "GET /api/config": Way(PERFORMER),
    "GET /openapi.json": Way(None),
}
OPENAI: Mapping[str, Way] = {
    "GET /v1/models": Way(VIEWER),
    "GET /v1/models/greenroom": Way(VIEWER),
    "GET /v1/audio/voices": Way(VIEWER),
    "GET /v1/audio/models": Way(VIEWER),
    "POST /v1/chat/completions": Way(PERFORMER, chat()),
    "POST /v1/completions": Way(PERFORMER, {"model": "greenroom", "prompt": "say x"}),
    "POST /v1/embeddings": Way(PERFORMER, {"model": NOBODY, "input": "x"}),
    "POST /v1/audio/speech": Way(PERFORMER, {"model": NOBODY, "input": "x"}),
    "POST /v1/audio/transcriptions": Way(PERFORMER),
    "POST /v1/audio/translations": Way(VIEWER),
}
WEB: Mapping[str, Way] = {
    "GET /": Way(None),
    "GET /health": Way(None),
    "GET /metrics": Way(None),
    "GET /personalities/english/companions/robin/assets/logo.png": Way(None),
    "GET /bindings/espeak/logo.png": Way(None),
    "GET /images/default_model.png": Way(None),
}
HTTP = {**REST, **OPENAI, **WEB}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OpenServer, None]:
    env = {
        "OVERLAY_TOKEN": TOKENS[VIEWER],
        "BOT_TOKEN": TOKENS[PERFORMER],
        "GUEST_TOKEN": BOUND,
        "DIRECTOR_TOKEN": BOUND_OWNER,
    }
    folder = tmp_path_factory.mktemp("matrix")
    async with open_server(folder, HOME_CONFIG, "--token", TOKENS[OWNER], env=env) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(server: OpenServer) -> AsyncGenerator[httpx.AsyncClient, None]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        yield client


async def asked(http: httpx.AsyncClient, place: str, token: str | None, query: str = "") -> int:
    method, _, path = place.partition(" ")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = None if method == "GET" else dict(HTTP[place].data)
    answer = await http.request(method, f"{path}{query}", json=body, headers=headers)
    assert answer.status_code < 500 or answer.status_code == 503, (place, answer.text)
    return answer.status_code


# Nothing is left out


async def test_every_way_in_is_listed() -> None:
    assert set(EVENTS) == set(COMMANDS), "say here who may send the event"
    reaching = {name for name, command in COMMANDS.items() if command.reach is Reach.SERVER}
    assert {name for name, way in EVENTS.items() if way.server_wide} == reaching
    assert set(JOBS) == {f"{one.method} {one.path}" for one in (*JOB_ENDPOINTS, CANCEL)}
    routes = {f"{method} /v1/{path}" for path, methods in OPENAI_ENDPOINTS.items() for method in methods}
    assert set(OPENAI) == routes | {"GET /v1/models/greenroom"}
    assert {name: [spec.target for spec in specs] for name, specs in DOORS.items()} == {
        "jaison": ["greenroom.doors.rest.door:RestDoor", "greenroom.doors.broadcast.door:BroadcastDoor"],
        "openai": ["greenroom.doors.openai.door:OpenAIDoor"],
    }, "a new door: its ways in belong here, too"
    assert create_web_app.__code__.co_consts.count("/health") == 1
    paths = [one for one in create_web_app.__code__.co_consts if isinstance(one, str) and one.startswith("/")]
    assert len(paths) == len(WEB), "say here who may ask for the page"


# HTTP


@pytest.mark.parametrize("place", HTTP)
async def test_roles_over_http(http: httpx.AsyncClient, place: str) -> None:
    least = HTTP[place].least
    status = await asked(http, place, None)
    assert status != 401 if least is None else status == 401
    assert await asked(http, place, "a-wrong-token") == status
    for role, token in TOKENS.items():
        status = await asked(http, place, token)
        assert (status in (401, 403)) == (least is not None and role < least), (role, status)


@pytest.mark.parametrize("place", [place for place in REST if place != "GET /openapi.json"])
async def test_a_token_for_one_session_opens_no_other(http: httpx.AsyncClient, place: str) -> None:
    assert await asked(http, place, BOUND, "?session=main") == 403
    assert (await asked(http, place, BOUND, "?session=stage") == 403) != REST[place].opens_to_bound


@pytest.mark.parametrize("place", OPENAI)
async def test_a_token_for_one_session_is_served_by_it(http: httpx.AsyncClient, place: str) -> None:
    assert await asked(http, place, BOUND) not in (401, 403)


async def test_what_is_asked_of_a_model_stays_in_the_tokens_session(http: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {BOUND}"}
    for session, status in (("main", 403), ("stage", 200)):
        body = chat(metadata={"session": session, "include_audio": "false"})
        assert (await http.post("/v1/chat/completions", json=body, headers=headers)).status_code == status


async def test_a_refusal_says_which_token_would_do(http: httpx.AsyncClient, server: OpenServer) -> None:
    answer = await http.put("/api/config/update", json={"config_d": {}}, headers={"Authorization": f"Bearer {BOUND}"})
    assert answer.json() == {
        "message": "config_update changes the whole server, and your token is for stage alone; use a token that is not "
        "bound to sessions (one of server.tokens without sessions), or the owner's",
        "response": {},
        "status": 403,
    }
    async with visitor(server.url, session="stage", token=BOUND) as guest:
        refused = await guest.ask("config_update", {"config": {}})
        assert (refused["code"], refused["error"]) == ("forbidden", answer.json()["message"])
        assert not guest.named("job_started"), "it is refused before there is a job"


async def test_an_owner_may_all_whatever_sessions_its_token_names(server: OpenServer) -> None:
    async with visitor(server.url, session="stage", token=BOUND_OWNER) as owner:
        assert (await owner.run("config_update", config={}))[-1].data["success"]
        assert (await owner.ask("session_join", {"session": "main"}))["code"] == "forbidden"


# The two websockets


@pytest.mark.parametrize("event", EVENTS)
async def test_roles_by_event(server: OpenServer, event: str) -> None:
    way = EVENTS[event]
    assert way.least is not None
    for role, token in TOKENS.items():
        async with visitor(server.url, session="main", token=token) as client:
            answer = await client.ask(event, dict(way.data))
            code = answer.get("code", "")
            assert (code in ("forbidden", "unauthorized")) == (role < way.least), (role, answer)
            assert code != "bad_request" or event in ("config_save", "query_database", "detokenize"), answer


@pytest.mark.parametrize("event", EVENTS)
async def test_a_token_for_one_session_by_event(server: OpenServer, event: str) -> None:
    way = EVENTS[event]
    data = {**way.data, "session": "stage"} if event == "session_join" else dict(way.data)
    async with visitor(server.url, session="stage", token=BOUND) as client:
        answer = await client.ask(event, data)
        code = answer.get("code", "")
        assert (code not in ("forbidden", "unauthorized")) == way.opens_to_bound, answer


async def told(client: Visitor, event: str, **data: Any) -> str:
    """-> the code of a failure, at once or at the end of a job; empty: none"""
    answer = await client.ask(event, data)
    if not answer["success"]:
        return str(answer["code"])
    if "job_id" not in answer:
        return ""
    end = (await client.finished(answer["job_id"]))[-1].data
    return "" if end["success"] else str(end["error"]["code"])


# What reaches out: a URL, a path, a command

EVIL = "http://127.0.0.1:9/v1"
REACHING: Mapping[str, Mapping[str, str]] = {
    "openai": {"t2t": "base_url", "tts": "base_url", "stt": "base_url", "embedding": "base_url"},
    "kobold": {"t2t": "kobold_filepath", "tts": "kcpps_filepath", "stt": "url"},
    "azure": {"tts": "host", "stt": "endpoint"},
    "edge": {"tts": "proxy"},
    "transformers": {"t2t": "model_path"},
    "melo": {"tts": "model_filepath"},
}


async def test_what_reaches_out_is_the_owners_at_every_door(server: OpenServer, http: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {TOKENS[PERFORMER]}"}
    async with visitor(server.url, session="main", token=TOKENS[PERFORMER]) as bot:
        before = (await bot.done("list_operations"))["options"]
        for binding, options in REACHING.items():
            for role, option in options.items():
                op = {"role": role, "id": binding}
                refused = [
                    await told(bot, "operation_load", ops=[{**op, "config": {option: EVIL}}]),
                    await told(bot, "operation_configure", ops=[{**op, option: EVIL}]),
                    await told(bot, "config_update", config={"bindings": {binding: {option: EVIL}}}),
                    await told(bot, "config_update", config={"operations": [{**op, option: EVIL}]}),
                ]
                if role == "t2t":
                    refused.append(await told(bot, "select_binding", binding_name=binding, options={option: EVIL}))
                assert refused == ["forbidden"] * len(refused), (binding, role, option)
                for path, body in {
                    "operations/load": {"ops": [{**op, "config": {option: EVIL}}]},
                    "operations/config": {"ops": [{**op, option: EVIL}]},
                    "config/update": {"config_d": {"bindings": {binding: {option: EVIL}}}},
                }.items():
                    method = "PUT" if path == "config/update" else "POST"
                    answer = await http.request(method, f"/api/{path}", json=body, headers=headers)
                    job_id = answer.json()["response"]["job_id"]
                    assert (await bot.finished(job_id))[-1].data["error"]["code"] == "forbidden"
        for jaisons in ({"kobold_filepath": EVIL}, {"kcpps_filepath": EVIL}, {"prompter": {"kobold_filepath": EVIL}}):
            assert await told(bot, "config_update", config=jaisons) in ("forbidden", "bad_request")
        assert (await bot.done("list_operations"))["options"] == before
        assert EVIL not in str((await bot.done("config_get"))["config"])


async def test_further_members_of_a_chat_reach_no_option(http: httpx.AsyncClient, server: OpenServer) -> None:
    headers = {"Authorization": f"Bearer {TOKENS[PERFORMER]}"}
    more = dict.fromkeys(("base_url", "url", "secret_url", "model_path", "kobold_filepath", "api_key"), EVIL)
    body = chat(**more, extra_body=more, metadata={"session": "main", "include_audio": "false", **more})
    answer = await http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    flags: tuple[Any, ...] = ([], {}, 7, "perhaps")
    for flag in flags:
        body = chat(metadata={"session": "main", "include_audio": flag})
        assert (await http.post("/v1/chat/completions", json=body, headers=headers)).status_code == 400
    async with visitor(server.url, session="main", token=TOKENS[PERFORMER]) as bot:
        assert EVIL not in str(await bot.done("list_operations")) + str(await bot.done("config_get"))


# What viewers are told of what others set

SECRET = "hunter2"  # noqa: S105 -- what must not be seen


async def test_viewers_hear_no_settings_and_nobody_a_password(server: OpenServer, http: httpx.AsyncClient) -> None:
    config = {"secret_url": f"http://joe:{SECRET}@10.1.2.3/v1"}
    address = f"{server.ws_url}/?session=main&token={TOKENS[VIEWER]}"
    async with (
        visitor(server.url, session="main", token=TOKENS[VIEWER]) as viewer,
        visitor(server.url, session="main", token=TOKENS[PERFORMER]) as bot,
        visitor(server.url, session="main", token=TOKENS[OWNER]) as owner,
        aiohttp.ClientSession() as session,
        session.ws_connect(address) as jaison,
    ):
        await owner.run("operation_load", ops=[{"role": "t2t", "id": "scripted", "config": config}])
        await owner.run("operation_configure", ops=[{"role": "t2t", **config}])
        await owner.run(
            "config_update", config={"bindings": {"openai": {"base_url": f"http://a:{SECRET}@10.1.2.3/v1"}}}
        )
        await owner.run("config_update", config={"store": {"url": f"postgresql://a:{SECRET}@10.1.2.3/x"}})
        await owner.run("operation_load", ops=[{"role": "t2t", "id": "openai", "config": {"api_key": SECRET}}])
        job_id = await owner.job("context_configure", character_name="Robin")
        end = (await viewer.finished(job_id), await bot.finished(job_id))
        assert all(one[-1].data["success"] for one in end)
        frames = ""
        while job_id not in frames or '"finished": true' not in frames.rpartition(job_id)[2]:
            frames += str((await jaison.receive()).data)
        listed = await viewer.done("list_operations")
        assert {entry["id"]: entry["config"] for entry in listed["options"]} == {"scripted": {}}
        seen = frames + str(viewer.told) + str(listed)
        assert "10.1.2.3" not in seen
        assert SECRET not in seen + str(bot.told) + str(await bot.done("list_operations"))
        assert "10.1.2.3" in str(bot.told)
        answer = await http.get("/api/config", headers={"Authorization": f"Bearer {TOKENS[PERFORMER]}"})
        assert SECRET not in answer.text


async def test_strangers_learn_nothing(server: OpenServer, http: httpx.AsyncClient) -> None:
    home = str(server.process.home)
    for place, way in WEB.items():
        if way.least is None and not place.endswith(".png"):
            text = (await http.get(place.partition(" ")[2])).text
            assert home not in text and not any(token in text for token in (*TOKENS.values(), BOUND, BOUND_OWNER)), (
                place
            )
    assert "stage" not in (await http.get("/metrics")).text
    for path in ("/api/nope", "/v1/nope", "/nope", "/personalities/../../../config.yaml/x/assets/y.png"):
        answer = await http.get(path)
        assert answer.status_code in (401, 404) and home not in answer.text
    assert not any(token in server.process.logged() for token in (*TOKENS.values(), BOUND, SECRET))
