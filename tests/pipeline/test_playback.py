import pytest

from greenroom.pipeline.playback import Playback, SpokenSentence, place_of
from greenroom.values import WordTime


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def spoken(clock: Clock, *sentences: tuple[str, float]) -> Playback:
    """A turn whose sentences have all been sent at once, each with so many milliseconds of sound."""
    playback = Playback(clock, audible=True)
    for index, (text, duration_ms) in enumerate(sentences):
        playback.sentences.append(SpokenSentence(text, text.strip()))
        if duration_ms:
            playback.sent(index, duration_ms)
        playback.sentences[index].whole = True
    return playback


def test_chunks_start_when_sent_or_when_the_one_before_has_ended(clock: Clock) -> None:
    playback = Playback(clock, audible=True)
    playback.sentences.append(SpokenSentence("One two.", "One two."))
    playback.sent(0, 1000)
    clock.now += 0.4
    playback.sent(0, 500)
    assert playback.ends_at == pytest.approx(101.5)
    assert playback.lead_ms() == pytest.approx(1100)
    clock.now = 103.0
    assert not playback.playing
    playback.sent(0, 100)
    assert playback.ends_at == pytest.approx(103.1)
    clock.now = 103.05
    assert playback.clock_ms() == pytest.approx(1550)


def test_heard_by_the_clock_falls_on_a_word(clock: Clock) -> None:
    playback = spoken(clock, ("One two three four. ", 2000), ("Five six.", 1000))
    clock.now += 1.1
    heard, unheard = playback.heard()
    assert heard == "One two"
    assert heard + unheard == "One two three four. Five six."
    clock.now += 10
    assert playback.heard() == ("One two three four. Five six.", "")


def test_nothing_heard_yet(clock: Clock) -> None:
    playback = spoken(clock, ("Hello there.", 1000))
    assert playback.heard() == ("", "Hello there.")


def test_word_times_decide_where_there_are_any(clock: Clock) -> None:
    playback = spoken(clock, ("Short extraordinarily.", 1000))
    playback.sentences[0].words += [WordTime("Short", 0, 200, 0), WordTime("extraordinarily", 200, 1000, 6)]
    assert playback.heard(heard_ms=250)[0] == "Short"
    assert playback.heard(heard_ms=150)[0] == ""


def test_what_the_client_says_wins_over_the_player_and_the_clock(clock: Clock) -> None:
    playback = spoken(clock, ("One two three four. ", 2000), ("Five six.", 1000))
    clock.now += 10
    playback.report(0, 1000)
    assert playback.heard()[0] == "One two"
    assert playback.heard(heard_ms=2000)[0] == "One two three four. "
    assert playback.heard(heard_text="one, TWO three")[0] == "One two three"
    assert playback.heard(heard_text="One two three four. F")[0] == "One two three four. F"


def test_reports_only_move_forward(clock: Clock) -> None:
    playback = spoken(clock, ("One two three four. ", 2000), ("Five six.", 1000))
    playback.report(1, 1000)
    playback.report(0, 500)
    assert playback.heard()[1] == ""


def test_a_silent_sentence_counts_with_the_one_before_it(clock: Clock) -> None:
    playback = spoken(clock, ("Hello. ", 1000), ("*waves* ", 0), ("Bye.", 1000))
    assert playback.heard(heard_ms=1000)[0] == "Hello. *waves* "


def test_without_a_voice_what_was_shown_was_heard(clock: Clock) -> None:
    playback = Playback(clock, audible=False)
    playback.shown = "Half a sen"
    assert playback.heard() == ("Half a sen", "")
    assert not playback.playing


def test_text_beyond_the_sent_sound_is_unheard(clock: Clock) -> None:
    playback = spoken(clock, ("Said. ", 1000))
    playback.sentences.append(SpokenSentence("Waiting. ", "Waiting."))
    playback.shown = "And more"
    assert playback.heard_in_the_end() == ("Said. ", "Waiting. And more")


@pytest.mark.parametrize(
    ("heard", "place"), [("", 0), ("Hello", 5), ("hello WORLD", 12), ("something else", 0), ("Hello, world! And", 12)]
)
def test_place_of(heard: str, place: int) -> None:
    assert place_of("Hello, world! Yes.", heard) == place


def told(clock: Clock, text: str, speech: str, *, whole: bool = True) -> Playback:
    """One sentence of a second for each word of its speech."""
    playback = Playback(clock, audible=True)
    playback.sentences.append(SpokenSentence(text, speech))
    playback.sent(0, 1000.0 * len(speech.split()))
    playback.sentences[0].whole = whole
    return playback


@pytest.mark.parametrize(
    ("text", "speech", "heard_ms", "heard"),
    [
        ("*waves her hand slowly* Hello there.", "Hello there.", 1000, "*waves her hand slowly* Hello"),
        ("Hello there *and waves her hand slowly*.", "Hello there.", 1000, "Hello"),
        ("Hello *smiles* there *waves*.", "Hello there.", 2000, "Hello *smiles* there *waves*."),
        ("*looks at the door* Look at the door now.", "Look at the door now.", 2000, "*looks at the door* Look at"),
        ("**Hello** _there_ you.", "Hello there you.", 1000, "**Hello**"),
        (
            "See https://www.example.com/a/b?c=d for all.",
            "See example.com for all.",
            3000,
            "See https://www.example.com",
        ),
        ("5 > 3.", "five greater three.", 1000, "5"),
    ],
)
def test_what_is_shown_and_not_spoken_is_no_word_heard(
    clock: Clock, text: str, speech: str, heard_ms: float, heard: str
) -> None:
    playback = told(clock, text, speech)
    found = playback.heard(heard_ms=heard_ms)
    assert "".join(found) == text
    assert found[0] == heard


def test_without_spaces_a_part_of_the_sentence_is_heard(clock: Clock) -> None:
    playback = told(clock, "今天天气很好。", "今天天气很好。")
    assert playback.heard(heard_ms=500)[0] == "今天天"
    playback = told(clock, "สวัสดีครับ", "สวัสดีครับ")
    assert 0 < len(playback.heard(heard_ms=500)[0]) < 10


def test_word_times_that_have_come_so_far_say_nothing_of_the_words_to_come(clock: Clock) -> None:
    playback = told(clock, "One two three four.", "One two three four.", whole=False)
    playback.sentences[0].words += [WordTime("One", 0, 1000, 0), WordTime("two", 1000, 2000, 4)]
    assert playback.heard(heard_ms=2000)[0] == "One two"


def test_nobody_hears_more_than_was_sent(clock: Clock) -> None:
    playback = told(clock, "One two three four.", "One two three four.", whole=False)
    playback.sentences[0].sent_ms = playback.sent_ms = 100
    playback.report(5, 1e9)
    assert playback.heard()[0] == ""
    assert playback.heard(heard_ms=1e9)[0] == ""


def test_a_client_may_repeat_what_was_spoken(clock: Clock) -> None:
    playback = spoken(clock, ("*waves* Hello there. ", 1000), ("*nods* Good bye.", 1000))
    playback.sentences[0].speech, playback.sentences[1].speech = "Hello there.", "Good bye."
    assert playback.heard(heard_text="Hello")[0] == "*waves* Hello"
    assert playback.heard(heard_text="Hello there. Good")[0] == "*waves* Hello there. *nods* Good"
    assert playback.heard(heard_text="something else")[0] == ""


def test_a_turn_is_played_behind_the_one_before_it(clock: Clock) -> None:
    before, after = spoken(clock, ("One two. ", 2000)), Playback(clock, audible=True)
    after.follow(before.ends_at)
    after.sentences.append(SpokenSentence("Three four.", "Three four."))
    after.sent(0, 1000)
    after.sentences[0].whole = True
    assert after.lead_ms() == pytest.approx(3000)
    clock.now += 1
    assert after.heard()[0] == ""
    after.bring_forward(before.lead_ms())
    clock.now += 0.6
    assert after.heard()[0] == "Three"
