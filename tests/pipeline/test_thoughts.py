from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.pipeline.thoughts import ThoughtSplitter

CASES = [
    ("<think>why</think>Hi", "Hi", "why"),
    ("<THINK>why</Think> Hi", " Hi", "why"),
    ("<thinking>a</think>b", "b", "a"),
    ('<thought level="1">a</thought>b', "b", "a"),
    ("<reasoning>a</reasoning>b<reflection>c</reflection>d", "bd", "ac"),
    ("<thinking>a <reflection>b</reflection> c</thinking>d", "d", "a <reflection>b</reflection> c"),
    ("<think>a <think> b</think>c", "c", "a <think> b"),
    ("<|begin_of_thought|>a<|end_of_thought|>b", "b", "a"),
    ("<|START_THINKING|>a<|END_THINKING|>b", "b", "a"),
    ("[THINK]a[/THINK]b", "b", "a"),
    ("◁think▷a◁/think▷b", "b", "a"),
    ("[think] hm", "[think] hm", ""),
    ("unseen</think>Hi", "unseenHi", ""),
    ("<think/>Hi", "Hi", ""),
    ("<think></think>\n\nHi", "\n\nHi", ""),
    ("<think>never closed", "", "never closed"),
    ("Use `<think>` here", "Use `<think>` here", ""),
    ("a < b <th <thinker> <thinks", "a < b <th <thinker> <thinks", ""),
    ("<think " + "x" * 200 + ">", "<think " + "x" * 200 + ">", ""),
    ("<<think>a</think>", "<", "a"),
    ("<think>a <b </thinkx> </thin</think>b", "b", "a <b </thinkx> </thin"),
    ("", "", ""),
]


def split(text: str, cuts: list[int], thinking: bool = False) -> tuple[str, str]:
    splitter = ThoughtSplitter(thinking)
    edges = [0, *sorted(cuts), len(text)]
    deltas = [delta for start, end in pairwise(edges) for delta in splitter.feed(text[start:end])]
    deltas += splitter.finish()
    assert all(delta.text for delta in deltas)
    answer = "".join(delta.text for delta in deltas if not delta.thought)
    return answer, "".join(delta.text for delta in deltas if delta.thought)


@pytest.mark.parametrize(("text", "answer", "thought"), CASES)
def test_cases_whole_and_character_by_character(text: str, answer: str, thought: str) -> None:
    assert split(text, []) == (answer, thought)
    assert split(text, list(range(len(text)))) == (answer, thought)


TAGS = "<think> </think> <thinking> </THINKING> <reflection> </reflection> [THINK] [/THINK] <|begin_of_thought|>"
PARTS = [*TAGS.split(), *["<", "<t", "</", "`", "a", "["], " ", "<think a='", "'>"]


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(st.text(), st.lists(st.sampled_from(PARTS), max_size=20).map("".join)),
    thinking=st.booleans(),
    data=st.data(),
)
def test_any_cutting_gives_the_same(text: str, thinking: bool, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=20))
    assert split(text, cuts, thinking) == split(text, [], thinking)


@given(st.text(alphabet=st.characters(exclude_characters="<[◁"), max_size=200))
def test_text_without_tags_passes_unchanged(text: str) -> None:
    assert split(text, [len(text) // 2]) == (text, "")


def test_ordinary_text_passes_in_the_same_call() -> None:
    splitter = ThoughtSplitter()
    for delta in ("Hello", " wor", "ld < ", "3 <b", "r> [1", "] </p>"):
        assert "".join(part.text for part in splitter.feed(delta)) == delta


def test_what_looks_like_a_tag_is_held_only_while_it_does() -> None:
    splitter = ThoughtSplitter()
    assert splitter.feed("a<")[0].text == "a"
    assert splitter.feed("th") == []
    assert splitter.feed("e b")[0].text == "<the b"
    assert splitter.feed("<think") == []
    assert splitter.finish()[0].text == "<think"


def test_a_template_that_opens_the_thought_unseen() -> None:
    assert split("why</think>Hi", [2, 5], thinking=True) == ("Hi", "why")
