"""Which protocol carries an endpoint."""

from dataclasses import dataclass
from enum import Enum

from greenroom.rpc.declaration import EndpointAttributes, HttpMethod


class ProtocolType(Enum):
    HTTP = 0
    WebSockets = 1


@dataclass(frozen=True, slots=True)
class ProtocolModel:
    """:param http_method: ``None`` for a websocket."""

    type: ProtocolType
    http_method: HttpMethod | None

    @classmethod
    def parse(cls, attributes: EndpointAttributes) -> "ProtocolModel":
        if attributes.is_websocket:
            return cls(ProtocolType.WebSockets, None)
        return cls(ProtocolType.HTTP, attributes.method)

    @property
    def is_websocket(self) -> bool:
        return self.type is ProtocolType.WebSockets
