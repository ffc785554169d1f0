"""The connection cut at any byte, in attachments too: text and voice come out as those of an uncut client."""

import random
from collections.abc import Iterator
from typing import Any

import aiohttp

from fakes.cutting_proxy import cutting_proxy
from fakes.running_door import running_door
from fakes.session import FakeSession
from fakes.socketio_packets import decode

TURNS = 60
CUTS = 80


class Heard:
    def __init__(self) -> None:
        self.epoch: str | None = None
        self.last_seq = 0
        self.text = ""
        self.pcm = b""
        self.joins = 0
        self.resumed = 0

    def take(self, name: str, data: dict[str, Any]) -> None:
        if name == "session_joined":
            self.joins += 1
            self.resumed += data["resumed"]
            assert data["resumed"] is (self.epoch is not None)
            self.epoch, self.last_seq = data["epoch"], data["seq"]
            return
        assert data["seq"] == self.last_seq + 1, "nothing is missed, nothing comes twice"
        self.last_seq = data["seq"]
        self.text += data.get("chunk", "")
        self.pcm += data.get("audio", b"")


def drain(left: list[int]) -> Iterator[int]:
    while left:
        yield left.pop()


def emit_turn(session: FakeSession, rng: random.Random) -> None:
    pieces = tuple(f"{rng.random()} " for _ in range(4))
    session.speak("j", pieces, pcm_bytes=2 * rng.randrange(50, 1500))


async def listen(http: aiohttp.ClientSession, url: str, heard: Heard, last_seq: int) -> None:
    """Until the connection is cut, or everything has come."""
    auth = '{"session":"main"}'
    if heard.epoch is not None:
        auth = f'{{"session":"main","epoch":"{heard.epoch}","last_seq":{heard.last_seq}}}'
    async with http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket") as ws:
        await ws.receive()
        await ws.send_str("40" + auth)
        header, attachments = "", list[bytes]()
        while heard.last_seq < last_seq or heard.epoch is None:
            message = await ws.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                attachments.append(message.data)
                heard.take(*decode(header, attachments))
            elif message.type is aiohttp.WSMsgType.TEXT:
                header, attachments = message.data[1:], []
                if header.startswith("2"):
                    heard.take(*decode(header, []))
            else:
                return


async def test_cut_at_random_bytes() -> None:
    rng = random.Random(5)
    left = [rng.randrange(1, 9000) for _ in range(CUTS)]
    async with (
        running_door(log_bytes=16 << 20) as server,
        cutting_proxy(server.url, drain(left)) as proxy,
        aiohttp.ClientSession() as http,
    ):
        session = server.sessions.main
        cut, uncut = Heard(), Heard()
        emitted = 0
        while emitted < TURNS or left or cut.last_seq < session.log.seq:
            if cut.epoch is not None and emitted < TURNS:
                emit_turn(session, rng)
                emitted += 1
            elif cut.last_seq == session.log.seq and cut.epoch is not None:
                emit_turn(session, rng)
            try:
                await listen(http, proxy.url, cut, session.log.seq)
            except (aiohttp.ClientError, OSError):
                pass  # cut during the handshake
        uncut.epoch, uncut.last_seq = session.log.epoch, 0
        await listen(http, server.url, uncut, session.log.seq)
        assert cut.resumed == cut.joins - 1 > 10
        assert (cut.text, cut.pcm) == (uncut.text, uncut.pcm)
        assert len(cut.pcm) > 100_000
