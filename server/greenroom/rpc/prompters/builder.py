"""Addresses written as attributes, and the marks by which they travel through an f-string.

    f"{o.ref.user.name}"  ->  "<<id0123456789abcdef0123456789abcdef>>"  ->  AddressTemplatePart(Address("user", "name"))

An f-string keeps nothing but text, so the part that a mark stands for waits in one table of the process. It is kept
alive by the prompters that use it; a part that no prompter uses yet, or any more, stays among the most recently used
ones. The same address with the same formatters has one mark.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary

from greenroom.rpc.prompters.address import Address, IAddressElement
from greenroom.rpc.prompters.parts import (
    AddressTemplatePart,
    ConstantTemplatePart,
    ITemplatePart,
    SubpromptPropagationTemplatePart,
)

MARK: Final = re.compile(r"<<id([0-9a-f]{32})>>")
KEPT_UNUSED: Final = 16_384
"""How many parts that no prompter uses are remembered. A program has as many addresses as it has source text for; only
formatters that are made anew for each prompt (a lambda in the f-string) make more."""


class AddressBuilderGC:
    """The table of marks. Safe for threads."""

    def __init__(self, kept_unused: int = KEPT_UNUSED) -> None:
        self._kept_unused = kept_unused
        self._lock = threading.Lock()
        self._used: WeakValueDictionary[str, ITemplatePart] = WeakValueDictionary()
        self._recent: OrderedDict[str, ITemplatePart] = OrderedDict()
        self._uids: WeakKeyDictionary[ITemplatePart, str] = WeakKeyDictionary()

    def __len__(self) -> int:
        """The parts that can be found."""
        return len(self._used)

    def register(self, part: ITemplatePart) -> str:
        """The mark that stands for ``part`` in a text."""
        with self._lock:
            uid = self._known(part)
            if uid is None:
                uid = uuid4().hex
                self._used[uid] = part
                self._touch(uid, part)
        return f"<<id{uid}>>"

    def find(self, uid: str) -> ITemplatePart:
        """:raises ValueError: for a mark of another process, or one long unused"""
        with self._lock:
            part = self._used.get(uid)
            if part is None:
                raise ValueError(f"Cannot find uid id{uid} in the cache")
            self._touch(uid, part)
            return part

    def _known(self, part: ITemplatePart) -> str | None:
        try:
            uid = self._uids.get(part)
        except TypeError:  # a formatter that has no hash: a mark of its own each time
            return None
        equal = self._used.get(uid) if uid is not None else None
        if uid is None or equal is None:
            return None
        self._touch(uid, equal)
        return uid

    def _touch(self, uid: str, part: ITemplatePart) -> None:
        self._recent[uid] = part
        self._recent.move_to_end(uid)
        try:
            self._uids.setdefault(part, uid)
        except TypeError:
            pass
        while len(self._recent) > self._kept_unused:
            self._recent.popitem(last=False)


MARKS: Final = AddressBuilderGC()
"""One for the process: an f-string has no other way to whoever reads it later."""


@dataclass(frozen=True)
class _Format:
    """What follows the colon in ``{o.ref.price:.2f}``."""

    spec: str

    def __call__(self, value: Any) -> str:
        return format(value, self.spec)


class AddressBuilder:
    """Any attribute or item leads one step further; names that start with two underscores do not.

    ``ref.a / function`` shows what ``function`` makes of the value; ``~ref.prompt`` calls the prompter that stands
    there with the whole object.
    """

    __slots__ = ("__address", "__formatters", "__is_prompter")

    def __init__(
        self,
        address: Address | None = None,
        formatters: tuple[Callable[[Any], Any], ...] = (),
        is_prompter: bool = False,
    ) -> None:
        self.__address = address or Address()
        self.__formatters = formatters
        self.__is_prompter = is_prompter

    def __getattr__(self, name: str) -> "AddressBuilder":
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__further(name)

    def __getitem__(self, key: str | int | IAddressElement) -> "AddressBuilder":
        return self.__further(key)

    def __iter__(self) -> NoReturn:
        raise TypeError("an address cannot be walked through: what stands there is known when the prompt is made")

    def __truediv__(self, formatter: Callable[[Any], Any]) -> "AddressBuilder":
        return AddressBuilder(self.__address, (*self.__formatters, formatter), self.__is_prompter)

    def __invert__(self) -> "AddressBuilder":
        return AddressBuilder(self.__address, self.__formatters, True)

    def __format__(self, spec: str) -> str:
        return str(self / _Format(spec)) if spec else str(self)

    def __str__(self) -> str:
        return MARKS.register(part_of(self))

    def __repr__(self) -> str:
        return f"AddressBuilder({part_of(self).to_readable_string()})"

    def __further(self, step: str | int | IAddressElement) -> "AddressBuilder":
        if self.__formatters or self.__is_prompter:
            raise TypeError(f"{self!r}: what a formatter or a prompter gives has no address")
        return AddressBuilder(self.__address.append(step))

    def _AddressBuilder_part(self) -> ITemplatePart:
        kind = SubpromptPropagationTemplatePart if self.__is_prompter else AddressTemplatePart
        return kind(self.__address, self.__formatters)


def part_of(builder: AddressBuilder) -> ITemplatePart:
    """What the builder has built. No method of its own: those names are addresses."""
    return builder._AddressBuilder_part()


def parts_of_text(text: str) -> Iterator[ITemplatePart]:
    """Split a text at its marks. :raises ValueError: ``Cannot find uid <id> in the cache``."""
    for index, piece in enumerate(MARK.split(text)):
        if index % 2:
            yield MARKS.find(piece)
        elif piece:
            yield ConstantTemplatePart(piece)
