"""Dataclasses and mapped classes: fields, defaults, strays, generics, recursion, subclasses, wire samples."""

import sys
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from sqlalchemy import JSON as JsonColumn
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from greenroom.rpc.serialization import SerializationContext, Serializer
from greenroom.rpc.serialization.mapped import mapper_of

T = TypeVar("T")
ANYTHING: Any = Any
U = TypeVar("U")


@dataclass
class Point:
    x: int
    y: int


class Color(Enum):
    RED = 1
    GREEN = 2


@dataclass
class Entry:
    color: Color
    when: datetime
    log_path: Path


@dataclass
class Attachment:
    name: str
    content: bytes


@dataclass
class Shape:
    color: str


@dataclass
class Circle(Shape):
    radius: float


@dataclass
class Ring(Circle):
    inner: Shape | None = None


@dataclass
class Drawing:
    shapes: list[Shape]


@dataclass(frozen=True)
class Frozen:
    a: int
    rest: list[int] = field(default_factory=list)
    b: str = "b"
    counted: int = field(init=False, default=0)
    limit: ClassVar[int] = 3


@dataclass(slots=True)
class Slotted:
    a: int
    done: bool = field(init=False, default=False)


@dataclass(kw_only=True)
class Named:
    a: int
    b: float = 0.5


@dataclass
class Node:
    value: int
    next: "Node | None" = None
    children: "list[Node]" = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Pair(Box[U], Generic[T, U]):
    """``T`` is the other one here: the base's is bound to ``U``."""

    label: T


@dataclass
class Deep(Pair[str, list[int]]):
    pass


@dataclass
class Tree(Generic[T]):
    value: T
    branches: "list[Tree[T]]" = field(default_factory=list)


@dataclass
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("below zero")


@dataclass
class Custom:
    name: str

    def __init__(self, name: str, loud: bool = False) -> None:
        self.name = name.upper() if loud else name


@dataclass
class Seeded:
    seed: InitVar[int]
    value: int = 0


def test_the_samples_of_the_wire() -> None:
    assert Serializer.parse(Point).from_json({"x": 1, "y": 2}) == Point(1, 2)
    entry = Entry(Color.GREEN, datetime(2025, 1, 15, 12), Path("app.log"))
    sample = {"color": "GREEN", "when": "2025-01-15T12:00:00", "log_path": "app.log"}
    assert Serializer.parse(Entry).to_json(entry) == sample
    assert Serializer.parse(Entry).from_json(sample) == entry
    attachment = {"name": "a.bin", "content": {"@type": "bytes", "value": "AAECAw=="}}
    assert Serializer.parse(Attachment).from_json(attachment) == Attachment("a.bin", bytes(range(4)))
    assert Serializer.parse(Attachment).to_json(Attachment("a.bin", bytes(range(4)))) == attachment
    circle = {"@type": "dataclass", "@subtype": f"{__name__}.Circle", "color": "red", "radius": 5.0}
    assert Serializer.parse(Shape).from_json(circle) == Circle("red", 5.0)


def test_tags_come_last_and_only_where_the_class_is_not_the_declared_one() -> None:
    drawing = Drawing([Shape("blue"), Circle("red", 5)])
    written = Serializer.parse(Drawing).to_json(drawing)
    assert written == {
        "shapes": [
            {"color": "blue"},
            {"color": "red", "radius": 5.0, "@type": "dataclass", "@subtype": f"{__name__}.Circle"},
        ]
    }
    assert list(written["shapes"][1]) == ["color", "radius", "@type", "@subtype"]
    assert Serializer.parse(Circle).to_json(Circle("red", 5)) == {"color": "red", "radius": 5.0}
    assert Serializer.parse(Drawing).from_json(written) == drawing


def test_subclasses_inside_subclasses() -> None:
    ring = Ring("red", 1.0, inner=Circle("blue", 0.5))
    serializer = Serializer.parse(Shape)
    assert serializer.from_json(serializer.to_json(ring)) == ring


def test_a_union_of_records_is_told_by_the_fields() -> None:
    serializer = Serializer.parse(Shape | Point | Attachment)
    for value in (Shape("red"), Circle("red", 1.0), Point(1, 2), Attachment("a", b"b")):
        assert serializer.from_json(serializer.to_json(value)) == value
    with pytest.raises(TypeError, match=r"Expected Shape \| Point \| Attachment at .*as Shape: Missing 'color'"):
        serializer.from_json({"z": 1})
    with pytest.raises(TypeError, match=r"as Point: Expected Point"):
        serializer.to_json(Box(1))


@dataclass
class Report:
    text: str = ""


@dataclass
class Failure:
    text: str = ""


@dataclass
class Mentioned:
    text: str


def test_of_two_records_with_the_same_fields_each_stays_itself() -> None:
    for declared in (Report | Failure, list[Report | Failure], dict[str, Failure | Report | None]):
        serializer = Serializer.parse(declared)
        for one in (Report("a"), Failure("b"), Failure()):
            value: Any = [one] if declared == list[Report | Failure] else one
            if declared == dict[str, Failure | Report | None]:
                value = {"k": one}
            assert serializer.from_json(serializer.to_json(value)) == value
    # The first one has no tag: a peer that tries in order reads it right.
    assert Serializer.parse(Report | Failure).to_json(Report("a")) == {"text": "a"}
    assert Serializer.parse(Report | Failure).to_json(Failure("a")) == {
        "text": "a",
        "@type": "dataclass",
        "@subtype": f"{__name__}.Failure",
    }


def test_what_a_declaration_mentions_may_stand_where_anything_may() -> None:
    Serializer.parse(dict[str, Mentioned])
    tagged = {"text": "a", "@type": "dataclass", "@subtype": f"{__name__}.Mentioned"}
    assert Serializer.parse(ANYTHING).from_json({"deep": [tagged]}) == {"deep": [Mentioned("a")]}
    assert Serializer.parse(type).from_json(f"{__name__}.Mentioned") is Mentioned
    assert Serializer.parse(type).from_string(f"{__name__}.Mentioned") is Mentioned


def test_what_was_written_can_be_read() -> None:
    @dataclass
    class Note:
        text: str

    serializer = Serializer.parse(ANYTHING)
    assert serializer.from_json(serializer.to_json([Note("a")])) == [Note("a")]


def test_a_context_tells_the_place() -> None:
    context = SerializationContext(allow_base64=True)
    with context.subpath("ev"), context.subpath(0) as inner:
        assert inner.current_path == "ev.0"
        with pytest.raises(TypeError, match=r"Expected int at ev\.0\.x, got"):
            Serializer.parse(Point).from_json({"x": "a", "y": 1}, inner)
    assert context.path == ()


def test_defaults_late_fields_and_frozen_classes() -> None:
    serializer = Serializer.parse(Frozen)
    assert serializer.from_json({"a": 1}) == Frozen(1)
    counted = serializer.from_json({"a": 1, "counted": 5})
    assert counted.counted == 5
    assert serializer.to_json(counted) == {"a": 1, "rest": [], "b": "b", "counted": 5}
    assert serializer.from_json(serializer.to_json(counted)) == counted
    assert Serializer.parse(Named).from_json({"a": 1}) == Named(a=1)
    assert Serializer.parse(Named).from_json({"b": 1, "a": 1}) == Named(a=1, b=1.0)
    slotted = Serializer.parse(Slotted).from_json({"a": 1, "done": True, "stray": 1})
    assert (slotted.a, slotted.done) == (1, True)
    assert Serializer.parse(Slotted).to_json(slotted) == {"a": 1, "done": True}


@pytest.mark.parametrize(
    ("declared", "json", "message"),
    [
        (Point, {"x": 1}, "Missing 'y' of Point at "),
        (Point, {}, "Missing 'x', 'y' of Point at "),
        (Point, {"z": 1, "w": 2}, "Missing 'x', 'y' of Point at "),
        (Point, [1, 2], "Expected Point at , got <class 'list'>"),
        (Drawing, {"shapes": [{"color": "a"}, {"color": 5}]}, "Expected str at shapes.1.color, got <class 'int'>"),
        (Frozen, {"a": 1, "counted": "b"}, "Expected int at counted, got <class 'str'>"),
        (Positive, {"value": -1}, "Positive refuses its fields at : below zero"),
        (Frozen, {"a": 1, "@subtype": "x"}, "The tag '@subtype' stands alone at "),
        (Node, {"value": 1, "next": {"value": "a"}}, "Expected int at next.value, got <class 'str'>"),
        (Node, {"value": 1, "children": [{"value": "a"}]}, "Expected int at children.0.value, got <class 'str'>"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_by_its_place(declared: Any, json: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        Serializer.parse(declared).from_json(json)
    assert str(refused.value) == message


def test_a_field_without_a_value_cannot_be_written() -> None:
    point = Point(1, 2)
    del point.y
    with pytest.raises(ValueError, match="The field 'y' of Point has no value"):
        Serializer.parse(Point).to_json(point)


def test_what_else_the_instance_holds_travels_as_plain_data() -> None:
    point: Any = Point(1, 2)
    point.label = "a"
    point.shape = Circle("red", 1.0)
    point._lock = object()
    serializer = Serializer.parse(Point)
    written = serializer.to_json(point)
    assert list(written) == ["x", "y", "label", "shape"]
    read: Any = serializer.from_json(written)
    assert (read.x, read.y, read.label) == (1, 2, "a")
    tagged = {"color": "red", "radius": 1.0, "@type": "dataclass", "@subtype": f"{__name__}.Circle"}
    assert read.shape == tagged
    assert serializer.to_json(read) == written
    known: Any = serializer.from_json(written, SerializationContext(known=(Shape,)))
    assert known.shape == Circle("red", 1.0)


def test_strays_hide_nothing_of_the_class() -> None:
    strays = {"a": 1, "limit": 9, "__class__": "b", "_x": 1, "not a name": 1, "__eq__": 1, "fine": 2}
    read: Any = Serializer.parse(Frozen).from_json(strays)
    assert type(read) is Frozen
    assert read.limit == 3
    assert vars(read).keys() == {"a", "rest", "b", "fine"}


def test_generics() -> None:
    serializer = Serializer.parse(Box[Color])
    assert serializer.to_json(Box(Color.RED)) == {"content": "RED"}
    assert serializer.from_json({"content": "RED"}) == Box(Color.RED)
    assert Serializer.parse(Box[T], {T: int}).from_json({"content": 1}) == Box(1)  # type: ignore[valid-type]
    assert Serializer.parse(Deep).from_json({"content": [1], "label": "a"}) == Deep([1], "a")
    with pytest.raises(TypeError, match=r"Expected int at content\.0"):
        Serializer.parse(Deep).from_json({"content": ["a"], "label": "a"})
    with pytest.raises(TypeError, match=r"The type variable ~T is not bound at  in .*Box"):
        Serializer.parse(Box)
    tree = Tree(1, [Tree(2), Tree(3, [Tree(4)])])
    trees = Serializer.parse(Tree[int])
    assert trees.from_json(trees.to_json(tree)) == tree
    with pytest.raises(TypeError, match=r"Expected int at branches\.0\.value"):
        trees.from_json({"value": 1, "branches": [{"value": "a"}]})


def test_a_subclass_of_a_generic_stands_in_for_it() -> None:
    serializer = Serializer.parse(Box[list[int]])
    deep = Deep([1], "a")
    assert serializer.from_json(serializer.to_json(deep)) == deep


def test_recursion() -> None:
    node = Node(1, Node(2), [Node(3, children=[Node(4)])])
    serializer = Serializer.parse(Node)
    assert serializer.from_json(serializer.to_json(node)) == node
    assert serializer.from_json_bytes(serializer.to_json_bytes(node)) == node


def test_classes_of_a_function_may_contain_themselves() -> None:
    @dataclass
    class Local:
        inner: "Local | None" = None

    serializer = Serializer.parse(Local)
    assert serializer.from_json(serializer.to_json(Local(Local()))) == Local(Local())


def test_an_init_of_its_own_is_used() -> None:
    assert Serializer.parse(Custom).from_json({"name": "a"}) == Custom("a")
    with pytest.raises(TypeError, match="its __init__ wants 'seed', which is not a field that is kept"):
        Serializer.parse(Seeded)


def test_a_record_where_nothing_is_declared_has_a_tag() -> None:
    serializer = Serializer.parse(ANYTHING)
    written = serializer.to_json([Point(1, 2), Box(Point(3, 4)), (b"a",)])
    point = {"@type": "dataclass", "@subtype": f"{__name__}.Point"}
    assert written == [
        {"x": 1, "y": 2, **point},
        {"content": {"x": 3, "y": 4, **point}, "@type": "dataclass", "@subtype": f"{__name__}.Box"},
        [{"@type": "bytes", "value": "YQ=="}],
    ]
    known = SerializationContext(known=(Point, Box))
    assert serializer.from_json(written, known) == [Point(1, 2), Box(Point(3, 4)), [b"a"]]


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    joined: Mapped[datetime | None]
    extra: Mapped[Any] = mapped_column("extra_column", JsonColumn)
    kind: Mapped[str] = mapped_column(default="user")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "user"}  # noqa: RUF012


class Admin(User):
    __tablename__ = "admin"
    id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    level: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "admin"}  # noqa: RUF012


def test_mapped_classes_by_column_attributes() -> None:
    user = User(id=1, name="a", joined=datetime(2025, 1, 15), extra={"a": 1}, kind="user")
    serializer = Serializer.parse(User)
    written = serializer.to_json(user)
    assert written == {"id": 1, "name": "a", "joined": "2025-01-15T00:00:00", "extra": {"a": 1}, "kind": "user"}
    read = serializer.from_json(written)
    assert type(read) is User
    assert (read.id, read.name, read.joined, read.extra) == (1, "a", datetime(2025, 1, 15), {"a": 1})
    assert Serializer.parse(User | Point).from_json(written).name == "a"
    with pytest.raises(ValueError, match="User has no column attribute 'password'"):
        serializer.from_json({**written, "password": "a"})
    with pytest.raises(TypeError, match="Expected int at id"):
        serializer.from_json({"id": "a"})
    with pytest.raises(TypeError, match="Expected User"):
        serializer.from_json([])
    with pytest.raises(TypeError, match="Expected str at name"):
        serializer.to_json(User(name=1))


def test_a_column_is_as_nullable_as_the_table_says() -> None:
    serializer = Serializer.parse(User)
    unsaved = User(name="a", kind="user")
    assert serializer.to_json(unsaved)["id"] is None  # the database gives it
    with pytest.raises(TypeError, match="Expected str at name, got <class 'NoneType'>"):
        serializer.from_json({"id": 1, "name": None})
    properties = serializer.to_json_schema().defs[f"{__name__}.User"]["properties"]
    assert properties["id"] == {"type": "integer"}
    assert properties["name"] == {"type": "string"}
    assert properties["joined"] == {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}


def test_mapped_subclasses_have_their_own_tag() -> None:
    written = Serializer.parse(User).to_json(Admin(id=1, name="a", level=2))
    assert list(written.items())[-2:] == [("@type", "sqlalchemy"), ("@subtype", f"{__name__}.Admin")]
    read = Serializer.parse(User).from_json(written)
    assert isinstance(read, Admin)
    assert read.level == 2
    with pytest.raises(ValueError, match="Expected 'sqlalchemy' at @type, got 'dataclass'"):
        Serializer.parse(User).from_json({**written, "@type": "dataclass"})
    listed = Serializer.parse(ANYTHING).from_json([written], SerializationContext(known=(User,)))
    assert isinstance(listed[0], Admin)


def test_sqlalchemy_is_not_imported_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mapper_of(User) is not None
    assert mapper_of(Point) is None
    monkeypatch.delitem(sys.modules, "sqlalchemy.orm")
    assert mapper_of(User) is None
    assert "sqlalchemy.orm" not in sys.modules
