"""``config.yaml`` of a personality: fields, defaults, and what is found in the wild."""

from collections.abc import Callable
from pathlib import Path

import pytest

from greenroom.errors import BadRequest
from greenroom.personalities.folder import LOGO_SUFFIXES, read_personality
from greenroom.personalities.languages import known_language
from greenroom.values import Sampling

Maker = Callable[..., Path]

FULL = r"""
## a comment: 'it's free'
author: Ana
version: 2.0
category: Funny Learning
language: english
name: Bear
personality_description: A bear.
user_name: Child
personality_conditioning: |
  You are Bear.
  Today is {{date}}.
welcome_message: Hum.
user_message_prefix: '### Child:'
ai_message_prefix: '### Bear:'
link_text: '\n'
disclaimer: None of it is true.
anti_prompts: ['###', "Child:", '', 7, null]
dependencies: []
model_temperature: '0,7'
model_n_predicts: 8192.0
model_top_k: 50
model_top_p: 0.95
model_repeat_penalty: 1.3
model_repeat_last_n: 40
processor_cfg: {custom_workflow: true, process_model_input: false}
include_welcome_message_in_disucssion: false
recommended_model: null
prompts_list: ['@a@b']
creation_date: 2024-02-11
voice: {espeak: {voice: en-gb, rate: 150, pitch: 60}}
eliza: {default: [Hum.]}
"""


def test_every_field_is_read(make: Maker) -> None:
    folder = make("english/fun/bear", FULL, logo="webp", script=True)
    bear = read_personality(folder)
    assert (bear.id, bear.language, bear.category, bear.folder_name) == ("english/fun/bear", "english", "fun", "bear")
    assert (bear.name, bear.author, bear.version, bear.description) == ("Bear", "Ana", "2.0", "A bear.")
    assert bear.conditioning == "You are Bear.\nToday is {{date}}.\n"
    assert (bear.welcome_message, bear.user_name, bear.disclaimer) == ("Hum.", "Child", "None of it is true.")
    assert (bear.user_message_prefix, bear.ai_message_prefix, bear.link_text) == ("### Child:", "### Bear:", "\n")
    assert bear.anti_prompts == ("###", "Child:", "7")
    assert bear.sampling == Sampling(
        max_tokens=8192, temperature=0.7, top_p=0.95, top_k=50, repeat_penalty=1.3, repeat_last_n=40
    )
    assert bear.processor_cfg == {"custom_workflow": True, "process_model_input": False}
    assert bear.has_scripts and bear.logo == folder / "assets" / "logo.webp"
    assert not bear.include_welcome_message
    assert bear.voice == {"espeak": {"voice": "en-gb", "rate": 150, "pitch": 60}}
    assert bear.eliza == {"default": ["Hum."]}
    assert bear.extras == {
        "category": "Funny Learning",
        "language": "english",
        "recommended_model": None,
        "prompts_list": ["@a@b"],
        "creation_date": "2024-02-11",
    }
    assert bear.notes == ()


def test_an_empty_file_has_every_default(make: Maker) -> None:
    nobody = read_personality(make("english/fun/nobody", "# nothing\n"))
    assert (nobody.name, nobody.author, nobody.version, nobody.description) == ("No Name", "ParisNeo", "1.0.0", "")
    assert (nobody.user_message_prefix, nobody.link_text, nobody.user_name) == ("!@> Human: ", "\n", "user")
    assert nobody.ai_message_prefix == "!@> No Name:"
    assert "{{date}}" in nobody.conditioning and nobody.welcome_message
    assert nobody.sampling == Sampling()
    assert nobody.include_welcome_message and not nobody.has_scripts and nobody.logo is None


def test_oddities_of_the_wild_are_read(make: Maker) -> None:
    odd = read_personality(
        make(
            "english/fun/odd",
            "name: 7\nversion: null\ncategory: [a, b]\nlanguage: Hello, I speak\nwelcome_message:\n"
            "personality_conditioning: [one, two]\ndisclaimer: null\nanti_prompts: '###'\nprocessor_cfg: yes\n"
            "user_message_prefix: '{self.config.start_header_id_template}User'\n",
        )
    )
    assert (odd.name, odd.version, odd.welcome_message, odd.disclaimer) == ("7", "1.0.0", "", "")
    assert (odd.conditioning, odd.anti_prompts, odd.processor_cfg) == ("one\ntwo", ("###",), {})
    assert odd.user_message_prefix == "User"
    assert odd.language == "english"


def test_numbers_that_cannot_be_meant_are_noted_and_left_out(make: Maker) -> None:
    odd = read_personality(
        make(
            "english/fun/odd",
            "name: Odd\nmodel_temperature: hot\nmodel_top_p: .inf\nmodel_n_predicts: -1\n"
            "model_top_k: true\nmodel_repeat_penalty: -2\nmodel_repeat_last_n: 1e400\n",
        )
    )
    assert odd.sampling == Sampling()
    assert sorted(note.split(":")[0] for note in odd.notes) == ["line 2", "line 3", "line 5", "line 6", "line 7"]
    assert any("model_temperature: wanted a number, found 'hot'" in note for note in odd.notes)


def test_mended_lines_are_noted(make: Maker) -> None:
    odd = read_personality(make("english/fun/odd", "name: Odd\nwelcome_message: 'I'm odd'\n"))
    assert odd.welcome_message == "I'm odd"
    assert odd.notes == ("config.yaml, line 2: mended, it is not valid YAML",)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("name: A\nvoice: loud\n", r"config\.yaml, line 2: voice: wanted"),
        ("name: A\nvoice: {espeak: loud}\n", r"line 2: voice: wanted for each binding"),
        ("eliza: [a]\n", r"line 1: eliza: wanted"),
        ("name: {a: b}\n", r"line 1: name: wanted a text"),
        ("- a\n", r"config\.yaml, line 1: wanted keys"),
    ],
)
def test_what_cannot_be_read_is_named(make: Maker, config: str, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        read_personality(make("english/fun/bad", config))


@pytest.mark.parametrize("suffix", LOGO_SUFFIXES)
def test_logos_of_every_kind_are_found_in_order(make: Maker, suffix: str) -> None:
    folder = make("english/fun/bear", logo=suffix)
    for later in LOGO_SUFFIXES[LOGO_SUFFIXES.index(suffix) :]:
        (folder / "assets" / f"logo.{later}").write_bytes(b"")
    logo = read_personality(folder).logo
    assert logo is not None and logo.name == f"logo.{suffix}"


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("english", "english"),
        ("English.", "english"),
        ("en_US", "english"),
        ("de-AT", "german"),
        ("Français", "french"),
        ("anglais", "english"),
        ("日本語", "japanese"),
        ("Hello", ""),
        ("I speak English", ""),
        (None, ""),
        (7, ""),
        ("", ""),
    ],
)
def test_names_of_languages(spelling: object, name: str) -> None:
    assert known_language(spelling) == name
