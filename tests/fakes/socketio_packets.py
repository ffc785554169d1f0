"""python-socketio's own packet codec, as the other side of ours."""

from typing import Any

from socketio.packet import BINARY_EVENT, EVENT, Packet


def encode(name: str, data: Any, ack_id: int | None = None) -> tuple[str, list[bytes]]:
    encoded = Packet(EVENT, data=[name, data], id=ack_id).encode()
    return (encoded, []) if isinstance(encoded, str) else (encoded[0], encoded[1:])


def decode(text: str, attachments: list[bytes]) -> tuple[str, Any]:
    packet = Packet(encoded_packet=text)
    assert (packet.packet_type == BINARY_EVENT) == bool(attachments)
    for attachment in attachments:
        packet.add_attachment(attachment)
    name, data = packet.data
    return name, data
