"""Prompts as f-strings that are written before the objects they describe exist.

o = Referrer[Scene]()
prompter = Prompter(f"It is {o.ref.weather}. Present: {o.ref.people / o.list_to_bullet_points()}")
prompter(scene)
"""

from greenroom.rpc.prompters.address import Address, DefaultElement, IAddressElement
from greenroom.rpc.prompters.builder import AddressBuilder, AddressBuilderGC
from greenroom.rpc.prompters.parts import (
    AddressTemplatePart,
    ConstantTemplatePart,
    IPrompter,
    ITemplatePart,
    SubpromptPropagationTemplatePart,
)
from greenroom.rpc.prompters.prompter import Prompter
from greenroom.rpc.prompters.referrer import Referrer

__all__ = [
    "Address",
    "AddressBuilder",
    "AddressBuilderGC",
    "AddressTemplatePart",
    "ConstantTemplatePart",
    "DefaultElement",
    "IAddressElement",
    "IPrompter",
    "ITemplatePart",
    "Prompter",
    "Referrer",
    "SubpromptPropagationTemplatePart",
]
