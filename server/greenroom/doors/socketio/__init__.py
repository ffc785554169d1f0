"""The native Socket.IO door, which lollms' clients of 2023 use as well."""

from greenroom.doors.socketio.client import Limits
from greenroom.doors.socketio.door import SocketDoor

__all__ = ["Limits", "SocketDoor"]
