"""A real language model in the server's own process, small enough to be taught what it says."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from e2e.conftest import make_home
from e2e.promises import check_order, check_turn
from e2e.visitor import end_of, text_of, visitor
from fakes.server_process import ServerProcess, running_server
from fakes.tiny_model import REPLIES, tiny_gguf

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
personalities: [english/tests/nobody]
operations: [{role: t2t, id: llamacpp}, {role: tts, id: espeak}]
bindings: {llamacpp: {n_ctx: 512, n_threads: 1, n_parallel: 2, temperature: 0}}
turn: {audio_lead_ms: 0}
"""
NOBODY = "name: Nobody\nlanguage: english\npersonality_conditioning: ''\nwelcome_message: ''\nmodel_temperature: 0\n"
ENDLESS = {"temperature": 1.5, "top_k": 0, "seed": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tiny(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ServerProcess, None]:
    """A server with the tiny model, and a character without instructions, so that the prompt is what was taught."""
    home = make_home(tmp_path_factory.mktemp("tiny"), CONFIG)
    models = home / "models" / "llamacpp"
    models.mkdir(parents=True)
    model = await asyncio.to_thread(tiny_gguf)
    (models / "tiny.gguf.reference").write_text(f"{model}\n", encoding="utf-8")
    nobody = home / "personalities" / "english" / "tests" / "nobody"
    nobody.mkdir(parents=True)
    (nobody / "config.yaml").write_text(NOBODY, encoding="utf-8")
    async with running_server(home) as process:
        yield process


def raw(question: str) -> str:
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


async def test_it_says_what_it_was_taught(tiny: ServerProcess, den: str) -> None:
    async with visitor(tiny.url, session=den) as ana:
        for question, reply in REPLIES.items():
            job_id = await ana.job("response", text=question)
            told = await ana.finished(job_id)
            check_order(ana, job_id)
            check_turn(told)
            assert text_of(told) == reply
            await ana.run("context_clear")


async def test_several_sessions_at_once(tiny: ServerProcess, den: str) -> None:
    async def asks(number: int, question: str) -> str:
        async with visitor(tiny.url, session=f"{den}-{number}") as client:
            told = await client.run("response", text=question)
            check_turn(told)
            return text_of(told)

    questions = [*REPLIES, *REPLIES]
    answers = await asyncio.gather(*(asks(number, question) for number, question in enumerate(questions)))
    assert answers == [REPLIES[question] for question in questions]


async def test_raw_generation(tiny: ServerProcess) -> None:
    async with visitor(tiny.url) as old:
        await old.tell("generate_text", raw("hello"), -1, 40, {"temperature": 0})
        assert (await old.next("text_generated"))["text"] == REPLIES["hello"]
        await old.tell(
            "generate_text", {"prompt": "bye", "personality": "Nobody", "n_predicts": 40, "temperature": "0"}
        )
        assert (await old.next("text_generated"))["text"] == REPLIES["bye"]


async def test_tokens_there_and_back(tiny: ServerProcess, den: str) -> None:
    text = "hello there"
    async with visitor(tiny.url, session=den) as ana:
        tokens = (await ana.done("tokenize", prompt=text))["tokens"]
        assert tokens and (await ana.next("tokenized"))["tokens"] == tokens
        assert (await ana.done("detokenize", prompt=tokens))["text"] == text
        assert (await ana.next("detokenized"))["text"] == text


async def test_a_cancelled_turn_frees_the_model(tiny: ServerProcess, den: str) -> None:
    """There are two slots: were one not freed, the last of these would never be answered."""
    async with visitor(tiny.url, session=den) as ana, visitor(tiny.url) as old:
        for _ in range(3):
            asked = {"prompt": raw("tell me a story"), "n_predicts": 100_000, "parameters": ENDLESS}
            await old.tell("generate_text", asked)
            await old.next("text_chunk")
            await old.tell("cancel_generation")
            await old.next("text_generated")
            await old.tell("generate_text", asked)
            await old.next("text_chunk")
            await old.tell("cancel_generation", {})
            await old.next("text_generated")
        assert text_of(await ana.run("response", text="hello")) == REPLIES["hello"]


async def test_the_model_is_chosen_while_it_runs(tiny: ServerProcess, den: str) -> None:
    async with visitor(tiny.url, session=den) as ana:
        (model,) = (await ana.done("list_available_models", binding="llamacpp"))["available_models"][-1:]
        assert (model["title"], model["isInstalled"]) == ("tiny", True)
        assert (await ana.refused("select_model", model_name="tini"))["code"] == "not_found"
        await ana.done("select_model", model_name="tiny")
        await ana.done("select_binding", binding_name="eliza")
        await ana.done("select_binding", binding_name="llamacpp", options={"model": "tiny", "max_tokens": 3})
        told = await ana.run("response", text="hello")
        assert end_of(told)["success"] and text_of(told) == REPLIES["hello"]
