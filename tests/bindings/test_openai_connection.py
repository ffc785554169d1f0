import asyncio
import sys

import pytest

from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.openai_server import FakeOpenAI
from greenroom.bindings.discovery import BindingShelf
from greenroom.errors import BindingFailed
from greenroom.values import Message, Prompt, Role

HELLO = Prompt(messages=(Message("user", "Hello!"),))
KEY = "sk-secret-of-the-test"


async def failure_of(base_url: str, **options: object) -> BindingFailed:
    async with open_operation("openai", Role.T2T, {"base_url": base_url, **options}) as chat:
        with pytest.raises(BindingFailed) as caught:
            await anext(chat.generate(HELLO))
    return caught.value


async def test_the_key_goes_to_its_own_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: gateway-secret\nAuthorization: Bearer gateway-secret")
    async with FakeOpenAI(first_token_s=0, tokens_per_s=0) as ours, FakeOpenAI(first_token_s=0) as stranger:
        places = Places(secrets={("OPENAI_API_KEY", ours.base_url): KEY})
        for fake in (ours, stranger):
            async with open_operation("openai", Role.T2T, {"base_url": fake.base_url}, places) as chat:
                await anext(chat.generate(HELLO))
        assert ours.exchanges[0].authorization == f"Bearer {KEY}"
        sent = " ".join(stranger.exchanges[0].headers.values())
        assert stranger.exchanges[0].authorization == "Bearer no-key-configured"
        assert "environment" not in sent and "secret" not in sent


async def test_a_refused_key_is_not_repeated() -> None:
    async with FakeOpenAI() as fake:
        places = Places(secrets={("OPENAI_API_KEY", fake.base_url): KEY})
        options = {"base_url": fake.base_url, "model": "fail:401"}
        async with open_operation("openai", Role.T2T, options, places) as chat:
            with pytest.raises(BindingFailed, match="refused the API key") as caught:
                await anext(chat.generate(HELLO))
    assert KEY not in str(caught.value) and KEY not in repr(caught.value.details)


async def test_nobody_listens() -> None:
    async with FakeOpenAI() as fake:
        gone = fake.base_url
    failure = await failure_of(gone, max_retries=5)
    assert "cannot be reached: is the server running?" in failure.message and failure.retryable


async def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")  # a proxy would do the looking up
    failure = await failure_of("http://greenroom-test.invalid/v1")
    assert "the name of greenroom-test.invalid cannot be resolved" in failure.message


async def test_a_server_that_hangs_up_on_tls() -> None:
    async with FakeOpenAI() as fake:
        failure = await failure_of(fake.base_url.replace("http:", "https:"))
    assert "is it http, not https?" in failure.message or "no secure connection" in failure.message


async def test_plain_http_where_tls_was_expected() -> None:
    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        failure = await failure_of(f"https://127.0.0.1:{port}/v1")
    assert "no secure connection" in failure.message


async def test_a_server_that_speaks_no_http() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        failure = await failure_of(f"http://127.0.0.1:{port}/v1")
    assert "not HTTP" in failure.message


async def test_a_missing_v1_is_hinted_at() -> None:
    async with FakeOpenAI() as fake:
        fake.settings.has_completions = False
        failure = await failure_of(fake.base_url.replace("/v1", "/wrong"))
    assert "has no /chat/completions" in failure.message and "/v1" in failure.message


async def test_engines_are_shared_by_what_they_connect_to() -> None:
    async with FakeOpenAI() as fake, open_engines() as engines:
        chat = await engines.load("openai", Role.T2T, {"base_url": fake.base_url})
        voice = await engines.load("openai", Role.TTS, {"base_url": fake.base_url, "voice": "echo"})
        other = await engines.load("openai", Role.T2T, {"base_url": fake.base_url + "/"})
        assert chat.operation.engine is voice.operation.engine is not other.operation.engine
        for loaded in (chat, voice, other):
            await loaded.release()
        assert engines.open_count == 0


async def test_models_are_the_servers_own() -> None:
    found = BindingShelf((BINDINGS,)).get("openai")
    operation = found.operation(Role.T2T)
    async with FakeOpenAI() as fake:
        options = operation.Options.model_validate({"base_url": fake.base_url})
        names = [model.name for model in await operation.models(options, Places().place(found))]
        gone = operation.Options.model_validate({"base_url": fake.base_url})
        assert names == ["embedding-fake", "fake-chat", "tts-fake", "whisper-fake"]
    assert await operation.models(gone, Places().place(found)) == []
    assert not await operation.models(operation.Options(), Places().place(found))  # OpenAI itself, without a key


async def test_openai_is_imported_only_when_it_is_opened() -> None:
    script = (
        "import sys; from pathlib import Path; from greenroom.bindings.discovery import BindingShelf;"
        f"found = BindingShelf((Path({str(BINDINGS)!r}),)).get('openai'); found.load();"
        "print([name for name in ('openai', 'httpx2', 'numpy') if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.strip() == b"[]"


def test_only_the_owner_sets_where_it_connects() -> None:
    found = BindingShelf((BINDINGS,)).get("openai")
    for role in found.card.roles:
        fields = found.operation(role).Options.model_json_schema()["properties"]
        assert fields["base_url"]["access"] == "owner"
        assert all(field.get("description") for field in fields.values())
