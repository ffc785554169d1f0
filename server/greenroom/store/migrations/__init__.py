"""The numbered steps from an empty database to the tables of today.

A step that has been released is never edited: it imports nothing of the store, so that later changes cannot alter what
it does. A new one is a module ``m<number>_<name>`` with a function ``apply(connection)``, listed here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from sqlalchemy import Connection

from greenroom.store.migrations import m0001_conversations


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    apply: Callable[[Connection], None]


def _of(module: ModuleType) -> Migration:
    number, _, name = module.__name__.rpartition(".")[2].removeprefix("m").partition("_")
    return Migration(int(number), name, module.apply)


MIGRATIONS: Final = (_of(m0001_conversations),)
