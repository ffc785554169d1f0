import json

from hypothesis import given
from hypothesis import strategies as st

from greenroom.bindings.wire_text import encodable, json_bytes


def test_halves_of_pairs_are_joined_or_replaced() -> None:
    assert encodable("\ud83d\ude00 and \ud83d.") == "\U0001f600 and \ufffd."
    assert json_bytes({"é": ["\udc80", 1, None]}) == '{"é":["\ufffd",1,null]}'.encode()


@given(st.text())
def test_what_can_be_said_stays(text: str) -> None:
    assert encodable(text) == text
    assert json.loads(json_bytes([text])) == [text]
