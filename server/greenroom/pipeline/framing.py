"""Cutting sound into chunks for the wire: whole frames, at most so long, nothing lost at the seams."""

from collections.abc import Sequence

from greenroom.values import Audio


def cut(pieces: Sequence[Audio], chunk_ms: int) -> list[Audio]:
    """Join neighbours of one format, then cut into parts of at most ``chunk_ms``; a broken last frame is left out."""
    chunks: list[Audio] = []
    start = 0
    while start < len(pieces):
        like = pieces[start]
        end = start + 1
        while end < len(pieces) and _same_format(like, pieces[end]):
            end += 1
        pcm = like.pcm if end == start + 1 else b"".join(piece.pcm for piece in pieces[start:end])
        step = max(1, like.sample_rate * chunk_ms // 1000) * like.frame_bytes
        whole = len(pcm) - len(pcm) % like.frame_bytes
        for offset in range(0, whole, step):
            part = pcm[offset : min(offset + step, whole)]
            chunks.append(Audio(part, like.sample_rate, like.sample_width, like.channels))
        start = end
    return chunks


def _same_format(one: Audio, other: Audio) -> bool:
    return (one.sample_rate, one.sample_width, one.channels) == (
        other.sample_rate,
        other.sample_width,
        other.channels,
    )
