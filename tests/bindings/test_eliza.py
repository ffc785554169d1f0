"""The eliza binding: keywords, memory, manner, streaming, languages, and text that nobody should send."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from greenroom.errors import BadRequest, BindingFailed, NotFound
from greenroom.values import Message, Persona, Prompt, Role, Sampling, TextDelta

ROBIN = Persona(name="Robin", user_name="Ana", greetings=("Welcome to the green room!",))
SCRIPTS = sorted(path.stem for path in (BINDINGS / "eliza" / "scripts").glob("*.yaml"))


def eliza(places: Places | None = None, **options: Any) -> Any:
    return open_operation("eliza", Role.T2T, {"tokens_per_second": 0, **options}, places)


async def answer(operation: Any, prompt: Prompt) -> str:
    return "".join([delta.text async for delta in operation.generate(prompt)])


async def talk(operation: Any, said: Sequence[str], persona: Persona = ROBIN) -> list[str]:
    """A conversation from its first line, the messages carried along as a session does."""
    messages: list[Message] = []
    for text in said:
        messages.append(Message("user", text))
        reply = await answer(operation, Prompt(messages=tuple(messages), persona=persona))
        messages.append(Message("assistant", reply))
    return [message.content for message in messages if message.role == "assistant"]


async def test_a_character_answers_for_itself() -> None:
    async with eliza() as operation:
        who, name, hello = await talk(operation, ["Hello, who are you?", "what's your name?", "Hello!"])
    assert "I am Robin" in who
    assert "Robin" in name
    assert hello == "Welcome to the green room!"


async def test_with_nobody_speaking_it_greets() -> None:
    async with eliza() as operation:
        assert await answer(operation, Prompt(persona=ROBIN)) == "Welcome to the green room!"
        silent = Prompt(messages=(Message("user", "[CONTEXT#chat]: 3 new followers"),), persona=ROBIN)
        assert await answer(operation, silent) == "Welcome to the green room!"


async def test_persons_are_exchanged_in_what_is_quoted() -> None:
    async with eliza() as operation:
        said = ["I dreamed that you left me", "You are smarter than I am", "I can't sing for you"]
        dream, smart, sing = await talk(operation, said)
    assert "I left you" in dream
    assert "smarter than you are" in smart
    assert "sing for me" in sing


async def test_nothing_is_quoted_that_nobody_said() -> None:
    async with eliza() as operation:
        replies = await talk(operation, ["because I am", "my", "if", "I want to", "do you like"])
    assert not any("  " in reply or " ?" in reply or "your?" in reply or "being?" in reply for reply in replies)


async def test_a_higher_rank_wins_over_what_was_said_first() -> None:
    async with eliza() as operation:
        (reply,) = await talk(operation, ["Because my sister is away, I am very sad."])
    assert "sad" in reply


async def test_what_was_kept_comes_back_when_nothing_fits() -> None:
    async with eliza() as operation:
        *_, first, second = await talk(operation, ["I am afraid of spiders", "My sister is a pilot", "qwxz", "vbnq"])
    assert "spiders" in first
    assert "sister" in second


async def test_answers_are_used_in_turn_and_not_repeated() -> None:
    async with eliza() as operation:
        replies = await talk(operation, ["brr", "zzap", "hmpf", "grmpf", "tsk", "pff"])
        assert len(set(replies)) == len(replies)
        again, repeated = await talk(operation, ["the sky fell down", "the sky fell down"])
    assert again != repeated
    assert "again" in repeated or "just now" in repeated or "first time" in repeated


async def test_a_window_of_the_history_does_not_repeat_either() -> None:
    """A session sends its last lines only, so the count of earlier turns stands still."""
    async with eliza() as operation:
        messages: list[Message] = []
        replies = []
        for word in ("brr", "zzap", "hmpf", "grmpf", "tsk", "pff", "uff", "ach"):
            messages.append(Message("user", word))
            replies.append(await answer(operation, Prompt(messages=tuple(messages[-5:]), persona=ROBIN)))
            messages.append(Message("assistant", replies[-1]))
    assert all(one != other for one, other in pairwise(replies))


async def test_the_same_conversation_gives_the_same_answers_and_a_seed_others() -> None:
    said = ["hmpf", "I feel cold", "my house is old"]
    async with eliza() as one, eliza() as other:
        assert await talk(one, said) == await talk(other, said)
        prompt = Prompt(messages=(Message("user", "hmpf"),), persona=ROBIN)
        seeded = Prompt(messages=prompt.messages, persona=ROBIN, sampling=Sampling(seed=1))
        assert await answer(one, prompt) != await answer(one, seeded)


async def test_farewell() -> None:
    async with eliza() as operation:
        bye, also = await talk(operation, ["bye", "Thank you. See you later!"])
    assert "Goodbye" in bye
    assert "care" in also


async def test_silence_is_noticed() -> None:
    async with eliza() as operation:
        for text in ("", "   ", "\U0001f642", "...?!"):
            assert await answer(operation, Prompt(messages=(Message("user", text),), persona=ROBIN))


@pytest.mark.parametrize("spelling", ["[Ana]: who are you", "Ana: who are you", "[REQUEST]: who are you"])
async def test_script_lines_are_read_without_their_speaker(spelling: str) -> None:
    async with eliza() as operation:
        (reply,) = await talk(operation, [spelling])
    assert "Robin" in reply


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("You are Robin.\n!@> Human: hello\n!@>Robin: hi\n!@> Human: who are you?\n!@>Robin:", "I am Robin"),
        ("### User:\nwho are you?\n### Assistant:\n", "I am Robin"),
        ("<|user|>\nwho are you?\n<|assistant|>\n", "I am Robin"),
        ("who are you?", "I am Robin"),
        ("", "Welcome"),
        ("\n\n!@>Robin:", "Welcome"),
    ],
)
async def test_a_raw_prompt_is_answered_by_its_last_line(raw: str, expected: str) -> None:
    async with eliza() as operation:
        assert expected in await answer(operation, Prompt(raw=raw, persona=ROBIN))


async def test_earlier_raw_lines_count_as_turns() -> None:
    async with eliza() as operation:
        first = await answer(operation, Prompt(raw="!@>User: hmpf\n!@>Robin:", persona=ROBIN))
        raw = f"!@>User: hmpf\n!@>Robin: {first}\n!@>User: grmpf\n!@>Robin:"
        assert await answer(operation, Prompt(raw=raw, persona=ROBIN)) != first


async def test_it_streams_words_and_the_joined_text_is_the_answer() -> None:
    async with eliza() as operation:
        prompt = Prompt(messages=(Message("user", "who are you?"),), persona=ROBIN)
        deltas = [delta async for delta in operation.generate(prompt)]
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert len(deltas) > 5
    assert max(len(delta.text.split()) for delta in deltas) == 1
    assert deltas[0].text == "I" and deltas[1].text == " am"


async def test_max_tokens_and_stop_texts_are_honoured() -> None:
    messages = (Message("user", "who are you?"),)
    async with eliza() as operation:
        whole = await answer(operation, Prompt(messages=messages, persona=ROBIN))
        few = await answer(operation, Prompt(messages=messages, persona=ROBIN, sampling=Sampling(max_tokens=3)))
        none = await answer(operation, Prompt(messages=messages, persona=ROBIN, sampling=Sampling(max_tokens=-1)))
        cut = await answer(operation, Prompt(messages=messages, persona=ROBIN, sampling=Sampling(stop=("I ask", "qq"))))
    assert few == " ".join(whole.split()[:3])
    assert none == whole
    assert cut == whole[: whole.index("I ask")] != whole


async def test_the_first_word_comes_at_once_however_slow_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(delay: float) -> None:
        naps.append(delay)
        await real_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    async with eliza(tokens_per_second=10) as operation:
        prompt = Prompt(messages=(Message("user", "who are you?"),), persona=ROBIN)
        async with aclosing(operation.generate(prompt)) as deltas:
            await anext(deltas)
            assert naps == [0]
            await anext(deltas)
            assert 0 < naps[1] <= 0.1
            await anext(deltas)
            assert 0.1 < naps[2] <= 0.2
    naps.clear()
    async with eliza() as operation:
        await answer(operation, Prompt(messages=(Message("user", "who are you?"),), persona=ROBIN))
    assert set(naps) == {0}


@pytest.mark.parametrize(
    ("language", "text", "part"),
    [
        ("german", "Hallo, wer bist du?", "Ich bin Robin"),
        ("Deutsch", "Hallo, wer bist du?", "Ich bin Robin"),
        ("de-AT", "Hallo, wer bist du?", "Ich bin Robin"),
        ("french", "Bonjour, qui es-tu ?", "Je suis Robin"),
        ("fr_FR", "Bonjour, qui es-tu ?", "Je suis Robin"),
        ("en-US", "who are you", "I am Robin"),
        ("klingon", "who are you", "I am Robin"),
        ("", "who are you", "I am Robin"),
    ],
)
async def test_the_language_chooses_the_script(language: str, text: str, part: str) -> None:
    async with eliza() as operation:
        (reply,) = await talk(operation, [text], Persona(name="Robin", language=language))
    assert part in reply


async def test_a_model_is_a_script() -> None:
    async with eliza(model="german") as operation:
        (reply,) = await talk(operation, ["wer bist du"])
        assert "Ich bin Robin" in reply
    with pytest.raises(NotFound, match="klingon"):
        async with eliza(model="klingon"):
            pass
    with pytest.raises(BadRequest, match="tokens_per_second"):
        async with eliza(tokens_per_second=-1):
            pass


async def test_models_listed_are_the_scripts_there_are() -> None:
    async with open_engines() as engines:
        found = engines._shelf.get("eliza")
        operation = found.operation(Role.T2T)
        place = Places().place(found)
        names = [model.name for model in await operation.models(operation.Options(), place)]
    assert names == ["auto", *SCRIPTS]
    assert {entry["filename"] for entry in found.model_entries} == set(names)
    assert found.card.offline and "not a language model" in found.card.description
    assert found.status == "ready" and list(found.card.roles) == [Role.T2T]


async def test_a_script_of_the_users_own_wins(tmp_path: Path) -> None:
    folder = tmp_path / "eliza"
    folder.mkdir()
    sections = {key: ["nuqneH, {user}."] for key in ("greetings", "farewells", "silence", "repeats", "default")}
    (folder / "klingon.yaml").write_text(
        yaml.safe_dump({"language": "klingon", "friend": "jup", "aliases": ["tlh"], **sections}), encoding="utf-8"
    )
    async with eliza(Places(models=tmp_path)) as operation:
        assert await talk(operation, ["Qapla"], Persona(language="tlh")) == ["NuqneH, jup."]
    (folder / "broken.yaml").write_text("language: broken\nkeywords: 3\n", encoding="utf-8")
    with pytest.raises(BindingFailed, match=r"broken\.yaml"):
        async with eliza(Places(models=tmp_path), model="broken"):
            pass


async def test_a_character_brings_keywords_lines_and_manner() -> None:
    extras = {
        "friend": "sailor",
        "keywords": {"rum": ["Rum! Did somebody say rum, {user}?"], "tea": "No tea on board."},
        "default": ["Arr."],
        "farewells": ["Fair winds."],
        "manner": {"openers": ["Aye!"], "closers": ["Mark that."], "every": 1, "replace": {"friend": "mate"}},
    }
    persona = Persona(name="Brine", extras=extras)
    async with eliza() as operation:
        rum, tea, odd, friend, bye = await talk(
            operation, ["rum", "I like tea", "qwxz", "my friend is here", "bye"], persona
        )
    assert rum == "Rum! Did somebody say rum, sailor?"
    assert tea == "No tea on board."
    assert odd == "Arr."
    assert friend.startswith("Aye! ") and friend.endswith(" Mark that.") and "mate" in friend
    assert bye == "Fair winds."


@pytest.mark.parametrize(
    "extras",
    [
        {"keywords": [{"key": "tea"}]},
        {"keywords": [{"key": "@nobody", "say": ["x"]}]},
        {"keywords": [{"key": "tea", "say": ["goto nowhere"]}]},
        {"keywords": [{"key": "tea", "rules": [{"match": "* @nobody", "say": ["x"]}]}]},
        {"keywords": 3},
        {"manner": {"every": 0}},
        {"colour": "green"},
    ],
)
async def test_a_block_that_cannot_be_understood_is_named(extras: dict[str, Any]) -> None:
    async with eliza() as operation:
        with pytest.raises(BindingFailed, match="eliza block of Brine"):
            await talk(operation, ["hello"], Persona(name="Brine", extras=extras))


async def test_many_conversations_share_one_engine_and_do_not_mix() -> None:
    async with open_engines() as engines:
        loaded = [await engines.load("eliza", Role.T2T, {"tokens_per_second": 0}) for _ in range(20)]
        assert engines.open_count == 1
        talks = [talk(one.operation, [f"my house number {n} is old", "qwxz"]) for n, one in enumerate(loaded)]
        for number, (_, kept) in enumerate(await asyncio.gather(*talks)):
            assert f"house number {number}" in kept
        for one in loaded:
            await one.release()


@pytest.mark.parametrize("language", SCRIPTS)
@pytest.mark.parametrize(
    "text",
    [
        "i " * 50_000,
        "my mother " * 10_000,
        "'" * 100_000,
        "a-" * 50_000,
        " " * 100_000,
        "\n" * 100_000,
        "I am " + "very " * 20_000 + "sad",
        "((1)) {name} {user} (9)",
        "x" * 100_000,
        "\u0000\ud800\udfff\u202e",
    ],
    ids=["i", "mother", "quotes", "hyphens", "spaces", "lines", "long", "placeholders", "word", "odd"],
)
async def test_large_and_odd_input_gets_a_short_answer(language: str, text: str) -> None:
    async with eliza(model=language) as operation:
        for prompt in (Prompt(messages=(Message("user", text),) * 3, persona=ROBIN), Prompt(raw=text, persona=ROBIN)):
            assert 0 < len(await answer(operation, prompt)) < 5_000


@given(st.lists(st.text(max_size=60), max_size=5), st.sampled_from(SCRIPTS))
@settings(max_examples=60, deadline=None)
def test_any_text_gets_an_answer(said: list[str], language: str) -> None:
    async def run() -> None:
        async with eliza(model=language) as operation:
            assert all(await talk(operation, said))
            assert await answer(operation, Prompt(raw="\n".join(said), persona=ROBIN))

    asyncio.run(run())


@pytest.mark.parametrize("name", SCRIPTS)
async def test_every_rule_of_a_script_quotes_only_what_its_pattern_catches(name: str) -> None:
    async with eliza(model=name) as operation:
        script = operation.engine.script(name)
    rules = {rule.id: rule for found in script.by_first.values() for keyword in found for rule in keyword.rules}
    assert len(rules) > 60
    for rule in rules.values():
        for line in (*rule.say, *rule.keep):
            assert all(f"({n})" not in line for n in range(rule.pattern.captures + 1, 10)), (rule.pattern.source, line)
            assert line.count("{") == sum(line.count(known) for known in ("{name}", "{user}", "{time}")), line
