"""Lists, tuples, sets and dicts. Plain items pass in one look at their classes; others cost one call each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from greenroom.rpc.serialization.context import Decode, Definitions, Run
from greenroom.rpc.serialization.failures import AtPath, WrongValue, expected, index_of, key_at
from greenroom.rpc.serialization.handler import Handler, TextForm

FEW = 16
"""So many items are looked at one by one sooner than through a set of their classes."""


def each(handler: Handler) -> Callable[[Sequence[Any], Callable[[Any, Run], Any], Run], list[Any]]:
    """What runs one of the handler's closures over the items of a list or a tuple."""
    exact = handler.exact

    def plain(items: Sequence[Any], convert: Callable[[Any, Run], Any], run: Run) -> list[Any]:
        if len(items) < FEW:
            for item in items:
                if type(item) is not exact:
                    return converted(items, convert, run)
        elif not all_of(items, exact):
            return converted(items, convert, run)
        return list(items)

    def converted(items: Sequence[Any], convert: Callable[[Any, Run], Any], run: Run) -> list[Any]:
        rest = iter(items)
        try:
            return [convert(item, run) for item in rest]
        except AtPath as problem:
            problem.inside(index_of(items, rest))  # type: ignore[arg-type]
            raise

    return converted if exact is None else plain


def all_of(items: Sequence[Any], exact: type | None) -> bool:
    return set(map(type, items)) <= {exact}


class ListHandler(Handler):
    """:param given: the class that may be written
    :param build: makes the declared container of the list read
    """

    reads = (list,)

    def __init__(self, name: str, item: Handler, given: type, build: Callable[[list[Any]], Any]) -> None:
        self.name = name
        self.item = item
        self.is_set = issubclass(given, set | frozenset)
        over, write, read = each(item), item.encode, item.decode
        as_sequence: Callable[[Any], list[Any]] | None = list if self.is_set or given is Sequence else None

        def encode(value: Any, run: Run) -> list[Any]:
            if type(value) is not given and (
                not isinstance(value, given) or isinstance(value, str | bytes | bytearray | memoryview)
            ):
                raise expected(name, value)
            items: Any = as_sequence(value) if as_sequence else value
            return over(items, write, run)

        def decode(value: Any, run: Run) -> Any:
            if type(value) is not list:
                raise expected(name, value)
            return build(over(value, read, run))

        def decode_list(value: Any, run: Run) -> list[Any]:
            if type(value) is not list:
                raise expected(name, value)
            return over(value, read, run)

        self.encode = encode
        self.decode = decode_list if build is list else decode

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": self.item.schema(definitions)}
        return {**schema, "uniqueItems": True} if self.is_set else schema


class TupleHandler(Handler):
    """A tuple of fixed length; each item has its own type."""

    reads = (list,)

    def __init__(self, items: Sequence[Handler]) -> None:
        self.items = items
        self.name = f"tuple[{', '.join(item.name for item in items) or '()'}]"
        name, length = self.name, len(items)
        encoders = [item.encode for item in items]
        decoders = [item.decode for item in items]

        def convert(value: Any, closures: list[Decode], run: Run) -> list[Any]:
            if len(value) != length:
                raise WrongValue(f"Expected {length} items", f", got {len(value)}")
            done: list[Any] = []
            try:
                for closure, item in zip(closures, value, strict=True):
                    done.append(closure(item, run))
            except AtPath as problem:
                problem.inside(len(done))
                raise
            return done

        def encode(value: Any, run: Run) -> list[Any]:
            if not isinstance(value, tuple):
                raise expected(name, value)
            return convert(value, encoders, run)

        def decode(value: Any, run: Run) -> tuple[Any, ...]:
            if type(value) is not list:
                raise expected(name, value)
            return tuple(convert(value, decoders, run))

        self.encode = encode
        self.decode = decode

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        length = len(self.items)
        items = [item.schema(definitions) for item in self.items]
        return {"type": "array", **({"prefixItems": items} if items else {}), "minItems": length, "maxItems": length}


class DictHandler(Handler):
    """:param text: the form of the keys; none where they are plain strings
    :param given: the class that may be written
    """

    reads = (dict,)

    def __init__(self, name: str, text: TextForm | None, item: Handler, given: type) -> None:
        self.name = name
        self.item = item
        write, read, exact = item.encode, item.decode, item.exact

        def convert(value: Mapping[Any, Any], closure: Callable[[Any, Run], Any], run: Run) -> dict[str, Any]:
            rest = iter(value.items())
            try:
                if exact is None:
                    return {key: closure(part, run) for key, part in rest}
                return {key: part if type(part) is exact else closure(part, run) for key, part in rest}
            except AtPath as problem:
                problem.inside(key_at(value, index_of(value, rest)))  # type: ignore[arg-type]
                raise

        def encode(value: Any, run: Run) -> dict[str, Any]:
            if not isinstance(value, Mapping) or not isinstance(value, given):
                raise expected(name, value)
            keyed: dict[Any, Any] = value if type(value) is dict else dict(value)
            if text is not None:
                keyed = renamed(keyed, text.write)
            elif not all_of(keyed, str):  # type: ignore[arg-type]
                keyed = renamed(keyed, _text_key)
            return convert(keyed, write, run)

        def decode(value: Any, run: Run) -> dict[Any, Any]:
            if type(value) is not dict:
                raise expected(name, value)
            done = convert(value, read, run)
            return done if text is None else renamed(done, text.read)

        self.encode = encode
        self.decode = decode

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.item.schema(definitions)}


def _text_key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    raise expected("str", key)


def renamed(value: Mapping[Any, Any], rename: Callable[[Any], Any]) -> dict[Any, Any]:
    """:raises WrongValue: when two keys become one: ``True`` and ``"True"``, or ``1`` and ``01``"""
    done: dict[Any, Any] = {}
    for key, part in value.items():
        try:
            name = rename(key)
        except (TypeError, ValueError) as problem:
            raise _about_key(problem, key) from None
        if name in done:
            raise WrongValue(f"Two keys become {name!r}")
        done[name] = part
    return done


def _about_key(problem: TypeError | ValueError, key: object) -> AtPath:
    located = problem if isinstance(problem, AtPath) else WrongValue(f"{problem}")
    located.inside(f"key {str(key)[:40]!r}")
    return located
