"""Every kind of value by itself: its JSON, its text, what is refused and how that is said."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NewType, TypeVar
from uuid import UUID

import pytest

from greenroom.rpc.serialization import JSON, SerializationContext, Serializer, TypeTools


class Color(Enum):
    RED = "r"
    GREEN = "g"
    CRIMSON = "r"  # noqa: PIE796 - another name of the same


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mode(StrEnum):
    FAST = "quick"


class Right(Flag):
    READ = auto()
    WRITE = auto()


@dataclass
class Event:
    items: list[int]


@dataclass
class Note:
    text: str = ""


UserId = NewType("UserId", int)
T = TypeVar("T")

KINDS: list[tuple[Any, Any, Any]] = [
    (int, 7, 7),
    (int, 10**40, 10**40),
    (float, 0.5, 0.5),
    (str, "наголос ü 🎤", "наголос ü 🎤"),
    (bool, True, True),
    (None, None, None),
    (Color, Color.GREEN, "GREEN"),
    (Color, Color.CRIMSON, "RED"),
    (Level, Level.HIGH, "HIGH"),
    (Mode, Mode.FAST, "FAST"),
    (Right, Right.READ | Right.WRITE, "READ|WRITE"),
    (Right, Right(0), ""),
    (datetime, datetime(2025, 1, 15, 12), "2025-01-15T12:00:00"),
    (datetime, datetime(2025, 1, 15, 12, tzinfo=UTC), "2025-01-15T12:00:00+00:00"),
    (Path, Path("logs") / "a.txt", str(Path("logs") / "a.txt")),
    (bytes, b"\x00\x01\x02\x03", {"@type": "bytes", "value": "AAECAw=="}),
    (bytes, b"", {"@type": "bytes", "value": ""}),
    (date, date(2025, 1, 15), "2025-01-15"),
    (time, time(12, 30), "12:30:00"),
    (timedelta, timedelta(minutes=1, seconds=30), "PT1M30S"),
    (UUID, UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (Decimal, Decimal("1.10"), "1.10"),
    (list[int], [1, 2], [1, 2]),
    (list[int], list(range(100)), list(range(100))),
    (tuple[int, ...], (1, 2), [1, 2]),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (tuple[()], (), []),
    (set[int], {5}, [5]),
    (frozenset[Color], frozenset({Color.RED}), ["RED"]),
    (list, [1, "a", None], [1, "a", None]),
    (tuple, (1, "a"), [1, "a"]),
    (dict, {"a": [1]}, {"a": [1]}),
    (Sequence[int], [1], [1]),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (dict[str, bytes], {"a": b"a"}, {"a": {"@type": "bytes", "value": "YQ=="}}),
    (dict[int, str], {1: "a"}, {"1": "a"}),
    (dict[float, str], {1.0: "a"}, {"1.0": "a"}),
    (dict[bool, str], {True: "a"}, {"True": "a"}),
    (dict[Color, int], {Color.RED: 1}, {"RED": 1}),
    (dict[datetime, int], {datetime(2025, 1, 1): 1}, {"2025-01-01T00:00:00": 1}),
    (dict[Path, int], {Path("a"): 1}, {"a": 1}),
    (dict[date, int], {date(2025, 1, 1): 1}, {"2025-01-01": 1}),
    (dict[int | str, int], {1: 1, "a": 2}, {"1": 1, "a": 2}),
    (int | None, None, None),
    (int | str, "a", "a"),
    (str | datetime, "2025-01-15T12:00:00", "2025-01-15T12:00:00"),
    (Color | int, Color.RED, "RED"),
    (list[int] | dict[str, int], {"a": 1}, {"a": 1}),
    (list[int] | list[str], ["a"], ["a"]),
    (bytes | Note, b"a", {"@type": "bytes", "value": "YQ=="}),
    (Literal["a", 1, None], 1, 1),
    (Literal[Color.RED], Color.RED, "RED"),
    (UserId, 5, 5),
    (Annotated[int, "metres"], 5, 5),
    (Any, {"a": [1, 2.5, None, True, "b"]}, {"a": [1, 2.5, None, True, "b"]}),
    (Any, b"a", {"@type": "bytes", "value": "YQ=="}),
    (JSON, {"a": [1, 2.5, None, True, "b"]}, {"a": [1, 2.5, None, True, "b"]}),
    (JSON, {"@type": "bytes", "value": "YQ=="}, {"@type": "bytes", "value": "YQ=="}),
    (type, int, "builtins.int"),
    (type[Enum], Color, f"{__name__}.Color"),
]


@pytest.mark.parametrize(("declared", "value", "json"), KINDS, ids=str)
def test_a_kind_and_its_json(declared: Any, value: Any, json: Any) -> None:
    serializer = Serializer.parse(declared)
    assert serializer.to_json(value) == json
    read = serializer.from_json(json)
    assert read == value
    assert type(read) is type(value)
    assert serializer.from_json_bytes(serializer.to_json_bytes(value)) == value


REFUSED: list[tuple[Any, Any, str]] = [
    (int, "1", "Expected int at , got <class 'str'>"),
    (int, True, "Expected int at , got <class 'bool'>"),
    (int, 1.0, "Expected int at , got <class 'float'>"),
    (float, "1", "Expected float at , got <class 'str'>"),
    (float, True, "Expected float at , got <class 'bool'>"),
    (float, float("nan"), "Expected a finite float at , got nan"),
    (float, float("-inf"), "Expected a finite float at , got -inf"),
    (float, 10**400, "Expected a finite float at , got a very large number"),
    (bool, 1, "Expected bool at , got <class 'int'>"),
    (str, 1, "Expected str at , got <class 'int'>"),
    (None, 0, "Expected None at , got <class 'int'>"),
    (list[int], (1,), "Expected list[int] at , got <class 'tuple'>"),
    (list[int], "ab", "Expected list[int] at , got <class 'str'>"),
    (list[int], [0, "1"], "Expected int at 1, got <class 'str'>"),
    (list[float], [0.0, 1.0, "1"], "Expected float at 2, got <class 'str'>"),
    (list[list[int]], [[0], [1, "2"]], "Expected int at 1.1, got <class 'str'>"),
    (dict[str, int], {"a": 1, "b": "c"}, "Expected int at b, got <class 'str'>"),
    (dict[str, float], {"a": 1, "b": "c"}, "Expected float at b, got <class 'str'>"),
    (dict[str, int], [], "Expected dict[str, int] at , got <class 'list'>"),
    (int | None, "a", "Expected int at , got <class 'str'>"),
    (int | bool, "a", "Expected int | bool at , got <class 'str'>"),
    (Any, {"a": [float("inf")]}, "Expected a finite float at a.0, got inf"),
    (Literal["a", 2], "b", "Expected 'a' or 2 at , got 'b'"),
    (Literal[1], True, "Expected 1 at , got True"),
    (Literal[1], [], "Expected 1 at , got <class 'list'>"),
]


@pytest.mark.parametrize(("declared", "value", "message"), REFUSED, ids=str)
def test_nothing_is_coerced_either_way(declared: Any, value: Any, message: str) -> None:
    serializer = Serializer.parse(declared)
    with pytest.raises((TypeError, ValueError)) as written:
        serializer.to_json(value)
    assert str(written.value) == message
    if not isinstance(value, tuple):
        with pytest.raises((TypeError, ValueError)) as read:
            serializer.from_json(value)
        assert str(read.value) == message


@pytest.mark.parametrize(
    ("declared", "json", "message"),
    [
        (Color, "r", "Expected 'RED' or 'GREEN' or 'CRIMSON' at , got 'r'"),
        (Color, 1, "Expected Color at , got <class 'int'>"),
        (Right, "READ|EXECUTE", "Expected 'READ' or 'WRITE' at , got 'READ|EXECUTE'"),
        (datetime, "yesterday", "Expected a datetime in ISO format at , got 'yesterday'"),
        (datetime, 0, "Expected datetime at , got <class 'int'>"),
        (Path, "a\0b", "Expected a path at , got 'a\\x00b'"),
        (UUID, "5", "Expected a UUID at , got '5'"),
        (Decimal, "NaN", "Expected a decimal number at , got 'NaN'"),
        (Decimal, 1.5, "Expected Decimal at , got <class 'float'>"),
        (bytes, "AAECAw==", "Expected bytes at , got <class 'str'>"),
        (bytes, {"@type": "bytes", "value": "A"}, "Expected base64 at value, got 'A'"),
        (bytes, {"@type": "bytes", "value": "AA==\n"}, "Expected base64 at value, got 'AA==\\n'"),
        (tuple[int, str], [1], "Expected 2 items at , got 1"),
        (tuple[int, str], ["a", 1], "Expected int at 0, got <class 'str'>"),
        (dict[int, str], {"a": "b"}, "invalid literal for int() with base 10: 'a' at key 'a'"),
        (dict[int, str], {"1": "a", "+1": "b"}, "Two keys become 1 at "),
        (dict[Color, int], {"r": 1}, "Expected 'RED' or 'GREEN' or 'CRIMSON' at key 'r', got 'r'"),
    ],
    ids=str,
)
def test_what_is_not_the_form_is_refused(declared: Any, json: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        Serializer.parse(declared).from_json(json)
    assert str(refused.value) == message


def test_a_float_takes_an_int_and_a_long_text_is_cut_in_the_error() -> None:
    assert type(Serializer.parse(float).from_json(1)) is float
    with pytest.raises(ValueError, match=r"got 'x{70,80}'?\.\.\.$"):
        Serializer.parse(Color).from_json("x" * 10_000)


def test_subclasses_of_plain_values_become_plain() -> None:
    written = [Serializer.parse(int).to_json(Level.HIGH), Serializer.parse(str).to_json(Mode.FAST)]
    assert written == [2, "quick"]
    assert [type(value) for value in written] == [int, str]


def test_a_union_keeps_an_int_an_int() -> None:
    serializer = Serializer.parse(float | int)
    assert [type(serializer.to_json(1)), type(serializer.from_json(1)), type(serializer.from_json(1.0))] == [
        int,
        int,
        float,
    ]


def test_the_order_of_a_union_decides_and_is_not_lost_to_equality() -> None:
    moment, text = "2025-01-15T12:00:00", str | datetime
    assert Serializer.parse(text).from_json(moment) == moment
    assert Serializer.parse(datetime | str).from_json(moment) == datetime(2025, 1, 15, 12)
    assert Serializer.parse(list[datetime | str]).from_json([moment]) == [datetime(2025, 1, 15, 12)]
    assert Serializer.parse(list[str | datetime]).from_json([moment]) == [moment]


def test_the_path_starts_where_the_caller_says() -> None:
    context = SerializationContext(("ev",))
    with pytest.raises(TypeError) as refused:
        Serializer.parse(Event).from_json({"items": ["a"]}, context)
    assert str(refused.value) == "Expected int at ev.items.0, got <class 'str'>"
    assert str(context.at("items", 0)) == "ev.items.0"


TEXTS: list[tuple[Any, Any, str]] = [
    (int, -5, "-5"),
    (float, 1, "1.0"),
    (bool, False, "False"),
    (str, "a/b ü", "a/b ü"),
    (str, "", ""),
    (Color, Color.RED, "RED"),
    (datetime, datetime(2025, 1, 15), "2025-01-15T00:00:00"),
    (Path, Path("a"), "a"),
    (type, int, "builtins.int"),
    (int | None, 5, "5"),
    (int | str, "abc", "abc"),
    (int | str | None, 5, "5"),
]


@pytest.mark.parametrize(("declared", "value", "text"), TEXTS, ids=str)
def test_primitives_as_text(declared: Any, value: Any, text: str) -> None:
    serializer = Serializer.parse(declared)
    assert serializer.is_primitive
    assert serializer.to_string(value) == text
    assert serializer.from_string(text) == value


@pytest.mark.parametrize(
    ("declared", "text", "message"),
    [
        (bool, "yes", "Expected '@True' or '@False' at , got 'yes'"),
        (int, "abc", "invalid literal for int() with base 10: 'abc'"),
        (int, " 1", "invalid literal for int() with base 10: ' 1'"),
        (int, "1_0", "invalid literal for int() with base 10: '1_0'"),
        (int | None, "", "invalid literal for int() with base 10: ''"),
        (float, "x", "could not convert string to float: 'x'"),
        (float, "nan", "Expected a finite float at , got nan"),
        (Color, "BLUE", "Expected 'RED' or 'GREEN' or 'CRIMSON' at , got 'BLUE'"),
        (int | bool, "yes", "Expected int | bool at , got 'yes'"),
        (type, "os.system", "Expected the name of one of the known types at , got 'os.system'"),
    ],
    ids=str,
)
def test_bad_text(declared: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Serializer.parse(declared).from_string(text)


def test_what_is_no_primitive_has_no_text() -> None:
    for declared in (list[int], Any, None, bytes, Event):
        serializer = Serializer.parse(declared)
        assert not serializer.is_primitive
        with pytest.raises(TypeError, match="Expected a primitive type"):
            serializer.to_string("a")
        with pytest.raises(TypeError, match="Expected a primitive type"):
            serializer.from_string("a")
    for value in (None, "a"):
        with pytest.raises(TypeError, match="Expected int"):
            Serializer.parse(int | None).to_string(value)


def test_what_goes_into_a_url_and_what_may_be_none() -> None:
    def kind(declared: Any) -> tuple[bool, bool]:
        serializer = Serializer.parse(declared)
        return serializer.is_primitive, serializer.is_nullable

    assert kind(int | Color | Path) == (True, False)
    assert kind(datetime | None) == (True, True)
    assert kind(int | list[int] | None) == (False, True)
    assert kind(UUID) == (False, False)
    assert kind(Any) == (False, True)
    assert kind(JSON) == (False, True)


@dataclass
class Outer:
    inner: dict[str, list[complex]]


@dataclass
class WithUnknownName:
    value: "NoSuchName"  # type: ignore[name-defined]  # noqa: F821


class Plain:
    pass


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (complex, "Cannot serialize builtins.complex at : JSON has no complex numbers; declare two floats"),
        (bytearray, "Cannot serialize builtins.bytearray at : declare bytes"),
        (Plain, f"Cannot serialize {__name__}.Plain at : it has no JSON form"),
        (PurePosixPath, "Cannot serialize pathlib"),
        (list[Plain], f"Cannot serialize {__name__}.Plain at *: it has no JSON form"),
        (Outer, "Cannot serialize builtins.complex at Outer.inner.*.*: JSON has no complex"),
        (dict[tuple[int, int], str], "Cannot serialize tuple[int, int] at key: a key is a primitive value"),
        (dict[int | None, str], "at key: a key is a primitive value"),
        (Sequence[Plain], "Plain at *"),
        (T, "The type variable ~T is not bound at "),
        (list[T], "The type variable ~T is not bound at  in list[~T]"),  # type: ignore[valid-type]
        ("Event", "Cannot serialize 'Event' at : the name is not resolved"),
        (WithUnknownName, "name 'NoSuchName' is not defined"),
        (Enum, "Cannot serialize enum.Enum at : it has no members to name"),
        (Literal[b"a"], "Cannot serialize the constant b'a'"),
    ],
    ids=str,
)
def test_a_type_without_a_json_form_is_refused_when_it_is_declared(declared: Any, message: str) -> None:
    with pytest.raises(TypeError) as refused:
        Serializer.parse(declared)
    assert message in str(refused.value)


def test_type_variables_are_put_in() -> None:
    assert Serializer.parse(list[T], {T: int}).from_json([1]) == [1]  # type: ignore[valid-type]
    assert Serializer.parse(T | None, {T: Color}).to_json(Color.RED) == "RED"


def test_a_type_is_compiled_once() -> None:
    assert Serializer.parse(Event).handler is Serializer.parse(Event).handler
    assert Serializer.parse(list[int]).handler is Serializer.parse(list[int]).handler


def test_malformed_bytes_are_value_errors() -> None:
    for data in (b"", b"{", b"[1,]", b"NaN", b"\xff", b"[" * 10_000):
        with pytest.raises(ValueError, match="Malformed JSON"):
            Serializer.parse(Any).from_json_bytes(data)
    with pytest.raises(ValueError, match="Cannot be written as JSON"):
        Serializer.parse(str).to_json_bytes("\ud800")


def test_type_tools() -> None:
    name = TypeTools.type_to_full_name(Event)
    assert name == f"{__name__}.Event"
    assert TypeTools.full_name_to_type("collections.OrderedDict").__name__ == "OrderedDict"
    assert TypeTools.full_name_to_type(f"{__name__}.Color", Enum) is Color
    assert TypeTools.serialize([Color.RED], list[Color]) == ["RED"]
    assert TypeTools.deserialize(TypeTools.serialize(Event([1])), known=(Event,)) == Event([1])
    for strange in ("no.such.thing", "os.path", "", ".", "os.environ.get", "Event"):
        with pytest.raises(ValueError, match="full name of a loaded class"):
            TypeTools.full_name_to_type(strange)
