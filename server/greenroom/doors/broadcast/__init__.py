"""jaison's websocket: every client hears every job of its session, in frames of two items."""

from greenroom.doors.broadcast.door import BroadcastDoor

__all__ = ["BroadcastDoor"]
