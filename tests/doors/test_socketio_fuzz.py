"""Every event with wrong types, missing members, huge values and nesting: one answer each, and nobody else notices."""

import json
import random
from typing import Any

from fakes.running_door import Client, RawClient, running_door
from greenroom.doors.socketio import Limits
from greenroom.protocol.asyncapi import command_types
from greenroom.protocol.commands import COMMANDS

ROUNDS = 25
STRANGE: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**70, -(2**63), 1e308, "NaN", "-1", "1e5"),
    *("", " ", "x" * 300, "x" * 70_000, "\ud800\u0000", "../../etc/passwd"),
    *([], [[]], [None] * 3000, {}, {"a": {"b": {}}}, {"_placeholder": True, "num": 0}, {"name": 5}),
]


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    return value


def members(event: str) -> list[str]:
    return sorted({name for form in command_types(event) for name in form.model_fields})


def strange(rng: random.Random, event: str) -> list[Any]:
    """Arguments of an event, mostly an object with members of the right names and wrong values."""

    def value() -> Any:
        return rng.choice([*STRANGE, nested(rng.choice([5, 20, 31, 60, 400]))])

    shape = rng.random()
    if shape < 0.1:
        return [value() for _ in range(rng.randrange(4))]
    names = [name for name in members(event) if rng.random() < 0.7]
    data = {name: value() for name in names}
    if event == "context_add" and rng.random() < 0.8:
        data["kind"] = rng.choice(["chat", "request", "audio", "custom"])
    if rng.random() < 0.2:
        data[rng.choice(["client_id", "", "__class__", "x" * 1000])] = value()
    return [data] if shape < 0.9 else [data, value()]


async def test_every_event_answers_exactly_once_whatever_it_is_given() -> None:
    rng = random.Random(20)
    limits = Limits(requests_burst=10**6, requests_per_s=10**6, flood_burst=10**6, malformed_frames=10**6)
    async with running_door(limits=limits) as server, RawClient(server) as fuzzer, Client(server) as other:
        await (await fuzzer.open()).join()
        await other.connect({"session": "elsewhere"})
        await other.next("session_joined")
        number = 0
        answered: dict[int, int] = {}
        for event in COMMANDS:
            for _ in range(ROUNDS):
                number += 1
                await fuzzer.send(f"42{number}" + json.dumps([event, *strange(rng, event)]))
                frame = ""
                while not frame.startswith(f"43{number}["):
                    frame = await fuzzer.frame()
                    assert frame, f"the connection was closed after {event}"
                    if frame.startswith("43"):
                        found = int(frame[2 : frame.index("[")])
                        answered[found] = answered.get(found, 0) + 1
                answer = json.loads(frame[frame.index("[") :])[0]
                assert isinstance(answer["success"], bool)
                if not answer["success"]:
                    assert isinstance(answer["error"], str) and isinstance(answer["code"], str)
                    assert answer["code"] != "internal", (event, answer)
                    assert "x" * 200 not in answer["error"]
        assert answered == dict.fromkeys(range(1, number + 1), 1)
        assert other.heard.empty()
        assert (await other.call("say", {"text": "all well"}))["success"] is True
