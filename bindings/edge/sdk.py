"""The package edge-tts, and a copy of it that talks to another server, as its address is a constant of its modules."""

import importlib.util
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from greenroom.errors import BindingFailed


class EdgeSdk:
    """``communicate``: the class that speaks; ``list_voices``: the function."""

    def __init__(self, base_url: str) -> None:
        """:raises BindingFailed: where a package is missing."""
        try:
            import av  # noqa: F401
            import edge_tts
            from edge_tts import communicate, exceptions, voices
        except ImportError as error:
            raise BindingFailed(
                f'edge needs edge-tts and av: pip install "greenroom[edge,encode]" ({error})'
            ) from error
        self.errors: ModuleType = exceptions
        self.default_voice: str = edge_tts.constants.DEFAULT_VOICE
        if base_url:
            communicate = _copy(communicate, "WSS_URL", base_url)
            voices = _copy(voices, "VOICE_LIST", base_url.replace("ws", "http", 1))
        self.communicate: Any = communicate.Communicate
        self.list_voices: Any = voices.list_voices
        self.host = urlsplit(communicate.WSS_URL).netloc


def _copy(module: Any, constant: str, base_url: str) -> Any:
    """The same code once more, for itself, with this server's address in place of Microsoft's; the path stays."""
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    if spec is None or spec.loader is None:
        raise BindingFailed(f"edge-tts is installed without {module.__name__}")
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    own = urlsplit(getattr(module, constant))
    setattr(copy, constant, f"{base_url}{own.path}?{own.query}")
    return copy
