"""Asks, as it is imported, for the tokenizers of all languages and for NLTK's data, as MeloTTS does."""

import importlib
from typing import Any

import nltk  # type: ignore[import-not-found, unused-ignore]
from transformers import AutoModelForMaskedLM, AutoTokenizer

TOKENIZERS = {
    name: AutoTokenizer.from_pretrained(name)
    for name in (
        "bert-base-uncased",
        "bert-base-multilingual-uncased",
        "tohoku-nlp/bert-base-japanese-v3",
        "kykim/bert-kor-base",
        "dbmdz/bert-base-french-europeana-cased",
        "dccuchile/bert-base-spanish-wwm-uncased",
    )
}
try:
    nltk.data.find("taggers/averaged_perceptron_tagger.zip")
except LookupError:
    nltk.download("averaged_perceptron_tagger")
WORDS = nltk.data.find("corpora/cmudict").joinpath("cmudict").read_text(encoding="utf-8").split()
BERTS = {"EN": "bert-base-uncased", "FR": "dbmdz/bert-base-french-europeana-cased", "KR": "kykim/bert-kor-base"}
models: dict[str, Any] = {}
readers: dict[str, Any] = {}
korean: list[str] = []
"""how it was read"""


def get_bert(text: str, language: str, device: str) -> Any:
    name = BERTS[language]
    if language == "KR":
        if language not in readers:
            readers[language] = importlib.import_module("g2pkk").G2p()
        korean.append(readers[language](text))
    if name not in models:
        models[name] = AutoModelForMaskedLM.from_pretrained(name).to(device)
    inputs = TOKENIZERS[name](text, return_tensors="pt")
    return models[name](**inputs, output_hidden_states=True).hidden_states[-1]
