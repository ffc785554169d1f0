"""lollms' clients of 2023, as they really write."""

from typing import Any

import pytest

from fakes.running_door import Client, RawClient, running_door
from greenroom.doors.socketio.lollms import failure, normalise, success
from greenroom.errors import BadRequest, Busy
from greenroom.protocol import commands
from greenroom.protocol.commands import COMMANDS, GenerateText, parse_command


def generate(*arguments: Any) -> GenerateText:
    command = parse_command("generate_text", normalise("generate_text", list(arguments)))
    assert isinstance(command, GenerateText)
    return command


SHAPES: list[tuple[list[Any], dict[str, Any]]] = [
    # the playground page, and the web UI once a slider has moved
    (
        [{"prompt": "p", "personality": -1, "n_predicts": 1024, "parameters": {"temperature": 0.9, "top_k": 50}}],
        {"n_predicts": 1024, "top_k": 50},
    ),
    (
        [
            {
                "prompt": "p",
                "personality": -1,
                "n_predicts": 2000,
                "n_crop": -1,
                "parameters": {"temperature": "0.9", "top_k": "50", "seed": "-1"},
            }
        ],
        {"n_crop": -1, "temperature": 0.9, "top_k": 50, "seed": -1},
    ),
    # a speech client: flat
    ([{"prompt": "p", "temperature": 0.5, "n_predicts": "128"}], {"temperature": 0.5, "n_predicts": 128}),
    # the Qt client, the C++ client, its example program
    ([{"client_id": "x", "prompt": "p", "personality": 0}], {"personality": 0}),
    ([{"prompt": "p", "n_predicts": 128}], {"n_predicts": 128, "personality": -1}),
    (["p", -1, 1024], {"n_predicts": 1024, "personality": -1}),
    (["p"], {"personality": -1}),
    # the README's list element, as an object and as a string; a numeric string
    ([{"prompt": "p", "personality": {"name": "Mara", "avatar": "x"}}], {"personality": "Mara"}),
    ([{"prompt": "p", "personality": "Mara"}], {"personality": "Mara"}),
    ([{"prompt": "p", "personality": "0"}], {"personality": 0}),
    (
        [{"prompt": "p", "personality": None, "n_predicts": None, "parameters": None}],
        {"personality": -1, "n_predicts": None},
    ),
    ([{"prompt": "p", "parameters": {"top_p": ""}, "n_predict": 5}], {"top_p": None, "n_predicts": 5}),
    ([{"prompt": "p", "temperature": 1, "parameters": {"temperature": 2}}], {"temperature": 2.0}),
]


@pytest.mark.parametrize(("arguments", "wanted"), SHAPES)
def test_every_shape_of_generate_text(arguments: list[Any], wanted: dict[str, Any]) -> None:
    command = generate(*arguments)
    assert command.prompt == "p"
    for name, value in wanted.items():
        found = getattr(command, name) if name in GenerateText.model_fields else getattr(command.parameters, name)
        assert found == value


@pytest.mark.parametrize(
    "arguments", [[], [{}], [[1, 2]], [1.5], [{"prompt": 3}], ["p", 0, 1, {}, 5], [{"prompt": "p", "parameters": 4}]]
)
def test_what_cannot_be_meant_is_refused(arguments: list[Any]) -> None:
    with pytest.raises(BadRequest):
        generate(*arguments)


def test_cancels_take_anything() -> None:
    shapes: list[list[Any]] = [[], [{}], [None], ["x"], [{"a": 1}, 2], [{"command_id": "c"}]]
    for event in ("cancel_generation", "cancel_text_generation"):
        for arguments in shapes:
            parse_command(event, normalise(event, arguments))


def test_personalities_by_index_name_and_element() -> None:
    for data, wanted in (({"id": "1"}, 1), ({"personality_name": "Mara"}, "Mara"), ({"id": {"name": "Mara"}}, "Mara")):
        command = parse_command("activate_personality", normalise("activate_personality", [data]))
        assert isinstance(command, commands.ActivatePersonality)
        assert command.id == wanted


@pytest.mark.parametrize("event", ["install_model", "uninstall_model", "cancel_install"])
@pytest.mark.parametrize(
    ("data", "name", "binding"),
    [
        ({"path": "https://host/m.bin"}, "https://host/m.bin", None),
        ({"path": "https://host/m.bin", "type": "gguf", "variant_name": "m.q4.bin"}, "m.q4.bin", None),
        ({"model_name": "m", "binding_folder": "toy", "model_url": "https://host/m.bin"}, "m", "toy"),
        ({"name": "m", "binding": "toy", "path": "x"}, "m", "toy"),
        ({"name": "m", "binding": ""}, "m", None),
    ],
)
def test_models_by_their_address(event: str, data: dict[str, Any], name: str, binding: str | None) -> None:
    command = parse_command(event, normalise(event, [data]))
    assert isinstance(command, commands.InstallModel | commands.UninstallModel | commands.CancelInstall)
    assert (command.name, command.binding) == (name, binding)


def test_strange_members_are_passed_over_only_in_lollms_events() -> None:
    parse_command("select_binding", normalise("select_binding", [{"binding_name": "x", "foo": 1}]))
    with pytest.raises(BadRequest):
        parse_command("say", normalise("say", [{"text": "x", "foo": 1}]))
    with pytest.raises(BadRequest):
        normalise("say", [{"text": "x"}, 2])
    with pytest.raises(BadRequest):
        normalise("say", ["x"])


def test_every_reply_event_of_the_protocol_is_sent() -> None:
    for event, command in COMMANDS.items():
        _, names = success(event, [], {})
        assert list(names) == ([command.reply_event] if command.reply_event else [])


FAILURES = {
    "add_personality": ["personality_add_failed"],
    "activate_personality": ["personality_add_failed", "activate_personality"],
    "select_binding": ["select_binding"],
    "select_model": ["select_model"],
    "list_available_models": ["available_models_list"],
    "generate_text": ["generation_error"],
    "tokenize": ["generation_error"],
    "detokenize": ["generation_error"],
    "embed": ["generation_error"],
    "say": [],
    "no_such_event": [],
}


@pytest.mark.parametrize("event", FAILURES)
def test_failures_tell_what_lollms_clients_wait_for(event: str) -> None:
    answer, told = failure(event, [], BadRequest("no").payload())
    assert answer["success"] is False and answer["error"] == "no"
    assert [name for name, _ in told] == FAILURES[event]


def test_busy_is_said_in_both_spellings() -> None:
    _, told = failure("generate_text", [], Busy("full").payload())
    assert [(name, data["message"]) for name, data in told] == [
        ("buzzy", "I am buzzy. Come back later."),
        ("busy", "I am busy. Come back later."),
    ]


async def test_the_playground() -> None:
    async with running_door() as server, Client(server) as page:
        await page.connect()
        await page.sio.emit("generate_text", {"prompt": "a b c", "personality": -1, "n_predicts": 1024})
        heard = await page.until(lambda event: event[0] == "text_generated")
        assert [data["chunk"] for name, data in heard if name == "text_chunk"] == ["a", "b", "c"]
        assert [data["n"] for _, data in heard] == [1, 2, 3, 4]
        assert all(data["type"] == 0 for name, data in heard if name == "text_chunk")

        await page.sio.emit("generate_text", ("go hang", -1, 1024))
        await page.next("text_chunk")
        await page.sio.emit("cancel_generation")
        heard = await page.until(lambda event: event[0] == "text_generated")
        names = [name for name, _ in heard]
        assert names[-2:] == ["generation_canceled", "text_generated"]
        assert heard[-2][1]["message"] == "Generation is canceled."

        server.sessions.main.busy = True
        await page.sio.emit("generate_text", {"prompt": "a"})
        assert [(await page.heard.get())[0], (await page.heard.get())[0]] == ["buzzy", "busy"]
        await page.sio.emit("generate_text", {"n_predicts": 3})
        event, data = await page.heard.get()
        assert event == "generation_error" and "prompt" in data["error"]


async def test_replies_and_their_failures() -> None:
    async with running_door() as server, Client(server) as client:
        await client.connect()
        for event, data, reply_event, wanted in (
            ("select_binding", {"binding_name": "eliza"}, "select_binding", {"success": True, "binding_name": "eliza"}),
            (
                "select_binding",
                {"binding_name": "../x"},
                "select_binding",
                {"success": False, "binding_name": "../x", "code": "not_found"},
            ),
            ("select_model", {"model_name": "m"}, "select_model", {"success": True, "model_name": "m"}),
            (
                "activate_personality",
                {"personality_name": "Mara"},
                "activate_personality",
                {"success": True, "name": "Mara"},
            ),
            ("activate_personality", {"id": "0"}, "activate_personality", {"success": True, "id": 0}),
            (
                "list_available_models",
                None,
                "available_models_list",
                {"success": False, "error": "No binding selected"},
            ),
            ("add_personality", {}, "personality_add_failed", {"success": False, "code": "bad_request"}),
            (
                "add_personality",
                {"path": "nowhere"},
                "personality_add_failed",
                {"error": "The provided path does not exist."},
            ),
            ("tokenize", {"prompt": "a b"}, "tokenized", {"tokens": ["a", "b"]}),
            ("tokenize", {}, "generation_error", {"success": False}),
        ):
            acknowledged = await client.call(event, data)
            name, told = await client.heard.get()
            assert name == reply_event
            assert told == acknowledged
            assert wanted.items() <= told.items()
        await client.call("activate_personality", {"id": 7})
        assert [(await client.heard.get())[0] for _ in range(2)] == ["personality_add_failed", "activate_personality"]
        assert client.heard.empty()


async def test_the_qt_client_emits_connect_and_stays() -> None:
    async with running_door() as server, RawClient(server) as client:
        await (await client.open()).join()
        await client.send('42["connect",{"a":1}]', '42["disconnect","x"]', '425["connect_error"]')
        assert (await client.ack(5))["code"] == "bad_request"
        await client.send('426["list_active_personalities"]')
        assert (await client.ack(6))["success"] is True
        assert server.door.clients == 1
        assert server.sessions.main.forgotten.empty()
