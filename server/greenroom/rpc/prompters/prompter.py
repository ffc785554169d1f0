"""A template, rendered for an object."""

from collections.abc import Iterator
from typing import Any, TypeVar

from greenroom.rpc.prompters.builder import AddressBuilder, part_of, parts_of_text
from greenroom.rpc.prompters.parts import IPrompter, ITemplatePart

T_contra = TypeVar("T_contra", contravariant=True)


class Prompter(IPrompter[T_contra]):
    """``template``: an f-string with addresses in it, or a tuple of texts, addresses and parts.

    :raises ValueError: ``Cannot find uid <id> in the cache``, for a text whose marks are unknown
    :raises TypeError: for anything else in the tuple
    """

    def __init__(
        self, template: str | AddressBuilder | ITemplatePart | tuple[str | AddressBuilder | ITemplatePart, ...]
    ) -> None:
        pieces = template if isinstance(template, tuple) else (template,)
        self.parts: tuple[ITemplatePart, ...] = tuple(part for piece in pieces for part in _parts(piece))

    def __call__(self, obj: T_contra) -> str:
        """:raises ValueError: if the object lacks what the template wants; the address is named"""
        return "".join(part.render(obj) for part in self.parts)

    def to_readable_string(self) -> str:
        """``Hello, {{user.name}}! {{rules(_)}}``"""
        return "".join(part.to_readable_string() for part in self.parts)

    def __str__(self) -> str:
        return self.to_readable_string()

    def __repr__(self) -> str:
        return f"Prompter({self.to_readable_string()!r})"


def _parts(piece: Any) -> Iterator[ITemplatePart]:
    if isinstance(piece, str):
        yield from parts_of_text(piece)
    elif isinstance(piece, ITemplatePart):
        yield piece
    elif isinstance(piece, AddressBuilder):
        yield part_of(piece)
    else:
        raise TypeError(f"a template is made of texts, addresses and parts, not of {type(piece).__name__}")
