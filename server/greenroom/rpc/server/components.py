"""What a server is made of: anything that can mount itself on a Starlette application."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from greenroom.rpc.limits import Limits
from greenroom.rpc.model import EndpointModel, ServiceModel
from greenroom.rpc.server.calling import Method
from greenroom.rpc.server.route import EndpointRoute
from greenroom.rpc.workers import Workers


class IComponent(ABC):
    @abstractmethod
    def mount(self, app: Starlette) -> None:
        """Adds what this serves to the application."""

    def close(self) -> None:
        """Lets go of what :meth:`mount` or a call took. Called when the server stops; it may start again."""
        return


class ServiceComponent(IComponent):
    """Every endpoint of an object's ``@service`` classes.

    :param prefix: in place of the service's name; may hold slashes.
    :param limits: what this service may take, so that it cannot starve the others.
    """

    def __init__(self, service: Any, prefix: str | None = None, *, limits: Limits | None = None) -> None:
        """:raises TypeError: if the object is no service, or an endpoint of it has a type that no wire carries."""
        self.service = service
        self.prefix = prefix
        self.limits = limits or Limits()
        self.model = ServiceModel.parse(service)
        self._workers: Workers | None = None

    def mount(self, app: Starlette) -> None:
        self._workers = Workers(self.limits.threads, self.limits.waiting, self.model.name)
        for model in self.model.endpoints:
            method = Method(getattr(self.service, model.name), model, self._workers, self.limits)
            app.router.routes.append(EndpointRoute(method, model.address(self.prefix)))

    def close(self) -> None:
        if self._workers is not None:
            self._workers.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"service": self.service, "prefix": self.prefix, "limits": self.limits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ServiceComponent.__init__(self, state["service"], state["prefix"], limits=state["limits"])


class EndpointComponent(IComponent):
    """One function, declared with ``@endpoint(verify_abstract=False)`` or ``@websocket(...)``; no service in its URL.

    :param model: how the function is served, where it does not say so itself.
    """

    def __init__(
        self,
        method: Callable[..., Any],
        model: EndpointModel | None = None,
        prefix: str | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        """:raises TypeError: if the function was not declared, or has a type that no wire carries."""
        self.method = method
        self.model = model or EndpointModel.parse(method)
        self.prefix = prefix
        self.limits = limits or Limits()
        if self.model is None:
            raise TypeError(f"{method} is no endpoint: decorate it with @endpoint or @websocket")
        self._workers: Workers | None = None

    def mount(self, app: Starlette) -> None:
        if self.model is None:
            raise TypeError(f"{self.method} is no endpoint")
        self._workers = Workers(self.limits.threads, self.limits.waiting, self.model.name)
        method = Method(self.method, self.model, self._workers, self.limits)
        app.router.routes.append(EndpointRoute(method, self.model.address(self.prefix)))

    def close(self) -> None:
        if self._workers is not None:
            self._workers.close()


class StaticFilesComponent(IComponent):
    """The files of a folder, below ``path``."""

    def __init__(self, directory: Path | str, path: str = "/static") -> None:
        self.directory = Path(directory)
        self.path = path

    def mount(self, app: Starlette) -> None:
        app.router.routes.append(Mount(self.path, StaticFiles(directory=self.directory)))
