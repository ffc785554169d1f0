"""What MeloTTS speaks: where the voice of each of its languages comes from, and the BERT that reads the text for it."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Language:
    repository: str
    """of the voice, on the hub"""
    bert: str
    """by MeloTTS' own name of it"""
    code: str
    """BCP 47"""
    greeting: str


_ENGLISH: Final = "bert-base-uncased"
LANGUAGES: Final = {
    "EN": Language("myshell-ai/MeloTTS-English", _ENGLISH, "en", "Hello there."),
    "EN_V2": Language("myshell-ai/MeloTTS-English-v2", _ENGLISH, "en", "Hello there."),
    "EN_NEWEST": Language("myshell-ai/MeloTTS-English-v3", _ENGLISH, "en", "Hello there."),
    "ES": Language("myshell-ai/MeloTTS-Spanish", "dccuchile/bert-base-spanish-wwm-uncased", "es", "Hola."),
    "FR": Language("myshell-ai/MeloTTS-French", "dbmdz/bert-base-french-europeana-cased", "fr", "Bonjour."),
    "ZH": Language("myshell-ai/MeloTTS-Chinese", "bert-base-multilingual-uncased", "zh", "你好。"),
    "JP": Language("myshell-ai/MeloTTS-Japanese", "tohoku-nlp/bert-base-japanese-v3", "ja", "こんにちは。"),
    "KR": Language("myshell-ai/MeloTTS-Korean", "kykim/bert-kor-base", "ko", "안녕하세요."),
}
_ON_THE_HUB: Final = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-multilingual-uncased": "google-bert/bert-base-multilingual-uncased",
}
BERTS: Final = frozenset({"hfl/chinese-roberta-wwm-ext-large", *(one.bert for one in LANGUAGES.values())})
"""all that MeloTTS asks for, most of them as soon as it is imported"""
_ACCENTS: Final = {"us": "en-US", "br": "en-GB", "india": "en-IN", "au": "en-AU"}


def hub_name(bert: str) -> str:
    """The full name of a BERT that MeloTTS names in short."""
    return _ON_THE_HUB.get(bert, bert)


def plain_speaker(name: str) -> str:
    """``EN_INDIA`` and ``en-india`` are one: MeloTTS writes four of its speakers with a dash and one with a bar."""
    return re.sub(r"[-_\s]+", "-", name.strip()).casefold()


def language_of(speaker: str, language: str) -> str:
    """BCP 47 of a speaker, as in ``EN-AU``; of its language, where the name tells no accent."""
    plain = plain_speaker(speaker)
    if plain.startswith("en-"):
        return _ACCENTS.get(plain.removeprefix("en-"), "en")
    return LANGUAGES[language].code
