"""KoboldCPP: text, speech recognition and speech of one local program, by its own API with all its samplers."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .chat import Chat, ToolChooser
from .speech import Speech
from .transcription import Transcription

BINDING = Binding({Role.T2T: Chat, Role.MCP: ToolChooser, Role.STT: Transcription, Role.TTS: Speech})
