"""Where a value stands in an object: ``Address("user", "names", 0)``, written ``user.names.0``."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any


class IAddressElement(ABC):
    """One step from an object to a part of it. Its ``str`` is how an address shows it."""

    @abstractmethod
    def get(self, obj: Any) -> Any:
        """:raises LookupError, AttributeError, TypeError, ValueError: if there is no such part"""

    @abstractmethod
    def set(self, obj: Any, value: Any) -> None:
        """:raises LookupError, AttributeError, TypeError, ValueError: if it cannot be set"""


class DefaultElement(IAddressElement):
    """An attribute, else an item. Of a mapping the item goes first: what was set under ``items`` is found there.

    :raises ValueError: for a name like ``__class__``: an address may come from a file, and must not leave the data
    """

    def __init__(self, key: str | int) -> None:
        if isinstance(key, str) and key.startswith("__"):
            raise ValueError(f"{key} is no part of an address")
        self.key = key

    def get(self, obj: Any) -> Any:
        if isinstance(obj, Mapping):
            for key in self._keys():
                if key in obj:
                    return obj[key]
        if isinstance(self.key, str):
            try:
                return getattr(obj, self.key)
            except AttributeError:
                if not hasattr(obj, "__getitem__"):
                    raise
        return obj[self._item_key(obj)]

    def set(self, obj: Any, value: Any) -> None:
        if isinstance(obj, MutableMapping):
            present = [key for key in self._keys() if key in obj]
            obj[present[0] if present else self.key] = value
        elif isinstance(obj, MutableSequence):
            obj[int(self.key)] = value
        elif isinstance(self.key, str):
            setattr(obj, self.key, value)
        else:
            obj[self.key] = value

    def _keys(self) -> tuple[str | int, ...]:
        """As written, and for what was parsed from text also as a number."""
        if isinstance(self.key, str) and self.key.isdecimal():
            return self.key, int(self.key)
        return (self.key,)

    def _item_key(self, obj: Any) -> str | int:
        return self._keys()[-1] if isinstance(obj, Sequence) else self.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DefaultElement) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"DefaultElement({self.key!r})"

    def __str__(self) -> str:
        return str(self.key)


class Address:
    """Immutable: :meth:`append` and :meth:`pop` give another one."""

    def __init__(self, *elements: str | int | IAddressElement) -> None:
        self.elements: tuple[IAddressElement, ...] = tuple(
            element if isinstance(element, IAddressElement) else DefaultElement(element) for element in elements
        )

    @classmethod
    def parse(cls, text: str) -> "Address":
        """``a.b`` has two elements, the empty text none. :raises ValueError: for an empty element, as in ``a..b``."""
        names = text.split(".") if text else []
        if not all(names):
            raise ValueError(f"the address {text!r} has an empty element")
        return cls(*names)

    @property
    def is_empty(self) -> bool:
        """Whether it is the object itself."""
        return not self.elements

    def append(self, *elements: str | int | IAddressElement) -> "Address":
        return Address(*self.elements, *elements)

    def pop(self) -> "Address":
        """Without its last element. :raises ValueError: if it has none."""
        if self.is_empty:
            raise ValueError("an empty address has no last element")
        return Address(*self.elements[:-1])

    def get(self, obj: Any) -> Any:
        """:raises ValueError: naming the address and the index of the element that leads nowhere"""
        return self._follow(obj, len(self.elements))

    def set(self, obj: Any, value: Any) -> None:
        """Set the part of ``obj`` that stands here; what is above it must exist. :raises ValueError: as :meth:`get`."""
        if self.is_empty:
            raise ValueError("an empty address is the object itself, which cannot be set")
        last = len(self.elements) - 1
        holder = self._follow(obj, last)
        try:
            self.elements[last].set(holder, value)
        except (LookupError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(self._problem("set", last, holder, error)) from error

    def _follow(self, obj: Any, end: int) -> Any:
        for index, element in enumerate(self.elements[:end]):
            try:
                found = element.get(obj)
            except (LookupError, AttributeError, TypeError, ValueError) as error:
                raise ValueError(self._problem("get", index, obj, error)) from error
            obj = found
        return obj

    def _problem(self, what: str, index: int, holder: Any, error: Exception) -> str:
        return (
            f"cannot {what} the address {self}: element {self.elements[index]} at index {index} "
            f"of a {type(holder).__name__}: {type(error).__name__}: {error}"
        )

    def __len__(self) -> int:
        return len(self.elements)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.elements == other.elements

    def __hash__(self) -> int:
        return hash(self.elements)

    def __str__(self) -> str:
        return ".".join(map(str, self.elements))

    def __repr__(self) -> str:
        return f"Address({', '.join(map(repr, map(str, self.elements)))})"
