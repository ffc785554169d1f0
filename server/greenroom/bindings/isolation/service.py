"""What crosses, as a service of :mod:`greenroom.rpc`: declared here once, served by the host, called by the proxies.

Every call names the operation, which :meth:`IBindingHost.hold` has opened, and carries the ids of the session and the
job for which it is made, so that the other side's log records have them, too. Streams are bytes: messages of
:mod:`greenroom.bindings.isolation.codec`. All arguments travel in the websocket's first message, so every call of one
endpoint has the same URL and takes a connection that is open already.
"""

# mypy: disable-error-code="empty-body"

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from greenroom.rpc.client.api_call import ApiCall
from greenroom.rpc.client.client import Client
from greenroom.rpc.client.options import ClientOptions
from greenroom.rpc.declaration import service, websocket

VERSION: Final = 2
"""of the streams' messages and the arguments; sides of two versions do not find each other's URLs"""
SPARE_DELAY_S: Final = 0.02
OPEN: Final = b"open"
CLOSED: Final = b"closed"
UNLOADED: Final = "operation_unloaded"
"""kind of the error for an operation that is not open here (any more)"""


@service
class IBindingHost:
    """One binding's operations, in the process that runs them."""

    @websocket
    async def describe(self) -> dict[str, Any]:
        """See :func:`greenroom.bindings.isolation.description.describe`."""

    @websocket(force_json_params=True)
    async def models(self, role: str, options: dict[str, Any], ids: dict[str, str]) -> list[list[Any]]:
        """A row a model: name, description, installed, size in bytes."""

    @websocket(force_json_params=True)
    def hold(
        self, operation: str, role: str, options: dict[str, Any], ids: dict[str, str], until: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """Opens an operation under the caller's id for it; ``open`` once it is, ``closed`` once it is no more.

        It is closed when ``until``, which carries nothing, ends or is cut off.
        """

    @websocket(force_json_params=True)
    def generate(self, operation: str, prompt: dict[str, Any], ids: dict[str, str]) -> AsyncGenerator[bytes, None]:
        """A model's answer to a prompt, as :func:`codec.prompt_fields` writes it."""

    @websocket(force_json_params=True)
    def stream(
        self, operation: str, method: str, hint: str, ids: dict[str, str], inputs: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """``transcribe``, ``speak`` or ``apply``: items in, items out, both at once."""

    @websocket(force_json_params=True)
    def ask(
        self, operation: str, method: str, arguments: list[Any], ids: dict[str, str]
    ) -> AsyncGenerator[bytes, None]:
        """``voices``, ``tokenize``, ``detokenize``: one answer in JSON; ``embed``: one array."""


def prefix(binding_id: str) -> str:
    return f"binding/{VERSION}/{binding_id}"


class BindingApi(IBindingHost):
    """The host behind an address. To be closed by ``client.aclose()``."""

    def __init__(self, base_url: str, binding_id: str, secret: str) -> None:
        options = ClientOptions(secret=secret, spare_sockets=1, spare_delay_s=SPARE_DELAY_S)
        self.client: Client = ApiCall.define_endpoints(
            self, base_url, IBindingHost, prefix(binding_id), options=options
        )
