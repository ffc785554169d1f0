"""The server's websocket messages, spoken by hand as the original's clients do."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from fakes.rpc_services import PATIENCE_S, IWide, Wide, watched, wide
from greenroom.rpc import Limits, Server, ServiceComponent, ServiceModel
from greenroom.rpc.frames import SUBPROTOCOL, WINDOW
from greenroom.rpc.server import opening

ARGS = {"type": "args", "json": {}}
END = {"type": "end"}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with wide() as (_, base_url):
        yield base_url.replace("http:", "ws:")


@contextmanager
def opened(url: str, **given: Any) -> Iterator[ClientConnection]:
    with connect(url, compression=None, open_timeout=PATIENCE_S, **given) as link:
        yield link


def say(link: ClientConnection, *messages: Any) -> None:
    for message in messages:
        link.send(message if isinstance(message, bytes) else json.dumps(message))


def hear(link: ClientConnection) -> Any:
    message = link.recv(PATIENCE_S)
    return message if isinstance(message, bytes) else json.loads(message)


def all_of(link: ClientConnection) -> list[Any]:
    """Everything up to the close, which must be a plain one."""
    found = [message if isinstance(message, bytes) else json.loads(message) for message in link]
    assert link.close_code == 1000
    return found


def test_a_plain_result(url: str) -> None:
    with opened(f"{url}/wide/ws-plain/3?query=a%20b") as link:
        assert link.subprotocol is None
        say(link, ARGS)
        assert all_of(link) == [{"type": "result", "value": "3 a b"}]


def test_a_stream_both_ways(url: str) -> None:
    with opened(f"{url}/wide/ws-echo") as link:
        say(link, ARGS, {"type": "stream", "name": "items"})
        say(link, {"type": "item", "value": {"text": "a", "index": 1}}, END)
        assert all_of(link) == [
            {"type": "stream"},
            {"type": "item", "value": {"text": "A", "index": 10}},
            {"type": "end"},
        ]


def test_both_directions_at_once(url: str) -> None:
    with opened(f"{url}/wide/ws-echo") as link:
        say(link, ARGS, {"type": "stream", "name": "items"})
        assert hear(link) == {"type": "stream"}
        for index in range(3):
            say(link, {"type": "item", "value": {"text": "a", "index": index}})
            assert hear(link) == {"type": "item", "value": {"text": "A", "index": index * 10}}
        say(link, END)
        assert all_of(link) == [{"type": "end"}]


def test_bytes_keep_their_boundaries(url: str) -> None:
    with opened(f"{url}/wide/ws-bytes") as link:
        say(link, ARGS, {"type": "stream", "name": "data"}, b"a", b"", b"bcd", END)
        assert all_of(link) == [{"type": "stream"}, b"aa", b"", b"bcdbcd", {"type": "end"}]


def test_files_in_pieces(url: str) -> None:
    with opened(f"{url}/wide/ws-files") as link:
        say(link, {"type": "args", "json": {"name": [1, 2]}})
        say(link, {"type": "file", "name": "file"}, bytes(65536), bytes(10), {"type": "file_end"})
        say(link, {"type": "file", "name": "other"}, {"type": "file_end"})
        assert all_of(link) == [{"type": "result", "value": [3, 65546, 0]}]


@pytest.mark.parametrize("size", [0, 3, 65537, 300_000])
def test_files_as_one_message_without_an_end(url: str, size: int) -> None:
    """As 4.9 sends them: nothing at all follows the last one."""
    with opened(f"{url}/wide/ws-files") as link:
        say(link, {"type": "args", "json": {"name": []}})
        say(link, {"type": "file", "name": "file"}, bytes(size), {"type": "file", "name": "other"}, bytes(size + 1))
        assert all_of(link) == [{"type": "result", "value": [0, size, size + 1]}]


def test_one_message_files_before_a_stream(url: str) -> None:
    with opened(f"{url}/wide/ws-all") as link:
        say(link, {"type": "args", "json": {"name": {"times": 2}}}, {"type": "file", "name": "file"}, bytes(5))
        say(link, {"type": "stream", "name": "items"}, {"type": "item", "value": {"text": "x", "index": 1}}, END)
        assert all_of(link)[1] == {"type": "item", "value": {"text": "xx", "index": 5}}


def test_an_end_of_a_file_that_comes_late_harms_nothing(url: str) -> None:
    with opened(f"{url}/wide/ws-maybe") as link:
        say(link, ARGS, {"type": "file", "name": "file"}, b"abc")
        assert hear(link) == {"type": "result", "value": 3}


async def test_a_file_in_small_pieces_that_come_slowly_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a file that is one piece may lack its end: here time is up as soon as nothing waits."""
    monkeypatch.setattr(opening, "GRACE_S", 0)
    messages: asyncio.Queue[Any] = asyncio.Queue()

    async def send(_: Any) -> None:
        raise AssertionError("nothing is said before the call")

    def comes(*given: Any) -> None:
        for one in given:
            field = "bytes" if isinstance(one, bytes) else "text"
            text = one if isinstance(one, bytes) else json.dumps(one)
            messages.put_nowait({"type": "websocket.receive", field: text})

    model = ServiceModel.parse(IWide)["ws_files"]
    reader = opening.Opening(opening.Wire(messages.get, send), model, Limits(), agreed=False)
    comes({"type": "file", "name": "file"}, b"a", b"b")
    reading = asyncio.create_task(reader.files())
    for _ in range(20):
        await asyncio.sleep(0)
    assert messages.empty()
    assert not reading.done()
    comes(b"c", {"type": "file_end"})
    assert await reading == {"file": b"abc"}


def test_optional_files_that_nobody_names_may_be_left_out(url: str) -> None:
    with opened(f"{url}/wide/ws-maybe") as link:
        say(link, ARGS)
        assert all_of(link) == [{"type": "result", "value": -1}]
    for end in ([{"type": "file_end"}], []):
        with opened(f"{url}/wide/ws-files") as link:
            say(link, {"type": "args", "json": {"name": []}}, {"type": "file", "name": "file"}, b"abc", *end)
            assert all_of(link) == [{"type": "result", "value": [0, 3, -1]}]


def test_a_file_that_comes_too_late_is_an_error(url: str) -> None:
    with opened(f"{url}/wide/ws-unending") as link:
        say(link, ARGS)
        assert hear(link) == {"type": "stream"}
        assert hear(link) == {"type": "item", "value": -1}
        say(link, {"type": "file", "name": "file"}, b"abc", {"type": "file_end"})
        assert "after the call had been taken for complete" in all_of(link)[-1]["message"]


def test_a_client_that_says_something_more_is_still_seen_to_leave() -> None:
    with watched() as (_, service, base_url):
        with opened(f"{base_url.replace('http:', 'ws:')}/watched/ws-wait") as link:
            say(link, ARGS, END)
            assert service.began.wait(PATIENCE_S)
        assert service.ended.wait(PATIENCE_S)
        assert service.seen == ["cancelled"]


def test_named_files_may_be_left_out(url: str) -> None:
    with opened(f"{url}/wide/ws-maybe") as link:
        say(link, {**ARGS, "files": []})
        assert all_of(link) == [{"type": "result", "value": -1}]


def test_files_before_a_stream_may_be_left_out(url: str) -> None:
    with opened(f"{url}/wide/ws-all") as link:
        say(link, {"type": "args", "json": {"name": {"times": 1}}}, {"type": "stream", "name": "items"})
        with suppress(ConnectionClosedOK):  # the answer may have come before the end was sent
            say(link, END)
        (error,) = all_of(link)
        assert error["type"] == "error"
        assert "file" in error["message"]


def test_none_is_an_item_like_any_other(url: str) -> None:
    with opened(f"{url}/wide/ws-maybes") as link:
        say(link, ARGS, {"type": "stream", "name": "numbers"})
        say(link, *({"type": "item", "value": value} for value in (1, None, 2)), END)
        assert all_of(link) == [{"type": "result", "value": [1, None, 2]}]


def test_an_early_error_comes_in_place_of_the_stream(url: str) -> None:
    with opened(f"{url}/wide/ws-fail/0") as link:
        say(link, ARGS)
        assert all_of(link) == [
            {"type": "error", "message": "the end", "error": {"type": "ValueError", "message": "the end"}}
        ]


def test_a_late_error_comes_in_place_of_the_next_item(url: str) -> None:
    with opened(f"{url}/wide/ws-fail/2") as link:
        say(link, ARGS)
        assert [message["type"] for message in all_of(link)] == ["stream", "item", "item", "error"]


def test_an_error_of_the_common_tree_keeps_its_kind(url: str) -> None:
    with opened(f"{url}/wide/ws-binding-fails") as link:
        say(link, ARGS)
        (error,) = all_of(link)
        assert error["message"] == "the voice is gone"
        assert error["error"]["data"] == {
            "code": "binding_failed",
            "kind": "voice_lost",
            "retryable": True,
            "details": {"voice": "x"},
        }


def test_a_result_that_does_not_serialize_is_an_error_message(url: str) -> None:
    with opened(f"{url}/wide/ws-unserializable") as link:
        say(link, ARGS)
        (error,) = all_of(link)
        assert error["type"] == "error"


@pytest.mark.parametrize(
    ("path", "messages", "text"),
    [
        ("ws-plain/abc", [ARGS], "invalid literal"),
        ("ws-plain/1", [b"bytes"], "JSON object"),
        ("ws-plain/1", [[1]], "JSON object"),
        ("ws-files", [ARGS, {"type": "file", "name": "file"}, {"type": "file_end"}], "missing a required argument"),
        ("ws-files", [{"type": "args", "json": {"name": "x"}}], "name"),
        ("ws-files", [{"type": "args", "json": {"name": []}}, {"type": "file", "name": "self"}], "is no file"),
        ("ws-files", [{"type": "args", "json": {"name": []}}, b"early"], "JSON object"),
        ("ws-maybe", [ARGS, {"type": "file", "name": "file"}, {"type": "strange"}], "expected more of the file"),
        ("ws-maybe", [ARGS, {"type": "file", "name": "file"}, b"a", {"type": "strange"}], "got 'strange'"),
        ("ws-maybe", [ARGS, {"type": "file", "name": "file"}, {"type": "file", "name": "file"}], "or its end"),
        ("ws-maybe", [ARGS, {"type": "strange"}], "expected the file 'file', got 'strange'"),
        ("ws-echo", [ARGS, END], "expected the stream"),
        ("ws-echo", [ARGS, {"type": "stream"}, b"bytes"], "expected items"),
        ("ws-echo", [ARGS, {"type": "stream"}, {"type": "strange"}], "strange"),
        ("ws-echo", [ARGS, {"type": "stream"}, {"type": "item"}], "item"),
        ("ws-echo", [ARGS, {"type": "stream"}, {"type": "item", "value": {"text": 1, "index": 1}}], "str"),
        ("ws-bytes", [ARGS, {"type": "stream"}, {"type": "item", "value": 1}], "expected bytes"),
    ],
)
def test_what_is_malformed_is_told(url: str, path: str, messages: list[Any], text: str) -> None:
    with opened(f"{url}/wide/{path}") as link:
        try:
            say(link, *messages)
        except ConnectionClosed:
            pass  # it may have been told before all was said
        last = all_of(link)[-1]
        assert last["type"] == "error"
        assert text in last["message"]
        assert "Traceback" not in last["message"]


def test_broken_json_is_told(url: str) -> None:
    with opened(f"{url}/wide/ws-plain/1") as link:
        link.send("{")
        assert "JSON" in all_of(link)[-1]["message"]


@pytest.mark.parametrize("path", ["/nothing", "/wide/text/a", "/wide/ws-plain", "/wide/ws-plain/1/2"])
def test_an_unknown_route_is_refused_at_the_handshake(url: str, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught, opened(url + path):
        pass
    assert caught.value.response.status_code == 403


def test_a_client_may_send_everything_before_it_reads(url: str) -> None:
    with opened(f"{url}/wide/ws-bytes") as link:
        say(link, ARGS, {"type": "stream", "name": "data"}, *(bytes(65536) for _ in range(40)), END)
        assert sum(len(message) for message in all_of(link)[1:-1]) == 2 * 40 * 65536


def test_a_client_that_never_reads_while_it_sends_is_told_when_neither_can_go_on() -> None:
    """The answer is larger than all that is held for such a client, so the method waits, and so does the client."""
    limits = Limits(stream_bytes=65536, unread_bytes=65536, stuck_s=0.1)
    server = Server(0, ServiceComponent(Wide(), limits=limits))
    with server.running() as url, opened(f"ws{url[4:]}/wide/ws-bytes", max_queue=1) as link:
        say(link, ARGS, {"type": "stream", "name": "data"}, *(bytes(MIB // 2) for _ in range(128)), END)
        last = all_of(link)[-1]
        assert last["type"] == "error"
        assert "neither side can go on" in last["message"]


def test_peers_agree_on_batches_and_further_calls(url: str) -> None:
    with opened(f"{url}/wide/ws-echo", subprotocols=[Subprotocol(SUBPROTOCOL), Subprotocol("other")]) as link:
        assert link.subprotocol == SUBPROTOCOL
        for _ in range(2):
            say(link, ARGS, {"type": "stream", "name": "items"})
            say(link, {"type": "items", "values": [{"text": "a", "index": index} for index in range(3)]}, END)
            found = [hear(link)]
            while found[-1]["type"] != "end":
                found.append(hear(link))
            values = [
                value
                for message in found[1:-1]
                for value in (message["values"] if message["type"] == "items" else [message["value"]])
            ]
            assert values == [{"text": "A", "index": index * 10} for index in range(3)]
            assert found[-1] == {"type": "end", "open": True}


def test_a_failed_call_leaves_the_connection_open_for_the_next(url: str) -> None:
    with opened(f"{url}/wide/ws-fail/0", subprotocols=[Subprotocol(SUBPROTOCOL)]) as link:
        for _ in range(2):
            say(link, ARGS)
            error = hear(link)
            assert (error["type"], error["open"]) == ("error", True)


def test_more_than_the_credit_allows_is_refused() -> None:
    with watched() as (_, service, url):
        link_url = url.replace("http:", "ws:") + "/watched/ws-hold"
        with opened(link_url, subprotocols=[Subprotocol(SUBPROTOCOL)]) as link:
            say(link, ARGS, {"type": "stream", "name": "data"}, b"x")
            assert service.began.wait(PATIENCE_S)
            try:
                for _ in range(40):
                    link.send(bytes(WINDOW))
            except ConnectionClosed:
                pass
            found = [message for message in all_of(link) if message["type"] == "error"]
            assert "credit" in found[0]["message"]
        assert service.ended.wait(PATIENCE_S)
        assert service.seen == ["cancelled"]


def test_credit_is_given_for_what_the_method_takes() -> None:
    with watched() as (_, service, url):
        link_url = url.replace("http:", "ws:") + "/watched/ws-take"
        with opened(link_url, subprotocols=[Subprotocol(SUBPROTOCOL)]) as link:
            say(link, ARGS, {"type": "stream", "name": "data"})
            for _ in range(16):
                link.send(bytes(65536 - 64))
            credit = 0
            while credit < WINDOW // 2:
                message = hear(link)
                if message["type"] == "credit":
                    credit += message["bytes"]
            say(link, END)
            while (last := hear(link))["type"] != "result":
                pass
            assert last["value"] == 16 * (65536 - 64)
        assert service.seen == ["whole"]
