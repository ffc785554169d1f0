"""What a stranger may send: no pickle, no import, no unknown class, no depth and no work without end."""

import base64
import pickle
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from greenroom.rpc.serialization import JSON, SerializationContext, Serializer

ANYTHING: Any = Any


class Trap:
    """Unpickling it would be seen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was read",)


PICKLE = {"@type": "@base64", "@content": base64.b64encode(pickle.dumps(Trap())).decode()}


@dataclass
class Shape:
    color: str


@dataclass
class Circle(Shape):
    radius: float


@dataclass
class Other:
    color: str


@dataclass
class Unmentioned:
    """Declared nowhere and never written: nobody may have it made."""

    color: str


@dataclass
class Left:
    kids: "list[Left | Right]" = field(default_factory=list)
    end: int = 0


@dataclass
class Right:
    kids: "list[Left | Right]" = field(default_factory=list)
    end: str = ""


@dataclass
class Chain:
    next: "Chain | None" = None
    rest: "list[Chain]" = field(default_factory=list)


@dataclass
class Open:
    inner: Any = None


@dataclass
class Base:
    pass


@dataclass
class Nested(Base):
    inner: Base | None = None


@pytest.mark.parametrize(
    ("declared", "json"),
    [
        (Any, PICKLE),
        (object, PICKLE),
        (list[dict[str, Any]], [{"a": [PICKLE]}]),
        (dict, {"a": PICKLE}),
        (list, [PICKLE]),
        (Shape, PICKLE),
        (Shape, {"color": "red", "stray": PICKLE}),
        (Shape, {"color": "red", "stray": {"deep": [PICKLE]}}),
        (Shape | Other, {"color": "red", **PICKLE}),
        (Shape | None, {"color": "red", **PICKLE}),
    ],
    ids=str,
)
def test_a_pickle_is_never_read(declared: Any, json: Any) -> None:
    serializer = Serializer.parse(declared)
    context = SerializationContext(known=(Trap, Shape))
    with pytest.raises((TypeError, ValueError), match=r"Refused '@base64' at .*: a pickle runs code when it is read"):
        serializer.from_json(json, context)


@pytest.mark.parametrize("declared", [int, str, bytes, list[int], complex | None], ids=str)
def test_a_pickle_is_no_other_value_either(declared: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Serializer.parse(declared).from_json(PICKLE)


def test_a_pickle_is_never_written() -> None:
    with pytest.raises(ValueError, match=r"Refused '@base64' at 0"):
        Serializer.parse(ANYTHING).to_json([PICKLE])
    stray: Any = Shape("red")
    for value in (Trap(), {1, 2}, 1j, bytearray(b"a"), len, Trap):
        with pytest.raises(TypeError, match=r"Cannot serialize .* at 0"):
            Serializer.parse(ANYTHING).to_json([value])
        stray.stray = value
        with pytest.raises(TypeError, match=r"Cannot serialize .* at stray"):
            Serializer.parse(Shape).to_json(stray)


def test_json_is_left_alone() -> None:
    assert Serializer.parse(JSON).from_json(PICKLE) is PICKLE
    with pytest.raises(TypeError, match="Expected a JSON value at 0"):
        Serializer.parse(JSON).to_json([b"a"])


@pytest.mark.parametrize(
    "name",
    ["xml.sax.handler.ContentHandler", "os.system", f"{__name__}.Unmentioned", f"{__name__}.Trap", "Circle", "", 5, []],
    ids=str,
)
def test_a_tag_names_only_known_subclasses_and_imports_nothing(name: Any) -> None:
    tagged = {"color": "red", "@type": "dataclass", "@subtype": name}
    before = set(sys.modules)
    with pytest.raises(ValueError, match="at @subtype, got"):
        Serializer.parse(Shape).from_json(tagged)
    with pytest.raises(ValueError, match="at @subtype, got"):
        Serializer.parse(ANYTHING).from_json(tagged)
    read: Any = Serializer.parse(Open).from_json({"stray": tagged})
    assert read.stray == tagged
    assert set(sys.modules) == before


def test_an_undeclared_value_makes_no_object_whose_class_nobody_mentions() -> None:
    tagged = {"color": "red", "@type": "dataclass", "@subtype": f"{__name__}.Unmentioned"}
    with pytest.raises(ValueError, match=r"Expected the name of one of the known types at 0\.@subtype"):
        Serializer.parse(ANYTHING).from_json([tagged])
    assert Serializer.parse(ANYTHING).from_json([tagged], SerializationContext(known=(Unmentioned,))) == [
        Unmentioned("red")
    ]


def test_a_declared_class_of_another_type_is_no_subclass() -> None:
    Serializer.parse(Other)
    with pytest.raises(ValueError, match=r"one of the known subclasses of .*Shape at @subtype"):
        Serializer.parse(Shape).from_json({"color": "red", "@type": "dataclass", "@subtype": f"{__name__}.Other"})
    read: Any = Serializer.parse(Open).from_json(
        {"stray": {"color": "red", "@type": "dataclass", "@subtype": f"{__name__}.Other"}}
    )
    assert type(read.stray) is dict


def test_other_tags_are_data() -> None:
    for data in ({"@type": "Person"}, {"@type": ["bytes"]}, {"@type": "dataclass"}, {"@type": None, "@subtype": 1}):
        assert Serializer.parse(ANYTHING).from_json(data) == data
    with pytest.raises(ValueError, match="Expected 'dataclass' at @type, got 'Person'"):
        Serializer.parse(Shape).from_json({"@type": "Person", "color": "red"})


def test_a_class_is_named_only_among_the_known_ones() -> None:
    assert Serializer.parse(type[Shape]).from_json(f"{__name__}.Circle") is Circle
    assert Serializer.parse(type).from_json(f"{__name__}.Shape", SerializationContext(known=(Shape,))) is Shape
    for declared, name in ((type[Shape], f"{__name__}.Other"), (type, f"{__name__}.Trap"), (type, "os._Environ")):
        with pytest.raises(ValueError, match="Expected the name of one of the known"):
            Serializer.parse(declared).from_json(name)
    with pytest.raises(TypeError, match=r"Expected type\[Shape\]"):
        Serializer.parse(type[Shape]).to_json(Other)


def nested(levels: int, *, of: str) -> Any:
    value: Any = {"next": None} if of == "next" else []
    for _ in range(levels):
        value = {"next": value} if of == "next" else {"rest": [value]} if of == "rest" else [value]
    return value


def test_depth_is_bounded() -> None:
    assert Serializer.parse(Chain).from_json(nested(100, of="next")) is not None
    for declared, json in (
        (Chain, nested(200, of="next")),
        (Chain, nested(100_000, of="next")),
        (Any, nested(200, of="list")),
        (Any, nested(100_000, of="list")),
        (list[list[Any]], nested(5_000, of="list")),
        (Open, {"stray": nested(5_000, of="list")}),
    ):
        with pytest.raises(ValueError, match="Nested"):
            Serializer.parse(declared).from_json(json)
    with pytest.raises(ValueError, match=r"at ev\.next\.next.*\.\.\."):
        Serializer.parse(Chain).from_json(nested(200, of="next"), SerializationContext(("ev",)))
    with pytest.raises(ValueError, match="Nested deeper than 3 levels"):
        Serializer.parse(Chain).from_json(nested(5, of="next"), SerializationContext(max_depth=3))


def test_a_cycle_is_an_error() -> None:
    chain, wide, loop, opened, inner = Chain(), Chain(), list[Any](), Open(), Nested()
    chain.next = chain
    wide.rest.append(wide)
    loop.append({"a": loop})
    opened.inner = opened
    inner.inner = inner
    for declared, value in ((Chain, chain), (Chain, wide), (Any, loop), (JSON, loop), (Open, opened), (Base, inner)):
        with pytest.raises(ValueError, match="Nested"):
            Serializer.parse(declared).to_json(value)


def test_a_run_that_failed_inside_a_union_leaves_no_depth_behind() -> None:
    serializer = Serializer.parse(list[Left | Right])
    items = [{"kids": [{"kids": [{"kids": [], "end": "x"}], "end": "x"}], "end": "x"}] * 1000
    assert all(isinstance(item, Right) for item in serializer.from_json([dict(item) for item in items]))


def test_nested_unions_do_not_multiply_the_work() -> None:
    """Each level would be tried twice for each try of the level above: 2^60 without a memory."""
    good: Any = {"kids": [], "end": "x"}
    bad: Any = {"kids": [], "end": None}
    for _ in range(60):
        good = {"kids": [good], "end": "x"}
        bad = {"kids": [bad], "end": "x"}
    serializer = Serializer.parse(Left | Right)
    assert isinstance(serializer.from_json(good), Right)
    with pytest.raises(TypeError, match=r"Expected Left \| Right"):
        serializer.from_json(bad)


@dataclass
class Late:
    """The first field nests, a later one is missing or stands on the class only."""

    inner: "Late | None" = None
    other: int = 0
    late: int = field(init=False, default=0)


@dataclass
class Early:
    inner: "Early | None" = None
    other: int = 0


def test_missing_fields_do_not_multiply_the_work() -> None:
    for declared in (Late, Early):
        json: Any = {"inner": None, "stray": 1}
        for _ in range(100):
            json = {"inner": json, "stray": 1}
        serializer: Serializer[Any] = Serializer.parse(declared)
        read = serializer.from_json(json)
        assert serializer.from_json(serializer.to_json(read)) == read
        assert serializer.to_json(read)["inner"]["stray"] == 1


def test_several_threads_may_parse_and_run_at_once() -> None:
    chain, results = Chain(Chain(), [Chain()]), list[bool]()
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        serializer = Serializer.parse(Chain | Left | None)
        results.append(all(serializer.from_json(serializer.to_json(chain)) == chain for _ in range(50)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8
