"""Fish Audio: speech over its live websocket, recognition by its API."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .recognition import Recognition
from .speech import Speech

BINDING = Binding(operations={Role.STT: Recognition, Role.TTS: Speech})
