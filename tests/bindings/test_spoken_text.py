from hypothesis import given
from hypothesis import strategies as st

from greenroom.bindings.isolation.codec import decode_items, encode_json, pack
from greenroom.bindings.spoken_text import FirstClause, WordFinder, is_speakable, utterances, without_controls
from greenroom.values import Viseme, WordTime


@given(st.text(alphabet="ab .,!?\n…。", max_size=200), st.integers(5, 60))
def test_no_letter_is_lost_and_no_piece_is_too_long(text: str, limit: int) -> None:
    pieces = list(utterances(text, limit))
    assert all(text[start : start + len(piece)] == piece and len(piece) <= limit for start, piece in pieces)
    assert "".join(filter(str.isalnum, "".join(piece for _, piece in pieces))) == "".join(filter(str.isalnum, text))


def test_marks_without_end_take_no_time() -> None:
    """Tried anew at every mark, this would take minutes."""
    text = "a" + "?!." * 70_000 + "b" + ",;" * 100_000 + "c"
    assert [piece[-1] for _, piece in utterances(text, len(text) - 1)] == [";", "c"]
    clause = FirstClause()
    assert not any(clause.ends_with("wordwordword") for _ in range(5_000))
    assert clause.ends_with("end.")


def test_a_cut_falls_on_the_strongest_end() -> None:
    text = "One sentence here. Another one, with a clause and more"
    assert [piece for _, piece in utterances(text, 30)] == [
        "One sentence here. ",
        "Another one, ",
        "with a clause and more",
    ]
    assert [piece for _, piece in utterances("word " * 5, 12)] == ["word word ", "word word ", "word "]


def test_what_can_be_said() -> None:
    assert is_speakable("3") and is_speakable("はい") and not is_speakable(" ...!")
    assert without_controls("a\x00b\x1fc\nd\ud800") == "a b c\nd "


def test_words_are_found_in_their_order() -> None:
    finder = WordFinder("The cat and ")
    assert [finder.find(word) for word in ("The", "Cat", "")] == [0, 4, -1]
    finder.extend("the İcat sat")
    assert [finder.find(word) for word in ("and", "three", "the", "sat")] == [8, -1, 12, 21]


def test_a_clause_is_told_once() -> None:
    clause = FirstClause()
    assert [clause.ends_with(piece) for piece in ("Well, ", "once ", "upon a time,", " there was.")] == [
        False,
        False,
        True,
        False,
    ]
    long = FirstClause()
    assert [long.ends_with("without a mark ") for _ in range(5)].index(True) == 4


def test_mouth_shapes_pass_between_processes() -> None:
    words = [WordTime("a", 0, 1, 2, (Viseme(3, 4.5), Viseme(0, 6))), WordTime("b", 1, 2)]
    assert decode_items(encode_json([pack(word) for word in words])) == words
