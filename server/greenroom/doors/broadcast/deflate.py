"""permessage-deflate for jaison's websocket, which its clients offer: agreed to, and used where something is gained.

Long texts (prompts, histories) shrink to a fraction. Sound does not: base64 of PCM costs time on every frame and leaves
little less to send; RFC 7692 lets each message be sent as it is. The other websockets here have no extension.
"""

from collections.abc import Sequence
from typing import Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.typing import ExtensionParameter

_WORTH_IT_BYTES: Final = 1024
_SOUND: Final = b'"audio_bytes": "'
_SOUND_BEGINS: Final = 512
"""bytes: it is the first thing in a result"""


class SparingDeflate(PerMessageDeflate):
    def encode(self, frame: Frame) -> Frame:
        data = frame.data
        if len(data) < _WORTH_IT_BYTES or _SOUND in bytes(data[:_SOUND_BEGINS]):
            return frame
        return super().encode(frame)


class _Factory(ServerPerMessageDeflateFactory):
    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        answer, agreed = super().process_request_params(params, accepted_extensions)
        sparing = SparingDeflate(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
            agreed.compress_settings,
        )
        return answer, sparing


class Protocol(WebSocketsSansIOProtocol):
    """uvicorn's, with the extension at ``/``."""

    def handle_connect(self, event: Request) -> None:
        if event.path.partition("?")[0] == "/":
            # Little memory for each connection: most frames are not compressed.
            factory = _Factory(server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5})
            self.conn.available_extensions = [factory]
        super().handle_connect(event)
