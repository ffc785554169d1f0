"""Azure Speech by Microsoft's SDK: recognition of a live stream, and speech in several hundred voices."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .recognition import Recognition
from .synthesis import Synthesis

BINDING = Binding(operations={Role.STT: Recognition, Role.TTS: Synthesis})
