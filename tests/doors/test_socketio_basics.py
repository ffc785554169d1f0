"""Connecting, joining, acknowledgements and events, with the ordinary Python client over both transports."""

from typing import Any

import pytest

from fakes.running_door import Client, RawClient, RunningDoor, running_door
from fakes.session import PIECES
from greenroom.doors.safety import Guard, Token
from greenroom.doors.socketio import Limits
from greenroom.values import Access

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-then-".join)
async def test_a_turn_over_each_transport(transports: list[str]) -> None:
    async with running_door() as server, Client(server, transports=transports) as client:
        await client.connect({"session": "main", "client": "test/1"})
        _, joined = await client.next("session_joined")
        assert joined["role"] == "owner"
        assert joined["server"]["name"] == "greenroom"
        assert joined["resumed"] is False

        reply = await client.call("response", {"user": "a", "text": "hi"})
        assert reply["success"] is True
        heard = await client.until(lambda event: event[0] == "job_finished")
        assert [data["seq"] for _, data in heard] == list(range(1, len(heard) + 1))
        assert all(data["job_id"] == reply["job_id"] and data["session"] == "main" for _, data in heard)
        assert "".join(data["chunk"] for name, data in heard if name == "text_chunk") == "".join(PIECES)
        voice = b"".join(data["audio"] for name, data in heard if name == "audio_chunk")
        assert voice == b"".join(bytes([index]) * 960 for index in range(len(PIECES)))


async def test_the_acknowledgement_comes_before_the_jobs_events() -> None:
    async with running_door() as server, RawClient(server) as client:
        await (await client.open()).join()
        await client.send('421["say",{"text":"hi"}]')
        frames = [await client.frame() for _ in range(4)]
        assert [frame.partition(",")[0] for frame in frames] == [
            '42["session_joined"',
            '431[{"success":true',
            '42["job_started"',
            '42["job_finished"',
        ]


async def test_a_client_that_names_no_session_hears_only_its_own_replies() -> None:
    async with running_door() as server, Client(server) as old, Client(server) as native:
        await old.connect()
        await native.connect({"session": "main"})
        await native.call("say", {"text": "hi"})
        await native.next("job_finished")

        reply = await old.call("list_available_personalities")
        event, data = await old.heard.get()
        assert event == "personalities_list"
        assert data == reply
        assert data["n"] == 1 and data["request_id"]

        await old.call("say", {"text": "now it joins"})
        names = [name for name, _ in await old.until(lambda event: event[0] == "job_finished")]
        assert names == ["session_joined", "job_started", "job_finished"]


async def test_leaving_and_joining_sessions() -> None:
    async with running_door() as server, Client(server) as client, Client(server) as other:
        await client.connect({"session": "main", "plays": True})
        await other.connect({"session": "stage"})
        await client.next("session_joined")
        assert server.sessions.main.players
        assert (await client.call("session_state"))["state"] == {"session": "main", "personality": "Mara"}

        await client.call("session_leave")
        assert not server.sessions.main.callers
        await other.call("session_join", {"session": "main"})
        await other.call("say", {"text": "alone"})
        await other.next("job_finished")

        joined = await client.call("session_join", {"session": "main", "last_seq": 0, "epoch": "another"})
        assert joined["success"] is True and joined["resumed"] is False
        listed = await client.call("session_list")
        assert {item["name"] for item in listed["sessions"]} == {"main", "stage"}
        await client.next("session_joined")
        assert client.heard.empty()


async def test_resume_repeats_what_was_missed_and_nothing_else() -> None:
    async with running_door() as server, Client(server) as client:
        session = server.sessions.main
        session.speak("earlier")
        at = session.log.seq
        session.speak("missed")
        await client.connect({"session": "main", "epoch": session.log.epoch, "last_seq": at})
        _, joined = await client.next("session_joined")
        assert joined["resumed"] is True
        assert joined["seq"] == at
        assert joined["missed"] == session.log.seq - at
        heard = await client.until(lambda event: event[0] == "text_generated")
        assert [data["seq"] for _, data in heard] == list(range(at + 1, session.log.seq + 1))


async def test_resume_beyond_the_log_is_not_resumed() -> None:
    async with running_door() as server, Client(server) as client:
        await client.connect({"session": "main", "epoch": server.sessions.main.log.epoch, "last_seq": 10_000})
        _, joined = await client.next("session_joined")
        assert joined["resumed"] is False
        assert joined["seq"] == 0


async def test_dropped_audio_stands_as_a_gap() -> None:
    async with running_door(log_bytes=20_000) as server, Client(server) as client:
        session = server.sessions.main
        session.speak("long", tuple("abcdefghij"), pcm_bytes=4000)
        await client.connect({"session": "main", "epoch": session.log.epoch, "last_seq": 0})
        heard = await client.until(lambda event: event[0] == "text_generated")
        at = 0
        for name, data in heard[1:]:
            if name == "audio_dropped":
                assert data["from_seq"] == at + 1
                at = data["to_seq"]
            else:
                assert data["seq"] == at + 1
                at = data["seq"]
        assert any(name == "audio_dropped" for name, _ in heard)
        assert "".join(data["chunk"] for name, data in heard if name == "text_chunk") == "abcdefghij"


async def refusal(server: RunningDoor, auth: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    async with Client(server) as client:
        with pytest.raises(Exception, match=r".*"):
            await client.connect(auth, headers)
        assert set(client.refusal) == {"message", "data"}
        return dict(client.refusal["data"])


async def test_refusals_say_why() -> None:
    tokens = [Token("sesame", Access.PERFORMER, frozenset({"stage"})), Token("root", Access.OWNER)]
    async with running_door(guard=Guard(tokens=tokens)) as server:
        assert (await refusal(server, None))["code"] == "unauthorized"
        assert (await refusal(server, {"token": "sesam"}))["code"] == "unauthorized"
        assert (await refusal(server, {"token": "sesame", "role": "owner"}))["code"] == "forbidden"
        assert (await refusal(server, {"token": "sesame", "role": "king"}))["code"] == "bad_request"
        assert (await refusal(server, {"token": "sesame", "session": "main"}))["code"] == "forbidden"
        assert (await refusal(server, {"token": "root", "sesion": "main"}))["code"] == "bad_request"
        assert (await refusal(server, {"token": "root", "session": "crash"}))["code"] == "internal"
        assert (await refusal(server, {"token": "root"}, {"Origin": "http://evil.example"}))["code"] == "forbidden"
        async with Client(server) as client:
            await client.connect({"token": "sesame"})
            assert (await client.call("session_state"))["session"] == "stage"
            assert (await client.call("session_join", {"session": "main"}))["code"] == "forbidden"


async def test_a_viewer_listens_and_does_nothing_else() -> None:
    async with running_door() as server, Client(server) as client:
        await client.connect({"session": "main", "role": "viewer"})
        assert (await client.call("say", {"text": "hi"}))["code"] == "forbidden"
        assert (await client.call("list_available_personalities"))["success"] is True
        server.sessions.main.speak("somebody's")
        await client.next("text_generated")


async def test_too_many_clients() -> None:
    async with running_door(limits=Limits(max_clients=1)) as server, Client(server) as client:
        await client.connect()
        assert (await refusal(server, None))["code"] == "busy"


async def test_leaving_ends_private_work_and_joining_again_makes_somebody_new() -> None:
    async with running_door() as server:
        async with Client(server) as client:
            await client.connect({"session": "main"})
            await client.next("session_joined")
            (first,) = server.sessions.main.callers
            await client.call("generate_text", {"prompt": "hang"})
        while await server.sessions.main.forgotten.get() != first:
            pass
        assert not server.sessions.main.private
        async with Client(server) as client:
            await client.connect({"session": "main"})
            await client.next("session_joined")
            assert first not in server.sessions.main.callers


async def test_closing_tells_everybody_before_the_transport_ends() -> None:
    async with running_door() as server, Client(server) as client, Client(server, transports=["polling"]) as polling:
        await client.connect({"session": "main"})
        await polling.connect({"session": "main"})
        await polling.next("session_joined")
        server.sessions.main.speak("last words")
        await server.door.close("shutdown", "good night")
        for each in (client, polling):
            heard = await each.until(lambda event: event[0] == "closing")
            assert heard[-1][1] == {"code": "shutdown", "message": "good night"}
            assert heard[-2][0] == "text_generated"
            await each.gone.wait()
        assert server.door.clients == 0
