"""What a template is made of: text, values from the object, and prompts that stand in the object."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from greenroom.rpc.prompters.address import Address

T_contra = TypeVar("T_contra", contravariant=True)


class IPrompter(ABC, Generic[T_contra]):
    """Makes a prompt of an object."""

    @abstractmethod
    def __call__(self, obj: T_contra) -> str: ...


class ITemplatePart(ABC):
    @abstractmethod
    def render(self, obj: Any) -> str:
        """:raises ValueError: if the object lacks what the part wants"""

    @abstractmethod
    def to_readable_string(self) -> str:
        """For a person who looks at the template."""


@dataclass(frozen=True)
class ConstantTemplatePart(ITemplatePart):
    value: str

    def render(self, obj: Any) -> str:
        return self.value

    def to_readable_string(self) -> str:
        return self.value


@dataclass(frozen=True)
class AddressTemplatePart(ITemplatePart):
    """The value at ``address``, given to each of ``formatters`` in turn and shown by ``str``."""

    address: Address
    formatters: tuple[Callable[[Any], Any], ...] = ()

    def render(self, obj: Any) -> str:
        value = self.address.get(obj)
        for formatter in self.formatters:
            value = formatter(value)
        return str(value)

    def to_readable_string(self) -> str:
        return f"{{{{{self.address}}}}}"


@dataclass(frozen=True)
class SubpromptPropagationTemplatePart(ITemplatePart):
    """What stands at ``address`` is itself a prompter; it is called with the whole object."""

    address: Address
    formatters: tuple[Callable[[Any], Any], ...] = ()

    def render(self, obj: Any) -> str:
        prompter = self.address.get(obj)
        if not callable(prompter):
            raise ValueError(f"{self.address} holds a {type(prompter).__name__}, which cannot be called as a prompter")
        value = prompter(obj)
        for formatter in self.formatters:
            value = formatter(value)
        return str(value)

    def to_readable_string(self) -> str:
        return f"{{{{{self.address}(_)}}}}"
