"""MeloTTS' package, imported without the network and without what only its training and its downloads need.

As it is imported, it asks the hub for the tokenizers of all its languages, and NLTK for data. Here a tokenizer is read
from this machine when it is first used, so a voice needs the files of its own language alone.
"""

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final

from greenroom.errors import Unavailable

from .languages import BERTS
from .voice_files import find_bert, unpack_nltk

_FOR_TRAINING: Final = ("torchaudio", "cached_path")
NO_WORDS: Final = (
    "English words cannot be pronounced: NLTK's data is not on this machine; get it with: "
    "greenroom install model melo nltk_data"
)


class LazyTokenizer:
    """Loads the real one when it is first used. :raises Unavailable: then, if it is not on this machine"""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._loaded: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._real()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def _real(self) -> Any:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded


def load_tts_class() -> Any:
    """``melo.api.TTS``; within :func:`offline`. :raises Unavailable: naming what is missing"""
    try:
        with _stand_ins(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages from 2023, about their own making
            return importlib.import_module("melo.api").TTS
    except ImportError as error:
        raise Unavailable(
            f"melo needs the package {error.name or 'melo'} ({error}); install with: greenroom install melo"
        ) from error
    except LookupError as error:  # NLTK's, for data that it has not got
        raise Unavailable(NO_WORDS) from error


@contextmanager
def offline(models: Path) -> Iterator[None]:
    """Within it, what MeloTTS asks transformers and NLTK for comes from this machine, or not at all.

    :raises Unavailable: without transformers; from within, for a model that is not here
    """
    try:
        from safetensors import SafetensorError
        from transformers import AutoModelForMaskedLM, AutoTokenizer
    except ImportError as error:
        raise Unavailable(
            f"melo needs the package transformers ({error}); install with: greenroom install melo"
        ) from error

    def model(real: Any, name: str, *arguments: Any, **named: Any) -> Any:
        folder = find_bert(models, name)
        try:
            return real(str(folder), *arguments, local_files_only=True, **named)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise Unavailable(f"the model {name} in {folder} does not load: {error}") from error

    def tokenizer(*asked: Any, **named: Any) -> Any:
        return LazyTokenizer(lambda: model(*asked, **named))

    with _nltk_here(models), _diverted(AutoTokenizer, tokenizer), _diverted(AutoModelForMaskedLM, model):
        yield


@contextmanager
def _diverted(owner: Any, instead: Callable[..., Any]) -> Iterator[None]:
    """``owner.from_pretrained`` of MeloTTS' BERTs goes to ``instead``; of all else, where it went."""
    real = owner.from_pretrained
    own = owner.__dict__.get("from_pretrained")

    def from_pretrained(name: Any, *arguments: Any, **named: Any) -> Any:
        return (instead if name in BERTS else _plainly)(real, name, *arguments, **named)

    owner.from_pretrained = staticmethod(from_pretrained)
    try:
        yield
    finally:
        if own is None:
            del owner.from_pretrained
        else:
            owner.from_pretrained = own


def _plainly(real: Any, name: Any, *arguments: Any, **named: Any) -> Any:
    return real(name, *arguments, **named)


@contextmanager
def _nltk_here(models: Path) -> Iterator[None]:
    """NLTK looks into our folder, too, and downloads nothing."""
    try:
        nltk: Any = importlib.import_module("nltk")
    except ImportError:
        yield
        return
    folder = str(unpack_nltk(models).absolute())
    if folder not in nltk.data.path:
        nltk.data.path.insert(0, folder)
    download = nltk.download
    nltk.download = lambda *arguments, **named: False
    try:
        yield
    finally:
        nltk.download = download


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Where they are not installed, or do not fit this torch, modules that refuse when they are used."""
    made = {}
    for name in _FOR_TRAINING:
        if not _imports(name):
            made[name] = sys.modules[name] = _refusing(name)
    try:
        yield
    finally:
        for name, module in made.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def _refusing(name: str) -> types.ModuleType:
    module = types.ModuleType(name, "Stands in for a package that speech does not need.")
    module.__spec__ = ModuleSpec(name, None)  # without one, whoever asks whether it is installed gets an error

    def missing(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)

        def refuse(*_: Any, **__: Any) -> None:
            raise Unavailable(f"MeloTTS wants {name}.{attribute}, which is not installed here")

        return refuse

    module.__dict__["__getattr__"] = missing
    return module
