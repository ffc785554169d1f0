"""Typed values to JSON and back: strict, by declared types, and never by pickle.

reader = Serializer.parse(list[Point])
reader.to_json([Point(1, 2)])         -> [{"x": 1, "y": 2}]
reader.from_json([{"x": 1, "y": 2}])  -> [Point(1, 2)]
"""

from greenroom.rpc.serialization.anything import JSON, AnyHandler, JSONHandler
from greenroom.rpc.serialization.containers import DictHandler, ListHandler, TupleHandler
from greenroom.rpc.serialization.context import MAX_DEPTH, SerializationContext
from greenroom.rpc.serialization.failures import AtPath, WrongType, WrongValue
from greenroom.rpc.serialization.handler import Handler, RecordHandler
from greenroom.rpc.serialization.mapped import SqlAlchemyHandler
from greenroom.rpc.serialization.primitives import (
    BoolHandler,
    DatetimeHandler,
    EnumHandler,
    FloatHandler,
    IntHandler,
    LiteralHandler,
    NoneHandler,
    PathHandler,
    PrimitiveHandler,
    StrHandler,
    TypeHandler,
)
from greenroom.rpc.serialization.records import DataclassHandler
from greenroom.rpc.serialization.schema import JsonSchema
from greenroom.rpc.serialization.serializer import Serializer
from greenroom.rpc.serialization.standard import BytesHandler, StandardHandler
from greenroom.rpc.serialization.type_tools import TypeTools
from greenroom.rpc.serialization.unions import UnionHandler
from greenroom.rpc.serialization.wire import dump_json, load_json

StringHandler = StrHandler
DateTimeHandler = DatetimeHandler
UnannotatedHandler = AnyHandler
"""as users of foundation_kaia know them"""

__all__ = [
    "JSON",
    "MAX_DEPTH",
    "AnyHandler",
    "AtPath",
    "BoolHandler",
    "BytesHandler",
    "DataclassHandler",
    "DateTimeHandler",
    "DatetimeHandler",
    "DictHandler",
    "EnumHandler",
    "FloatHandler",
    "Handler",
    "IntHandler",
    "JSONHandler",
    "JsonSchema",
    "ListHandler",
    "LiteralHandler",
    "NoneHandler",
    "PathHandler",
    "PrimitiveHandler",
    "RecordHandler",
    "SerializationContext",
    "Serializer",
    "SqlAlchemyHandler",
    "StandardHandler",
    "StrHandler",
    "StringHandler",
    "TupleHandler",
    "TypeHandler",
    "TypeTools",
    "UnannotatedHandler",
    "UnionHandler",
    "WrongType",
    "WrongValue",
    "dump_json",
    "load_json",
]
