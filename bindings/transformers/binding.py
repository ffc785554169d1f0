"""Models of the Hugging Face hub, run by transformers and torch on this machine."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .chat import Chat
from .embedding import TextEmbedding
from .hearing import Recognition
from .speech import Speech

BINDING = Binding({Role.T2T: Chat, Role.STT: Recognition, Role.TTS: Speech, Role.EMBEDDING: TextEmbedding})
