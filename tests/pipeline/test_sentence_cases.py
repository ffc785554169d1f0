"""Where sentences end, script by script: ``¦`` stands where a piece ends and the next one begins."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.pipeline.sentences import Sentence, SentenceSplitter

CASES = {
    "english": "Hello there.¦ How are you?¦ I am fine!¦ Good.",
    "english without capitals": "hello there.¦ how are you?¦ i am fine!¦ and you?",
    "titles": "Mr. Smith met Mrs. Jones and Dr. Who.¦ They talked to Prof. Xavier.",
    "street and saint": "The Oak at St. James was old.¦ He lives on Oak St.¦ He likes it there.",
    "latin": "Take fruit, e.g. apples, i.e. something sweet, etc. and rest.¦ Bring apples, pears, etc.¦ Go now.",
    "number sign": "No. 5 is alive.¦ No.¦ I will not.¦ See Fig. 3 and Vol. 2, p. 12.¦ Done.",
    "initials": "J. R. R. Tolkien wrote it.¦ George R. R. Martin did not.¦ I know John F. Kennedy Airport.",
    "a letter at the end": "We need plan B.¦ Then we go.¦ You and I.¦ Nobody else.",
    "acronyms": "The U.S. Army came.¦ He lives in the U.S.¦ He likes it.¦ She has a Ph.D. in physics.",
    "companies": "Apple Inc. is big.¦ Smith & Co. Ltd. was not.¦ John Jr. came too.",
    "clock": "We meet at 5 p.m. Monday.¦ We leave at 6 a.m. sharp.¦ It is 7 p.m.¦ Dinner is ready.",
    "months": "On Jan. 5 and Sept. 3 we met.¦ It rained in Feb.¦ We stayed.",
    "numbers": "Pi is 3.14159 or so.¦ It costs 1,000.50 dollars.¦ I paid $5.¦ That is 50%.",
    "years": "Born in 1990.¦ Then moved.¦ In 2001 came 9.¦ She is 10.",
    "versions and times": "Version 2.0.1 is out.¦ It is 10:30.¦ Python 3.11 works.¦ I run 2.0.¦ You too?",
    "file names": "Edit config.yaml first.¦ Then run main.py.¦ See .gitignore too.¦ Use node.js.¦ Done.",
    "addresses": "See example.com/a.b?c=d for more.¦ Visit https://example.com/x.html.¦ Mail a.b@example.com.¦ Bye.",
    "quotes": 'He said "Stop!"¦ Then he left.¦ "Why?" he asked.¦ "I see."¦ Then she smiled.',
    "curly quotes": "“Stop!” he said.¦ “I will not.”¦ She left.",
    "brackets": "He left (I think.)¦ She stayed (why?) and slept.¦ (It rained! Hard.)¦ Then sun.",
    "ellipses": "Well... I think so.¦ Hmm... okay then… and so on.¦ He left...¦ She stayed.",
    "question runs": "What?!¦ No way!!!¦ Really??¦ Yes!?¦ Ok.",
    "emoji": "Hi!¦ 😀 How are you?¦ Great!😊¦ Bye 👩‍👩‍👧‍👦!¦ See you.",
    "lines": "The title¦\n\nFirst line here¦\nSecond line here.¦\nThird.",
    "wrapped lines": "This is a rather long line that somebody wrapped by hand\nand that goes on here.¦ Done.",
    "lists": "Do this:¦\n1. First thing¦\n2. Second thing¦\n\nThe end.",
    "list in a line": "Three fruits: 1. Apples 2. Pears 3. Plums.¦ That is all.",
    "bullets": "- one thing¦\n- another thing¦\n* a third",
    "code": "Run this:¦\n```python\nprint('Hi. There')\n\nx = 1.  # No! Yes?\n```¦\nThat was it.¦ Bye.",
    "code in a line": "Call `a.b(). c()` now.¦ Then ``x. `y` z`` too.¦ Done.",
    "tilde fence": "~~~\na. B. c!\n~~~¦\nDone.¦ Bye.",
    "emotes": "*She waves. She smiles.* Hello!¦ I *really* mean it.¦ *bows* Good night.",
    "bold": "**Stop.¦ Now.**¦ Go on.",
    "links": "See [my page. It is new](http://example.com/a.b) today.¦ [joy] Yay!",
    "tags": '<voice name="A. B. C">Hello.¦ World.</voice>',
    "dashes": "I was thinking – maybe – that we go.¦ Wait—no!¦ Fine.",
    "lone smile": "I am sad :( But okay.¦ Next one.",
    "german": "Das ist z. B. gut, bzw. sehr gut.¦ Er wohnt in der Hauptstr. 5.¦ Dr. Müller kommt.¦ Usw. usf.",
    "german ordinals": "Er kam am 3. Mai und wurde im 2. Lauf der 1. Sieger.¦ Das war am 5. Januar.¦ Schön!",
    "german roman": "Ludwig XIV. war König.¦ Er herrschte lange.",
    "french": "« Arrête ! » dit-il.¦ Quoi ?¦ Non !¦ M. Dupont et Mme. Martin vivent ici.¦ Voilà.",
    "french abbreviations": "Prenez p. ex. une pomme, c.-à-d. un fruit.¦ Né en 50 av. J.-C. à Rome.",
    "spanish": "¡Hola!¦ ¿Qué tal?¦ El Sr. García vive aquí.¦ La Sra. López también.¦ ¿Y usted?",
    "italian": "Il Sig. Rossi è qui.¦ La Dott.ssa Bianchi no.¦ Ci vediamo domani, ecc.¦ Ciao!",
    "portuguese": "O Sr. Silva chegou.¦ A Dra. Costa saiu.¦ Tudo bem?¦ Sim, p. ex. agora.",
    "dutch and polish": "Dhr. Jansen komt, bijv. morgen.¦ To jest np. kot.¦ Tak.",
    "turkish": "Dr. Yılmaz geldi.¦ 3. sınıfta okuyor.¦ Nasılsın?",
    "russian": "Привет!¦ Как дела?¦ Он жил на ул. Ленина, т.е. в центре.¦ Это А. С. Пушкин.¦ Хорошо.",
    "greek": "Γεια σου.¦ Τι κάνεις\u037e¦ Καλά, π.χ. σήμερα.",
    "chinese": "你好。¦我是小明！¦今天天气很好，我们去吧？¦好……我不知道。",
    "chinese quotes": "他说：“停！”¦然后走了。¦“你好！”，他说。¦（真的吗？）¦是的。",
    "chinese with numbers": "圆周率是3.14159。¦价格是1,000.50元。¦请看example.com。¦谢谢！",
    "chinese ascii marks": "你好!¦我是小明.¦你呢?¦好的",
    "traditional": "「你好嗎？」¦我很好！！¦真的嗎？！¦是的。",
    "japanese": "こんにちは。¦お元気ですか？¦「行こう。」と言った。¦えっと…そうですね。",
    "japanese half width": "ｺﾝﾆﾁﾊ｡¦ｹﾞﾝｷ?",
    "korean": "안녕하세요.¦ 잘 지내세요?¦ 네.¦ 저는 잘 지내요!",
    "thai": "สวัสดีค่ะ วันนี้อากาศดีมากเลยนะคะ¦ คุณสบายดีไหม ไปทะเลกันเร็วๆ นี้นะคะ¦ ฉันรอไม่ไหวแล้ว",
    "thai with numbers": "ราคา 500 บาทค่ะ",
    "lao": "ສະບາຍດີ ມື້ນີ້ອາກາດດີຫຼາຍເດີ¦ ເຈົ້າສະບາຍດີບໍ່",
    "hindi": "नमस्ते।¦ आप कैसे हैं?¦ डॉ. शर्मा आए।¦ ठीक है॥¦ चलो।",
    "bengali": "আমি ভালো আছি।¦ তুমি কেমন আছ?¦ ভালো।",
    "tamil": "வணக்கம்.¦ எப்படி இருக்கிறீர்கள்?¦ நலம்!",
    "arabic": "مرحبا!¦ كيف حالك؟¦ أنا بخير.¦ التقيت د. أحمد، وشكرته.",
    "urdu": "میں ٹھیک ہوں۔¦ آپ کیسے ہیں؟¦ شکریہ۔",
    "persian": "سلام.¦ حال شما چطور است؟¦ می‌روم.",
    "hebrew": "שלום.¦ מה שלומך?¦ טוב!",
    "armenian": "Բարև։¦ Ինչպե՞ս ես։¦ Լավ եմ։",
    "amharic": "ሰላም።¦ እንዴት ነህ፧¦ ደህና ነኝ።",
    "khmer": "សួស្តី។¦ តើអ្នកសុខសប្បាយទេ?¦ បាទ។",
    "burmese": "မင်္ဂလာပါ။¦ နေကောင်းလား။¦ ကောင်းပါတယ်။",
    "georgian": "გამარჯობა.¦ როგორ ხარ?¦ კარგად!",
    "vietnamese, decomposed": "Cha\u0300o ba\u0323n.¦ Ba\u0323n khoe\u0309 kho\u0302ng?¦ To\u0302i khoe\u0309.",
    "mixed": "Hello 世界。¦你好 world!¦ Next.",
    "crlf": "One line.¦\r\nTwo lines.¦\r\n\r\nThree.",
}

TABLE = [pytest.param(case, id=name) for name, case in CASES.items()]


def split(text: str, cuts: list[int], first_clause: bool = False) -> list[Sentence]:
    splitter = SentenceSplitter(first_clause)
    edges = [0, *sorted(cuts), len(text)]
    deltas = [text[start:end] for start, end in pairwise(edges)]
    return [sentence for delta in deltas for sentence in splitter.feed(delta)] + splitter.finish()


@pytest.mark.parametrize("case", TABLE)
def test_whole(case: str) -> None:
    assert [sentence.text for sentence in split(case.replace("¦", ""), [])] == case.split("¦")


@pytest.mark.parametrize("case", TABLE)
def test_character_by_character(case: str) -> None:
    text = case.replace("¦", "")
    assert [sentence.text for sentence in split(text, list(range(len(text))))] == case.split("¦")


@settings(max_examples=300, deadline=None)
@given(case=st.sampled_from(sorted(CASES.values())), data=st.data())
def test_any_cutting(case: str, data: st.DataObject) -> None:
    text = case.replace("¦", "")
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=30))
    assert [sentence.text for sentence in split(text, cuts)] == case.split("¦")
    assert split(text, cuts, first_clause=True) == split(text, [], first_clause=True)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60
