"""Cuts a text after each sentence, without brackets and quotation marks."""

import re


def split_sentence(text: str, min_len: int = 10, language_str: str = "EN") -> list[str]:
    plain = re.sub(r"[<>()\[\]\"«»]+", "", text)
    return [piece.strip() for piece in re.split(r"(?<=[.!?])\s+", plain) if piece.strip()]
