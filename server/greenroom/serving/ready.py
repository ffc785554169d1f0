"""What is printed once the server answers: where, how to try it, and what https asks of a phone."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenroom import __version__
from greenroom.doors.safety import is_loopback
from greenroom.serving.listeners import Listener

if TYPE_CHECKING:
    from greenroom.serving.certificate import Certificate

_DEFAULT = "http://127.0.0.1:9601"


def address_of(listener: Listener, bound: socket.socket, root_path: str = "") -> str:
    """As a client writes it; a port that was 0 is the one that was given."""
    if listener.place.path:
        return f"unix:{listener.place.path}"
    host, port = bound.getsockname()[:2]
    scheme = "tcp" if listener.is_wyoming else "https" if listener.tls else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{'' if listener.is_wyoming else root_path}"


def ready_lines(
    listeners: Sequence[Listener], sockets: Sequence[socket.socket], certificate: "Certificate | None"
) -> list[str]:
    addresses = [address_of(listener, bound) for listener, bound in zip(listeners, sockets, strict=True)]
    main = next((place for place, listener in enumerate(listeners) if "socketio" in listener.doors), 0)
    url = "" if addresses[main] == _DEFAULT else f" --url {_reachable(addresses[main])}"
    lines = [f"Greenroom {__version__} is ready at {addresses[main]}"]
    for place, (listener, address) in enumerate(zip(listeners, addresses, strict=True)):
        if place != main:
            lines.append(f"  also  {address} for {', '.join(listener.doors)}")
    if "socketio" in listeners[main].doors and not listeners[main].place.path:
        lines.append(f'  try   greenroom say "Hello, who are you?"{url}     in another terminal')
        lines.append(f"  or    greenroom chat{url}")
    if certificate is not None:
        lines += _about(certificate, listeners, sockets)
    return [*lines, "  stop  Ctrl-C"]


def _reachable(address: str) -> str:
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _about(certificate: "Certificate", listeners: Sequence[Listener], sockets: Sequence[socket.socket]) -> list[str]:
    from greenroom.serving.certificate import lan_addresses

    lines = [f"  https certificate SHA-256 {certificate.fingerprint}"]
    if not certificate.own:
        return lines
    for listener, bound in zip(listeners, sockets, strict=True):
        pages = listener.tls and "web" in listener.doors and not listener.place.path
        if pages and not is_loopback(listener.place.host):
            own, port = bound.getsockname()[:2]
            places = [f"https://{f'[{one}]' if ':' in one else one}:{port}" for one in lan_addresses(str(own))]
            lines.append(f"  phone open {' or '.join(places) or 'this machine by its address'}")
            break
    lines.append(
        "        a browser warns, since this server signed the certificate itself: compare the fingerprint and go on,"
    )
    lines.append(f"        or install {certificate.cert} there as trusted")
    return lines
