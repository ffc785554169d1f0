"""What a model is asked: placeholders, messages, the raw template, cropping and limits."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.personalities.folder import Personality, read_personality
from greenroom.personalities.placeholders import fill
from greenroom.personalities.prompt import (
    SpokenLine,
    chat_prompt,
    conditioning,
    estimated_tokens,
    merged,
    raw_prompt,
    stops,
)
from greenroom.values import Message, Sampling

Maker = Callable[..., Path]
NOW = datetime(2023, 7, 19, 15, 4, 5, tzinfo=UTC)
CONFIG = """
name: Bear
user_name: Child
personality_conditioning: "You are {{char}}, with {{user}}, on {{date}}."
welcome_message: "Hum, {{user}}."
user_message_prefix: '!@> Child: '
ai_message_prefix: '!@> Bear: '
anti_prompts: ['Child:', '!@>']
model_n_predicts: 8192
model_temperature: 0.5
eliza: {default: [Hum.]}
"""
HELLO = [SpokenLine(False, "hello"), SpokenLine(True, "hum"), SpokenLine(False, "who are you?")]


@pytest.fixture
def bear(make: Maker) -> Personality:
    return read_personality(make("english/fun/bear", CONFIG))


def by_words(text: str) -> int:
    return len(text.split())


def test_placeholders() -> None:
    text = "{{date}} | {{time}} | {{date_time}} | {{user}} {{Char}} {{ user }} | {{other}} {date} {{}}"
    assert fill(text, user="Ana", char="Bear", now=NOW) == (
        "Wednesday, July 19, 2023 | 15:04:05 | Wednesday, July 19, 2023 03:04:05 PM | Ana Bear Ana | "
        "{{other}} {date} {{}}"
    )
    assert fill("{{user}} {{mood}}", user="{{char}}", char="B", more={"mood": "{{date}}"}) == "{{char}} {{date}}"
    assert fill("{{user}}") == "{{user}}"


def test_time_is_taken_when_it_is_used() -> None:
    assert fill("{{date_time}}").startswith(datetime.now().astimezone().strftime("%A, %B"))


def test_a_chat_prompt(bear: Personality) -> None:
    prompt = chat_prompt(
        bear,
        [*HELLO[:2], SpokenLine(False, "hi all", "Ben"), SpokenLine(False, "and me", "Child")],
        sampling=Sampling(temperature=0.9, stop=("END",)),
        defaults=Sampling(temperature=0.1, top_k=40),
        instructions="Speak aloud.",
        scene="A cave.",
        changing=("It rains.", ""),
        now=NOW,
    )
    assert prompt.system == (
        "Speak aloud.\n\nYou are Bear, with Child, on Wednesday, July 19, 2023.\n\nA cave.\n\nIt rains."
    )
    assert prompt.messages == (
        Message("user", "hello"),
        Message("assistant", "hum"),
        Message("user", "[Ben]: hi all"),
        Message("user", "and me"),
    )
    assert prompt.sampling == Sampling(max_tokens=8192, temperature=0.9, top_k=40, stop=("END", "!@>", "Child:"))
    assert (prompt.persona.name, prompt.persona.user_name, prompt.persona.language) == ("Bear", "Child", "english")
    assert prompt.persona.greetings == ("Hum, Child.",)
    assert prompt.persona.extras == {"default": ["Hum."]}
    assert prompt.raw is None


def test_the_users_own_name_wins(bear: Personality) -> None:
    prompt = chat_prompt(bear, [SpokenLine(False, "hi", "Ana")], user_name="Ana", now=NOW)
    assert "with Ana," in prompt.system
    assert prompt.messages == (Message("user", "hi"),)
    assert prompt.persona.greetings == ("Hum, Ana.",)


def test_a_chat_is_cropped_from_its_oldest_line(bear: Personality) -> None:
    lines = [SpokenLine(number % 2 == 1, f"word {number} " * 5) for number in range(41)]
    prompt = chat_prompt(bear, lines, ctx_size=200, count_tokens=by_words, now=NOW)
    assert prompt.messages[-1].content == lines[-1].text
    assert 3 < len(prompt.messages) < 41
    used = by_words(prompt.system) + sum(by_words(message.content) for message in prompt.messages)
    assert prompt.sampling.max_tokens is not None
    assert used + prompt.sampling.max_tokens <= 200
    assert prompt.sampling.max_tokens >= 50
    assert chat_prompt(bear, [], ctx_size=200, now=NOW).messages == ()


def test_the_first_to_say_something_wins() -> None:
    client, character = Sampling(temperature=0.0), Sampling(temperature=1.0, top_k=7, stop=("a", "b"))
    assert merged(client, character, Sampling(seed=3, top_k=9, stop=("b", "", "c"))) == Sampling(
        temperature=0.0, top_k=7, seed=3, stop=("a", "b", "c")
    )


def test_stops_begin_with_the_separator(bear: Personality) -> None:
    assert stops(bear) == ("!@>", "Child:")
    assert stops(bear, separator="") == ("Child:", "!@>")


def test_a_raw_prompt_has_the_conditioning_once(bear: Personality) -> None:
    prompt = raw_prompt(bear, HELLO, now=NOW)
    assert prompt.raw == (
        "You are Bear, with Child, on Wednesday, July 19, 2023.\n"
        "!@> Child: hello\n!@> Bear: hum\n!@> Child: who are you?\n!@> Bear: "
    )
    assert prompt.messages == ()
    assert prompt.persona.name == "Bear"


def test_a_raw_prompt_continues_the_characters_own_line(bear: Personality) -> None:
    raw = raw_prompt(bear, HELLO[:2], now=NOW).raw
    assert raw is not None and raw.endswith("!@> Child: hello\n!@> Bear: hum")
    assert (raw_prompt(bear, [], now=NOW).raw or "").endswith("2023.\n!@> Bear: ")


def test_a_raw_prompt_with_the_users_name(bear: Personality) -> None:
    raw = raw_prompt(bear, HELLO[:1], user_name="Ana", use_user_name=True, now=NOW).raw or ""
    assert "!@>Ana: hello\n" in raw


def test_bare_prefixes_of_2025_are_dressed(make: Maker) -> None:
    bare = read_personality(
        make(
            "english/fun/bare",
            "name: B\nuser_message_prefix: User\nai_message_prefix: B\npersonality_conditioning: ''\n",
        )
    )
    assert raw_prompt(bare, HELLO[:1]).raw == "!@>User: hello\n!@>B: "


def test_the_last_line_survives_a_limit_above_the_context(bear: Personality) -> None:
    """ctx 2048 and model_n_predicts 8192, as half of the zoo has it."""
    lines = [*([SpokenLine(False, "old " * 100), SpokenLine(True, "older " * 100)] * 20), SpokenLine(False, "who?")]
    prompt = raw_prompt(bear, lines, ctx_size=2048, count_tokens=by_words, now=NOW)
    raw = prompt.raw or ""
    assert raw.startswith("You are Bear") and raw.endswith("!@> Child: who?\n!@> Bear: ")
    assert raw.count("You are Bear") == 1
    assert prompt.sampling.max_tokens is not None
    assert 512 <= prompt.sampling.max_tokens <= 2048 - by_words(raw)
    assert 5 < raw.count("!@> Bear: ") < 40


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.booleans(), st.text("ab ", max_size=200)), max_size=12),
    st.one_of(st.none(), st.integers(-1, 10_000)),
)
def test_a_raw_prompt_always_fits(ctx_size: int, said: list[tuple[bool, str]], wanted: int | None) -> None:
    someone = Personality(
        id="a/b/c", folder=Path(), language="english", category="b", folder_name="c", name="C", description="",
        author="", version="", conditioning="cond " * 30, welcome_message="", user_name="u",
        user_message_prefix="U:", ai_message_prefix="C:", link_text="\n", disclaimer="",
    )  # fmt: skip
    lines = [SpokenLine(own, text) for own, text in said]
    prompt = raw_prompt(
        someone, lines, sampling=Sampling(max_tokens=wanted), ctx_size=ctx_size, count_tokens=estimated_tokens
    )
    assert prompt.raw is not None and prompt.sampling.max_tokens is not None
    assert prompt.sampling.max_tokens >= 1
    # counted in parts, each rounded up, so the whole is never larger
    assert estimated_tokens(prompt.raw) + prompt.sampling.max_tokens <= ctx_size + 1


def test_conditioning_ends_in_one_line_end(bear: Personality) -> None:
    assert conditioning(bear, now=NOW).endswith("2023.\n")


def test_an_estimate_is_cautious() -> None:
    assert estimated_tokens("") == 0
    assert estimated_tokens("abc") == 1
    assert estimated_tokens("日本語") == 3
    assert estimated_tokens("\ud800") >= 1
