"""Operations written for jaison-core, run as a Greenroom binding with only their import lines changed.

    from greenroom.bindings.jaison import ProcessType, TTSOperation, jaison_binding

    class MyVoice(TTSOperation): ...          # as it was

    BINDING = jaison_binding(MyVoice)

Such an operation has an event loop in a thread of its own: what blocks in it delays nobody else. Its calls are made one
after another, as jaison made them. Reference: ``docs/bindings.md``.
"""

from greenroom.bindings.jaison.adapter import jaison_binding
from greenroom.bindings.jaison.messages import (
    ChatMessage,
    CustomMessage,
    MCPMessage,
    Message,
    Prompter,
    RawMessage,
    RequestMessage,
)
from greenroom.bindings.jaison.operations import (
    Config,
    EmbeddingOperation,
    FilterAudioOperation,
    FilterTextOperation,
    Operation,
    STTOperation,
    T2TOperation,
    TTSOperation,
)
from greenroom.bindings.jaison.processes import BaseProcess, ProcessManager, ProcessType

config = Config()
"""the fields that operations read; jaison's own module-level object of this name"""

__all__ = [
    "BaseProcess",
    "ChatMessage",
    "Config",
    "CustomMessage",
    "EmbeddingOperation",
    "FilterAudioOperation",
    "FilterTextOperation",
    "MCPMessage",
    "Message",
    "Operation",
    "ProcessManager",
    "ProcessType",
    "Prompter",
    "RawMessage",
    "RequestMessage",
    "STTOperation",
    "T2TOperation",
    "TTSOperation",
    "config",
    "jaison_binding",
]
