"""Whatever one peer sends, it is told what is wrong, and nobody else notices."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from fakes.running_door import Client, RawClient, RunningDoor, running_door
from greenroom.doors.safety import Guard
from greenroom.doors.socketio import Limits


@pytest.fixture
async def server() -> AsyncIterator[RunningDoor]:
    async with running_door() as running:
        yield running


async def others_are_well(server: RunningDoor) -> None:
    async with Client(server) as other:
        await other.connect({"session": "main"})
        assert (await other.call("say", {"text": "still here"}))["success"] is True
        await other.next("job_finished")


BAD_EVENTS = [
    '42{n}["no_such_event"]',
    '42{n}["no_such_event",1,2,3]',
    '42{n}["say"]',
    '42{n}["say",{{"text":"a"}},{{"text":"b"}}]',
    '42{n}["say",{{"text":"a","extra":1}}]',
    '42{n}["say",[{{"text":"a"}}]]',
    '42{n}["say",{{"text":NaN}}]',
    '42{n}["say"',
    "42{n}",
    "42{n}{{}}",
    "42{n}[]",
    "42{n}[5]",
    '42{n}[""]',
    '42{n}["connect",{{}}]',
    "42{n}" + "[" * 200_000,
    '42{n}["say",' + '{{"a":' * 20_000 + "1" + "}}" * 20_000 + "]",
    '42{n}["operation_configure",{{"ops":[{{"role":"t2t","deep":' + "[" * 30 + "]" * 30 + "}}]}}]",
    '42{n}["say",{{"text":"' + "x" * 70_000 + '"}}]',
    '42{n}["say",{{"text":"' + "x" * 2_000_000 + '"}}]',
    '42{n}["detokenize",{{"prompt":[' + ",".join(["null"] * 100_000) + "]}}]",
    '42{n}["session_state",{{' + ",".join(f'"k{i}":1' for i in range(60_000)) + "}}]",
    '42{n}["history_get",{{"limit":1e400}}]',
    '42{n}["history_get",{{"limit":' + "9" * 6000 + "}}]",
    '459999-{n}["context_add",{{"kind":"audio"}}]',
    '450-{n}["context_add",{{"kind":"audio","user":"a","sr":8000,"audio":{{"_placeholder":true,"num":0}}}}]',
    '42{n}["select_model",{{"model_name":"crash"}}]',
    '42{n}["context_add",{{"kind":["a"]}}]',
    '42{n}["context_add",{{"kind":"audio","user":"a","sr":8000,"audio":"not base64!"}}]',
]


async def test_each_bad_event_gets_its_answer_on_one_connection(server: RunningDoor) -> None:
    async with RawClient(server) as client:
        await (await client.open()).join({"session": "main"})
        for number, frame in enumerate(BAD_EVENTS, start=1):
            await client.send(frame.format(n=number))
            answer = await client.ack(number)
            assert answer["success"] is False, frame[:80]
            assert answer["error"] and answer["code"], frame[:80]
        await client.send('42999["say",{"text":"and now a good one"}]')
        assert (await client.ack(999))["success"] is True
    await others_are_well(server)


async def test_an_exception_is_internal_and_its_id_stands_in_the_log(
    server: RunningDoor, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(server) as client:
        await client.connect()
        answer = await client.call("select_model", {"model_name": "crash"})
        assert answer["code"] == "internal"
        assert "secret" not in json.dumps(answer)
        assert answer["details"]["id"] in caplog.text
        assert "a secret of the traceback" in caplog.text


async def test_attachments(server: RunningDoor) -> None:
    audio = '["context_add",{"kind":"audio","user":"a","sr":8000,"audio":{"_placeholder":true,"num":%s}}]'
    async with RawClient(server) as client:
        await (await client.open()).join()
        await client.send("451-1" + audio % 0, b"\x01\x02")
        assert (await client.ack(1))["success"] is True
        assert server.sessions.main.executed[-1].audio == b"\x01\x02"  # type: ignore[attr-defined]
        for number, where in enumerate(("1", "-1", '"0"', "true", "null", "0.5"), start=2):
            await client.send(f"451-{number}" + audio % where, b"\x01\x02")
            assert (await client.ack(number))["code"] == "bad_request"
        # an announced attachment never comes
        await client.send("451-20" + audio % 0, '4221["session_state"]')
        assert (await client.ack(20))["code"] == "bad_request"
        assert (await client.ack(21))["success"] is True
        # nobody announced these
        await client.send(b"x" * 100_000, b"", '4222["session_state"]')
        assert (await client.ack(22))["success"] is True
        # together too large
        await client.send("454-23" + audio % 0, *[bytes(6 << 20)] * 4)
        assert (await client.ack(23))["code"] == "too_large"


async def test_late_attachments_are_given_up() -> None:
    async with running_door(limits=Limits(attachment_timeout_s=0.01)) as server, RawClient(server) as client:
        await (await client.open()).join()
        await client.send('451-1["context_add",{"kind":"audio"}]')
        assert (await client.ack(1))["code"] == "bad_request"


async def test_all_clients_together_hold_no_more_than_they_may() -> None:
    async with running_door(limits=Limits(all_inboxes_bytes=100_000)) as server, RawClient(server) as client:
        await (await client.open()).join()
        await client.send('452-1["context_add",{"kind":"audio"}]', bytes(200_000))
        assert (await client.ack(1))["code"] == "busy"


GARBAGE: list[str | bytes] = [
    "",
    "9",
    "hello",
    "4",
    "4x",
    "4{}",
    "4[" + "[" * 100_000,
    "0{}",
    "b4AAA=",
    "2[[",
    "\x00",
    "²",
    "4²",
]


@pytest.mark.parametrize("frame", GARBAGE, ids=repr)
async def test_garbage_below_socketio_ends_that_connection_only(server: RunningDoor, frame: str | bytes) -> None:
    async with RawClient(server) as client:
        await (await client.open()).join({"session": "main"})
        await client.send(frame)
        while await client.frame():
            pass
    await others_are_well(server)
    assert server.door.clients <= 1


async def test_garbage_within_socketio_is_passed_over_for_a_while(server: RunningDoor) -> None:
    async with RawClient(server) as client:
        await (await client.open()).join()
        await client.send('43["stray acknowledgement"]', "461-[]", b"x", "44{}", "40{}", '42/admin,["say"]', "45[]")
        await client.send('421["session_state"]')
        assert (await client.ack(1))["success"] is True
        await client.send(*["44{}"] * Limits().malformed_frames)
        frames = [frame async for frame in _frames(client)]
        assert '42["closing",{"code":"bad_request"' in "".join(frames)


async def _frames(client: RawClient) -> AsyncIterator[str]:
    while frame := await client.frame():
        yield frame


async def test_only_one_namespace(server: RunningDoor) -> None:
    async with RawClient(server) as client:
        await client.open()
        await client.send('40/admin,{"token":"x"}')
        assert (await client.frame()).startswith("44/admin,{")
        await client.join()


async def test_events_before_joining_do_nothing(server: RunningDoor) -> None:
    async with RawClient(server) as client:
        await client.open()
        await client.send('421["say",{"text":"a"}]', b"x")
        await client.join()
        assert not server.sessions.main.executed


async def test_leaving_the_namespace_and_joining_it_again(server: RunningDoor) -> None:
    async with RawClient(server) as client:
        await (await client.open()).join({"session": "main"})
        (first,) = server.sessions.main.callers
        await client.send("41")
        await client.send('421["say",{"text":"a"}]')
        await client.send("40")
        while not (await client.frame()).startswith("40{"):
            pass
        assert await server.sessions.main.forgotten.get() == first
        assert server.door.clients == 1
        await client.send('422["session_state"]')
        assert (await client.ack(2))["success"] is True


async def test_who_never_joins_is_dropped() -> None:
    async with running_door(limits=Limits(join_timeout_s=0.05)) as server, RawClient(server) as client:
        await client.open()
        assert await client.frame() == ""


async def test_the_waiting_room_is_bounded() -> None:
    async with (
        running_door(limits=Limits(waiting_room=2)) as server,
        RawClient(server) as first,
        RawClient(server) as second,
    ):
        await first.open()
        await second.open()
        async with RawClient(server) as third:
            with pytest.raises(aiohttp.ClientError):
                await third.open()
        await first.join()
        async with RawClient(server) as fourth:
            await (await fourth.open()).join()


async def test_a_large_frame_before_joining_is_refused(server: RunningDoor) -> None:
    async with RawClient(server) as client:
        await client.open()
        await client.send('40{"token":"' + "x" * 100_000 + '"}')
        assert await client.frame() == ""


async def test_a_frame_beyond_the_limit_is_answered_before_the_connection_ends(server: RunningDoor) -> None:
    async with RawClient(server) as client:
        await (await client.open()).join()
        await client.send('421["say",{"text":"' + "x" * (16 << 20) + '"}]')
        closing = [frame async for frame in _frames(client) if frame.startswith('42["closing"')]
        assert '"code":"too_large"' in closing[0]
    await others_are_well(server)


async def test_a_flood_is_answered_busy_and_then_ended() -> None:
    limits = Limits(requests_burst=50, requests_per_s=1, flood_burst=100, flood_per_s=1)
    async with running_door(limits=limits) as server, RawClient(server) as client:
        await (await client.open()).join()
        sending = asyncio.create_task(client.send(*[f'42{n}["session_state"]' for n in range(2000)]))
        found = [frame async for frame in _frames(client)]
        await asyncio.gather(sending, return_exceptions=True)
        assert sum('"success":true' in frame for frame in found) <= 52
        assert sum('"code":"busy"' in frame for frame in found) >= 100
        assert found[-1].startswith('42["closing",{"code":"busy"')
        assert len(found) < 200
        await others_are_well(server)
        assert server.door.counts.busy >= 100


async def test_a_full_inbox_is_busy_and_an_interrupt_overtakes_it() -> None:
    async with running_door(limits=Limits(inbox_events=4)) as server, RawClient(server) as client:
        await (await client.open()).join()
        await client.send('420["select_model",{"model_name":"wait"}]')
        await server.sessions.main.waiting.wait()
        await client.send(*[f'42{n}["session_state"]' for n in range(1, 6)])
        assert (await client.ack(5))["code"] == "busy"
        await client.send('429["interrupt"]')
        assert (await client.ack(9))["success"] is True
        assert (await client.ack(0))["success"] is True
        for number in range(1, 5):
            assert (await client.ack(number))["success"] is True


async def test_what_was_sent_before_leaving_is_still_done(server: RunningDoor) -> None:
    async with RawClient(server) as client:
        await (await client.open()).join()
        await client.send(*['42["say",{"text":"a"}]'] * 5, '42["generate_text",{"prompt":"hang"}]', "41")
        await server.sessions.main.forgotten.get()
        await server.sessions.main.forgotten.get()
    assert [command.event for command in server.sessions.main.executed].count("say") == 5
    assert not server.sessions.main.private


async def test_foreign_pages_and_rebound_names_reach_nothing(server: RunningDoor) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        async with RawClient(server) as client:
            await client.open(headers)
            await client.send("40")
            refusal = await client.frame()
            assert refusal.startswith("44{") and '"code":"forbidden"' in refusal
            assert await client.frame() == ""
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{server.url}/socket.io/?EIO=4&transport=polling", headers=headers) as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers
                sid = json.loads((await answer.text())[1:])["sid"]
            url = f"{server.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
            async with http.post(url, data="40", headers=headers) as answer:
                assert answer.status == 403
                assert (await answer.json())["code"] == "forbidden"
    assert server.door.counts.refused == 3


async def test_the_log_tells_once_of_a_page_that_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with running_door() as server, aiohttp.ClientSession() as http:
        url = f"{server.url}/socket.io/?EIO=4&transport=polling"
        own = server.url
        for origin in (own, "null", "http://localhost:5173", "null", "http://x\ty/" + "z" * 500):
            async with http.get(url, headers={"Origin": origin}) as answer:
                assert answer.status == 200 and ("Access-Control-Allow-Origin" in answer.headers) == (origin == own)
    told = [record.getMessage() for record in caplog.records if "allowed_origins" in record.getMessage()]
    assert [message.split()[3] for message in told[:2]] == ["'null'", "'http://localhost:5173'"]
    assert len(told) == 3 and max(map(len, told)) < 250


async def test_an_allowed_page_may_poll() -> None:
    origin = {"Origin": "http://localhost:5173"}
    async with (
        running_door(guard=Guard(allowed_origins=["http://localhost:5173"])) as server,
        aiohttp.ClientSession() as http,
    ):
        url = f"{server.url}/socket.io/?EIO=4&transport=polling"
        async with http.options(url, headers=origin) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        async with http.get(url, headers=origin) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]


async def test_hostile_polling(server: RunningDoor) -> None:
    base = f"{server.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http:

        async def opened() -> str:
            async with http.get(base) as answer:
                return f"{base}&sid={json.loads((await answer.text())[1:])['sid']}"

        async def post(url: str, data: str | bytes) -> int:
            async with http.post(url, data=data) as answer:
                return answer.status

        assert await post(base, "40") == 400
        assert await post(base + "&sid=nobody", "40") == 400
        async with http.get(base + "&j=0") as answer:
            assert answer.status == 400
        async with http.get(base + "&sid=nobody") as answer:
            assert answer.status == 400
        async with http.put(base) as answer:
            assert answer.status == 405
        for data in ("", "x", "4[", b"\xff\xfe", "b!!!!", "40\x1egarbage", "4²", "d=40"):
            assert await post(await opened(), data) == 400
        assert await post(await opened(), "4" * 100_000) == 413
        url = await opened()
        assert (
            await post(url, '40{"session":"main"}\x1e' + "\x1e".join(f'42{n}["session_state"]' for n in range(40)))
            == 200
        )
        text = ""
        while '4339[{"success":true' not in text:
            async with http.get(url) as answer:
                text += await answer.text()
        assert all(f'43{n}[{{"success":true' in text for n in range(40)), "engine.io would have lost all of them"
        assert await post(url, "1") == 200
    await others_are_well(server)


async def test_metrics(server: RunningDoor) -> None:
    async with Client(server) as client:
        await client.connect()
        await client.call("session_state")
        assert server.registry.get_sample_value("greenroom_clients") == 1
        for name in ("events_sent", "bytes_sent", "events_received", "bytes_received"):
            found: Any = server.registry.get_sample_value(f"greenroom_{name}_total")
            assert found > 0
