"""What holds of every splitting, when a sentence is proven, the first clause, and long text."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from greenroom.pipeline.marks import extends
from greenroom.pipeline.sentences import LONGEST, Sentence, SentenceSplitter

WORDS = """Hello He The I A J. Mr. Dr. St. e.g. U.S. z. B. p.m. No. etc. 3. 12 3.14 config.yaml https://x.y/z?a=b. a@b.c
    你好 行 と สวัสดี วันนี้ ๆ เ नमस्ते । مرحبا ؟ é 👩‍👩‍👧 😊 ❤️ 。 ！ ？ 、 * ** _ ` `` ``` ~ ~~~ < > <br> </b> <| [ ] ( )
    （ ） [joy] ](http://a.b/c) " ' « » “ ” 「 」 . ... … ! ? , ; : — – -"""
FRAGMENTS = (
    *WORDS.split(),
    *(
        " ",
        "  ",
        "\n",
        "\r\n",
        "\u2028",
        "\u00a0",
        "\n\n",
        "# ",
        "- ",
        "1. ",
        "| a | b |",
        "|",
        "e\u0301",
        "\u0301",
        "\u200d",
    ),
    *("x" * 90, "word " * 12, "ก" * 130, "好" * 120, "a,b, " * 10, "!" * 40, "." * 70, " " * 20),
)
texts = st.one_of(
    st.text(),
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join),
    st.text(alphabet='ab A.!?*_`~<[(\n"1 。ก,', max_size=60),
)


def split(text: str, cuts: list[int], first_clause: bool = True) -> list[Sentence]:
    splitter = SentenceSplitter(first_clause)
    edges = [0, *sorted(cuts), len(text)]
    deltas = [text[start:end] for start, end in pairwise(edges)]
    return [sentence for delta in deltas for sentence in splitter.feed(delta)] + splitter.finish()


def pieces(text: str, first_clause: bool = False) -> list[str]:
    return [sentence.text for sentence in split(text, [], first_clause)]


@settings(max_examples=400, deadline=None)
@given(text=texts, first_clause=st.booleans(), data=st.data())
def test_every_cutting_gives_the_same_pieces_and_loses_nothing(
    text: str, first_clause: bool, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=20))
    whole = split(text, [], first_clause)
    assert split(text, cuts, first_clause) == whole
    assert split(text, list(range(len(text))), first_clause) == whole
    assert "".join(sentence.text for sentence in whole) == text
    assert all(sentence.text for sentence in whole)


@settings(max_examples=300, deadline=None)
@given(text=texts)
@example(text="Good. \u0301 a! 👩‍👩‍👧 b! \u200d.")
def test_no_grapheme_cluster_is_parted(text: str) -> None:
    before = ""
    for piece in pieces(text, first_clause=True):
        assert not (before and extends(piece[0]))
        assert not before.endswith("\u200d") or piece[0].isspace() or unicodedata.category(piece[0]) != "So"
        assert not (before.endswith("\r") and piece[0] == "\n")
        before = piece


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(
        alphabet=st.one_of(
            st.characters(categories=["L", "M", "N"], exclude_characters="\u20e3\ufe0e\ufe0f"),
            st.sampled_from(" \n,.!?'-()。，！？、।؟«»“”"),
        ),
        max_size=500,
    )
)
def test_no_letter_mark_or_digit_is_lost_on_the_way_to_speech(text: str) -> None:
    assume("xD" not in text)

    def written(string: str) -> list[str]:
        return [character for character in string if unicodedata.category(character)[0] in "LMN"]

    assert written("".join(sentence.speech for sentence in split(text, []))) == written(text)


def proven_by(deltas: list[str], first_clause: bool = False) -> int:
    """Index of the delta that brings the first piece; -1 for none before the end."""
    splitter = SentenceSplitter(first_clause)
    return next((index for index, delta in enumerate(deltas) if splitter.feed(delta)), -1)


@pytest.mark.parametrize(
    ("deltas", "index"),
    [
        (["I am here", ".", " ", "You"], 2),
        (["I am here", "!", " ", "you"], 2),
        (["你好", "。", "我"], 2),
        (["नमस्ते", "।", " "], 2),
        (["I saw Bob", ".", " ", "H", "e"], 3),
        (['He said "no', '."', " ", "T", "hen"], 3),
        (["so", "...", " ", "W", "e ", "go"], 4),
        (["in the U.S", ".", " ", "He", " "], 4),
        (["in the U.S", ".", " ", "Army", " ", "is big"], -1),
        (["Mr", ".", " ", "The", " ", "x"], -1),
        (["A title", "\n", "x"], 1),
        (["Look:", "\n```", "py\n", "x. Y\n", "```", "\n"], 1),
    ],
)
def test_a_sentence_leaves_with_the_delta_that_proves_it(deltas: list[str], index: int) -> None:
    assert proven_by(deltas) == index


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Hello there, my friend. How are you?", "Hello there,"),
        ("Well, I do not know that, but maybe.", "Well, I do not know that,"),
        ("Oh, hi. I am here, as you see.", "Oh, hi."),
        ("I was thinking - maybe we go.", "I was thinking -"),
        ("I was thinking—maybe we go.", "I was thinking—"),
        ("Let me think... and then answer.", "Let me think..."),
        ('"I see your point," she said.', '"I see your point,"'),
        ("It costs 1,000,000 dollars, they say.", "It costs 1,000,000 dollars,"),
        ("At 10:30 we met, and ate.", "At 10:30 we met,"),
        ("*waves, smiling, at you* Hello my friend, hi.", "*waves, smiling, at you* Hello my friend,"),
        ("今天天气很好，我们去吧。", "今天天气很好，"),
        ("はい、そうですね、いい天気です。", "はい、そうですね、"),
        ("สวัสดีค่ะ วันนี้อากาศดีมาก", "สวัสดีค่ะ"),
        ("مرحبا يا صديقي العزيز، كيف حالك؟", "مرحبا يا صديقي العزيز،"),
        ("No comma before the end. Then, more of it, comes.", "No comma before the end."),
    ],
)
def test_the_first_clause_ends_early(text: str, first: str) -> None:
    assert split(text, [])[0].text == first


def test_only_the_first_spoken_piece_ends_early() -> None:
    text = "```\ncode\n```\nHello there, my friend, you. Now this one, as you see, is whole."
    assert pieces(text, first_clause=True) == [
        "```\ncode\n```",
        "\nHello there,",
        " my friend, you.",
        " Now this one, as you see, is whole.",
    ]


def test_each_piece_says_what_is_spoken_of_it() -> None:
    sentences = split("*waves* **Hi** there! See `x`.\n```\ny. z\n```\n😊", [], first_clause=False)
    assert [sentence.speech for sentence in sentences] == ["Hi there!", "See x.", "", ""]


def test_the_splitter_is_ready_for_another_answer_after_the_end() -> None:
    splitter = SentenceSplitter()
    for _ in range(2):
        out = [
            *splitter.feed("```\nopen"),
            *splitter.finish(),
            *splitter.feed("My dear friend, hi."),
            *splitter.finish(),
        ]
        assert [sentence.text for sentence in out] == ["```\nopen", "My dear friend,", " hi."]
    assert splitter.finish() == []


def test_an_overlong_sentence_breaks_at_a_clause_or_a_word() -> None:
    assert pieces("word " * 30 + "now, " + "word " * 60)[0].endswith("now,")
    for text in ("word " * 200, "字" * 1000, "ประเทศไทย" * 100, "wordy, " * 150):
        parts = pieces(text)
        assert max(map(len, parts)) <= LONGEST
        assert min(map(len, parts[:-1])) >= 100


def test_what_has_no_place_to_break_stays_whole() -> None:
    url = "https://example.com/" + "a" * 2000
    assert pieces(url + " is long. Yes.") == [url + " is long.", " Yes."]


@pytest.mark.parametrize("mark", ["*", "_", "`", "<", "[", "(", "（", "«", '"'])
def test_a_stray_opening_mark_holds_nothing_for_long(mark: str) -> None:
    deltas = ["Well ", mark + "this", *[" goes on. And on"] * 200]
    assert 0 <= proven_by(deltas) < 70


def test_a_fence_that_opens_in_a_line_or_closes_behind_code() -> None:
    assert pieces("See: ```py\na. B\nc```\nDone.") == ["See: ", "```py\na. B\nc```", "\nDone."]
    assert pieces("````\n```\na. B\n````\nDone.") == ["````\n```\na. B\n````", "\nDone."]
    assert pieces("```not a fence``` here. Yes.") == ["```not a fence``` here.", " Yes."]
