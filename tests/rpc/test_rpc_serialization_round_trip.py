"""What is written is read back the same, for every kind: through values, bytes and text, and as the schema says."""

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from greenroom.rpc.serialization import JSON, AtPath, SerializationContext, Serializer

T = TypeVar("T")
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Color(Enum):
    RED = "r"
    GREEN = 2


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Right(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Leaf:
    name: str
    number: float
    color: Color = Color.RED


@dataclass
class Fruit(Leaf):
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Node:
    value: int | None
    left: "Node | None" = None
    others: "tuple[Node, ...]" = ()


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


text = st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes() | st.builds(datetime.replace, st.datetimes(), tzinfo=offsets)
paths = st.lists(st.text(string.ascii_letters + "._- ", min_size=1), min_size=1, max_size=3).map(lambda p: Path(*p))
leaves = st.builds(Leaf, text, numbers, st.sampled_from(Color))
fruits = st.builds(Fruit, text, numbers, st.sampled_from(Color), st.lists(st.integers(), max_size=3).map(tuple))
nodes: SearchStrategy[Node] = st.recursive(
    st.builds(Node, st.none() | st.integers()),
    lambda inner: st.builds(Node, st.none() | st.integers(), inner, st.lists(inner, max_size=2).map(tuple)),
    max_leaves=8,
)
json_values: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
any_values: SearchStrategy[Any] = st.recursive(
    json_values | st.binary(max_size=20) | leaves | fruits,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
KNOWN = SerializationContext(known=(Leaf,))


CASES: dict[str, tuple[Any, SearchStrategy[Any]]] = {
    "int": (int, st.integers()),
    "float": (float, numbers),
    "str": (str, text),
    "bool": (bool, st.booleans()),
    "none": (None, st.none()),
    "enum": (Color, st.sampled_from(Color)),
    "int_enum": (Level, st.sampled_from(Level)),
    "flag": (Right, st.sampled_from([Right(0), Right(1), Right(2), Right(3)])),
    "datetime": (datetime, moments),
    "path": (Path, paths),
    "bytes": (bytes, st.binary()),
    "date": (date, st.dates()),
    "time": (time, st.times()),
    "timedelta": (timedelta, st.timedeltas(timedelta(days=-9_999), timedelta(days=9_999))),
    "uuid": (UUID, st.uuids()),
    "decimal": (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    "list": (list[int], st.lists(st.integers())),
    "list_of_floats": (list[float], st.lists(numbers, max_size=40)),
    "list_of_str": (list[str], st.lists(text, max_size=40)),
    "sequence": (Sequence[Color], st.lists(st.sampled_from(Color))),
    "tuple": (tuple[int, ...], st.lists(st.integers()).map(tuple)),
    "fixed_tuple": (tuple[int, str, bytes], st.tuples(st.integers(), text, st.binary(max_size=5))),
    "set": (set[UUID], st.sets(st.uuids(), max_size=4)),
    "frozenset": (frozenset[int], st.frozensets(st.integers())),
    "dict": (dict[str, float], st.dictionaries(text, numbers)),
    "dict_by_int": (dict[int, bytes], st.dictionaries(st.integers(), st.binary(max_size=5))),
    "dict_by_float": (dict[float, int], st.dictionaries(numbers.filter(bool), st.integers())),
    "dict_by_enum": (dict[Color, Level], st.dictionaries(st.sampled_from(Color), st.sampled_from(Level))),
    "dict_by_datetime": (dict[datetime, int], st.dictionaries(st.datetimes(), st.integers(), max_size=4)),
    "mapping": (Mapping[bool, str], st.dictionaries(st.booleans(), text)),
    "optional": (int | None, st.none() | st.integers()),
    "union": (int | float | str | bool | None, st.none() | st.integers() | numbers | text | st.booleans()),
    "union_of_containers": (list[int] | dict[str, int], st.lists(st.integers()) | st.dictionaries(text, st.integers())),
    "union_of_records": (Leaf | Node | bytes, fruits | leaves | nodes | st.binary(max_size=9)),
    "literal": (Literal["a", 1, True, None], st.sampled_from(["a", 1, True, None])),
    "record": (Leaf, leaves),
    "subclass": (Leaf, leaves | fruits),
    "recursive": (Node, nodes),
    "generic": (Box[Leaf | None], st.builds(Box, st.none() | leaves, st.lists(st.none() | fruits, max_size=3))),
    "generic_in_generic": (Box[Box[int]], st.builds(Box, st.builds(Box, st.integers()))),
    "json": (JSON, json_values),
    "any": (Any, any_values),
    "list_of_any": (list[dict[str, Any]], st.lists(st.dictionaries(text, any_values, max_size=3), max_size=3)),
}


@pytest.mark.parametrize("case", CASES)
@quick
@given(data=st.data())
def test_a_value_comes_back(case: str, data: st.DataObject) -> None:
    declared, strategy = CASES[case]
    value = data.draw(strategy)
    serializer = Serializer.parse(declared)
    written = serializer.to_json(value)
    read = serializer.from_json(written, KNOWN)
    assert read == value
    assert type(read) is type(value)
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert serializer.from_json_bytes(serializer.to_json_bytes(value), KNOWN) == value
    jsonschema.validate(written, serializer.to_json_schema().to_dict())


@pytest.mark.parametrize(
    "case", ["int", "float", "str", "bool", "enum", "int_enum", "flag", "datetime", "path", "date", "uuid", "decimal"]
)
@quick
@given(data=st.data())
def test_a_primitive_comes_back_from_text(case: str, data: st.DataObject) -> None:
    declared, strategy = CASES[case]
    value = data.draw(strategy)
    serializer = Serializer.parse(declared)
    assert serializer.from_string(serializer.to_string(value)) == value


@pytest.mark.parametrize("case", CASES)
@quick
@given(value=json_values)
def test_whatever_json_comes_in_is_read_or_refused(case: str, value: Any) -> None:
    serializer = Serializer.parse(CASES[case][0])
    try:
        read = serializer.from_json(value)
    except AtPath:
        return
    assert serializer.from_json(serializer.to_json(read)) == read
