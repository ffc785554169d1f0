"""Serving typed interfaces over HTTP and websockets."""

from greenroom.rpc.server.components import EndpointComponent, IComponent, ServiceComponent, StaticFilesComponent
from greenroom.rpc.server.entry_point import Tls, WebAppEntryPoint
from greenroom.rpc.server.server import IServer, Server

__all__ = [
    "EndpointComponent",
    "IComponent",
    "IServer",
    "Server",
    "ServiceComponent",
    "StaticFilesComponent",
    "Tls",
    "WebAppEntryPoint",
]
