"""Connections that break anywhere: nothing is missed, nothing comes twice, and what is gone for good is said.

GREENROOM_TEST_CUTS=1000 cuts so often; a run of every day is content with less.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from e2e.conftest import make_home
from e2e.promises import check_numbers
from e2e.visitor import Told, Visitor, end_of, pcm_of, text_of, visitor
from fakes.cutting_proxy import cutting_proxy
from fakes.server_process import ServerProcess, running_server
from greenroom import client

pytestmark = pytest.mark.asyncio(loop_scope="module")

CUTS = int(os.environ.get("GREENROOM_TEST_CUTS", "25"))
HANDSHAKE_BYTES = 3000
"""about what a connection needs until events come"""
SAID = (
    "The lamp is lit. The door is open.",
    "A robin sat upon the sill, and sang of rain and of the hill.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Ça va?",
)


def cuts(seed: int) -> Iterator[int]:
    """The first connection lasts long enough to be one; of the others, some never get as far as that."""
    draw = random.Random(seed)
    yield draw.randrange(2 * HANDSHAKE_BYTES, 20_000)
    for _ in range(CUTS - 1):
        yield draw.randrange(1, HANDSHAKE_BYTES) if draw.random() < 0.15 else draw.randrange(HANDSHAKE_BYTES, 40_000)


class Cursor:
    """What a client keeps to come back where it was."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.client: Visitor | None = None

    def auth(self) -> dict[str, Any]:
        joined = self.client.named("session_joined") if self.client else []
        if self.client is None or not joined:
            return {"session": self.session}
        numbers = self.client.numbers()
        last_seq = numbers[-1] if numbers else joined[0]["seq"]
        return {"session": self.session, "epoch": joined[-1]["epoch"], "last_seq": last_seq}


@pytest.mark.timeout(600 + 3 * CUTS)
async def test_cut_at_random_bytes_an_ordinary_client_misses_nothing(shared: ServerProcess, den: str) -> None:
    async with (
        visitor(shared.url, session=den) as whole,
        cutting_proxy(shared.url, cuts(7)) as proxy,
        aiohttp.ClientSession() as http,
    ):
        cut = Visitor(http, reconnects=True)
        cursor = Cursor(den)
        cursor.client = cut
        try:
            await cut.connect(proxy.url, cursor.auth)
            await cut.next("session_joined")
            turns = 0
            while proxy.made < CUTS:
                await whole.run("say", text=SAID[turns % len(SAID)])
                await cut.caught_up(whole.numbers()[-1])
                turns += 1
            events = [told for told in cut.told if told.name != "session_joined"]
            assert text_of(events) == text_of(whole.told) != ""
            assert pcm_of(events) == pcm_of(whole.told) != b""
            check_numbers(cut)
            assert events == [told for told in whole.told if told.name != "session_joined" and "seq" in told.data]
            assert all(joined["resumed"] for joined in cut.named("session_joined")[1:])
        finally:
            await cut.close()


@pytest.mark.timeout(600 + 3 * CUTS)
async def test_cut_at_random_bytes_the_client_library_asks_and_hears_all(shared: ServerProcess, den: str) -> None:
    async with (
        visitor(shared.url, session=den) as whole,
        cutting_proxy(shared.url, cuts(8)) as proxy,
        client.connect(proxy.url, session=den, connect_timeout_s=5) as room,
    ):
        asked = 0
        while proxy.made < CUTS:
            answer = await room.ask("Who are you?")
            asked += 1
            await whole.next("job_finished")
            job_id = whole.named("job_finished")[-1]["job_id"]
            told = whole.of(job_id)
            assert answer.complete and answer.voice is not None
            assert answer.text == text_of(told)
            assert answer.voice.pcm == pcm_of(told)
        # Whatever was cut, each question was asked once.
        assert len([line for line in whole.named("context_added") if line["user"] != "Robin"]) == asked


# Resuming on purpose


async def spoken(client: Visitor, text: str) -> list[Told]:
    return await client.run("say", text=text)


async def test_a_session_is_joined_again_where_it_was_left(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana, visitor(shared.url, session=den) as ben:
        await spoken(ana, "One.")
        await ben.caught_up(ana.numbers()[-1])
        joined = ben.named("session_joined")[0]
        await ben.done("session_leave")
        told = await spoken(ana, "Two.")
        heard = len(ben.told)
        answer = await ben.done("session_join", session=den, epoch=joined["epoch"], last_seq=ben.numbers()[-1])
        assert (answer["resumed"], answer["missed"]) == (True, len(told))
        await ben.caught_up(ana.numbers()[-1])
        assert [each for each in ben.told[heard:] if "seq" in each.data and "state" not in each.data][
            -len(told) :
        ] == told
        check_numbers(ben)
        await spoken(ana, "Three.")
        await ben.caught_up(ana.numbers()[-1])
        check_numbers(ben)


async def test_what_was_heard_long_ago_comes_again(shared: ServerProcess, den: str) -> None:
    async with visitor(shared.url, session=den) as ana:
        told = await spoken(ana, "One.")
        epoch = ana.named("session_joined")[0]["epoch"]
        async with visitor(shared.url, session=den, epoch=epoch, last_seq=0) as ben:
            assert ben.named("session_joined")[0]["missed"] == len(told)
            assert await ben.finished(str(told[0].job_id)) == told


@pytest.mark.parametrize("auth", [{"last_seq": 1}, {"epoch": "another", "last_seq": 1}, {"last_seq": 10**9}])
async def test_what_cannot_be_resumed_begins_anew(shared: ServerProcess, den: str, auth: dict[str, Any]) -> None:
    async with visitor(shared.url, session=den) as ana:
        await spoken(ana, "One.")
        if len(auth) == 1 and auth["last_seq"] > 1:
            auth = {**auth, "epoch": ana.named("session_joined")[0]["epoch"]}
        async with visitor(shared.url, session=den, **auth) as ben:
            joined = ben.named("session_joined")[0]
            assert (joined["resumed"], joined["missed"], joined["seq"]) == (False, 0, ana.numbers()[-1])
            await spoken(ana, "Two.")
            await ben.caught_up(ana.numbers()[-1])
            assert ben.numbers()[0] == joined["seq"] + 1
            check_numbers(ben)


async def test_audio_that_left_the_log_is_told(tmp_path: Path, den: str) -> None:
    """Text is all there; where sound is missing stands how much."""
    config = "turn: {audio_lead_ms: 300}\nsession: {replay_log_bytes: 65536}\n"
    async with running_server(make_home(tmp_path / "home", config)) as server, visitor(server.url, session=den) as ana:
        epoch = ana.named("session_joined")[0]["epoch"]
        assert end_of(await spoken(ana, SAID[0]))["success"]
        check_numbers(ana)
        async with visitor(server.url, session=den, epoch=epoch, last_seq=0) as ben:
            assert ben.named("session_joined")[0]["resumed"] is True
            await ben.caught_up(ana.numbers()[-1])
            gaps = ben.named("audio_dropped")
            assert gaps and text_of(ben.told) == text_of(ana.told)
            missing = {seq for gap in gaps for seq in range(gap["from_seq"], gap["to_seq"] + 1)}
            numbers = {each.data["seq"] for each in ben.told if "seq" in each.data and each.name not in _NOT_NUMBERED}
            assert numbers | missing == set(ana.numbers()) and not numbers & missing
            assert {each["seq"] for each in ana.named("audio_chunk")} >= missing
            kept = [each for each in ana.told if each.name == "audio_chunk" and each.data["seq"] not in missing]
            assert pcm_of(ben.told) == pcm_of(kept)


_NOT_NUMBERED = ("audio_dropped", "session_joined")
