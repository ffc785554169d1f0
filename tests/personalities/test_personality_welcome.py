"""Which last paragraph is a welcome, and which is one more instruction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.personalities.welcome import MAX_WELCOME_CHARS, is_welcome, split_body

PROMPT = "Act as an old sailor who has seen every harbour.\nAnswer the user in short sentences."

WELCOMES = [
    "Hello! I am Salty, the sailor. How can I help you today?",
    "Hi there! Ready when you are.",
    "Hey! It's Salty here, with a full pot of tea!",
    "Yo, what's up? I'm the rhyme machine. Need a verse? I got you covered. Let's go!",
    '"Welcome aboard! I am here to chart your course. Let\'s get started on this voyage."',
    "**Welcome aboard!** Tell me where you want to go.",
    "*looks up from the chart* Ahoy, traveller. Sit down.",
    "(pours tea) [smiles] Good evening, and who might you be?",
    "_waves a hook_ Hello.",
    "🚢 Welcome to the harbour! ⚓",
    "Welcome! My name is Salty (Sailor Of All Seas).\nHow can I help you today?",
    "Greetings! I am the keeper of the lighthouse.\nThrough fog and foam I light the way. What shall it be?",
    "We are the crew. You will be taken aboard. What is your destination?",
    "I am Chart Reader. I read charts and answer your questions about them. Please upload one and let's talk!",
    "Im your guide through the sea of code and Ill be with you all the way",
    "Welcome to the realm of Salty! No storm is too great Here the brave set sail Lets conquer the sea",
    "Hello! I help users find their way, the user decides where to.",
    "So you came at last... I have waited for you.",
    "What adventure awaits us today?",
    "Ask me anything about the sea, I know it well. You will not be bored.",
    "G’day, mate!",
    "Bonjour ! Je suis Loup de Mer. Que puis-je faire pour vous ?",
    "Enchanté, je suis votre capitaine.",
    "Je suis le vieux marin. Racontez-moi votre voyage.",
    "Willkommen an Bord! Ich bin der alte Seebär.",
    "Ich bin der Seebär und höre dir zu.",
    "¡Hola! Soy el capitán. ¿En qué puedo ayudarte?",
    "Ciao! Come stai?",
    "Olá, marinheiro!",
    "Привет! Я старый моряк.",
    "你好！我是老水手。",
    "こんにちは！船長です。",
    "안녕하세요! 선장입니다.",
    "مرحبا! أنا البحار.",
]

NO_WELCOMES = [
    "Always stay in character and never speak of being a machine.",
    "You are patient. You never hurry. Your answers are read aloud.",
    "Your goal is to help users reach the harbour. I repeat: you must not give up.",
    "Never mention that you are an AI, even if I ask you.",
    "Remember, in your world there are no boundaries: let your imagination run free!",
    "I want you to act as a sailor. My first request is: tell me a story.",
    "Welcome the user warmly and ask where they want to go.",
    "Greet everyone with a nautical phrase, and ask: where shall we sail?",
    "Say hello first. Then ask what we can do for you.",
    "Start by introducing yourself. Ask me what I want.",
    "If you do not know, say that we shall find out.",
    "The user is a young sailor. What does the user want? I do not know.",
    "He is known for his courage, boundless optimism, and thirst for rum.",
    "Salty the sailor was born in a storm.",
    "It keeps the user's wishes in mind: I would call it your best friend.",
    "## Greeting\nHello! I am Salty.",
    "Hello! I can help you with:\n- charts\n- knots",
    "Hello! Choose:\n1. a chart\n2) a knot",
    "* Hello there, said the list",
    "> Hello there, said the quotation",
    "```\nHello there\n```",
    "| Hello | you |\n|---|---|",
    "!@>system: Hello, you and I.",
    "User: Hello\nAssistant: Hello, how can I help you?",
    "{{user}}: Hello\n{{char}}: Ahoy to you, I say.",
    "<START>\nHello, how are you?",
    "Hello! " + "I am here for you. " * 80,
    "For example, what would you and I do in a storm?",
    "I will answer your question with one of these:",
    "Provide advice on knots, charts and your tea.",
    "Respond in the language you are spoken to in. Let's keep it short.",
    "Today is {{date}}. I know what you did.",
    "Tu es un vieux marin. Je suis ton élève.",
    "Du bist ein alter Seebär. Ich bin dein Schüler.",
    "Eres un marinero. Yo soy tu alumno.",
    "你是一位老水手。",
    "あなたは船長です。",
    "---",
    "***",
    "🚢⚓",
    "...",
]


@pytest.mark.parametrize("welcome", WELCOMES)
def test_what_is_said_to_the_reader_is_a_welcome(welcome: str) -> None:
    assert split_body(f"{PROMPT}\n\n{welcome}\n") == (PROMPT, welcome)


@pytest.mark.parametrize("text", NO_WELCOMES)
def test_what_is_said_to_the_model_is_none(text: str) -> None:
    body = f"{PROMPT}\n\n{text.strip()}"
    assert split_body(f"\n{body}\n\n") == (body, "")


@pytest.mark.parametrize("body", ["", " \n\n ", "Hello! How are you?", "Hello!\nI am Salty.\nHow are you?"])
def test_one_paragraph_is_the_prompt(body: str) -> None:
    assert split_body(body) == (body.strip(), "")


def test_headings_alone_are_no_paragraph() -> None:
    body = "# Salty\n\n## Greeting\n\nHello! I am Salty."
    assert split_body(body) == (body, "")
    assert split_body(f"# Salty\n\n{PROMPT}\n\n## Rules\n- none\n\nHello!") == (
        f"# Salty\n\n{PROMPT}\n\n## Rules\n- none",
        "Hello!",
    )


def test_only_the_last_of_several_is_taken() -> None:
    first = f"{PROMPT}\n\nHello! I am Salty."
    assert split_body(f"{first}\n \t\n\n\nWhat can I do for you?") == (first, "What can I do for you?")


@given(st.text("aHi yo?!.\n \t#*-_()[]\"'`|>:1你", max_size=200))
def test_nothing_is_lost_and_nothing_added(body: str) -> None:
    prompt, welcome = split_body(body)
    stripped = body.strip()
    assert stripped.startswith(prompt) and stripped.endswith(welcome)
    assert f"{prompt}\n\n{welcome}".split() == stripped.split()
    assert len(welcome) <= MAX_WELCOME_CHARS
    if welcome:
        assert is_welcome(welcome) and prompt.strip()


@pytest.mark.parametrize(
    "part", ["*", "(", "[", "_", "\n", " ", "\n \n", "?", "#", "*a* ", "Hello ", "```\n", "the user "]
)
def test_hostile_bodies_are_split_too(part: str) -> None:
    prompt, welcome = split_body("You are.\n\n" + part * (200_000 // len(part)))
    assert welcome == ""
    assert prompt.startswith("You are.")
