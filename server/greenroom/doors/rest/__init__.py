"""jaison's REST interface: jobs are queued here, and what becomes of them is told on the websocket."""

from greenroom.doors.rest.door import RestDoor

__all__ = ["RestDoor"]
