"""ElevenLabs: speech over its websocket, fed while the text is being written."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .speech import Speech

BINDING = Binding(operations={Role.TTS: Speech})
