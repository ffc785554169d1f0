"""Where a system prompt ends and the welcome begins, in a text that joined them with nothing but a blank line.

    "Act as a bear.\\n\\nHello! I am Bear." -> ("Act as a bear.", "Hello! I am Bear.")
    "You are a bear.\\n\\nAnswer briefly."  -> ("You are a bear.\\n\\nAnswer briefly.", "")

The last paragraph is the welcome where it is short, has neither headings nor lists, and speaks to the reader rather
than to the model. In doubt there is none: an instruction spoken aloud is worse than a silent beginning.
"""

import re

MAX_WELCOME_CHARS = 1000
"""real ones of a single paragraph have 60 to 700"""

_GREETINGS = (
    *("hello", "hi", "hey", "hiya", "heya", "howdy", "yo", "welcome", "greetings", "salutations", "ahoy", "well met"),
    *("good day", "good morning", "good afternoon", "good evening", "good to see you", "nice to meet you", "g'day"),
    *("pleased to meet you", "well hello", "well, hello", "oh hello", "oh, hello", "ah, hello", "ah, welcome", "aloha"),
    *("hail", "namaste", "step right up", "what's up", "sup", "thank you for"),
    *("bonjour", "bonsoir", "salut", "coucou", "bienvenue", "enchanté"),
    *("hallo", "guten tag", "guten morgen", "guten abend", "grüß gott", "grüezi", "servus", "moin", "willkommen"),
    *("hola", "buenos días", "buenas tardes", "buenas noches", "bienvenido", "bienvenida", "bienvenidos", "saludos"),
    *("ciao", "salve", "buongiorno", "buonasera", "benvenuto", "benvenuta", "benvenuti"),
    *("olá", "oi", "bom dia", "boa tarde", "boa noite", "bem-vindo", "bem-vinda"),
    *("hoi", "goedendag", "welkom", "hej", "hei", "cześć", "witaj", "ahoj", "merhaba", "selam", "shalom"),
    *("привет", "здравствуй", "здравствуйте", "добро пожаловать", "привіт", "вітаю", "γεια", "नमस्ते"),
    *("مرحبا", "مرحباً", "أهلا", "أهلاً", "السلام", "שלום"),
)
_INSTRUCTIONS = (
    *("you are", "you're", "you will", "you must", "you should", "you can", "you have to", "you act", "your goal"),
    *("your role", "your task", "your job", "your mission", "your purpose", "your answers", "your responses"),
    *("your personality", "your tone", "your style", "your output", "act", "acting", "answer", "respond", "reply"),
    *("write", "always", "never", "do not", "don't", "avoid", "ensure", "make sure", "remember", "note", "important"),
    *("use", "provide", "offer", "simulate", "pretend", "roleplay", "role-play", "play the", "speak", "stay", "keep"),
    *("be", "if", "when", "whenever", "after", "before", "start", "begin", "end", "finish", "explain", "generate"),
    *("greet", "introduce", "say", "welcome the user", "welcome users", "welcome each", "welcome every", "ask the"),
    *("ask for", "ask questions", "ask one", "the user", "the assistant", "the ai", "i want you", "i would like you"),
    *("i'd like you", "i need you", "i will provide", "i will give", "my first", "today is", "current date"),
    *("instruction", "instructions", "encourage", "assist", "help the user", "help users", "focus", "follow", "format"),
    *("output", "rules", "in your", "in this role", "as an ai", "under no circumstances", "please answer"),
    *("please respond", "example", "examples", "for example", "e.g."),
    *("tu es", "tu dois", "vous êtes", "vous devez", "agis", "réponds", "répondez", "ne réponds", "utilise"),
    *("du bist", "du sollst", "du antwortest", "sie sind", "antworte", "verhalte", "benutze", "sprich"),
    *("eres", "debes", "actúa", "responde", "sei", "devi", "rispondi", "comportati", "você é", "aja"),
)


def _opens_with(phrases: tuple[str, ...], unspaced: str) -> re.Pattern[str]:
    """``unspaced``: an expression for scripts that put no space behind a word."""
    spelled = "|".join(re.escape(phrase).replace("\\ ", "\\s+").replace("'", "['’]") for phrase in phrases)
    return re.compile(rf"(?:{spelled})(?!\w)|{unspaced}", re.IGNORECASE)


_GREETING = _opens_with(
    _GREETINGS, "你好|您好|大家好|欢迎|歡迎|こんにちは|こんばんは|おはよう|はじめまして|ようこそ|안녕"
)
_INSTRUCTION = _opens_with(_INSTRUCTIONS, "你是|您是|请扮演|あなたは|당신은")
_BORDER = re.compile(r"\n[ \t]*\n\s*")
_HEADING = re.compile(r"#{1,6}(?:\s|$)")
_STRUCTURE = re.compile(
    r"^[ \t]*(?:#{1,6}\s|[-+*•–][ \t]|\d{1,3}[.)][ \t]|\||>|```|~~~|!@>|@!>|!!>|<START>"
    r"|(?:user|human|assistant|ai|bot|system|\{\{(?:user|char)\}\})[ \t]*:)",
    re.IGNORECASE | re.MULTILINE,
)
_STAGE_DIRECTION = re.compile(
    r"\s*(?:\*[^*\n]{1,300}\*(?!\*)|_[^_\n]{1,300}_|\([^()\n]{1,300}\)|\[[^\[\]\n]{1,300}\])\s*"
)
_LAST_MARKS = re.compile(r"\W*$")
_ABOUT_THE_READER = re.compile(
    r"\b(?:the|each|every|your)\s+users?\b(?!\s+(?:interface|experience|guide|manual))|\{\{user\}\}'s"
)
_SPEAKER = re.compile(
    r"\b(?:I|i'm|I[’']?m|me|my|we|us|our|let[’']?s|je|j[’']|moi|mon|nous|ich|mich|mein\w*|wir|uns|soy|estoy|yo|mi|"
    r"puedo|sono|posso|io|mio|sou|eu|meu|minha|я|мы)(?!\w)",
    re.IGNORECASE,
)
_READER = re.compile(
    r"\b(?:you|your|yours|yourself|youre|tu|te|toi|ton|vous|votre|vos|du|dich|dir|dein\w*|sie|ihnen|ihr\w*|euch|"
    r"usted|ti|tus|tuyo|tua|tuo|lei|você|seu|sua|ты|вы|вам|тебе)(?!\w)",
    re.IGNORECASE,
)


def split_body(body: str) -> tuple[str, str]:
    """-> system prompt, welcome message; the latter is empty where none can be told apart. Neither is rewritten."""
    body = body.strip()
    borders = list(_BORDER.finditer(body))
    if not borders:
        return body, ""
    before, last = body[: borders[-1].start()].rstrip(), body[borders[-1].end() :]
    if not _has_text(before) or not is_welcome(last):
        return body, ""
    return before, last


def is_welcome(paragraph: str) -> bool:
    """Short, without headings or lists, and spoken to the one who reads it."""
    paragraph = paragraph.strip()
    if not paragraph or len(paragraph) > MAX_WELCOME_CHARS or _STRUCTURE.search(paragraph):
        return False
    spoken = _opening(paragraph)
    if _INSTRUCTION.match(spoken):
        return False
    if _GREETING.match(spoken):
        return True
    if _ABOUT_THE_READER.search(paragraph) or paragraph.endswith((":", "：")):
        return False
    end = _LAST_MARKS.search(paragraph)
    asks = end is not None and any(mark in end[0] for mark in "?？؟")
    to_somebody = _READER.search(spoken) is not None
    return asks or (to_somebody and _SPEAKER.search(spoken) is not None)


def _has_text(text: str) -> bool:
    """Headings alone are no paragraph."""
    return any(line.strip() and not _HEADING.match(line.strip()) for line in text.split("\n"))


def _opening(paragraph: str) -> str:
    """Without the stage directions, quotes, marks and pictures in front: ``*waves* "Hello`` -> ``Hello``."""
    at = 0
    while found := _STAGE_DIRECTION.match(paragraph, at):
        at = found.end()
    rest = paragraph[at:] or paragraph
    first = re.search(r"[^\W_]", rest)
    return rest[first.start() :] if first else ""
