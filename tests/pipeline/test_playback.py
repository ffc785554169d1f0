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
