"""Language models in GGUF files, run by llama.cpp inside the server's own process: no account, no network."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .chat import Chat, ToolChooser
from .embedding import TextEmbedding

BINDING = Binding(operations={Role.T2T: Chat, Role.MCP: ToolChooser, Role.EMBEDDING: TextEmbedding})
