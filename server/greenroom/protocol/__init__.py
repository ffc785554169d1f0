"""What crosses the wire, typed in one place: commands (what clients ask) and events (what the server sends)."""

PROTOCOL_VERSION = 1
