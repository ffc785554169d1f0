"""Full names of classes, and the only ways back from a name that came over a wire to a class.

A name from outside is compared with the names of classes that are known already: the subclasses, loaded so far, of
the class that was declared; where that is ``object``, the classes that some declaration of this process mentions or
that it has written itself, and those that the caller listed. Nothing is imported for it, no attribute followed.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from types import NoneType
from weakref import WeakValueDictionary

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


@cache
def _registry() -> WeakValueDictionary[str, type]:
    """One for the process, as the compiled handlers are: by it a value declared ``Any`` can be read again."""
    return WeakValueDictionary()


def register(found: type) -> None:
    """From now on a value of no declared type may name this class: called for each class that gets a handler."""
    _registry()[full_name(found)] = found


def registered(name: str) -> type | None:
    return _registry().get(name)


def known_names(known: Iterable[type]) -> dict[str, type]:
    """What a value declared ``Any``, ``object`` or ``type`` may name: ``known``, plain classes, registered ones, and
    the subclasses of the first and the last. Of two with one name the first counts."""
    mentioned = [found for reference in _registry().valuerefs() if (found := reference()) is not None]
    names: dict[str, type] = {}
    for root in (*known, *PLAIN_CLASSES, *mentioned):
        for found in (root,) if root in PLAIN_CLASSES else subclasses(root):
            names.setdefault(full_name(found), found)
    return names


def find_known(name: str, base: type, known: Iterable[type]) -> type:
    """The class called ``name`` among the loaded subclasses of ``base``, or, where ``base`` is ``object``, among
    :func:`known_names`.

    :raises WrongValue: if there is none.
    """
    if base is object:
        return look_up(name, known_names(known))
    for found in subclasses(base):
        if full_name(found) == name:
            return found
    raise WrongValue(f"Expected the name of one of the known subclasses of {full_name(base)}", f", got {shown(name)}")


def listed(name: object, known: Iterable[type]) -> type | None:
    """The one of ``known`` and their subclasses that is called so."""
    return next((found for root in known for found in subclasses(root) if full_name(found) == name), None)


def look_up(name: str, names: dict[str, type]) -> type:
    """:raises WrongValue: if it is none of these."""
    if name not in names:
        raise WrongValue("Expected the name of one of the known types", f", got {shown(name)}")
    return names[name]
