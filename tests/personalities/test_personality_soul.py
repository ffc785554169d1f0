"""``SOUL.md``: both forms, what is wrong in them, and folders that have nothing else."""

import json
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from greenroom.app import ServeOptions, open_greenroom, prepare
from greenroom.cli import main
from greenroom.errors import BadRequest, NotFound
from greenroom.personalities.folder import DEFAULT_CONDITIONING, Personality, read_personality
from greenroom.personalities.repair import MAX_FILE_BYTES
from greenroom.personalities.shelf import PersonalityShelf
from greenroom.personalities.soul import SOUL_FILE, parse_soul
from greenroom.protocol import events
from greenroom.values import Role, Sampling
from session.scene import CONFIG, SCRIPTED, Scene

Maker = Callable[..., Path]

CURRENT = """---
name: Salty
author: Ana, prompted by Ben
version: '1.0'
category: Sea
temperature: 0.6
description: 'Salty is a sailor.


  He doesn''t like storms.'
---

Act as a sailor, {{user}} is your passenger.

# Rules
- Say ahoy.

Ahoy! I am Salty. Where to, {{user}}?
"""
OLDER = """# Salty

## Description
A sailor.

## conditioning
Act as a sailor.

### Rules
Say ahoy.

## WELCOME MESSAGE
Ahoy!

I am Salty.

## Stories
Once upon a time.

## Metadata
```yaml
## who made it
author: Ana
version: 2.0
category: [sea, fun]
model_parameters:
  temperature: 0.4
  top_k: 30
  mood: calm
```
"""


def read(folder: Path) -> Personality:
    return read_personality(folder, config_file=SOUL_FILE)


def test_the_current_form(soul: Maker) -> None:
    salty = read(soul("english/fun/salty", CURRENT))
    assert (salty.id, salty.name, salty.author, salty.version) == (
        "english/fun/salty",
        "Salty",
        "Ana, prompted by Ben",
        "1.0",
    )
    assert salty.description == "Salty is a sailor.\n\nHe doesn't like storms."
    assert salty.conditioning == "Act as a sailor, {{user}} is your passenger.\n\n# Rules\n- Say ahoy."
    assert salty.welcome_message == "Ahoy! I am Salty. Where to, {{user}}?"
    assert salty.sampling == Sampling(temperature=0.6)
    assert (salty.ai_message_prefix, salty.user_name, salty.link_text) == ("!@> Salty:", "user", "\n")
    assert salty.extras == {"category": "Sea"}
    assert salty.notes == ()


def test_the_older_form(soul: Maker) -> None:
    salty = read(soul("english/fun/salty", OLDER))
    assert (salty.name, salty.author, salty.version, salty.description) == ("salty", "Ana", "2.0", "A sailor.")
    assert salty.conditioning == "Act as a sailor.\n\n### Rules\nSay ahoy."
    assert salty.welcome_message == "Ahoy!\n\nI am Salty."
    assert salty.sampling == Sampling(temperature=0.4, top_k=30)
    assert salty.extras == {
        "category": ["sea", "fun"],
        "model_mood": "calm",
        "##": "# Salty",
        "## Stories": "Once upon a time.",
    }


def test_the_older_forms_defaults(soul: Maker) -> None:
    salty = read(soul("english/fun/old salt", "## Conditioning:\nAct as a sailor.\n\nHello! Who are you?\n"))
    assert (salty.name, salty.category, salty.language) == ("old salt", "fun", "english")
    assert (salty.author, salty.version, salty.sampling) == ("ParisNeo", "1.0.0", Sampling(temperature=0.7))
    assert salty.conditioning == "Act as a sailor.\n\nHello! Who are you?"
    assert (salty.welcome_message, salty.description) == ("", "")


def test_metadata_needs_no_fence_and_a_section_may_come_twice(soul: Maker) -> None:
    text = "## Metadata\nname: Bear\ntemperature: 0.1\n\n## Conditioning\nOne.\n\n## Conditioning ##\nTwo.\n"
    bear = read(soul("english/fun/b", text))
    assert (bear.name, bear.conditioning, bear.sampling) == ("Bear", "One.\n\nTwo.", Sampling(temperature=0.1))


def test_other_sections_are_no_keys(soul: Maker) -> None:
    found = read(
        soul("english/fun/c", "## voice\nDeep.\n\n## name\nNobody\n\n## C#\nA language.\n\n## Description\nD\n")
    )
    assert (found.name, found.voice, found.description) == ("c", {}, "D")
    assert found.extras == {"## voice": "Deep.", "## name": "Nobody", "## C#": "A language."}


def test_a_heading_in_a_fenced_block_ends_no_section(soul: Maker) -> None:
    text = "## Conditioning\nShow:\n~~~\n## Metadata\n~~~\nand:\n```\n## Welcome Message\nHi, unclosed.\n"
    found = read(soul("english/fun/b", text))
    assert found.conditioning == "Show:\n~~~\n## Metadata\n~~~\nand:\n```"
    assert found.welcome_message == "Hi, unclosed."


@pytest.mark.parametrize(
    "text", [CURRENT.replace("\n", "\r\n"), CURRENT.replace("\n", "\r"), "\ufeff" + CURRENT, "\n\n" + CURRENT]
)
def test_marks_and_line_ends_of_other_systems_do_not_matter(soul: Maker, text: str) -> None:
    salty = read(soul("english/fun/salty", text))
    assert salty == read(soul("english/fun/salty", CURRENT))
    older = read(soul("english/fun/salty", "\ufeff" + OLDER.replace("\n", "\r\n")))
    assert older == read(soul("english/fun/salty", OLDER))


@pytest.mark.parametrize(
    ("front", "description"),
    [
        ("description: 'It's a sailor'", "It's a sailor"),
        ("description: Salty: a sailor", "Salty: a sailor"),
        ("description: @sea", "@sea"),
        ("description: 'one\n  isn't two'", "one isn't two"),
    ],
)
def test_odd_front_matter_is_mended_and_noted(soul: Maker, front: str, description: str) -> None:
    odd = read(soul("english/fun/odd", f"---\nname: Odd\n{front}\nversion: 1.5\n---\nBe odd.\n"))
    assert (odd.description, odd.version, odd.conditioning) == (description, "1.5", "Be odd.")
    assert odd.notes == ("SOUL.md, line 3: mended, it is not valid YAML",)


def test_oddities_of_the_wild(soul: Maker) -> None:
    text = (
        "---\nname: 7\nauthor:\nversion: 4.1\ncategory: [a, b]\ntemperature: hot\ndescription: ''\ntools: {a: 1}\n---\n"
    )
    odd = read(soul("english/fun/odd", text))
    assert (odd.name, odd.author, odd.version, odd.description) == ("7", "", "4.1", "")
    assert odd.extras == {"category": ["a", "b"], "tools": {"a": 1}}
    assert odd.notes == ("line 6: temperature: wanted a number, found 'hot'; ignored",)
    assert (odd.conditioning, odd.welcome_message) == (DEFAULT_CONDITIONING, "")


def test_the_border_can_be_moved(soul: Maker) -> None:
    body = "You are Salty.\n\nHello! I am Salty."
    assert read(soul("english/fun/a", f"---\nname: A\n---\n{body}\n")).welcome_message == "Hello! I am Salty."
    none = read(soul("english/fun/a", f"---\nname: A\nwelcome_message:\n---\n{body}\n"))
    assert (none.conditioning, none.welcome_message) == (body, "")
    other = read(soul("english/fun/a", f"---\nname: A\nwelcome_message: Ahoy\n---\n{body}\n"))
    assert (other.conditioning, other.welcome_message) == (body, "Ahoy")


def test_every_key_of_a_configuration_may_stand_in_front(soul: Maker) -> None:
    front = "anti_prompts: ['###']\nmodel_top_k: 9\nuser_name: Kid\n"
    front += "voice: {espeak: {voice: fr}}\neliza: {default: [Hum.]}\n"
    found = read(soul("english/fun/a", f"---\n{front}---\n"))
    assert (found.anti_prompts, found.sampling.top_k, found.user_name) == (("###",), 9, "Kid")
    assert (found.voice, found.eliza) == ({"espeak": {"voice": "fr"}}, {"default": ["Hum."]})
    assert found.name == "a" and found.sampling.temperature is None


@pytest.mark.parametrize("text", ["", "\n", "---\n---\n", "---\n---"])
def test_an_empty_file_has_every_default(soul: Maker, text: str) -> None:
    nobody = read(soul("english/fun/nobody", text))
    assert (nobody.name, nobody.author, nobody.version, nobody.description) == ("nobody", "ParisNeo", "1.0.0", "")
    assert (nobody.conditioning, nobody.welcome_message) == (DEFAULT_CONDITIONING, "")
    assert nobody.sampling == Sampling()


def test_plain_markdown_is_the_prompt(soul: Maker) -> None:
    found = read(soul("english/fun/plain", "# Who you are\n\nA sailor.\n\n## Limits\n\nNone.\n"))
    assert found.conditioning == "# Who you are\n\nA sailor.\n\n## Limits\n\nNone."
    assert found.sampling == Sampling()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("---\nname: A\nYou are A.\n", r"SOUL\.md, line 1: the front matter is not closed"),
        ("\n---\nname: A\nlist: [a, b\nother: c\n---\nBe.\n", r"SOUL\.md, line 5: "),
        ("---\n- a\n---\nBe.\n", r"SOUL\.md, line 2: wanted keys and values, found a list"),
        ("---\nname: A\ndescription: {a: b}\n---\n", r"SOUL\.md, line 3: description: wanted a text"),
        ("---\nname: A\nvoice: loud\n---\n", r"SOUL\.md, line 3: voice: wanted"),
        ("## Conditioning\nBe.\n## Metadata\n```\nx: [a\n```\n", r"SOUL\.md, line [56]: "),
        ("## Metadata\n- a\n", r"SOUL\.md, line 2: wanted keys"),
        (b"---\nname: caf\xe9\n---\n", r"SOUL\.md, line 2: this is not UTF-8"),
        (b"x" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_what_cannot_be_read_is_named(soul: Maker, text: str | bytes, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        read(soul("english/fun/bad", text))


@given(
    st.fixed_dictionaries(
        {"name": st.text("abc '\"é:#-", min_size=1, max_size=12).filter(str.strip)},
        optional={
            "author": st.text(max_size=20),
            "version": st.text("0123456789.", min_size=1, max_size=5),
            "category": st.one_of(st.text(max_size=10), st.lists(st.text(max_size=5), max_size=3)),
            "temperature": st.floats(0, 5),
            "description": st.text(max_size=60),
            "more": st.one_of(st.integers(), st.lists(st.booleans(), max_size=3)),
        },
    )
)
def test_good_front_matter_is_read_as_it_stands(front: dict[str, object]) -> None:
    found = parse_soul(f"---\n{yaml.safe_dump(front)}---\n\nBe good.\n", "folder")
    expected = {**front, "personality_conditioning": "Be good.", "welcome_message": ""}
    for key, spelling in (("model_temperature", "temperature"), ("personality_description", "description")):
        if spelling in expected:
            expected[key] = expected.pop(spelling)
    assert found.values == expected
    assert found.mended == ()


@given(st.text("-#`~ \nab:[]'Metadata", max_size=120))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    complaint = "line 1: none"
    try:
        parse_soul(text, "folder")
    except BadRequest as error:
        complaint = error.message
    assert complaint.startswith("line ")


@pytest.mark.parametrize("part", ["## ", "## a" + " " * 50_000 + "x", "```\n", "~~~~", "---\n", " ", "# ", "\n ", "a:"])
def test_hostile_files_are_read_or_refused(part: str) -> None:
    for text in (f"## Description\n{part * (200_000 // len(part))}", part * (200_000 // len(part))):
        try:
            found = parse_soul(text, "folder").values["name"]
        except BadRequest:
            found = "folder"
        assert found == "folder"


# On the shelf


def shelf_of(tmp_path: Path) -> PersonalityShelf:
    return PersonalityShelf((tmp_path / "zoo",))


def test_folders_with_nothing_else_are_listed_in_both_layouts(soul: Maker, make: Maker, tmp_path: Path) -> None:
    folder = soul("sea/salty", CURRENT)
    (folder / "assets").mkdir()
    (folder / "assets" / "logo.png").write_bytes(b"picture")
    soul("sea/more/deep", CURRENT)
    soul("sea/loup", "---\nname: Loup\nlanguage: Français\n---\nSois un loup.\n")
    make("sea/older", "name: Older\n")
    soul("german/meer/bär", CURRENT)
    shelf = shelf_of(tmp_path)
    assert {found.id for found in shelf.all()} == {
        *("english/sea/salty", "english/sea/deep", "french/sea/loup", "english/sea/older", "german/meer/bär"),
    }
    (info,) = [info for info in shelf.listing()["english"]["sea"] if info["folder"] == "salty"]
    assert (info["name"], info["author"], info["version"]) == ("Salty", "Ana, prompted by Ben", "1.0")
    assert info["avatar"] == "personalities/english/sea/salty/assets/logo.png" and info["has_logo"]
    assert shelf.asset("english", "sea", "salty", "logo.png").read_bytes() == b"picture"
    for name in ("english/sea/salty", "sea/salty", "salty", str(folder), str(folder / SOUL_FILE)):
        assert shelf.get(name).id == "english/sea/salty", name
    assert shelf.broken() == {}


def test_a_configuration_counts_before_it_as_long_as_it_is_there(soul: Maker, make: Maker, tmp_path: Path) -> None:
    folder = make("english/fun/both", "name: From the configuration\n")
    soul("english/fun/both", CURRENT)
    shelf = shelf_of(tmp_path)
    assert shelf.get("both").name == "From the configuration"
    assert shelf.get(str(folder / SOUL_FILE)).name == "From the configuration"
    (folder / "config.yaml").unlink()
    assert shelf.get("english/fun/both").name == "Salty"
    (folder / "config.yaml").write_text("name: [\n", encoding="utf-8")
    assert "config.yaml" in shelf.broken()["english/fun/both"]


def test_a_translation_beside_it(soul: Maker, tmp_path: Path) -> None:
    folder = soul("sea/salty", CURRENT)
    (folder / "languages").mkdir()
    (folder / "languages" / "french.yaml").write_text("name: Loup de mer\n", encoding="utf-8")
    found = shelf_of(tmp_path).get("sea/salty:french")
    assert (found.name, found.id) == ("Loup de mer", "english/sea/salty:french")


def test_nothing_is_read_again_that_did_not_change(soul: Maker, tmp_path: Path) -> None:
    folders = [soul(f"group{n % 5}/someone {n}", CURRENT) for n in range(60)]
    shelf = shelf_of(tmp_path)
    for _ in range(3):
        assert len(shelf.all()) == 60
        shelf.listing()
        shelf.get("english/group0/someone 0")
    assert shelf.files_read == 60
    (folders[7] / SOUL_FILE).write_text(CURRENT.replace("Salty", "Pepper"), encoding="utf-8")
    assert shelf.get("someone 7").name == "Pepper"
    assert shelf.files_read == 61


def test_a_broken_one_harms_nobody_and_a_link_leads_nowhere(soul: Maker, tmp_path: Path) -> None:
    soul("sea/salty", CURRENT)
    soul("sea/bad", "---\nname: Bad\n")
    (tmp_path / "zoo" / "sea" / "weird" / SOUL_FILE).mkdir(parents=True)
    outside = soul("sea/spy", CURRENT, root="elsewhere")
    linked = tmp_path / "zoo" / "sea" / "linked"
    linked.mkdir()
    shelf = shelf_of(tmp_path)
    try:
        os.symlink(outside / SOUL_FILE, linked / SOUL_FILE)
    except OSError:  # Windows without the right to make links: an empty folder, which is passed over
        pass
    else:
        assert "leads out" in shelf.broken()["english/sea/linked"]
    assert [found.id for found in shelf.all()] == ["english/sea/salty"]
    assert "line 1: the front matter is not closed" in shelf.broken()["english/sea/bad"]
    with pytest.raises(BadRequest, match="cannot be read"):
        shelf.get("sea/bad")
    with pytest.raises((BadRequest, NotFound)):
        shelf.get("sea/linked")


def test_greenroom_list_shows_it(
    soul: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    soul("sea/salty", CURRENT, root="home/personalities")
    soul("sea/bad", "---\n", root="home/personalities")
    monkeypatch.setenv("GREENROOM_HOME", str(tmp_path / "home"))
    assert main(["list", "personalities", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["english/sea/salty"]["name"] == "Salty"
    assert "not closed" in rows["english/sea/bad"]["description"]


# A turn


@pytest.fixture
async def scene(soul: Maker, tmp_path: Path) -> AsyncGenerator[Scene, None]:
    home = tmp_path / "home"
    soul("sea/salty", CURRENT, root="home/personalities")
    (home / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (home / "bindings").symlink_to(SCRIPTED, target_is_directory=True)
    async with open_greenroom(prepare(ServeOptions(home=home), {})) as greenroom:
        yield Scene(greenroom, await greenroom.sessions.get("main"))
        await greenroom.close()


async def test_a_turn_with_such_a_character(scene: Scene) -> None:
    added = await scene.ask("add_personality", path="english/sea/salty")
    assert added["name"] == "Salty"
    await scene.ask("activate_personality", id=1)
    job_id = await scene.job("response", text="say Ahoy, stranger.")
    assert (await scene.ended(job_id)).success
    assert scene.text(job_id).strip() == "Ahoy, stranger."
    assert any(isinstance(event, events.AudioChunk) for event in scene.of(job_id))
    prompt = (await scene.stage(Role.T2T)).prompts[-1]
    assert "Act as a sailor" in prompt.system and "is your passenger" in prompt.system
    assert "{{user}}" not in prompt.system and "Where to" not in prompt.system
    assert prompt.sampling.temperature == 0.6
    assert prompt.persona.name == "Salty"
    assert prompt.persona.greetings[0].startswith("Ahoy! I am Salty. Where to, ")
