"""Stands in for g2pkk, which reads Korean: as its reader is made, it asks pip for a package, and says what it found."""

from typing import Any

installs: list[str] = []


class G2p:
    def __init__(self) -> None:
        self.check_mecab()
        self.mecab = self.get_mecab()

    def check_mecab(self) -> None:
        installs.append("python-mecab-ko")

    def get_mecab(self) -> Any:
        return None

    def __call__(self, text: str) -> str:
        return " ".join(f"{word}/{kind}" for word, kind in self.mecab.pos(text))
