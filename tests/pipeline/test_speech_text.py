import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.pipeline.speech_text import spoken

CASES = [
    # code
    ("Use `my_var` and `foo()` now.", "Use my var and foo now."),
    ("Hi\n```py\nx = 1\n```\nDone", "Hi Done"),
    ("~~~\nx\n~~~", ""),
    ("```\nnever closed", ""),
    # blocks
    ("# Heading", "Heading"),
    ("## Title ##", "Title"),
    ("- item one", "item one"),
    ("* item *two* here", "item two here"),
    ("- [x] done", "done"),
    ("1. Open it", "1. Open it"),
    ("> quoted", "quoted"),
    ("| a | b |", "a, b"),
    ("|---|:-:|", ""),
    ("***", ""),
    ("---", ""),
    # emphasis
    ("**bold**, __strong__ and ***both***", "bold, strong and both"),
    ("~~gone~~ but ~5 km. Bye~", "gone but ~5 km. Bye"),
    ("I *really* mean it", "I really mean it"),
    ("I am *not at all* sure", "I am not at all sure"),
    ("He read *The Lord of the Rings* twice", "He read The Lord of the Rings twice"),
    ("*Never* do that", "Never do that"),
    ("*No*, I won't. *Really*?", "No, I won't. Really?"),
    ('He said "*stop*" twice', 'He said "stop" twice'),
    ("He*l*lo", "Hello"),
    ("我*真的*喜欢你", "我真的喜欢你"),
    # emotes
    ("*waves happily* Hello!", "Hello!"),
    ("*Sighs* i don't know", "i don't know"),
    ("_grins_ Hey", "Hey"),
    ("*hugs you* _smiles_ Hi", "Hi"),
    ("Oh *blushes* thank you", "Oh thank you"),
    ("I think *scratches head thoughtfully* that works", "I think that works"),
    ("*She walks. She sits.*", ""),
    ("*waves*, how are you?", "how are you?"),
    ("你好！*挥手*我是小明。", "你好！我是小明。"),
    # not emphasis
    ("snake_case_name", "snake case name"),
    ("2 * 3 and 2*3*4", "2 × 3 and 2 × 3 × 4"),
    ("*never closed", "never closed"),
    (r"\*stars\*", "stars"),
    # links
    ("see [the docs](http://a.b/c_d(e)) now", "see the docs now"),
    ("see [the docs][1] now[^2]", "see the docs now"),
    ("![a cat](cat.png) Look", "Look"),
    ("https://www.example.com/a/b?c=d.", "example.com."),
    ("Go to example.com/a.b?c=d, then (https://x.org:80/y).", "Go to example.com, then (x.org)."),
    ("<https://user@x.org/y> and <mailto:a@b.c>", "x.org and a@b.c"),
    ("Mail a.b@example.com or see config.yaml", "Mail a.b@example.com or see config.yaml"),
    # tags
    ('<b>bold</b><br/><i class="x">it</i>', "bold it"),
    ('<|ACT {"emotion":"joy"}|>Hi', "Hi"),
    ("a <!-- note --> b", "a b"),
    ("[joy] Hello [laughs softly] you", "Hello you"),
    ("[This is a longer aside, read aloud]", "This is a longer aside, read aloud"),
    ("(pauses) Right", "(pauses) Right"),
    ("a[0] is b", "a 0 is b"),
    ("if a < b and c > d", "if a < b and c > d"),
    ("fish &amp; chips &#233; AT&T", "fish & chips é AT&T"),
    # pictures
    ("Hi 😀👍🏽 👩‍👩‍👧 there ❤️!", "Hi there!"),
    ("1️⃣ one 🇩🇪", "1 one"),
    ("I am sad :( but fine :D xD <3", "I am sad but fine"),
    ("(^_^) hi (T_T) (maybe) (5)", "hi (maybe) (5)"),
    ("😊", ""),
    # punctuation and space
    ("Wow!!!! Really???? What?!?!?! Hmm...... yes", "Wow! Really? What?! Hmm... yes"),
    ("I said -- well -- no", "I said — well — no"),
    ("A -> B → C", "A B C"),
    ("-5 degrees, .5 percent", "-5 degrees, .5 percent"),
    ("C# and #hashtag and #1", "C# and hashtag and #1"),
    ("  two\n lines \t here ", "two lines here"),
    ("...", ""),
    ("\x00a\ufeffb\ud800c", "abc"),
    # scripts
    ("नमस्ते क्\u200dया", "नमस्ते क्\u200dया"),
    ("می\u200cروم", "می\u200cروم"),
    ("**สวัสดี**ค่ะ", "สวัสดีค่ะ"),
    ("*Cha\u0300o* ba\u0323n *nhe\u0301*", "Cha\u0300o ba\u0323n nhe\u0301"),
    ("《书名》很好", "《书名》很好"),
]


@pytest.mark.parametrize(("shown", "said"), CASES)
def test_cases(shown: str, said: str) -> None:
    assert spoken(shown) == said


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="ab *_`~<>[](){}|#&;:/\\-.!?\n😀\u200d1A", max_size=200)))
def test_anything_becomes_one_line_that_a_voice_can_take(text: str) -> None:
    said = spoken(text)
    assert said == said.strip()
    assert "\n" not in said
    said.encode()
    assert not set(said) & set("*`{}")
