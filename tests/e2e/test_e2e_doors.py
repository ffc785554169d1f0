"""One conversation, in which clients of every door of one server take turns: each hears what it should, in order."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest
import pytest_asyncio

from e2e.promises import check_numbers, check_sound, check_text
from e2e.visitor import Told, end_of, pcm_of, text_of, visitor
from fakes.every_door import MAIN, QUIET, EveryDoor, OpenServer, every_door, handled, open_server
from fakes.jaison_clients import Frames, results
from fakes.wyoming_client import Describe, Info, SelectProgram, Transcript, heard, heard_until, wyoming

pytestmark = pytest.mark.asyncio(loop_scope="module")

TURNS = ("response", "say")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OpenServer, None]:
    async with open_server(tmp_path_factory.mktemp("every-door")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def doors(server: OpenServer) -> AsyncGenerator[EveryDoor, None]:
    async with every_door(server) as opened:
        await opened.ana.run("context_clear")
        yield opened


async def history(doors: EveryDoor) -> list[tuple[str, str]]:
    lines = (await doors.ana.done("history_get"))["lines"]
    return [(line.get("user") or "", line["content"]) for line in lines]


def check_all_heard_the_same(doors: EveryDoor) -> None:
    """Once nothing runs: every job, by Socket.IO and on the websocket, in the same order and with the same content."""
    check_numbers(doors.ana)
    jobs = doors.jobs()
    check_frames(doors.bot.frames, jobs)
    for job_id in jobs:
        told = doors.ana.of(job_id)
        names = [one.name for one in told]
        assert names[0] == "job_started"
        assert names.count("job_started") == 1 and names.count("job_finished") == 1
        if told[0].data["job_type"] in TURNS and end_of(told)["success"]:
            check_text(told)
            check_sound(told)
            check_same_answer(told, [one for one in doors.bot.frames.heard if one["job_id"] == job_id])


def check_frames(frames: Frames, jobs: list[str]) -> None:
    """One job after the other; of each its start, its results and one end."""
    in_turn: list[str] = []
    for frame in frames.heard:
        if not in_turn or in_turn[-1] != frame["job_id"]:
            in_turn.append(frame["job_id"])
    assert [job_id for job_id in in_turn if job_id in jobs] == jobs, "each job's frames stand together"
    for job_id in jobs:
        of_job = [frame for frame in frames.heard if frame["job_id"] == job_id]
        assert ["start" in frame for frame in of_job] == [True] + [False] * (len(of_job) - 1)
        assert [frame.get("finished") for frame in of_job[1:]] == [False] * (len(of_job) - 2) + [True]


def check_same_answer(told: list[Told], frames: list[dict[str, Any]]) -> None:
    sentences = [one.data["text"].strip() for one in told if one.name == "sentence"]
    assert [result["content"] for result in results(frames) if "content" in result] == sentences
    sound = [result["audio_bytes"] for result in results(frames) if "audio_bytes" in result]
    assert b"".join(map(base64.b64decode, sound)) == pcm_of(told)
    assert frames[-1]["success"] is True


async def test_clients_of_every_door_take_turns(doors: EveryDoor) -> None:
    ana, bot = doors.ana, doors.bot
    await ana.run("response", text="say Good evening, all. I am on.", user="Ana")
    assert await bot.message("Ben", "say A text was sent. It is answered.") == "A text was sent. It is answered."
    pieces = await doors.by_sdk("say This is streamed. To the end.")
    assert len([piece for piece in pieces if piece]) > 2
    assert "".join(pieces).strip() == "This is streamed. To the end."
    await doors.idle()  # its sound, too
    assert handled(await doors.by_wyoming("say The lamp is on.")).strip() == "The lamp is on."
    await bot.spoke("Ben", b"say I heard you. Clearly.".ljust(64, b"\0"))
    played = await bot.play(await bot.silence())
    assert [content for content, _ in played] == ["I heard you.", "Clearly."] and all(sound for _, sound in played)
    whole = await doors.sdk.chat.completions.create(
        model="anything", messages=[{"role": "user", "content": "say Whole at once.", "name": "Cleo"}], metadata=QUIET
    )
    assert (whole.choices[0].message.content or "").strip() == "Whole at once."
    assert handled(await doors.by_wyoming("say The door is shut.")).strip() == "The door is shut."
    await ana.run("say", text="Good night.")
    await doors.idle()

    check_all_heard_the_same(doors)
    types = [told["job_type"] for told in ana.named("job_started")]
    asked_by_rest = ["context_add", "response"]
    assert types == [
        *("context_clear", "response", *asked_by_rest, "response", "response"),
        *(*asked_by_rest, "response", "response", "say"),
    ]
    said = [text_of(ana.of(job_id)).strip() for job_id in doors.jobs()]
    assert [text for text in said if text] == [
        "Good evening, all. I am on.",
        "A text was sent. It is answered.",
        "This is streamed. To the end.",
        "The lamp is on.",
        "I heard you. Clearly.",
        "Whole at once.",
        "The door is shut.",
        "Good night.",
    ]
    assert await history(doors) == [
        ("Ana", "say Good evening, all. I am on."),
        ("Robin", "Good evening, all. I am on."),
        ("Ben", "say A text was sent. It is answered."),
        ("Robin", "A text was sent. It is answered."),
        ("Cleo", "say This is streamed. To the end."),
        ("Robin", "This is streamed. To the end."),
        ("User", "say The lamp is on."),
        ("Robin", "The lamp is on."),
        ("Ben", "say I heard you. Clearly."),
        ("Robin", "I heard you. Clearly."),
        ("Cleo", "say Whole at once."),
        ("Robin", "Whole at once."),
        ("User", "say The door is shut."),
        ("Robin", "The door is shut."),
        ("Robin", "Good night."),
    ]


async def test_they_ask_all_at_once_and_each_gets_its_own(doors: EveryDoor) -> None:
    async def by_socket(n: int) -> str:
        return text_of(await doors.ana.run("response", text=f"say Socket {n} here.", user="Ana")).strip()

    async def by_bot(n: int) -> str:
        return await doors.bot.rest.job("POST", "response", {"include_audio": True})

    async def by_sdk(n: int) -> str:
        return "".join(await doors.by_sdk(f"say Stream {n} here.")).strip()

    async def by_wyoming(n: int) -> str:
        async with wyoming(doors.server.wyoming_uri) as house:
            await house.write_event(Transcript(text=f"say House {n} here.").event())
            return handled(await heard_until(house, "handled-stop")).strip()

    await doors.bot.message("Ben", "say The bot may go first.")  # a response without a text answers what stands there
    asked = [(door, n) for n in range(4) for door in (by_socket, by_bot, by_sdk, by_wyoming)]
    answers = await asyncio.gather(*(door(n) for door, n in asked))
    for (door, n), answer in zip(asked, answers, strict=True):
        if door is by_bot:
            assert end_of(await doors.ana.finished(answer))["success"]
        else:
            word = {by_socket: "Socket", by_sdk: "Stream", by_wyoming: "House"}[door]
            assert answer == f"{word} {n} here."
    await doors.idle()
    check_all_heard_the_same(doors)
    lines = await history(doors)
    for at, (user, content) in enumerate(lines):
        if content.startswith("say ") and user in ("Ana", "Cleo", "User"):
            assert lines[at + 1] == ("Robin", content.removeprefix("say ")), "a line and its answer stand together"


async def test_a_job_of_one_door_is_cancelled_by_another(doors: EveryDoor) -> None:
    """``DELETE /api/job`` ends turns of Socket.IO, of OpenAI's door and of Wyoming; each is told in its own way."""
    ana, bot = doors.ana, doors.bot

    async def cancel(job_id: str) -> str:
        reason = f"enough of {job_id[:4]}"
        answer = await bot.rest("DELETE", "job", {"job_id": job_id, "reason": reason})
        assert (answer.status_code, answer.json()["message"]) == (200, "Job flagged for cancellation")
        end = end_of(await ana.finished(job_id))
        assert end["error"]["code"] == "cancelled" and reason in end["error"]["reason"]
        last = (await bot.frames.job(job_id))[-1]
        assert last["result"] == {"type": "job_cancelled", "reason": end["error"]["reason"]}
        return reason

    async def hanging() -> str:
        return str((await ana.next("text_chunk", chunk="hanging "))["job_id"])

    await ana.job("response", text="hang")
    await cancel(await hanging())

    asking = asyncio.create_task(doors.by_sdk("hang"))
    reason = await cancel(await hanging())
    with pytest.raises(openai.APIError, match=reason):
        await asking

    telling = asyncio.create_task(doors.by_wyoming("hang"))
    reason = await cancel(await hanging())
    events = await telling
    assert [one.type for one in events[-3:]] == ["error", "not-handled", "handled-stop"]
    assert reason in events[-3].data["text"] and events[-3].data["code"] == "cancelled"
    check_all_heard_the_same(doors)
    assert await bot.message("Ben", "say It goes on.") == "It goes on."


async def queued(doors: EveryDoor, count: int) -> list[str]:
    """The jobs that wait, once there are so many: nobody is told when one is queued."""
    async with asyncio.timeout(30):
        while True:
            state = (await doors.ana.done("session_state"))["state"]
            if len(state["jobs"]["queued"]) == count:
                return [job["job_id"] for job in state["jobs"]["queued"]]


async def test_a_queued_job_of_another_door_is_cancelled(doors: EveryDoor) -> None:
    """It ends when its turn comes, and those behind it go on."""
    first = await doors.ana.job("response", text="hang")
    await doors.ana.next("text_chunk", chunk="hanging ")
    streamed = asyncio.create_task(doors.by_sdk("say Never heard."))
    (waiting,) = await queued(doors, 1)
    house = asyncio.create_task(doors.by_wyoming("say Now it is my turn."))
    await queued(doors, 2)
    cancelled = await doors.bot.rest("DELETE", "job", {"job_id": waiting, "reason": "not now"})
    assert cancelled.status_code == 200
    await doors.ana.done("cancel_job", job_id=first, reason="go on")
    with pytest.raises(openai.APIError, match="not now"):
        await streamed
    assert handled(await house).strip() == "Now it is my turn."
    await doors.idle()
    check_all_heard_the_same(doors)
    assert "Never heard" not in str(await history(doors))


async def test_an_interrupt_ends_the_turn_of_another_door(doors: EveryDoor) -> None:
    """The OpenAI client gets what was said, and its end; so does Wyoming's; the websocket gets the job's one end."""
    ana = doors.ana
    streamed = asyncio.create_task(doors.by_sdk("hang"))
    job_id = (await ana.next("text_chunk", chunk="hanging "))["job_id"]
    await ana.done("interrupt")
    assert "".join(await streamed) == "hanging "
    assert ana.of(job_id)
    house = asyncio.create_task(doors.by_wyoming("hang"))
    await ana.next("text_chunk", chunk="hanging ")
    await ana.done("interrupt")
    events = await house
    assert events[0].type == "handled-start" and events[-1].type == "handled-stop"
    await doors.idle()
    check_all_heard_the_same(doors)
    assert "".join(await doors.by_sdk("say And on.", metadata=QUIET)) == "And on. "


async def test_a_client_that_leaves_ends_its_turn_for_all(doors: EveryDoor) -> None:
    ana, server = doors.ana, doors.server
    stream = await doors.sdk.chat.completions.create(
        model="greenroom", messages=[{"role": "user", "content": "hang"}], stream=True, metadata=MAIN
    )
    job_id = (await ana.next("text_chunk", chunk="hanging "))["job_id"]
    await stream.close()
    assert "its client left" in end_of(await ana.finished(job_id))["error"]["reason"]
    async with wyoming(server.wyoming_uri) as passer_by:
        await passer_by.write_event(Transcript(text="hang").event())
        job_id = (await ana.next("text_chunk", chunk="hanging "))["job_id"]
    assert "the client has gone" in end_of(await ana.finished(job_id))["error"]["reason"]
    async with visitor(server.url, session="main") as other:
        job_id = await other.job("response", text="wait nothing say It is still said.")
        await ana.next("job_started", job_id=job_id)
    assert not [one for one in ana.of(job_id) if one.name == "job_finished"], "a turn is the session's, not a socket's"
    await ana.done("cancel_job", job_id=job_id)
    await doors.idle()
    check_all_heard_the_same(doors)


async def test_a_character_chosen_at_one_door_answers_at_all(doors: EveryDoor) -> None:
    ana = doors.ana

    async def who_answers() -> set[str]:
        """At each door, by the line that the context got."""
        start = len(ana.told)
        await ana.run("response", text="say Socket.", include_audio=False)
        await doors.bot.message("Ben", "say Jaison.")
        await doors.by_sdk("say Stream.", metadata=QUIET)
        await doors.by_wyoming("say House.")
        await doors.idle()
        lines = [one.data for one in ana.told[start:] if one.name == "context_added"]
        assert len(lines) == 8
        return {line["user"] for line in lines[1::2]}

    assert await who_answers() == {"Robin"}
    added = await ana.done("add_personality", path="english/inventions/tock")
    tock = added["id"]
    try:
        await ana.done("activate_personality", id=tock)
        (other,) = await who_answers()
        assert other == "Tock" == added["name"]
        async with wyoming(doors.server.wyoming_uri) as house:
            await house.write_event(Describe().event())
            names = [one.name for one in Info.from_event(await heard(house, "info")).handle]
            assert {"Robin", "Tock"} <= set(names)
            await house.write_event(SelectProgram(name="Robin").event())
            await house.write_event(Transcript(text="say Back.").event())
            await heard_until(house, "handled-stop")
        changes = ana.named("state_changed")
        assert "wyoming" in [change["by"] for change in changes]
        assert await who_answers() == {"Robin"}
    finally:
        await ana.done("remove_personality", id=tock)
