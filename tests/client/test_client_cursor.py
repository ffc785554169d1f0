from greenroom.client.cursor import Cursor, Rejoined, Verdict


def joined(seq: int = 0) -> Cursor:
    cursor = Cursor()
    assert cursor.joined(epoch="a", seq=seq, resumed=False) is Rejoined.FIRST
    return cursor


def test_numbers_in_order_are_taken_and_repeats_dropped() -> None:
    cursor = joined(4)
    assert [cursor.take(seq).verdict for seq in (5, 6, 5, 6, 7)] == [
        Verdict.TAKE,
        Verdict.TAKE,
        Verdict.DROP,
        Verdict.DROP,
        Verdict.TAKE,
    ]
    assert cursor.last_seq == 7


def test_a_gap_asks_once_and_waits_for_the_repeat() -> None:
    cursor = joined()
    cursor.take(1)
    assert cursor.take(4).verdict is Verdict.REJOIN
    assert cursor.take(5).verdict is Verdict.DROP
    assert cursor.joined(epoch="a", seq=1, resumed=True) is Rejoined.RESUMED
    steps = [cursor.take(seq) for seq in (2, 3, 4, 5)]
    assert {step.verdict for step in steps} == {Verdict.TAKE}
    assert not any(step.missed for step in steps)


def test_what_the_server_does_not_repeat_is_missed() -> None:
    cursor = joined()
    assert cursor.take(3).verdict is Verdict.REJOIN
    cursor.joined(epoch="a", seq=0, resumed=True)
    step = cursor.take(3)
    assert step.verdict is Verdict.TAKE
    assert list(step.missed) == [1, 2]


def test_a_gap_that_cannot_be_filled_holds_nothing_up() -> None:
    cursor = joined()
    assert cursor.take(3).verdict is Verdict.REJOIN
    cursor.give_up()
    assert cursor.take(4).missed == range(1, 4)


def test_dropped_audio_counts_as_all_its_numbers() -> None:
    cursor = joined()
    assert cursor.take(1, 5).verdict is Verdict.TAKE
    assert cursor.take(5).verdict is Verdict.DROP
    assert cursor.take(6).verdict is Verdict.TAKE


def test_the_log_may_be_trimmed_or_lost() -> None:
    cursor = joined(3)
    assert cursor.joined(epoch="a", seq=90, resumed=False) is Rejoined.TRIMMED
    assert cursor.last_seq == 90
    assert cursor.joined(epoch="b", seq=2, resumed=False) is Rejoined.RESTARTED
    assert (cursor.epoch, cursor.last_seq) == ("b", 2)
