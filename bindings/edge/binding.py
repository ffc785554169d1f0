"""Microsoft's free online voices by the package edge-tts."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .speech import Speech

BINDING = Binding(operations={Role.TTS: Speech})
