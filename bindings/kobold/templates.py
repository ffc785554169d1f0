"""Chat templates for KoboldCPP's own generating endpoint, which takes one text.

Prompt -> text that ends where the answer begins, and the texts that would end it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from greenroom.values import Message, Prompt

TemplateName = Literal[
    "model",
    "chatml",
    "alpaca",
    "llama2",
    "llama3",
    "mistral",
    "gemma",
    "phi3",
    "vicuna",
    "command-r",
    "metharme",
    "plain",
]
"""``model``: the one that KoboldCPP finds in the model, at its chat endpoint"""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """Pairs of what stands before and after a message."""

    user: tuple[str, str]
    assistant: tuple[str, str]
    system: tuple[str, str] | None
    """``None``: the system text stands at the head of the first message"""
    stops: tuple[str, ...]
    marks: tuple[str, ...] = ()
    """what else no message may hold, as it would speak for somebody else"""

    def render(self, prompt: Prompt) -> str:
        told = [message for message in prompt.messages if message.role != "system"]
        systems = [prompt.system, *(message.content for message in prompt.messages if message.role == "system")]
        system = self._clean("\n\n".join(filter(None, systems)))
        text = ""
        if system and self.system is not None:
            text, system = self.system[0] + system + self.system[1], ""
        for message in told or [Message("user", "")]:
            before, after = self.assistant if message.role == "assistant" else self.user
            content = self._clean(message.content)
            if system and message.role != "assistant":
                content, system = f"{system}\n\n{content}", ""
            text += before + content + after
        return text + self.assistant[0].rstrip(" ")

    def _clean(self, text: str) -> str:
        """Nobody may write as somebody else by writing the template's own signs, nor by hiding one in another."""
        signs = (*self.stops, *self.marks)
        if not any(sign in text for sign in signs):
            return text
        made: list[str] = []  # one pass, so that signs in signs in signs take no longer than plain text
        for character in text:
            made.append(character)
            for sign in signs:
                if sign[-1] == character and "".join(made[-len(sign) :]) == sign:
                    del made[-len(sign) :]
                    break
        return "".join(made)


_CHATML = ChatTemplate(
    ("<|im_start|>user\n", "<|im_end|>\n"),
    ("<|im_start|>assistant\n", "<|im_end|>\n"),
    ("<|im_start|>system\n", "<|im_end|>\n"),
    ("<|im_end|>", "<|im_start|>"),
)
_ALPACA = ChatTemplate(
    ("### Instruction:\n", "\n\n"),
    ("### Response:\n", "\n\n"),
    ("", "\n\n"),
    ("### Instruction:", "### Response:"),
)
_LLAMA2 = ChatTemplate(("[INST] ", " [/INST]"), (" ", " </s>"), None, ("[INST]", "</s>"), ("[/INST]", "<<SYS>>"))
_LLAMA3 = ChatTemplate(
    ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    ("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
    ("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
    ("<|eot_id|>", "<|start_header_id|>"),
    ("<|end_header_id|>", "<|begin_of_text|>"),
)
_MISTRAL = ChatTemplate(("[INST] ", "[/INST]"), (" ", "</s>"), None, ("[INST]", "</s>"), ("[/INST]",))
_GEMMA = ChatTemplate(
    ("<start_of_turn>user\n", "<end_of_turn>\n"),
    ("<start_of_turn>model\n", "<end_of_turn>\n"),
    None,
    ("<end_of_turn>", "<start_of_turn>"),
)
_PHI3 = ChatTemplate(
    ("<|user|>\n", "<|end|>\n"),
    ("<|assistant|>\n", "<|end|>\n"),
    ("<|system|>\n", "<|end|>\n"),
    ("<|end|>", "<|user|>"),
    ("<|assistant|>", "<|system|>"),
)
_VICUNA = ChatTemplate(("USER: ", "\n"), ("ASSISTANT: ", "</s>\n"), ("", "\n\n"), ("\nUSER:", "</s>"), ("ASSISTANT:",))
_COMMAND_R = ChatTemplate(
    ("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    ("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    ("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    ("<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>"),
    ("<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
)
_METHARME = ChatTemplate(
    ("<|user|>", ""), ("<|model|>", ""), ("<|system|>", ""), ("<|user|>", "<|system|>"), ("<|model|>",)
)
_PLAIN = ChatTemplate(("User: ", "\n"), ("Assistant: ", "\n"), ("", "\n\n"), ("\nUser:", "\nAssistant:"))


def template(name: TemplateName) -> ChatTemplate:
    """:raises KeyError: for ``model``, which only KoboldCPP knows"""
    known: Mapping[str, ChatTemplate] = {
        "chatml": _CHATML,
        "alpaca": _ALPACA,
        "llama2": _LLAMA2,
        "llama3": _LLAMA3,
        "mistral": _MISTRAL,
        "gemma": _GEMMA,
        "phi3": _PHI3,
        "vicuna": _VICUNA,
        "command-r": _COMMAND_R,
        "metharme": _METHARME,
        "plain": _PLAIN,
    }
    return known[name]
