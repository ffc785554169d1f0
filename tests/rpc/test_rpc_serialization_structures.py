"""Typed dicts and named tuples; their annotations are text here, as in most modules that declare them."""

from __future__ import annotations

from collections import namedtuple
from datetime import datetime
from typing import Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import pytest

from greenroom.rpc import EndpointComponent, EndpointModel, Server, endpoint
from greenroom.rpc.client import ApiCall
from greenroom.rpc.serialization import Serializer

T = TypeVar("T")


class Row(TypedDict):
    id: str
    at: datetime
    note: NotRequired[str]


class Wide(Row, total=False):
    rows: list[Row]


class Holding(TypedDict, Generic[T]):
    value: T


class Spot(NamedTuple):
    x: int
    name: str = "here"


Plain = namedtuple("Plain", ["a", "b"])

AT = datetime(2025, 1, 15, 12)
TEXT = "2025-01-15T12:00:00"


@pytest.mark.parametrize(
    ("declared", "value", "json"),
    [
        (Row, {"id": "a", "at": AT}, {"id": "a", "at": TEXT}),
        (Row, {"id": "a", "at": AT, "note": "n"}, {"id": "a", "at": TEXT, "note": "n"}),
        (
            Wide,
            {"id": "a", "at": AT, "rows": [{"id": "b", "at": AT}]},
            {"id": "a", "at": TEXT, "rows": [{"id": "b", "at": TEXT}]},
        ),
        (Holding[int], {"value": 1}, {"value": 1}),
        (Spot, Spot(1), [1, "here"]),
        (dict[str, tuple[Spot, ...]], {"k": (Spot(1), Spot(2, "there"))}, {"k": [[1, "here"], [2, "there"]]}),
        (Plain, Plain(1, {"k": [None]}), [1, {"k": [None]}]),
    ],
    ids=str,
)
def test_there_and_back(declared: Any, value: Any, json: Any) -> None:
    serializer = Serializer.parse(declared)
    assert serializer.to_json(value) == json
    read = serializer.from_json(json)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("declared", "json", "message"),
    [
        (Row, {"id": "a"}, "Missing 'at' of Row at "),
        (Row, {"id": "a", "at": TEXT, "more": 1}, "Row has no key 'more' at "),
        (Wide, {"id": "a", "at": TEXT, "rows": [{"id": 1, "at": TEXT}]}, "Expected str at rows.0.id, got"),
        (Row, [], "Expected Row at , got <class 'list'>"),
        (Spot, [1], "Expected 2 items at , got 1"),
        (Spot, ["a", "b"], "Expected int at 0, got"),
        (Spot, {"x": 1}, "Expected Spot at , got <class 'dict'>"),
    ],
    ids=str,
)
def test_what_does_not_fit(declared: Any, json: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        Serializer.parse(declared).from_json(json)
    assert str(refused.value).startswith(message)


def test_a_plain_tuple_is_no_named_one() -> None:
    plain: Any = (1, "here")
    with pytest.raises(TypeError, match="Expected Spot at "):
        Serializer.parse(Spot).to_json(plain)


def test_a_part_that_no_wire_carries_is_named() -> None:
    class Deep(TypedDict):
        number: complex

    with pytest.raises(TypeError, match=r"Cannot serialize builtins\.complex at Deep\.number"):
        Serializer.parse(Deep)


def test_their_schema() -> None:
    schema = Serializer.parse(Row).to_json_schema(required=True).to_dict()
    assert schema["required"] == ["id", "at"]
    assert schema["properties"]["note"] == {"type": "string"}
    assert Serializer.parse(Spot).to_json_schema().to_dict()["prefixItems"] == [
        {"type": "integer"},
        {"type": "string"},
    ]


def test_as_arguments_and_results() -> None:
    @endpoint(verify_abstract=False)
    def move(spot: Spot, row: Row) -> Row:
        return {**row, "note": spot.name}

    model = EndpointModel.parse(move)
    assert model is not None
    with Server(0, EndpointComponent(move)).running() as base_url:
        call = ApiCall(base_url, model)
        assert call(Spot(1), {"id": "a", "at": AT}) == {"id": "a", "at": AT, "note": "here"}
        call.client.close()
