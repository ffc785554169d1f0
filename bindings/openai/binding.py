"""Any server that speaks OpenAI's API: OpenAI itself, or by ``base_url`` Ollama, LM Studio, vLLM and others."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .chat import ChatCompletion, ToolChooser
from .embedding import TextEmbedding
from .speech import Speech
from .transcription import Transcription

BINDING = Binding(
    operations={
        Role.T2T: ChatCompletion,
        Role.MCP: ToolChooser,
        Role.STT: Transcription,
        Role.TTS: Speech,
        Role.EMBEDDING: TextEmbedding,
    }
)
