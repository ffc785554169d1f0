"""Where an address begins."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from greenroom.rpc.prompters.builder import AddressBuilder

T = TypeVar("T")


@dataclass(frozen=True)
class BulletPoints:
    """One line for each item."""

    bullet_point: str = "* "

    def __call__(self, items: Iterable[Any]) -> str:
        return "\n".join(f"{self.bullet_point}{item}" for item in items)


class Referrer(Generic[T]):
    """Stands in a template for the object of type ``T`` that the prompt will be made of."""

    @property
    def ref(self) -> AddressBuilder:
        return AddressBuilder()

    def list_to_bullet_points(self, bullet_point: str = "* ") -> BulletPoints:
        """A formatter: ``{o.ref.people / o.list_to_bullet_points()}``."""
        return BulletPoints(bullet_point)
