"""Templates written before their objects exist."""

import gc
from dataclasses import dataclass, field
from typing import Any

import pytest

from greenroom.rpc.prompters import (
    Address,
    AddressBuilderGC,
    AddressTemplatePart,
    ConstantTemplatePart,
    DefaultElement,
    IPrompter,
    Prompter,
    Referrer,
    SubpromptPropagationTemplatePart,
)
from greenroom.rpc.prompters.builder import KEPT_UNUSED, MARKS


@dataclass
class User:
    name: str = "Ada"
    tags: list[str] = field(default_factory=lambda: ["kind", "quick"])
    extras: dict[Any, Any] = field(default_factory=lambda: {"items": 3, 1: "one"})
    price: float = 2.5
    prompt: Any = None


OBJECT = Referrer[User]()


class TestRendering:
    def test_values_stand_where_their_addresses_were(self) -> None:
        o = OBJECT
        prompter = Prompter[User](f"<<{o.ref.name}>> has {o.ref.tags[1]}, {o.ref.extras['items']}{o.ref.extras.items}.")
        assert prompter(User()) == "<<Ada>> has quick, 33."
        assert prompter(User(name="Bo")).startswith("<<Bo>>")

    def test_a_function_formats(self) -> None:
        o = OBJECT
        prompter = Prompter[User](f"{o.ref.name / str.upper / (lambda text: text[::-1])}\n{o.ref.price:.2f}")
        assert prompter(User()) == "ADA\n2.50"

    def test_bullet_points(self) -> None:
        o = OBJECT
        prompter = Prompter[User](
            f"{o.ref.tags / o.list_to_bullet_points()}|{o.ref.tags / o.list_to_bullet_points('- ')}"
        )
        assert prompter(User()) == "* kind\n* quick|- kind\n- quick"

    def test_the_object_itself(self) -> None:
        assert Prompter[int](f"{Referrer[int]().ref}!")(5) == "5!"

    def test_a_prompt_in_the_object_gets_the_whole_object(self) -> None:
        inner = Prompter[User](f"I am {OBJECT.ref.name}.")
        outer = Prompter[User](f"{~OBJECT.ref.prompt / str.upper} {~OBJECT.ref.prompt}")
        assert outer(User(prompt=inner)) == "I AM ADA. I am Ada."
        with pytest.raises(ValueError, match="prompt holds a NoneType"):
            outer(User())

    def test_a_tuple_of_parts(self) -> None:
        template = (
            f"a {OBJECT.ref.name}",
            OBJECT.ref.price / str,
            ConstantTemplatePart(" c "),
            AddressTemplatePart(Address("tags", 0)),
            SubpromptPropagationTemplatePart(Address("prompt")),
        )
        prompter = Prompter[User](template)
        assert prompter(User(prompt=lambda user: user.name)) == "a Ada2.5 c kindAda"
        with pytest.raises(TypeError, match="not of int"):
            Prompter(("a", 1))  # type: ignore[arg-type]

    def test_what_a_person_reads(self) -> None:
        prompter = Prompter[User](f"Hi {OBJECT.ref.name}, {OBJECT.ref.extras.items / str}: {~OBJECT.ref.prompt}")
        assert prompter.to_readable_string() == str(prompter) == "Hi {{name}}, {{extras.items}}: {{prompt(_)}}"
        assert isinstance(prompter, IPrompter)

    def test_a_missing_value_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"cannot get the address tags\.7: element 7 at index 1 of a list"):
            Prompter[User](f"{OBJECT.ref.tags[7]}")(User())

    def test_an_unknown_mark(self) -> None:
        uid = "0" * 32
        with pytest.raises(ValueError, match=f"^Cannot find uid id{uid} in the cache$"):
            Prompter(f"a <<id{uid}>>")

    @pytest.mark.parametrize("name", ["__deepcopy__", "__globals__", "__len__"])
    def test_special_names_are_no_addresses(self, name: str) -> None:
        assert not hasattr(OBJECT.ref.a, name)
        with pytest.raises(ValueError, match="no part of an address"):
            Address.parse(f"a.{name}")

    def test_addresses_have_no_items_to_walk_through_and_end_at_a_formatter(self) -> None:
        with pytest.raises(TypeError, match="cannot be walked"):
            list(OBJECT.ref.tags)
        with pytest.raises(TypeError, match="has no address"):
            str((OBJECT.ref.name / str).more)


class TestMarks:
    def test_one_text_makes_any_number_of_prompters(self) -> None:
        text = f"{OBJECT.ref.name / (lambda name: name * 2)}"
        for _ in range(3):
            assert Prompter[User](text)(User()) == "AdaAda"
            gc.collect()

    def test_the_same_address_has_one_mark(self) -> None:
        assert f"{OBJECT.ref.a.b / str}" == f"{Referrer[int]().ref.a.b / str}"
        assert f"{OBJECT.ref.a.b / str}" != f"{OBJECT.ref.a.b}"
        assert f"{OBJECT.ref.a / OBJECT.list_to_bullet_points()}" == f"{OBJECT.ref.a / OBJECT.list_to_bullet_points()}"

    def test_a_formatter_without_a_hash(self) -> None:
        assert Prompter[User](f"{OBJECT.ref.name / {}.get}x")(User()) == "Nonex"

    def test_the_table_stays_within_its_bound(self) -> None:
        table = AddressBuilderGC(kept_unused=10)
        kept = AddressTemplatePart(Address("kept"))
        mark = table.register(kept)
        for index in range(100):
            table.register(AddressTemplatePart(Address(index)))
        gc.collect()
        assert len(table) == 11
        assert table.find(mark[4:-2]) is kept
        del kept
        for index in range(100):
            table.register(AddressTemplatePart(Address(index)))
        gc.collect()
        assert len(table) == 10
        with pytest.raises(ValueError, match="Cannot find uid"):
            table.find(mark[4:-2])

    def test_so_does_that_of_the_process(self) -> None:
        for index in range(KEPT_UNUSED + 100):
            str(OBJECT.ref[index] / (lambda value: value))
        gc.collect()
        assert len(MARKS) <= KEPT_UNUSED + 50


class TestAddress:
    def test_as_text(self) -> None:
        address = Address.parse("c.b")
        assert address == Address("c", "b") == Address(DefaultElement("c")).append("b")
        assert str(address) == "c.b"
        assert repr(address) == "Address('c', 'b')"
        assert address.pop() == Address("c")
        assert not address.is_empty
        assert Address.parse("").is_empty
        assert Address().get(3) == 3
        assert len({address, Address("c", "b")}) == 1
        for wrong in ("a..b", "."):
            with pytest.raises(ValueError, match="empty element"):
                Address.parse(wrong)
        with pytest.raises(ValueError, match="no last element"):
            Address().pop()

    def test_setting(self) -> None:
        user = User()
        for text, value in {
            "name": "Bo",
            "tags.0": "slow",
            "extras.items": 4,
            "extras.1": "uno",
            "extras.new": {"x": 1},
            "extras.new.x": 2,
            "extras.keys": 5,
        }.items():
            Address.parse(text).set(user, value)
        assert user.name == "Bo"
        assert user.tags == ["slow", "quick"]
        assert user.extras == {"items": 4, 1: "uno", "new": {"x": 2}, "keys": 5}
        assert Address("extras", "keys").get(user) == 5

    def test_setting_what_cannot_be_set(self) -> None:
        with pytest.raises(ValueError, match=r"cannot set the address name\.x: element x at index 1 of a str"):
            Address("name", "x").set(User(), 1)
        with pytest.raises(ValueError, match=r"cannot get the address nowhere\.x: element nowhere at index 0"):
            Address("nowhere", "x").set(User(), 1)
        with pytest.raises(ValueError, match="the object itself"):
            Address().set(User(), 1)
