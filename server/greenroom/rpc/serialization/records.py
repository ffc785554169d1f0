"""Dataclasses. What subclasses, unknown fields and missing fields become is told at :class:`DataclassHandler`."""

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenroom.rpc.serialization.anything import PICKLE_TAG, AnyHandler, no_form, refuse_pickle, write_tagged
from greenroom.rpc.serialization.context import Decode, Definitions, Encode, Run
from greenroom.rpc.serialization.failures import AtPath, WrongType, WrongValue, expected, unexpected
from greenroom.rpc.serialization.handler import Handler, RecordHandler
from greenroom.rpc.serialization.names import find_known, full_name

KEPT = AnyHandler(keeps_unknown=True)
"""For fields that the class does not have."""


@dataclass(frozen=True, slots=True)
class RecordField:
    name: str
    handler: Handler
    is_required: bool = False
    is_argument: bool = True
    """of ``__init__``"""
    is_positional: bool = False
    """and may be given in its place"""


class Subtypes:
    """How subclasses stand in for a record's class.

    A value of another class than the declared one is written as its own class's fields, then the tags. A tag is read
    only if it names the declared class or a subclass of it that is loaded.
    """

    def __init__(self, handler: RecordHandler) -> None:
        self.handler = handler
        self.found: dict[str, type] = {}

    def write_other(self, value: Any, run: Run) -> dict[str, Any]:
        if not isinstance(value, self.handler.declared):
            raise expected(self.handler.name, value)
        return write_tagged(value, run)

    def read_tagged(self, value: dict[str, Any], run: Run) -> Any:
        tag = value["@type"]
        if tag == PICKLE_TAG:
            raise refuse_pickle()
        fields = {name: part for name, part in value.items() if name not in ("@type", "@subtype")}
        actual = self.subtype(value["@subtype"]) if "@subtype" in value else self.handler.declared
        record = self.handler if actual is self.handler.declared else run.record_of(actual)
        if tag != record.kind:
            raise _tag_problem(unexpected(repr(record.kind), tag), "@type")
        run.enter()
        done = record.decode(fields, run)
        run.depth -= 1
        return done

    def subtype(self, name: Any) -> type:
        if type(name) is not str:
            raise _tag_problem(unexpected("a class's full name", name), "@subtype")
        if name not in self.found:
            try:
                self.found[name] = find_known(name, self.handler.declared, ())
            except AtPath as problem:
                raise _tag_problem(problem, "@subtype") from None
        return self.found[name]


def _tag_problem(problem: AtPath, tag: str) -> AtPath:
    problem.inside(tag)
    return problem


class DataclassHandler(RecordHandler):
    """An object of all fields, in their order; then what else the instance was given.

    Reading: a missing field takes the class's default; ``init=False`` fields are set after ``__init__``; unknown ones
    become plain attributes unless they would hide something of the class, are private, or the class has slots.
    """

    kind = "dataclass"
    reads = (dict,)

    def __init__(self, declared: type, name: str) -> None:
        self.declared = declared
        self.name = name
        self.fields: tuple[RecordField, ...] = ()

    def complete(self, fields: tuple[RecordField, ...]) -> None:
        """The second half of making it; a record may contain itself."""
        self.fields = fields
        self.field_names = frozenset(field.name for field in fields)
        subtypes = Subtypes(self)
        self.encode = _writer(self.declared, fields, subtypes.write_other)
        self.decode = _reader(self.declared, fields, subtypes.read_tagged)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        def describe() -> Mapping[str, Any]:
            required = [field.name for field in self.fields if field.is_required]
            return {
                "type": "object",
                "properties": {field.name: field.handler.schema(definitions) for field in self.fields},
                **({"required": required} if required and definitions.required else {}),
            }

        return definitions.refer(definition_name(self), describe)


def definition_name(handler: RecordHandler) -> str:
    """The full name, and the arguments of a generic."""
    return full_name(handler.declared) + handler.name.removeprefix(handler.declared.__name__)


def _writer(declared: type, fields: tuple[RecordField, ...], other: Encode) -> Encode:
    """:param other: writes what is not exactly a ``declared``"""
    plan = tuple((field.name, field.handler.exact, field.handler.encode) for field in fields)
    names = frozenset(field.name for field in fields)
    count = len(plan)

    def strays(value: Any) -> list[str]:
        data = getattr(value, "__dict__", {})
        return [name for name in data if name not in names and _is_data(declared, name)]

    def from_dict(value: Any, run: Run) -> Any:
        if type(value) is not declared:
            return other(value, run)
        data = value.__dict__
        done: dict[str, Any] = {}
        elsewhere = 0
        name = ""
        try:
            for name, exact, encode in plan:
                try:
                    part = data[name]
                except KeyError:  # a class's own default, a slot
                    part = getattr(value, name)
                    elsewhere += 1
                done[name] = part if type(part) is exact else encode(part, run)
            if len(data) + elsewhere != count:
                for name in strays(value):
                    done[name] = KEPT.encode(data[name], run)
        except AtPath as problem:
            problem.inside(name)
            raise
        except AttributeError as problem:
            raise _unset(declared, name) from problem
        return done

    def from_attributes(value: Any, run: Run) -> Any:
        if type(value) is not declared:
            return other(value, run)
        done: dict[str, Any] = {}
        name = ""
        try:
            for name, exact, encode in plan:
                part = getattr(value, name)
                done[name] = part if type(part) is exact else encode(part, run)
            for name in strays(value):
                done[name] = KEPT.encode(getattr(value, name), run)
        except AtPath as problem:
            problem.inside(name)
            raise
        except AttributeError as problem:
            raise _unset(declared, name) from problem
        return done

    return from_dict if _has_dict(declared) else from_attributes


def _unset(declared: type, name: str) -> WrongValue:
    return WrongValue(f"The field {name!r} of {declared.__qualname__} has no value")


def _reader(declared: type, fields: tuple[RecordField, ...], tagged: Decode) -> Decode:
    """:param tagged: reads what has a tag"""
    name_of_type = declared.__qualname__
    arguments = tuple((field.name, field.handler.exact, field.handler.decode) for field in fields if field.is_argument)
    reads = {name: read for name, _, read in arguments}
    later = {field.name: field.handler.decode for field in fields if not field.is_argument}
    required = frozenset(field.name for field in fields if field.is_required)
    count, has_dict = len(arguments), _has_dict(declared)
    in_order = not later and all(field.is_positional for field in fields)

    def decode(value: Any, run: Run) -> Any:
        if type(value) is not dict:
            raise expected(name_of_type, value)
        if not in_order or len(value) != count or "@type" in value:
            return decode_named(value, run, {})
        parts: list[Any] = []
        name = ""
        try:
            for name, exact, read in arguments:
                part = value[name]
                parts.append(part if type(part) is exact else read(part, run))
        except AtPath as problem:
            problem.inside(name)
            raise
        except KeyError:
            # What is read already is not read again: nested records would double the work at every level.
            return decode_named(value, run, {field[0]: part for field, part in zip(arguments, parts, strict=False)})
        try:
            return declared(*parts)
        except (TypeError, ValueError) as problem:
            raise refused(problem) from problem

    def decode_named(value: dict[str, Any], run: Run, given: dict[str, Any]) -> Any:
        if "@type" in value:
            return tagged(value, run)
        rest: dict[str, Any] = {}
        name = ""
        try:
            for name, part in value.items():
                if name in given:
                    continue
                if name in reads:
                    given[name] = reads[name](part, run)
                else:
                    rest[name] = later.get(name, KEPT.decode)(part, run)
        except AtPath as problem:
            problem.inside(name)
            raise
        if not required <= given.keys():
            missing = ", ".join(repr(field.name) for field in fields if field.name in required - given.keys())
            raise WrongType(f"Missing {missing} of {name_of_type}")
        try:
            record = declared(**given)
        except (TypeError, ValueError) as problem:
            raise refused(problem) from problem
        complete(record, rest)
        return record

    def refused(problem: TypeError | ValueError) -> AtPath:
        kind = WrongType if isinstance(problem, TypeError) else WrongValue
        return kind(f"{name_of_type} refuses its fields", f": {problem}")

    def complete(record: Any, rest: dict[str, Any]) -> None:
        for name, part in rest.items():
            if name in later:
                object.__setattr__(record, name, part)
            elif name.startswith("@"):
                raise WrongValue(f"The tag {name!r} stands alone")
            elif has_dict and _is_data(declared, name):
                record.__dict__[name] = part

    return decode


def _has_dict(declared: type) -> bool:
    return bool(declared.__dictoffset__)


def _is_data(declared: type, name: str) -> bool:
    """Whether an attribute that is no field may travel: public, and hiding nothing of the class."""
    return name.isidentifier() and not name.startswith("_") and not hasattr(declared, name)


@dataclass(frozen=True, slots=True)
class Argument:
    is_required: bool
    is_positional: bool


def arguments_of(declared: type) -> dict[str, Argument]:
    """Which fields its ``__init__`` takes, and how. In order: the first fields, the first arguments.

    :raises WrongType: if it wants something that is no field, so that an object cannot be made again of its fields
    """
    names = [field.name for field in dataclasses.fields(declared)]
    arguments: dict[str, Argument] = {}
    for position, found in enumerate(inspect.signature(declared).parameters.values()):
        if found.kind is found.VAR_POSITIONAL or found.kind is found.VAR_KEYWORD:
            continue
        is_required = found.default is found.empty
        if found.name in names and found.kind is not found.POSITIONAL_ONLY:
            in_place = names[position : position + 1] == [found.name]
            arguments[found.name] = Argument(is_required, in_place and found.kind is not found.KEYWORD_ONLY)
        elif is_required:
            raise no_form(declared, f"its __init__ wants {found.name!r}, which is not a field that is kept")
    return arguments
