"""AIFF, which macOS writes where a sound file is asked for: big-endian PCM in chunks with names."""

import math
import struct
from array import array
from typing import Final

from greenroom.errors import BindingFailed
from greenroom.values import Audio

_BIG, _LITTLE = (b"NONE", b"twos"), (b"sowt",)
_EXPONENT_BIAS: Final = 16_383
_MANTISSA_BITS: Final = 63


def read_aiff(data: bytes) -> Audio:
    """Of 16 bits a sample. :raises BindingFailed: for anything else"""
    kind = data[8:12]
    if data[:4] != b"FORM" or kind not in (b"AIFF", b"AIFC"):
        raise BindingFailed("the system's voice wrote a file that is neither WAV nor AIFF")
    common = sound = b""
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from(">4sI", data, at)
        if name == b"COMM":
            common = data[at + 8 : at + 8 + size]
        elif name == b"SSND":
            (offset,) = struct.unpack_from(">I", data, at + 8)
            sound = data[at + 16 + offset : at + 8 + size]
        at += 8 + size + size % 2
    if len(common) < 18:
        raise BindingFailed("the system's voice wrote an AIFF file that does not say its format")
    channels, _, bits = struct.unpack_from(">HIH", common)
    compression = common[18:22] if kind == b"AIFC" else b"NONE"
    if bits != 16 or compression not in _BIG + _LITTLE or not channels:
        raise BindingFailed(f"the system's voice wrote an AIFF file of an unknown kind: {bits} bits, {compression!r}")
    whole = len(sound) - len(sound) % (2 * channels)
    samples = array("h", sound[:whole])
    if compression in _BIG:
        samples.byteswap()
    return Audio(samples.tobytes(), _rate(common[8:18]), 2, channels)


def _rate(extended: bytes) -> int:
    """An 80-bit float of IEEE 754, as Hz."""
    exponent, mantissa = struct.unpack(">HQ", extended)
    return round(math.ldexp(mantissa, (exponent & 0x7FFF) - _EXPONENT_BIAS - _MANTISSA_BITS))
