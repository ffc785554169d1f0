from hypothesis import given
from hypothesis import strategies as st

from greenroom.pipeline.framing import cut
from greenroom.values import Audio


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.sampled_from([1, 2, 4]), st.integers(20, 500))
def test_cutting_loses_nothing(frames: list[int], width: int, chunk_ms: int) -> None:
    pieces = [Audio(bytes([n % 256]) * (count * width), 22050, width) for n, count in enumerate(frames)]
    chunks = cut(pieces, chunk_ms)
    assert b"".join(chunk.pcm for chunk in chunks) == b"".join(piece.pcm for piece in pieces)
    assert all(chunk.duration_ms <= chunk_ms and len(chunk.pcm) % width == 0 for chunk in chunks)


def test_formats_are_never_mixed() -> None:
    chunks = cut([Audio(b"\1\2", 8000), Audio(b"\3\4", 16000), Audio(b"\5\6\7\10", 16000)], 1000)
    assert [(chunk.sample_rate, chunk.pcm) for chunk in chunks] == [(8000, b"\1\2"), (16000, b"\3\4\5\6\7\10")]
