"""permessage-deflate: agreed to where jaison's clients offer it, and used where it is worth its time."""

import json
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from fakes.jaison_clients import Frames, Rest
from fakes.jaison_server import jaison_server
from fakes.running_door import running_door
from greenroom.doors.broadcast import frames
from greenroom.doors.broadcast.deflate import SparingDeflate

EXTENSION = "Sec-WebSocket-Extensions"


def extension() -> SparingDeflate:
    return SparingDeflate(False, False, 12, 12, {"memLevel": 5})


def test_long_texts_are_compressed_and_sound_is_not() -> None:
    deflate = extension()
    [history] = frames.progress("response", "x", {"history": [{"type": "chat", "message": "again and again"}] * 100})
    [sound] = frames.progress("operation_use", "x", {"audio_bytes": "QUJD" * 1000, "sr": 8000, "sw": 2, "ch": 1})
    short = frames.succeeded("response", "x")
    for told, packed in ((history, True), (sound, False), (short, False), (history, True)):
        frame = deflate.encode(Frame(Opcode.TEXT, told.text.encode()))
        assert frame.rsv1 is packed
        assert len(frame.data) < len(told.text) / 10 if packed else bytes(frame.data) == told.text.encode()
    ping = Frame(Opcode.PING, b"x")
    assert deflate.encode(ping) is ping


@pytest.mark.parametrize(
    "offers",
    [
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(client_max_window_bits=True),
        ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True),
        ClientPerMessageDeflateFactory(server_max_window_bits=9),
        None,
    ],
    ids=["plain", "usual", "no context", "small window", "none"],
)
async def test_what_is_said_arrives_as_it_is(tmp_path: Path, offers: ClientPerMessageDeflateFactory | None) -> None:
    async with jaison_server(tmp_path / "home") as server:
        rest = Rest(server.url)
        async with connect(f"{server.ws_url}/", compression=None, extensions=[offers] if offers else None) as socket:
            assert socket.response is not None
            assert ("permessage-deflate" in socket.response.headers.get(EXTENSION, "")) is (offers is not None)
            heard = Frames(socket)
            await socket.send("what clients send is read, and nothing is done " * 100)
            for text in ("short", "grüße \U0001f600 " * 300, "short", "words and words " * 3000):
                events = await heard.job(await rest.job("POST", "context/request", {"content": text}))
                assert events[0]["start"] == {"content": text}
                assert heard.texts[-3] == json.dumps(json.loads(heard.texts[-3]))
        rest.close()


async def test_the_other_websockets_have_none() -> None:
    async with (
        running_door() as door,
        connect(f"ws://127.0.0.1:{door.port}/socket.io/?EIO=4&transport=websocket") as socket,
    ):
        assert socket.response is not None and EXTENSION not in socket.response.headers
