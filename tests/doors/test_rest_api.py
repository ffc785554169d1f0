"""REST as it is on the wire: envelope, bodies, the endpoints that answer at once, who may ask."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fakes.jaison_clients import Frames, Rest
from fakes.jaison_server import CONFIG, JaisonServer, jaison_server
from greenroom.doors.rest.endpoints import ENDPOINTS, Endpoint
from greenroom.doors.safety import Guard, Token
from greenroom.values import Access

JOB_MESSAGES = {
    "response": "JobType.RESPONSE job created",
    "context_clear": "JobType.CONTEXT_CLEAR job created",
    "context_configure": "JobType.CONTEXT_CONFIGURE job created",
    "context_request_add": "JobType.CONTEXT_REQUEST_ADD job created",
    "context_conversation_add_text": "JobType.CONTEXT_CONVERSATION_ADD_TEXT job created",
    "context_conversation_add_audio": "JobType.CONTEXT_CONVERSATION_ADD_AUDIO job created",
    "context_custom_register": "JobType.CONTEXT_CUSTOM_REGISTER job created",
    "context_custom_remove": "JobType.CONTEXT_CUSTOM_REMOVE job created",
    "context_custom_add": "JobType.CONTEXT_CUSTOM_ADD job created",
    "operation_load": "JobType.OPERATION_LOAD job created",
    "operation_unload": "JobType.OPERATION_UNLOAD job created",
    "operation_configure": "JobType.OPERATION_CONFIGURE job created",
    "operation_reload_from_config": "JobType.OPERATION_CONFIG_RELOAD job created",
    "operation_use": "JobType.OPERATION_USE job created",
    "config_load": "JobType.CONFIG_LOAD job created",
    "config_update": "JobType.CONFIG_UPDATE job created",
    "config_save": "JobType.CONFIG_SAVE job created",
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[JaisonServer, None]:
    async with jaison_server(tmp_path / "home") as running:
        yield running


@pytest.fixture
async def rest(server: JaisonServer) -> AsyncGenerator[Rest, None]:
    found = Rest(server.url)
    yield found
    found.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Rest, None]:
    """Of one server, for requests that leave no trace in each other's answers."""
    async with jaison_server(tmp_path_factory.mktemp("shared") / "home") as running:
        found = Rest(running.url)
        yield found
        found.close()


in_the_shared_loop = pytest.mark.asyncio(loop_scope="module")


def envelope(answer: httpx.Response) -> Any:
    """What the answer holds, if its form is the contract's."""
    found = answer.json()
    assert set(found) == {"message", "response", "status"}
    assert found["status"] == answer.status_code
    assert answer.headers["content-type"] == "application/json"
    wire = json.dumps(found, sort_keys=True, separators=(",", ":")) + "\n"
    assert answer.content == wire.encode("ascii")
    return found


def test_every_job_has_its_name() -> None:
    assert {endpoint.job_type: endpoint.message for endpoint in ENDPOINTS} == JOB_MESSAGES


async def test_every_job_endpoint_takes_its_example(rest: Rest, server: JaisonServer) -> None:
    from greenroom.doors.rest.bodies import members

    async with Frames.open(server.ws_url) as frames:
        for endpoint in ENDPOINTS:
            answer = await rest(endpoint.method, endpoint.path, members(endpoint.example))
            found = envelope(answer)
            assert (found["status"], found["message"]) == (200, endpoint.message)
            events = await frames.job(found["response"]["job_id"])
            assert {one["message"] for one in events} == {endpoint.job_type}


async def test_the_reply_byte_for_byte(rest: Rest) -> None:
    answer = await rest("POST", "response", {"include_audio": False})
    job_id = answer.json()["response"]["job_id"]
    wire = f'{{"message":"JobType.RESPONSE job created","response":{{"job_id":"{job_id}"}},"status":200}}\n'
    assert answer.content == wire.encode()
    assert answer.headers["access-control-allow-origin"] == "*"
    operations = await rest("GET", "operations")
    assert operations.content == (
        b'{"message":"Loaded operations gotten","response":{"embedding":"unknown","filter_audio":[],"filter_text":[],'
        b'"mcp":"unknown","stt":"scripted","t2t":"scripted","tts":"scripted"},"status":200}\n'
    )


TEXT = {"user": "Ana", "content": "Hello.", "timestamp": 1}
AUDIO = {"user": "Ana", "audio_bytes": base64.b64encode(bytes(64)).decode(), "sr": 96_000, "sw": 2, "ch": 1}
JSON = {"Content-Type": "application/json"}


@in_the_shared_loop
@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("DELETE", "context", {}),
        ("DELETE", "context", {"headers": JSON}),
        ("POST", "operations/reload", {"headers": JSON}),
        ("POST", "operations/reload", {"headers": {"Content-Type": "application/json; charset=utf-8"}}),
        ("POST", "operations/reload", {"content": b"null", "headers": JSON}),
        ("POST", "operations/load", {}),
        ("POST", "response", {"content": b"not even JSON", "headers": {"Content-Type": "text/plain"}}),
        ("POST", "response", {"content": b"\n ", "headers": JSON}),
        (
            "POST",
            "response",
            {"content": b'{"include_audio":false}', "headers": {"Content-Type": "application/x+json"}},
        ),
        ("POST", "context/conversation/text", {"json": {"user": "Ana", "content": "No time."}}),
        ("POST", "context/conversation/text", {"json": {**TEXT, "timestamp": 1.5}}),
        ("POST", "context/conversation/text", {"json": {**TEXT, "content": "\ud83d alone"}}),
        ("POST", "context/conversation/audio", {"json": AUDIO}),
        ("POST", "context/conversation/audio", {"json": {**AUDIO, "timestamp": 1.5}}),
        ("DELETE", "context/custom", {"json": {"context_id": "x"}}),
        ("POST", "context/custom", {"json": {"context_id": "x", "context_name": "X"}}),
        ("PUT", "context/custom", {"json": {"context_id": "x", "context_contents": "y", "timestamp": 1}}),
        ("POST", "operation/config", {"json": {"ops": []}}),
        ("POST", "operations/use", {"json": {"type": "t2t", "payload": {}}}),
        ("POST", "operations/use", {"json": {"op_type": "t2t", "op_id": "scripted", "payload": {}}}),
        ("POST", "operations/load", {"json": {"ops": [{"type": "t2t", "id": "scripted"}]}}),
        ("POST", "operations/load", {"json": {"ops": [{"type": "t2t", "role": "t2t", "id": "scripted"}]}}),
        ("POST", "operations/unload", {"json": {"ops": [{"type": "embedding", "id": None}]}}),
        ("POST", "operations/config", {"json": {"ops": [{"type": "t2t", "id": "scripted"}]}}),
        ("POST", "response", {"json": {"output_audio": False}}),
        ("POST", "config/load", {"json": {"config_name": "x"}}),
        ("POST", "config/update", {"json": {"history_length": 12}}),
        ("PUT", "config/update", {"json": {"history_length": 12, "character_name": "Bard"}}),
        ("PUT", "config/update", {"json": {"config_d": {}}}),
    ],
)
async def test_what_is_taken(shared: Rest, method: str, path: str, more: dict[str, Any]) -> None:
    if "json" in more:  # httpx itself refuses lone surrogates
        more = {"content": json.dumps(more["json"]).encode(), "headers": JSON}
    assert envelope(await shared(method, path, **more))["status"] == 200


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("2026-11-20T22:40:35.5+00:00", 1795214435.5), ("2026-11-20T23:40:35Z", 1795218035.0), ("1.5", 1.5)],
)
async def test_a_moment_may_be_written_as_a_date(
    rest: Rest, server: JaisonServer, written: str, seconds: float
) -> None:
    async with Frames.open(server.ws_url) as frames:
        answer = await rest("POST", "context/conversation/text", {**TEXT, "timestamp": written})
        events = await frames.job(envelope(answer)["response"]["job_id"])
    assert [one["result"]["timestamp"] for one in events if "result" in one] == [seconds]


async def test_the_type_of_an_operation_is_told_as_its_role(rest: Rest, server: JaisonServer) -> None:
    async with Frames.open(server.ws_url) as frames:
        answer = await rest("POST", "operations/load", {"ops": [{"type": "t2t", "id": "scripted"}]})
        events = await frames.job(envelope(answer)["response"]["job_id"])
    assert events[0]["start"]["ops"][0]["role"] == "t2t"
    assert events[1]["result"] == {"role": "t2t", "id": "scripted", "loose_key": None}


@in_the_shared_loop
@pytest.mark.parametrize(
    ("method", "path", "content", "status", "said"),
    [
        ("POST", "response", b"{", 400, "not JSON"),
        ("POST", "response", b'{"include_audio":1}', 400, "include_audio"),
        ("POST", "context/conversation/text", b'{"user":"a","content":"b","timestamp":true}', 400, "wanted a number"),
        ("PUT", "context/config", b'{"history_length":true}', 400, "history_length: wanted a number"),
        ("POST", "operations/load", b'{"ops":[{"type":"t2t","role":"tts","id":"x"}]}', 400, "ops.0.type"),
        (
            "POST",
            "context/conversation/text",
            b'{"user":"Ana","content":"Hello.","timestamp":"tomorrow"}',
            400,
            "timestamp",
        ),
        ("POST", "response", b"\xff", 400, "not JSON"),
        ("POST", "response", b"[]", 400, "no JSON object"),
        ("POST", "response", b'{"include_audio": NaN}', 400, "not JSON"),
        ("POST", "response", b'{"a":' * 4_000 + b"1" + b"}" * 4_000, 400, "nested too deeply"),
        ("POST", "response", b"[" * 100_000, 413, "more than 5000 objects and lists"),
        ("POST", "response", b'{"n":[' + b"1," * 200_001 + b"1]}", 413, "more than 200000 values"),
        (
            "POST",
            "response",
            b"{" + b",".join(b'"%d":1' % n for n in range(1025)) + b"}",
            413,
            "more than 1024 members",
        ),
        ("POST", "response", b'{"include_audio":' + b'{"a":' * 200 + b"1" + b"}" * 201, 400, "nested too deeply"),
        ("POST", "response", b'{"n":' + b"9" * 10_000 + b"}", 400, "not JSON"),
        ("POST", "response", b'{"text": "hi"}', 400, "response: text"),
        ("DELETE", "context", b'{"x": 1}', 400, "context_clear: x"),
        ("POST", "context/request", b"{}", 400, "context_request_add: content"),
        ("POST", "context/request", b'{"content": ""}', 400, "content"),
        ("POST", "context/request", b'{"content": 7}', 400, "content"),
        ("POST", "context/conversation/text", b'{"user":"a","content":"b","timestamp":-1}', 400, "timestamp"),
        ("POST", "context/conversation/text", b'{"user":"a","content":"b","timestamp":99999999999}', 400, "timestamp"),
        ("POST", "context/conversation/audio", b'{"user":"a","audio_bytes":"!","sr":8000,"sw":2,"ch":1}', 400, "audio"),
        ("POST", "context/conversation/audio", b'{"user":"a","audio_bytes":"AAAA","sr":0,"sw":2,"ch":1}', 400, "sr"),
        ("POST", "operations/load", b'{"ops":[{"role":"","id":"x"}]}', 400, "ops.0.role"),
        ("POST", "operations/load", b'{"ops":[{"role":7,"id":"x"}]}', 400, "ops.0.role"),
        ("PUT", "config/load", b"{}", 400, "config_name"),
        ("PUT", "config/update", b"{}", 400, "config_d"),
        ("POST", "context/request", b'{"content": "' + b"x" * 70_000 + b'"}', 413, "content"),
        ("POST", "context/request", b'{"content": "' + b"x" * (17 << 20) + b'"}', 413, "16777216"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_is_refused(shared: Rest, method: str, path: str, content: bytes, status: int, said: str) -> None:
    found = envelope(await shared(method, path, content=content, headers=JSON))
    assert (found["status"], found["response"]) == (status, {})
    assert said in found["message"]


async def test_a_body_without_its_length_is_bounded_too(rest: Rest) -> None:
    def endless() -> Any:
        for _ in range(20):
            yield b"x" * (1 << 20)

    assert envelope(await rest("POST", "response", content=endless(), headers=JSON))["status"] == 413
    assert envelope(await rest("POST", "response"))["status"] == 200


@in_the_shared_loop
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 404),
        ("GET", "nope", 404),
        ("POST", "operations/nope", 404),
        ("GET", "response", 405),
        ("PATCH", "context/custom", 405),
        ("POST", "operations", 405),
    ],
)
async def test_unknown_paths_and_methods_are_answered_in_the_envelope(
    shared: Rest, method: str, path: str, status: int
) -> None:
    answer = await shared(method, path)
    assert envelope(answer)["status"] == status
    if path == "context/custom":
        assert answer.headers["allow"] == "POST, PUT, DELETE"


async def test_cancelling(rest: Rest, server: JaisonServer) -> None:
    await rest.job("POST", "context/conversation/text", {**TEXT, "content": "hang on"})
    running = await rest.job("POST", "response")
    flagged = await rest("DELETE", "job", {"job_id": running, "reason": "enough"})
    assert flagged.content == b'{"message":"Job flagged for cancellation","response":null,"status":200}\n'
    for body, message in (
        ({"job_id": "nobody"}, "Job ID does not exist or already finished"),
        ({"job_id": "nobody", "reason": None}, "Job ID does not exist or already finished"),
        ({"job_id": "nobody", "reason": "long " * 100}, "Job ID does not exist or already finished"),
        ({}, "Request missing job_id"),
        ({"reason": "x"}, "Request missing job_id"),
        ({"job_id": ""}, "Request missing job_id"),
        (None, "Request missing job_id"),
    ):
        found = envelope(await rest("DELETE", "job", body))
        assert (found["status"], found["message"], found["response"]) == (400, message, {})
    ended = await rest.job("POST", "context/request", {"content": "x"})
    async with Frames.open(server.ws_url) as frames:
        await frames.job(await rest.job("DELETE", "context"))
    assert envelope(await rest("DELETE", "job", {"job_id": ended}))["message"] == (
        "Job ID does not exist or already finished"
    )
    assert envelope(await rest("DELETE", "job", {"job_id": 7}))["status"] == 400


async def config_of(rest: Rest) -> Any:
    found = envelope(await rest("GET", "config"))
    assert found["message"] == "Current config gotten"
    return found["response"]


async def test_the_config_holds_what_somebody_wrote(tmp_path: Path) -> None:
    config = CONFIG + "prompter:\n  history_length: 20\n  character_name: Bard\nkcpps_filepath: models/x.kcpps\n"
    (tmp_path / "home" / "configs").mkdir(parents=True)
    (tmp_path / "home" / "configs" / "evening.yaml").write_text("prompter: {history_length: 7}\n", encoding="utf-8")
    async with jaison_server(tmp_path / "home", config) as server, Frames.open(server.ws_url) as frames:
        rest = Rest(server.url)
        written = {
            "operations": [{"role": role, "id": "scripted"} for role in ("t2t", "tts", "stt")],
            "prompter": {"history_length": 20, "character_name": "Bard"},
            "kcpps_filepath": "models/x.kcpps",
            "current_config": "config",
        }
        assert await config_of(rest) == written
        update = {"config_d": {"history_length": 30, "name_translations": {"a": "b"}}}
        assert (await frames.job(await rest.job("PUT", "config/update", update)))[-1]["success"]
        written["prompter"] = {"history_length": 30, "character_name": "Bard", "name_translations": {"a": "b"}}
        assert await config_of(rest) == written
        assert (await frames.job(await rest.job("POST", "config/save", {"config_name": "mine"})))[-1]["success"]
        assert (tmp_path / "home" / "configs" / "mine.yaml").is_file()
        await frames.job(await rest.job("PUT", "config/load", {"config_name": "evening"}))
        assert await config_of(rest) == {"prompter": {"history_length": 7}, "current_config": "evening"}
        await frames.job(await rest.job("PUT", "config/load", {"config_name": "mine.yaml"}))
        assert (await config_of(rest))["prompter"]["history_length"] == 30
        rest.close()


async def test_a_file_of_jaisons_is_shown_and_saved_as_it_is_written(tmp_path: Path) -> None:
    text = f"{CONFIG.lstrip()}history_filepath: output/history.txt\nspacy_model: 2025-01-01\ncharacter_name: Bard\n"
    folder = tmp_path / "home" / "configs"
    folder.mkdir(parents=True)
    (folder / "stream.yaml").write_text(text, encoding="utf-8")
    async with (
        jaison_server(tmp_path / "home", None, named="stream") as server,
        Frames.open(server.ws_url) as frames,
    ):
        rest = Rest(server.url)
        written = {
            "operations": [{"role": role, "id": "scripted"} for role in ("t2t", "tts", "stt")],
            "prompter": {"character_name": "Bard"},
            "history_filepath": "output/history.txt",
            "spacy_model": "2025-01-01",
            "current_config": "stream",
        }
        assert await config_of(rest) == written
        update = {"character_name": "Robin", "spacy_model": "en_core_web_sm"}
        assert (await frames.job(await rest.job("PUT", "config/update", {"config_d": update})))[-1]["success"]
        changed = {**written, "prompter": {"character_name": "Robin"}, "spacy_model": "en_core_web_sm"}
        assert await config_of(rest) == changed
        assert (await frames.job(await rest.job("POST", "config/save", {"config_name": "stream"})))[-1]["success"]
        assert (folder / "stream.yaml").read_text(encoding="utf-8") == text.replace("Bard", "Robin")
        assert (await frames.job(await rest.job("PUT", "config/load", {"config_name": "stream"})))[-1]["success"]
        assert await config_of(rest) == {**changed, "spacy_model": "2025-01-01"}
        rest.close()


async def test_without_a_config_there_is_nothing_in_it(tmp_path: Path) -> None:
    async with jaison_server(tmp_path / "home", None, env={"GREENROOM_USER_NAME": "Ana"}) as server:
        rest = Rest(server.url)
        assert await config_of(rest) == {}
        async with Frames.open(server.ws_url) as frames:
            await frames.job(await rest.job("PUT", "config/update", {"user_name": "Ben"}))
        assert await config_of(rest) == {"user_name": "Ben", "current_config": "Unsaved"}
        rest.close()


async def test_an_answer_does_not_wait_for_its_playback(tmp_path: Path) -> None:
    """A minute of sound, with a lead of a tenth of a second for everybody else."""
    async with jaison_server(tmp_path / "home", CONFIG + "turn: {audio_lead_ms: 100}\n") as server:
        rest = Rest(server.url)
        async with Frames.open(server.ws_url) as frames:
            await rest.job("POST", "context/conversation/text", {**TEXT, "content": "say " + "Words, words. " * 430})
            events = await frames.job(await rest.job("POST", "response"))
        rest.close()
    sounds = [one["result"]["audio_bytes"] for one in events if "audio_bytes" in one.get("result", {})]
    assert sum(len(base64.b64decode(sound)) for sound in sounds) > 60 * 8000


async def test_operations_follow_the_config_when_they_are_reloaded(rest: Rest, server: JaisonServer) -> None:
    async with Frames.open(server.ws_url) as frames:
        update = {"operations": [{"role": "t2t", "id": "scripted", "model": "fancy"}]}
        await frames.job(await rest.job("PUT", "config/update", {"config_d": update}))
        assert envelope(await rest("GET", "operations"))["response"]["tts"] == "scripted"
        assert (await frames.job(await rest.job("POST", "operations/reload")))[-1]["success"]
        loaded = envelope(await rest("GET", "operations"))["response"]
        assert (loaded["t2t"], loaded["tts"], loaded["stt"]) == ("scripted", "unknown", "unknown")


# who may ask

OWN, FOREIGN, LISTED = "http://localhost:{port}", "https://evil.example", "https://overlay.example"


async def preflight(server: JaisonServer, path: str, origin: str) -> httpx.Response:
    headers = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Origin": origin.format(port=server.port),
    }
    async with httpx.AsyncClient(base_url=server.url) as http:
        return await http.request("OPTIONS", f"/api/{path}", headers=headers)


async def test_preflights(tmp_path: Path) -> None:
    guard = Guard(allowed_origins=[LISTED])
    async with jaison_server(tmp_path / "home", guard=guard) as server:
        for origin in (OWN, LISTED):
            answer = await preflight(server, "context/custom", origin)
            assert (answer.status_code, answer.text) == (200, "Success")
            assert answer.headers["access-control-allow-origin"] == origin.format(port=server.port)
            assert answer.headers["access-control-allow-methods"] == "POST, PUT, DELETE"
            assert answer.headers["access-control-allow-headers"] == "Content-Type"
            assert answer.headers["vary"] == "Origin"
        assert (await preflight(server, "response", LISTED)).headers["access-control-allow-methods"] == "POST"
        refused = await preflight(server, "response", FOREIGN)
        assert refused.status_code == 403
        assert not [name for name in refused.headers if name.startswith("access-control")]
        rest = Rest(server.url)
        for origin, allowed in ((LISTED, LISTED), (FOREIGN, None)):
            read = await rest("GET", "operations", headers={"Origin": origin})
            assert read.headers.get("access-control-allow-origin") == allowed
        picture = await rest("GET", "operations", headers={"Sec-Fetch-Site": "cross-site"})
        assert "access-control-allow-origin" not in picture.headers
        assert (await rest("POST", "response", headers={"Origin": FOREIGN})).status_code == 403
        assert (await rest("POST", "response", headers={"Origin": LISTED})).status_code == 200
        assert (await rest("GET", "operations", headers={"Host": "rebound.example"})).status_code == 403
        rest.close()


async def test_tokens_and_what_they_allow(tmp_path: Path) -> None:
    tokens = (
        Token("view", Access.VIEWER),
        Token("perform", Access.PERFORMER),
        Token("stage", Access.PERFORMER, frozenset({"stage"})),
    )
    async with jaison_server(tmp_path / "home", guard=Guard(tokens=tokens)) as server:
        rest = Rest(server.url)

        async def status(method: str, path: str, token: str, body: Any = None) -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return int(envelope(await rest(method, path, body, headers=headers))["status"])

        assert await status("GET", "operations", "") == 401
        assert await status("GET", "operations", "wrong") == 401
        assert await status("GET", "operations", "view") == 200
        assert envelope(await rest("GET", "operations?token=view"))["status"] == 200
        assert envelope(await rest("GET", "operations", headers={"X-API-Key": "view"}))["status"] == 200
        assert await status("GET", "config", "view") == 403
        assert await status("POST", "response", "view") == 403
        assert await status("DELETE", "job", "view", {"job_id": "x"}) == 403
        assert await status("POST", "response", "perform") == 200
        assert await status("POST", "config/save", "perform", {"config_name": "x"}) == 403
        assert await status("GET", "operations?session=main", "stage") == 403
        assert await status("GET", "operations?session=a%2Fb", "perform") == 400
        assert await status("POST", "context/request", "stage", {"content": "Bow."}) == 200
        listed = {item["name"] for item in await server.greenroom.sessions.listing()}
        assert listed == {"main", "stage"}, "a token that opens one session alone acts on that one"
        headers = {"Origin": OWN.format(port=server.port)}
        allowed = (await rest("OPTIONS", "response", headers=headers)).headers["access-control-allow-headers"]
        assert "Authorization" in allowed
        assert (await asyncio.to_thread(rest.http.get, "/openapi.json")).status_code == 200
        rest.close()


async def test_too_many_jobs_are_told_to_wait(tmp_path: Path) -> None:
    async with jaison_server(tmp_path / "home", CONFIG + "session: {queued_jobs: 1}\n") as server:
        rest = Rest(server.url)
        async with Frames.open(server.ws_url) as frames:
            await frames.job(await rest.job("POST", "context/conversation/text", {**TEXT, "content": "hang on"}))
            running = await rest.job("POST", "response")
            await frames.until(lambda one: one["job_id"] == running)
            await rest.job("POST", "context/request", {"content": "x"})
            busy = await rest("POST", "context/request", {"content": "y"})
            assert envelope(busy)["status"] == 503 and busy.headers["retry-after"] == "1"
            # What needs no place in the order is answered all the same.
            assert (await rest("GET", "operations")).status_code == 200
            assert (await rest("DELETE", "job", {"job_id": running})).status_code == 200
        rest.close()


async def test_a_failure_of_ours_is_told_without_its_traceback(
    rest: Rest, monkeypatch: pytest.MonkeyPatch, server: JaisonServer
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret of the traceback")

    monkeypatch.setattr(server.session, "execute", broken)
    found = envelope(await rest("POST", "response"))
    assert found["status"] == 500 and "secret" not in found["message"]


async def test_requests_leave_nothing_behind(rest: Rest, server: JaisonServer) -> None:
    await rest("GET", "operations")
    await rest("POST", "context/request", {"content": "x"})
    await rest("POST", "context/request", {"content": ""})
    assert server.session.callers == {} and server.session._acting == {}


async def test_the_end_of_the_server(rest: Rest, server: JaisonServer) -> None:
    await server.rest.close()
    assert envelope(await rest("POST", "response"))["status"] == 503


def test_both_spellings_of_a_context_are_told_apart_by_their_members() -> None:
    def named(method: str) -> Endpoint:
        return next(one for one in ENDPOINTS if (one.method, one.path) == (method, "context/custom"))

    for method in ("PUT", "POST"):
        register = named(method).command({"context_id": "x", "context_name": "X"})
        add = named(method).command({"context_id": "x", "context_contents": "y"})
        assert (register.event, add.event) == ("context_custom_register", "context_add")
