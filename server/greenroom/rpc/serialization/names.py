"""Full names of classes, and the only ways back from a name that came over a wire to a class.

A name from outside is compared with the names of classes that are known already: the subclasses, loaded so far, of
the class that was declared, and the classes that the caller listed. Nothing is imported for it, no attribute followed.
"""

from collections.abc import Iterable, Iterator
from types import NoneType

from greenroom.rpc.serialization.failures import WrongValue, shown

PLAIN_CLASSES: tuple[type, ...] = (int, float, str, bool, bytes, list, tuple, dict, set, frozenset, NoneType, object)
"""May be named anywhere: they do nothing when called but hold what they are given."""


def full_name(declared: type) -> str:
    return f"{declared.__module__}.{declared.__qualname__}"


def subclasses(base: type) -> Iterator[type]:
    """``base``, then its subclasses loaded so far, each once; of two with one name the newest comes first."""
    seen = {base}
    waiting = [base]
    while waiting:
        current = waiting.pop()
        yield current
        children: list[type] = type.__subclasses__(current)
        for child in children:
            if child not in seen:
                seen.add(child)
                waiting.append(child)


def find_known(name: str, base: type, known: Iterable[type]) -> type:
    """The class called ``name`` among the loaded subclasses of ``base``, or, where ``base`` is ``object``, among plain
    classes, ``known`` and their subclasses.

    :raises WrongValue: if there is none.
    """
    roots = (*known, *PLAIN_CLASSES) if base is object else (base,)
    for root in roots:
        for found in (root,) if root in PLAIN_CLASSES else subclasses(root):
            if full_name(found) == name:
                return found
    among = "the known types" if base is object else f"the known subclasses of {full_name(base)}"
    raise WrongValue(f"Expected the name of one of {among}", f", got {shown(name)}")
