"""An endpoint as something to call: the signature of the declaration, the method on the other side.

    class Greeter(IGreeter):
        def __init__(self, base_url: str) -> None:
            ApiCall.define_endpoints(self, base_url, IGreeter)

A plain declaration is called plainly. ``async def`` is awaited, and an ``AsyncIterator`` drawn, on the loop; so is
every endpoint that was defined with ``asynchronous=True``, and any by :meth:`ApiCall.acall`.
"""

import inspect
import weakref
from collections.abc import Iterator
from typing import Any, Final

from greenroom.rpc.client.client import Client
from greenroom.rpc.client.options import ClientOptions
from greenroom.rpc.client.replies import AsyncStream, Stream
from greenroom.rpc.content import CallModel
from greenroom.rpc.model import EndpointModel, ServiceModel

RAW_ITEMS: Final = 5


class ApiCall:
    """
    :param custom_prefix: in place of the service's name in the URL.
    :param client: shares its connections; one is made for ``options`` without it.
    :ivar last_request: the :class:`CallModel` of the last call
    :ivar last_raw_response: the JSON of a plain answer, or the first five raw items of a stream
    """

    def __init__(
        self,
        base_url: str,
        model: EndpointModel,
        custom_prefix: str | None = None,
        *,
        secret: str = "",
        options: ClientOptions | None = None,
        client: Client | None = None,
        asynchronous: bool = False,
    ) -> None:
        self.model = model
        self.client = client or Client(base_url, options or ClientOptions(secret=secret))
        self.last_request: CallModel | None = None
        self._last: Any = None
        self.last_raw_response: Any = None
        self._factory = CallModel.Factory(base_url, model, model.address(custom_prefix))
        self._is_coroutine = asynchronous or inspect.iscoroutinefunction(model.signature.callable)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """:raises TypeError: as Python would, and for a value of another type than declared
        :raises ApiError: for any answer but a result
        """
        return self.make_call(self.create_content_model(*args, **kwargs))

    def create_content_model(self, *args: Any, **kwargs: Any) -> CallModel:
        """The call, not yet made."""
        return self._factory(*args, **kwargs)

    def make_call(self, model: CallModel) -> Any:
        if self._is_coroutine:
            return self._acall(model)
        note = self._noted(model)
        return self._keep(
            self.client.astream(model, note) if self.model.result.is_async else self.client.call(model, note)
        )

    @property
    def last_response(self) -> Any:
        """What the last call returned; ``None`` for a stream that its owner has dropped."""
        return self._last() if isinstance(self._last, weakref.ref) else self._last

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """The call on the running loop, however it was declared: the value, or an asynchronous generator."""
        return await self._acall(self.create_content_model(*args, **kwargs))

    async def aprepare(self, *args: Any, count: int = 1, **kwargs: Any) -> None:
        """Opens websockets for calls with these arguments, of which only those in the URL count.

        :raises ApiError: if the server is not there
        """
        await self.client.prepare(self.create_content_model(*args, **kwargs).content.url, count)

    @staticmethod
    def define_endpoints(
        obj: Any,
        base_url: str,
        interface: Any,
        custom_prefix: str | None = None,
        *,
        secret: str = "",
        options: ClientOptions | None = None,
        client: Client | None = None,
        asynchronous: bool = False,
    ) -> Client:
        """Sets an :class:`ApiCall` for each endpoint of the interface as an attribute of ``obj``.

        :param interface: a ``@service`` class, or one with its types
        :raises TypeError: if it is no service, or an endpoint of it has a type that no wire carries
        """
        shared = client or Client(base_url, options or ClientOptions(secret=secret))
        calls = ApiCall.iterate_endpoints(base_url, interface, custom_prefix, client=shared, asynchronous=asynchronous)
        for name, call in calls:
            setattr(obj, name, call)
        return shared

    @staticmethod
    def iterate_endpoints(
        base_url: str,
        interface: Any,
        custom_prefix: str | None = None,
        *,
        secret: str = "",
        options: ClientOptions | None = None,
        client: Client | None = None,
        asynchronous: bool = False,
    ) -> Iterator[tuple[str, "ApiCall"]]:
        """Name and call of each endpoint, over one client."""
        shared = client or Client(base_url, options or ClientOptions(secret=secret))
        for model in ServiceModel.parse(interface).endpoints:
            yield model.name, ApiCall(base_url, model, custom_prefix, client=shared, asynchronous=asynchronous)

    async def _acall(self, model: CallModel) -> Any:
        return self._keep(await self.client.acall(model, self._noted(model)))

    def _keep(self, response: Any) -> Any:
        # A stream ends when its owner drops it, so this must not hold it.
        self._last = weakref.ref(response) if isinstance(response, (Stream, AsyncStream)) else response
        return response

    def _noted(self, model: CallModel) -> Any:
        self.last_request = model
        self._last = None
        if not self.model.result.is_stream:
            self.last_raw_response = None
            return self._note
        first: list[Any] = []
        self.last_raw_response = first

        def note(raw: Any) -> None:
            if len(first) < RAW_ITEMS:
                first.append(raw)

        return note

    def _note(self, raw: Any) -> None:
        self.last_raw_response = raw
