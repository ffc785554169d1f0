"""A stand-in for the package ``sounddevice``: a device that plays as fast as it is asked to, or that is not there."""

from typing import Any


class PortAudioError(Exception):
    pass


class RawOutputStream:
    def __init__(self, owner: "SoundDevice", options: dict[str, Any]) -> None:
        self._owner = owner
        self.options = options
        self.running = False
        self.ended_by = ""

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.ended_by = self.ended_by or "stop"

    def abort(self) -> None:
        self.ended_by = self.ended_by or "abort"

    def close(self) -> None:
        self.running = False

    def pull(self, size: int) -> bytes:
        """As the device's thread does: ask for the next ``size`` bytes."""
        target = bytearray(size)
        self.options["callback"](memoryview(target), size, None, None)
        self._owner.played += bytes(target)
        return bytes(target)


class SoundDevice:
    """To be put into ``sys.modules``."""

    PortAudioError = PortAudioError

    def __init__(self, *, there: bool = True, refuses: bool = False) -> None:
        self._there = there
        self._refuses = refuses
        self.streams: list[RawOutputStream] = []
        self.played = b""

    def query_devices(self, kind: str) -> dict[str, Any]:
        if not self._there:
            raise PortAudioError("Error querying device -1")
        return {"name": f"test {kind}"}

    def RawOutputStream(self, **options: Any) -> RawOutputStream:
        if self._refuses:
            raise PortAudioError("Invalid sample rate")
        self.streams.append(RawOutputStream(self, options))
        return self.streams[-1]
