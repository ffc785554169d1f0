import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.protocol.events import AudioChunk, AudioDropped, TextChunk
from greenroom.session.replay import Entry, ReplayLog


def audio(size: int) -> AudioChunk:
    return AudioChunk(
        job_id="j", index=0, part=0, audio=bytes(size), sr=8000, sw=2, ch=1, t_ms=0, duration_ms=1, volumes=[]
    )


def read(log: ReplayLog, cursor: int) -> list[int | tuple[int, int]]:
    """The numbers that follow ``cursor``; a gap of audio as a pair."""
    found: list[int | tuple[int, int]] = []
    while (item := log.after(cursor)) is not None:
        if isinstance(item, AudioDropped):
            found.append((item.from_seq, item.to_seq))
            cursor = item.to_seq
        else:
            found.append(item.seq)
            cursor = item.seq
    return found


def test_numbers_count_up_by_one() -> None:
    log = ReplayLog(100_000)
    assert log.seq == 0
    assert [log.append(TextChunk(chunk=str(n))).seq for n in range(3)] == [1, 2, 3]
    assert read(log, 0) == [1, 2, 3]
    assert read(log, 2) == [3]
    assert read(log, 3) == []


def test_audio_leaves_first_and_stands_as_one_gap() -> None:
    log = ReplayLog(20_000)
    log.append(TextChunk(chunk="a"))
    for _ in range(3):
        log.append(audio(5000))
    log.append(TextChunk(chunk="b"))
    log.append(audio(9000))
    assert read(log, 0) == [1, (2, 3), 4, 5, 6]
    assert log.bytes <= 20_000


def test_a_log_full_of_text_keeps_the_newest_audio() -> None:
    """Else whoever listens to a long conversation would hear gaps in it."""
    log = ReplayLog(20_000)
    for number in range(500):
        log.append(TextChunk(chunk="x" * (number % 50)))
        if number % 3 == 0:
            cursor = log.seq
            numbers = [log.append(audio(1000)).seq for _ in range(3)]
            assert read(log, cursor) == numbers
        assert log.bytes <= 20_000


def test_a_cursor_that_fell_off_is_told_so() -> None:
    log = ReplayLog(10_000)
    for _ in range(100):
        log.append(TextChunk(chunk="x" * 100))
    assert log.bytes <= 10_000
    assert not log.reaches(0)
    with pytest.raises(LookupError):
        log.after(0)
    assert log.reaches(log.seq)
    assert not log.reaches(log.seq + 1)


def test_the_newest_event_is_always_there() -> None:
    log = ReplayLog(1000)
    entry = log.append(audio(50_000))
    assert log.after(0) is entry


def test_listeners_are_told_until_they_leave() -> None:
    log = ReplayLog(10_000)
    told: list[int] = []
    leave = log.subscribe(lambda: told.append(log.seq))
    log.append(TextChunk(chunk="a"))
    leave()
    leave()
    log.append(TextChunk(chunk="b"))
    assert told == [1]


@given(st.lists(st.integers(0, 4000), max_size=200), st.integers(3000, 30_000))
def test_a_reader_never_sees_an_unexplained_gap(sizes: list[int], limit: int) -> None:
    log = ReplayLog(limit)
    cursor = 0
    for position, size in enumerate(sizes):
        log.append(audio(size) if size % 2 else TextChunk(chunk="x" * (size % 500)))
        if position % 7 == 0 and log.reaches(cursor):
            item = log.after(cursor)
            if isinstance(item, Entry):
                assert item.seq == cursor + 1
                cursor = item.seq
            elif item is not None:
                assert item.from_seq == cursor + 1
                cursor = item.to_seq
        assert len(sizes) == 1 or log.bytes <= limit or log.seq == 1 or log.bytes <= limit + 4400
    assert log.seq == len(sizes)


def test_all_sound_can_be_let_go() -> None:
    log = ReplayLog(100_000)
    entry = log.append(TextChunk(chunk="a"))
    entry.wire["a door"] = "what it has made of it"
    log.append(audio(5000))
    log.drop_audio()
    assert read(log, 0) == [1, (2, 2)]
    assert entry.wire == {}, "nobody has read for a while: it is made again for who comes back"
    log.append(audio(10))
    assert read(log, 2) == [3]
