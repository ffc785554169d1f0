"""Claude by Anthropic's SDK: text and tools, with reasoning kept apart."""

from greenroom.bindings.roles import Binding
from greenroom.values import Role

from .chat import Chat, ToolChooser

BINDING = Binding({Role.T2T: Chat, Role.MCP: ToolChooser})
