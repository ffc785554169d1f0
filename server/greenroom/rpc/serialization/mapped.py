"""SQLAlchemy's mapped classes, by their column attributes. SQLAlchemy is used only where it is loaded already."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from greenroom.rpc.serialization.context import Definitions, Run
from greenroom.rpc.serialization.failures import AtPath, WrongValue, expected, shown
from greenroom.rpc.serialization.handler import Handler, RecordHandler
from greenroom.rpc.serialization.names import full_name
from greenroom.rpc.serialization.records import RecordField, Subtypes


def mapper_of(declared: type) -> Any:
    """The mapper of a mapped class, None of any other."""
    if "sqlalchemy.orm" not in sys.modules or not hasattr(declared, "__mapper__"):
        return None
    from sqlalchemy.inspection import inspect

    return inspect(declared, raiseerr=False)


@dataclass(frozen=True, slots=True)
class Column:
    """:param type: the Python type, or None where the column is nullable.
    :param is_late: the database, or the session on its way there, may give the value.
    """

    type: Any
    is_late: bool


def columns_of(mapper: Any) -> dict[str, Column]:
    """By attribute."""
    found: dict[str, Column] = {}
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        try:
            python_type = column.type.python_type
        except NotImplementedError:
            python_type = Any
        nullable = bool(getattr(column, "nullable", True)) and python_type is not Any
        given = ("default", "server_default", "computed", "identity")
        is_late = getattr(column, "primary_key", False) or any(
            getattr(column, name, None) is not None for name in given
        )
        found[attribute.key] = Column(python_type | None if nullable else python_type, bool(is_late))
    return found


class LateHandler(Handler):
    """A value that must be there, but may be None as long as the object has not been stored."""

    def __init__(self, inner: Handler) -> None:
        self.name = inner.name
        self.schema = inner.schema  # type: ignore[method-assign]
        self.reads = (*inner.reads, NoneType)
        write, read = inner.encode, inner.decode

        def encode(value: Any, run: Run) -> Any:
            return None if value is None else write(value, run)

        def decode(value: Any, run: Run) -> Any:
            return None if value is None else read(value, run)

        self.encode = encode
        self.decode = decode


class SqlAlchemyHandler(RecordHandler):
    """Unlike a dataclass's, unknown fields are refused; missing ones stay unset. ``__init__`` is not run."""

    kind = "sqlalchemy"
    reads = (dict,)

    def __init__(self, declared: type, mapper: Any, fields: tuple[RecordField, ...]) -> None:
        self.declared = declared
        self.name = declared.__name__
        self.fields = fields
        self.field_names = frozenset(field.name for field in fields)
        encoders = [(field.name, field.handler.encode) for field in fields]
        decoders = {field.name: field.handler.decode for field in fields}

        subtypes = Subtypes(self)

        def encode(value: Any, run: Run) -> Any:
            if type(value) is not declared:
                return subtypes.write_other(value, run)
            done: dict[str, Any] = {}
            name = ""
            try:
                for name, write in encoders:
                    done[name] = write(getattr(value, name), run)
            except AtPath as problem:
                problem.inside(name)
                raise
            return done

        def decode(value: Any, run: Run) -> Any:
            if type(value) is not dict:
                raise expected(declared.__qualname__, value)
            if "@type" in value:
                return subtypes.read_tagged(value, run)
            record = mapper.class_manager.new_instance()
            name = ""
            try:
                for name, part in value.items():
                    setattr(record, name, decoders[name](part, run))
            except AtPath as problem:
                problem.inside(name)
                raise
            except KeyError:
                raise WrongValue(f"{declared.__qualname__} has no column attribute {shown(name)}") from None
            return record

        self.encode = encode
        self.decode = decode

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        def describe() -> Mapping[str, Any]:
            properties = {field.name: field.handler.schema(definitions) for field in self.fields}
            return {"type": "object", "properties": properties, "additionalProperties": False}

        return definitions.refer(full_name(self.declared), describe)
