"""Broken YAML: what is mended, what is refused, and that what was good stays as it is."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import BadRequest
from greenroom.personalities.repair import MAX_FILE_BYTES, parse_yaml, read_yaml

REAL_FILES = Path(__file__).parents[2].parent / "shared" / "data" / "broken-yaml"

GOOD = "author: A\nlink_text: '\\n'\n"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("welcome_message: 'Hey, I'm here, and it's fine.'", "Hey, I'm here, and it's fine."),
        ("welcome_message: 'one\n  isn\\'t two'", "one isn't two"),
        ("welcome_message: 'already ''quoted'' and it's'", "already 'quoted' and it's"),
        ("welcome_message: 'it's' \n\n# a comment's here\n", "it's"),
        ("welcome_message: !!> Student:", "!!> Student:"),
        ("welcome_message: !@> Student: ", "!@> Student:"),
        ("welcome_message: Bear: a friend", "Bear: a friend"),
        ("welcome_message: {{date}} and more", "{{date}} and more"),
        ("welcome_message: @home", "@home"),
        ("welcome_message: `x`", "`x`"),
        ("welcome_message:\n\t- a\n\t- b", ["a", "b"]),
        ("welcome_message:\n  - @Title@Do this: [x::y]\n  - it's plain", ["@Title@Do this: [x::y]", "it's plain"]),
    ],
)
def test_known_mistakes_are_mended_where_they_are(entry: str, expected: object) -> None:
    text = f"{GOOD}{entry}\nname: B\nanti_prompts: ['###', 'it''s']\n"
    read = parse_yaml(text)
    assert read.values == {
        "author": "A",
        "link_text": "\\n",
        "welcome_message": expected,
        "name": "B",
        "anti_prompts": ["###", "it's"],
    }
    assert read.mended == (3,)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: B\nlist: [a, b\nother: c\n", 3),
        ("name: B\nother: 'never closed\n", None),
        ("name: B\n  stray: text\n : x\n", None),
        ("- a\n- b\n", 1),
        ("just words\n", 1),
        ("name: a\x00b\n", 1),
        ("name: \ud800\n", 1),
    ],
)
def test_what_cannot_be_mended_is_named_with_its_line(text: str, line: int | None) -> None:
    with pytest.raises(BadRequest, match=r"^line \d+: " if line is None else rf"^line {line}: "):
        parse_yaml(text)


def test_the_complaint_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: B\nlist: [a, b\nother: c\n", encoding="utf-8")
    with pytest.raises(BadRequest, match=r"config\.yaml, line 3: "):
        read_yaml(path)
    path.write_bytes(b"name: B\nother: caf\xe9\n")
    with pytest.raises(BadRequest, match=r"config\.yaml, line 2: this is not UTF-8"):
        read_yaml(path)
    path.write_bytes(b"a: " + b"x" * MAX_FILE_BYTES)
    with pytest.raises(BadRequest, match="larger than"):
        read_yaml(path)
    with pytest.raises(BadRequest, match="cannot be read"):
        read_yaml(tmp_path / "nothing.yaml")


def test_marks_and_line_ends_of_other_systems_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("\ufeffname: Zoë\r\nconditioning: |\r\n  one\r\n  two\r\n".encode())
    assert read_yaml(path).values == {"name": "Zoë", "conditioning": "one\ntwo\n"}


def test_values_are_plain() -> None:
    text = "made: 2024-02-11 16:12:51\nday: 2024-02-11\n1: one\nnull: x\nset: !!set {b, a}\nbytes: !!binary aGk=\n"
    assert parse_yaml(text).values == {
        "made": "2024-02-11T16:12:51",
        "day": "2024-02-11",
        "1": "one",
        "": "x",
        "set": ["a", "b"],
        "bytes": "hi",
    }
    assert parse_yaml("").values == {}
    assert parse_yaml("a: 1\na: 2\n").values == {"a": 2}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30_000,
        "a: " + "{b: " * 10_000,
        "- " * 30_000,
        "".join(" " * depth + "a:\n" for depth in range(500)),
        "a: &a [*a]\n",
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdef", "bcdefg", strict=True)),
    ],
    ids=["lists", "mappings", "dashes", "blocks", "loop", "laughs"],
)
def test_nesting_and_unfolding_are_bounded(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_yaml(text)


def test_tags_make_no_objects() -> None:
    value = parse_yaml("a: !!python/object/apply:os.getcwd []\n").values["a"]
    assert value == "!!python/object/apply:os.getcwd []"


@given(
    st.dictionaries(
        st.text("abcdefgh_", min_size=1, max_size=8),
        st.one_of(st.text(max_size=30), st.integers(), st.booleans(), st.none(), st.lists(st.text(max_size=8))),
        max_size=6,
    )
)
def test_good_yaml_is_read_as_it_stands(values: dict[str, Any]) -> None:
    read = parse_yaml(yaml.safe_dump(values))
    assert read.values == {str(key): value for key, value in values.items()}
    assert read.mended == ()


@given(st.text("ab:'\"-@!#{}[]\n\t \\&*|>", max_size=80))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    complaint = "line 1: none"
    try:
        parse_yaml(text)
    except BadRequest as error:
        complaint = error.message
    assert complaint.startswith("line ")


def test_the_broken_files_of_the_real_zoo_are_all_mended() -> None:
    """Where that collection is at hand: everything in its files is kept, only the apostrophes had to be doubled."""
    for path in sorted(REAL_FILES.glob("*_config.yaml")):
        read = read_yaml(path)
        assert read.mended, path.name
        assert {"name", "author", "personality_conditioning", "welcome_message"} <= read.values.keys(), path.name
        assert len(str(read.values["welcome_message"])) > 40
