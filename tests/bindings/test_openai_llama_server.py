"""The openai binding against a real server that is not OpenAI's: llama.cpp's own, with the tiny model."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from fakes.binding_rig import BINDINGS, Places, open_operation
from fakes.llama_server import llama_server
from fakes.tiny_model import REPLIES, tiny_gguf
from greenroom.bindings.discovery import BindingShelf
from greenroom.errors import BindingFailed
from greenroom.values import Ended, FinishReason, Message, Prompt, Role, Sampling, TextDelta

KEY = "sk-key-of-the-tiny-server"


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    async with llama_server(tiny_gguf(), KEY) as url:
        yield url


async def test_a_real_server(base_url: str) -> None:
    places = Places(secrets={("OPENAI_API_KEY", base_url): KEY})
    options = {"base_url": base_url, "model": "tiny", "max_tokens": 60}
    exact = Sampling(temperature=0)
    async with open_operation("openai", Role.T2T, options, places) as chat:
        for question, reply in REPLIES.items():
            prompt = Prompt(messages=(Message("user", question),), sampling=exact)
            *deltas, ended = [item async for item in chat.generate(prompt)]
            assert "".join(delta.text for delta in deltas) == reply and len(deltas) > 5
            assert isinstance(ended, Ended) and ended.reason is FinishReason.STOP
            assert ended.completion_tokens == len(deltas) + 1 and ended.prompt_tokens, "its end is a token, too"
        raw = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nHello there!"
        *deltas, ended = [item async for item in chat.generate(Prompt(raw=raw, sampling=exact))]
        assert ended.completion_tokens
        assert "".join(delta.text for delta in deltas) == " How are you today?"
        endless = Prompt(messages=(Message("user", "hello"),), sampling=Sampling(temperature=1.5, max_tokens=1500))
        async with aclosing(chat.generate(endless)) as items:
            assert isinstance(await anext(items), TextDelta)
        long = Prompt(messages=(Message("user", "hello " * 3000),), sampling=exact)
        with pytest.raises(BindingFailed, match="exceeds the available context"):
            await anext(chat.generate(long))


async def test_its_key_and_its_models(base_url: str) -> None:
    async with open_operation("openai", Role.T2T, {"base_url": base_url, "model": "tiny"}) as chat:
        with pytest.raises(BindingFailed, match="wants an API key and none is configured"):
            await anext(chat.generate(Prompt(messages=(Message("user", "hello"),))))
    found = BindingShelf((BINDINGS,)).get("openai")
    operation = found.operation(Role.T2T)
    options = operation.Options.model_validate({"base_url": base_url})
    place = Places(secrets={("OPENAI_API_KEY", base_url): KEY}).place(found)
    assert [model.name for model in await operation.models(options, place)] == ["tiny"]
