"""The documented order of a response, for those who ask for it; and the live one for everybody else."""

from pathlib import Path

import pytest

from fakes.jaison_clients import Frames, Rest, kinds, results
from fakes.jaison_server import CONFIG, jaison_server
from greenroom.doors.broadcast.frames import Frame, Part
from greenroom.doors.broadcast.ordering import DocumentedOrder
from session.scene import Scene

TEXT = {"user": "Ana", "content": "say One comes. Two comes. Three comes.", "timestamp": 1}


def frame(part: Part, text: str = "", job_id: str = "j") -> Frame:
    return Frame(text or part.name, job_id, part)


def through(order: DocumentedOrder, *frames: Frame) -> list[str]:
    return [out.text for each in frames for out in order.frames(each)]


def test_what_is_spoken_waits_for_the_whole_text() -> None:
    order = DocumentedOrder(1000)
    assert through(order, frame(Part.START), frame(Part.PROMPT), frame(Part.SPOKEN, "a"), frame(Part.SPOKEN, "b")) == [
        "START",
        "PROMPT",
    ]
    assert through(order, frame(Part.RAW), frame(Part.SPOKEN, "c"), frame(Part.END)) == ["RAW", "a", "b", "c", "END"]


def test_a_success_without_a_text_loses_nothing() -> None:
    order = DocumentedOrder(1000)
    assert through(order, frame(Part.START), frame(Part.SPOKEN, "a"), frame(Part.END)) == ["START", "a", "END"]


def test_a_model_that_failed_has_said_nothing() -> None:
    order = DocumentedOrder(1000)
    assert through(order, frame(Part.START), frame(Part.SPOKEN, "a"), frame(Part.FAILED)) == ["START", "FAILED"]
    assert through(order, frame(Part.START, job_id="k"), frame(Part.RAW, job_id="k")) == ["START", "RAW"]


def test_a_voice_that_failed_later_was_heard() -> None:
    order = DocumentedOrder(1000)
    parts = (Part.START, Part.SPOKEN, Part.RAW, Part.SPOKEN, Part.FAILED)
    assert through(order, *map(frame, parts)) == ["START", "RAW", "SPOKEN", "SPOKEN", "FAILED"]


def test_who_comes_in_the_middle_hears_what_is_left_at_once() -> None:
    assert through(DocumentedOrder(1000), frame(Part.SPOKEN, "a"), frame(Part.END)) == ["a", "END"]


def test_more_than_may_be_held_leaves_early_rather_than_never() -> None:
    order = DocumentedOrder(10)
    assert through(order, frame(Part.START), frame(Part.SPOKEN, "123456"), frame(Part.SPOKEN, "7890!")) == [
        "START",
        "123456",
        "7890!",
    ]
    assert through(order, frame(Part.SPOKEN, "more"), frame(Part.RAW)) == ["more", "RAW"]


async def test_one_connection_may_ask_for_it(tmp_path: Path) -> None:
    async with (
        jaison_server(tmp_path / "home") as server,
        Frames.open(server.ws_url, order="documented") as documented,
        Frames.open(server.ws_url) as live,
    ):
        rest = Rest(server.url)
        await rest.job("POST", "context/conversation/text", TEXT)
        job_id = await rest.job("POST", "response")
        in_order, as_it_came = await documented.job(job_id), await live.job(job_id)
        rest.close()
    assert kinds(in_order)[:4] == ["instruction_prompt", "history", "raw_content", "content"]
    assert kinds(as_it_came)[:3] == ["instruction_prompt", "history", "content"]
    assert sorted(map(str, results(in_order))) == sorted(map(str, results(as_it_came))), "the same, in another order"
    for events in (in_order, as_it_came):
        contents = [result["content"] for result in results(events) if "content" in result]
        assert contents == ["One comes.", "Two comes.", "Three comes."]


@pytest.mark.parametrize(("query", "documented"), [({}, True), ({"order": "live"}, False), ({"order": "?"}, True)])
async def test_the_configuration_may_ask_for_it(tmp_path: Path, query: dict[str, str], documented: bool) -> None:
    config = CONFIG + "jaison: {order: documented}\n"
    async with jaison_server(tmp_path / "home", config) as server, Frames.open(server.ws_url, **query) as frames:
        rest = Rest(server.url)
        await rest.job("POST", "context/conversation/text", TEXT)
        found = kinds(await frames.job(await rest.job("POST", "response")))
        rest.close()
    assert (found.index("raw_content") < found.index("content")) is documented


async def test_a_text_that_is_only_said_comes_in_order_too(tmp_path: Path) -> None:
    async with (
        jaison_server(tmp_path / "home") as server,
        Frames.open(server.ws_url, order="documented") as frames,
    ):
        found = kinds(await frames.job(await Scene(server.greenroom, server.session).job("say", text="Good night.")))
    assert found == ["raw_content", "content", "audio_bytes"]
