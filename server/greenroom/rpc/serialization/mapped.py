"""SQLAlchemy's mapped classes, by their column attributes. SQLAlchemy is used only where it is loaded already."""

import sys
from collections.abc import Mapping
from typing import Any

from greenroom.rpc.serialization.context import Definitions, Run
from greenroom.rpc.serialization.failures import AtPath, WrongValue, expected, shown
from greenroom.rpc.serialization.handler import RecordHandler
from greenroom.rpc.serialization.names import full_name
from greenroom.rpc.serialization.records import RecordField, Subtypes


def mapper_of(declared: type) -> Any:
    """The mapper of a mapped class, None of any other."""
    if "sqlalchemy.orm" not in sys.modules or not hasattr(declared, "__mapper__"):
        return None
    from sqlalchemy.inspection import inspect

    return inspect(declared, raiseerr=False)


def column_types(mapper: Any) -> dict[str, Any]:
    """Attribute -> the Python type of its column or None; a key may be absent until the database gives it one."""
    types: dict[str, Any] = {}
    for attribute in mapper.column_attrs:
        try:
            python_type = attribute.columns[0].type.python_type
        except NotImplementedError:
            python_type = Any
        types[attribute.key] = python_type if python_type is Any else python_type | None
    return types


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
