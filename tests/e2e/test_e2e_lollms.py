"""The clients that lollms' server of 2023 had, each as it really behaves: none joins a session or waits for an answer.

Where a client's whole list of events is compared, that is also the proof that it hears nothing of anybody else's.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from e2e.conftest import make_home
from e2e.visitor import Visitor, visitor
from fakes.server_process import ServerProcess, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPGRADING = ("polling", "websocket")
SIX: dict[str, Any] = {
    "temperature": 0.9,
    "top_k": 50,
    "top_p": 0.95,
    "repeat_penalty": 1.2,
    "repeat_last_n": 40,
    "seed": -1,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ServerProcess, None]:
    """A server whose model says what it is told to, and does two things at once at most."""
    config = "operations: [{role: t2t, id: scripted}]\ngeneration: {max_parallel: 2}\n"
    async with running_server(make_home(tmp_path_factory.mktemp("scripted"), config)) as process:
        yield process


@asynccontextmanager
async def old_client(url: str, *transports: str) -> AsyncGenerator[Visitor, None]:
    async with visitor(url, transports=transports or ("websocket",)) as client:
        yield client


def words(client: Visitor) -> str:
    chunks = client.named("text_chunk")
    assert all(isinstance(chunk["type"], int) and 0 <= chunk["type"] <= 14 for chunk in chunks)
    return "".join(chunk["chunk"] for chunk in chunks)


async def generated(client: Visitor, *arguments: Any) -> str:
    """What ``generate_text`` with these arguments gives; nothing but chunks and the end may come."""
    before = len(client.told)
    await client.tell("generate_text", *arguments)
    end = await client.next("text_generated", "generation_error", "buzzy")
    told = client.told[before:]
    names = [each.name for each in told]
    assert names == ["text_chunk"] * (len(names) - 1) + ["text_generated"], told[-1]
    assert "".join(each.data["chunk"] for each in told[:-1]) == end["text"]
    assert {each.data["request_id"] for each in told} == {end["request_id"]}
    assert [each.data["n"] for each in told] == list(range(1, len(told) + 1))
    return str(end["text"])


# The clients of section 7


async def test_playground_page(scripted: ServerProcess) -> None:
    """First polling, then websocket; the full form; Stop."""
    async with old_client(scripted.url, *UPGRADING) as page:
        form = {"prompt": "say Once upon a time", "personality": -1, "n_predicts": 1024, "parameters": SIX}
        assert await generated(page, form) == "Once upon a time "
        await page.tell("generate_text", {**form, "prompt": "hang"})
        await page.next("text_chunk", chunk="hanging ")
        await page.tell("cancel_generation", {})
        assert (await page.next("generation_canceled"))["message"] == "Generation is canceled."
        assert (await page.next("text_generated"))["text"] == "hanging "
        assert await generated(page, form) == "Once upon a time "


async def test_web_ui_playground(scripted: ServerProcess) -> None:
    """Its sliders make strings of numbers, and it knows the later name of cancel."""
    async with old_client(scripted.url, *UPGRADING) as page:
        sliders = {name: str(value) for name, value in SIX.items()}
        form = {"prompt": "say Fine", "personality": -1, "n_predicts": "2000", "n_crop": -1, "parameters": sliders}
        assert await generated(page, form) == "Fine "
        await page.tell("generate_text", {**form, "prompt": "hang"})
        await page.next("text_chunk", chunk="hanging ")
        await page.tell("cancel_text_generation", {})
        await page.next("generation_canceled")
        assert (await page.next("text_generated"))["text"] == "hanging "


@pytest.mark.parametrize(
    "form",
    [
        {"prompt": "say a b c", "personality": -1, "n_predicts": 1024},
        {
            "prompt": "say a b c",
            "personality": -1,
            "n_predicts": 128,
            "parameters": {"temperature": 0.9, "top_k": 50, "top_p": 0.95, "repeat_penalty": 1.2},
        },
    ],
)
async def test_remote_lollms(scripted: ServerProcess, form: dict[str, Any]) -> None:
    """A connection for every request, gone as soon as the text is there; it cancels and then waits for the end."""
    for _ in range(3):
        async with old_client(scripted.url, *UPGRADING) as binding:
            assert await generated(binding, form) == "a b c "
    async with old_client(scripted.url, *UPGRADING) as binding:
        await binding.tell("generate_text", {**form, "prompt": "hang"})
        await binding.next("text_chunk", chunk="hanging ")
        await binding.tell("cancel_generation", {})
        await binding.next("text_generated")


async def test_vue_example(shared: ServerProcess) -> None:
    async with old_client(shared.url, *UPGRADING) as page:
        for name in ("list_available_bindings", "list_available_models", "list_available_personalities"):
            await page.tell(name)
        assert {"name", "card", "models"} <= set((await page.next("bindings_list"))["bindings"][0])
        assert (await page.next("available_models_list"))["success"] is True
        listed = (await page.next("personalities_list"))["personalities"]
        assert set(listed["english"]["companions"][0]) >= {
            *("folder", "name", "description", "author", "version"),
            *("has_scripts", "has_logo", "avatar"),
        }
        await page.tell("select_binding", {"binding_name": "scripted"})
        selected = await page.next("select_binding")
        assert (selected["success"], selected["binding_name"]) == (True, "scripted")
        await page.tell("list_available_models")
        models = (await page.next("available_models_list"))["available_models"]
        await page.tell("select_model", {"model_name": models[1]["title"]})
        assert (await page.next("select_model"))["success"] is True
        await page.tell("activate_personality", {"personality_name": "Robin"})
        active = await page.next("activate_personality")
        assert (active["success"], active["name"]) == (True, "Robin")
        assert await generated(page, {"prompt": "say Hello", "personality": 0}) == "Hello "
        await page.tell("select_binding", {"binding_name": "eliza"})
        await page.next("select_binding")
        assert page.names == [
            *("bindings_list", "available_models_list", "personalities_list", "select_binding"),
            *("available_models_list", "select_model", "activate_personality", "text_chunk", "text_generated"),
            "select_binding",
        ]


async def test_qt_client(scripted: ServerProcess) -> None:
    """It emits ``connect``, which is Socket.IO's own word."""
    async with old_client(scripted.url) as qt:
        await qt.tell("connect")
        await qt.tell("list_active_personalities")
        assert (await qt.next("active_personalities_list"))["personalities"] == ["Robin"]
        asked = {"client_id": qt.sio.get_sid(), "prompt": "say Hello", "personality": 0}
        assert await generated(qt, asked) == "Hello "
        assert qt.names == ["active_personalities_list", "text_chunk", "text_generated"]


async def test_cpp_client(scripted: ServerProcess) -> None:
    """Positional arguments in one program, a short form in another; cancel without any argument."""
    async with old_client(scripted.url) as cpp:
        assert await generated(cpp, "say Hello", -1, 1024) == "Hello "
        assert await generated(cpp, {"prompt": "say Hello", "n_predicts": 128}) == "Hello "
        await cpp.tell("generate_text", "hang", -1, 1024)
        await cpp.next("text_chunk", chunk="hanging ")
        await cpp.tell("cancel_generation")
        await cpp.next("generation_canceled")
        assert (await cpp.next("text_generated"))["text"] == "hanging "


@pytest.mark.parametrize(
    "form",
    [
        {"prompt": "say Hi", "personality": -1, "n_predicts": 1024},
        {"prompt": "say Hi", "temperature": 0.7, "n_predicts": 200},
        {"prompt": "say Hi", "personality": "0"},
        {"prompt": "say Hi", "personality": "Robin"},
        {"prompt": "say Hi", "personality": {"name": "Robin", "folder": "robin"}},
        {"prompt": "say Hi", "personality": 0, "n_predicts": "", "parameters": None},
        {"prompt": "say Hi", "n_predict": 12, "top_k": "", "something": [1, {"else": None}]},
    ],
    ids=["discord", "speech", "numeric string", "name", "readme", "empty", "flat"],
)
async def test_forms_of_the_others(scripted: ServerProcess, form: dict[str, Any]) -> None:
    async with old_client(scripted.url) as bot:
        assert await generated(bot, form) == "Hi "


async def test_readme_client_that_asks_for_what_never_was(scripted: ServerProcess) -> None:
    async with old_client(scripted.url) as client:
        await client.tell("list_personalities")
        await client.tell("list_active_personalities")
        await client.next("active_personalities_list")
        assert client.names == ["active_personalities_list"]
        assert (await client.ask("list_personalities"))["code"] == "not_found"


# What they rely on


async def test_busy_is_told_in_both_spellings(scripted: ServerProcess) -> None:
    async with old_client(scripted.url) as one, old_client(scripted.url) as two, old_client(scripted.url) as three:
        for client in (one, two):
            await client.tell("generate_text", {"prompt": "hang"})
            await client.next("text_chunk")
        await three.tell("generate_text", {"prompt": "say Hello"})
        assert (await three.next("buzzy"))["message"] == "I am buzzy. Come back later."
        assert (await three.next("busy"))["message"] == "I am busy. Come back later."
        assert three.names == ["buzzy", "busy"]
        await three.tell("list_active_personalities")
        await three.next("active_personalities_list")
        await one.drop()
        # The slot of a client that has gone is free again.
        while (await three.ask("generate_text", {"prompt": "say Hello"})).get("code") == "busy":
            pass
        assert (await three.next("text_generated"))["text"] == "Hello "
        await two.tell("cancel_generation", {})
        await two.next("text_generated")


async def test_cancel_ends_only_the_callers_own(scripted: ServerProcess) -> None:
    async with old_client(scripted.url) as one, old_client(scripted.url) as two:
        await one.tell("generate_text", {"prompt": "hang"})
        await one.next("text_chunk")
        await two.tell("cancel_generation", {})
        await two.next("generation_canceled")
        assert two.names == ["generation_canceled"]
        assert one.names == ["text_chunk"]
        await one.tell("cancel_generation", "now", 3)
        await one.next("text_generated")
        assert one.names == ["text_chunk", "generation_canceled", "text_generated"]


async def test_old_clients_hear_nothing_of_the_session(scripted: ServerProcess) -> None:
    async with old_client(scripted.url) as old, visitor(scripted.url, session="main") as native:
        told = await native.run("response", text="say Hello.")
        await native.done("activate_personality", id=0)
        await native.next("state_changed")
        assert await generated(old, {"prompt": "say Bye"}) == "Bye "
        assert old.names == ["text_chunk", "text_generated"]
        assert [each.name for each in native.of(str(told[0].job_id))] == [each.name for each in told]
        assert "Bye " not in str(native.named("text_chunk"))
        await old.done("say", text="Now I listen.", include_audio=False)
        await old.next("job_finished")
        assert "session_joined" in old.names


async def test_each_client_has_its_own_discussion(shared: ServerProcess) -> None:
    """The script notices when the same is said twice; a new connection has said nothing yet."""
    asked = {"prompt": "The weather is quite strange today.", "personality": 0}
    async with old_client(shared.url) as one, old_client(shared.url) as two:
        first = await generated(one, asked)
        second = await generated(one, asked)
        assert first and second and first != second
        assert await generated(two, asked) == first
        assert await generated(one, {**asked, "prompt": ""})


@pytest.mark.parametrize(
    ("event", "arguments", "replies"),
    [
        ("generate_text", [], ["generation_error"]),
        ("generate_text", [{"personality": -1}], ["generation_error"]),
        ("generate_text", [{"prompt": 5}], ["generation_error"]),
        ("generate_text", [{"prompt": "x", "personality": 99}], ["generation_error"]),
        ("generate_text", [{"prompt": "x", "n_predicts": "many"}], ["generation_error"]),
        ("generate_text", [{"prompt": "crash"}], ["generation_error"]),
        ("select_binding", [{"binding_name": "none such"}], ["select_binding"]),
        ("select_binding", [], ["select_binding"]),
        ("select_model", [{"model_name": "none such"}], ["select_model"]),
        ("add_personality", [{}], ["personality_add_failed"]),
        ("add_personality", [{"path": "a/b/c"}], ["personality_add_failed"]),
        ("activate_personality", [{"id": 5}], ["personality_add_failed", "activate_personality"]),
        ("activate_personality", [], ["personality_add_failed", "activate_personality"]),
        ("list_available_personalities_names", [], ["list_available_personalities_names_list"]),
        (
            "list_available_personalities_categories",
            [{"language": "elvish"}],
            ["available_personalities_categories_list"],
        ),
        ("tokenize", [], ["generation_error"]),
        ("detokenize", [{"prompt": "no list"}], ["generation_error"]),
        ("embed", [{"prompt": "x"}], ["generation_error"]),
    ],
)
async def test_every_refusal_is_an_event(
    scripted: ServerProcess, event: str, arguments: list[Any], replies: list[str]
) -> None:
    async with old_client(scripted.url) as client:
        await client.tell(event, *arguments)
        for reply in replies:
            told = await client.next(reply)
            assert told.get("success", False) is False
            assert isinstance(told["error"], str) and told["error"]
        await client.tell("list_active_personalities")
        await client.next("active_personalities_list")
        assert client.names == [*replies, "active_personalities_list"]


async def test_pictures_are_served(shared: ServerProcess) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("bindings/eliza/logo.png", "bindings/openai/logo.png", "images/default_model.png"):
            async with http.get(f"{shared.url}/{path}") as response:
                assert (response.status, response.content_type) == (200, "image/png")
        async with http.get(f"{shared.url}/bindings/..%2Feliza/logo.png") as response:
            assert response.status == 404
