"""What ``greenroom doctor`` says of who may come in: addresses beyond this machine, tokens, the certificate."""

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

from greenroom.commandline.finding import Finding, Status
from greenroom.commandline.local import Local
from greenroom.config.schema import TlsFiles
from greenroom.doors.safety import is_loopback
from greenroom.serving.listeners import Listener, planned

_SOON = datetime.timedelta(days=30)


def exposure(local: Local, token: str | None = None, *, now: datetime.datetime | None = None) -> Iterator[Finding]:
    """:param token: one that the server is to be started with."""
    listeners = planned(local.config)
    for listener in listeners:
        if not listener.place.path and not is_loopback(listener.place.host):
            yield _reachable(local, listener, token)
    if any(listener.tls for listener in listeners):
        yield from _certificate(local, now or datetime.datetime.now(datetime.UTC))


def _reachable(local: Local, listener: Listener, token: str | None) -> Finding:
    config = local.config
    what = f"address {listener.place}"
    if listener.is_wyoming:
        if config.server.insecure:
            return Finding(what, Status.NOTE, "Wyoming: whoever reaches it may talk to the character; it has no tokens")
        if not config.wyoming.networks:
            mend = "say in wyoming.networks who may use it (192.168.1.0/24)"
            return Finding(what, Status.FAILED, f"Wyoming has no tokens, and other machines reach it; {mend}")
        return Finding(what, Status.OK, f"Wyoming, for {', '.join(config.wyoming.networks)}")
    missing = [entry.env for entry in config.server.tokens if local.secrets.get(entry.env) is None]
    if missing:
        return Finding(what, Status.FAILED, f"tokens stand in variables that are not set: {', '.join(missing)}")
    if not config.server.tokens and not (token or local.secrets.get("GREENROOM_TOKEN")):
        if config.server.insecure:
            return Finding(
                what, Status.NOTE, "other machines reach it without any token, as owners; set GREENROOM_TOKEN"
            )
        mend = "set GREENROOM_TOKEN, give --token, or start with --insecure if that is meant"
        return Finding(what, Status.FAILED, f"other machines reach it, and there is no token; {mend}")
    if not listener.tls:
        mend = "use server.tls, or a proxy that speaks https"
        return Finding(
            what, Status.NOTE, f"other machines reach it with a token, which goes over the network open; {mend}"
        )
    return Finding(what, Status.OK, "other machines reach it with a token, over https")


def _certificate(local: Local, now: datetime.datetime) -> Iterator[Finding]:
    tls = local.config.server.tls
    own = not isinstance(tls, TlsFiles)
    cert = local.home.tls / "cert.pem" if not isinstance(tls, TlsFiles) else local.home.root / tls.cert
    key = local.home.tls / "key.pem" if not isinstance(tls, TlsFiles) else local.home.root / (tls.key or tls.cert)
    if own and not cert.is_file():
        yield Finding("certificate", Status.OK, f"{cert} is made at the first start")
        return
    for path in (cert, key):
        if not path.is_file():
            yield Finding("certificate", Status.FAILED, f"server.tls: there is no file {path}")
            return
    try:
        if os.name == "posix" and key.stat().st_mode & 0o077:
            yield Finding("certificate", Status.NOTE, f"others may read {key}; mend with: chmod 600 {key}")
        ends = _end_of(cert)
    except ImportError:
        yield Finding("certificate", Status.NOTE, 'not looked at; that needs: pip install "greenroom[tls]"')
        return
    except (OSError, ValueError) as error:
        yield Finding("certificate", Status.FAILED, f"{cert} cannot be read as a PEM certificate: {error}")
        return
    day = ends.date().isoformat()
    if ends <= now:
        yield Finding("certificate", Status.NOTE if own else Status.FAILED, _ended(cert, day, own=own))
    elif ends - now < _SOON:
        sentence = "a new one is made at the next start" if own else "renew it"
        yield Finding("certificate", Status.NOTE, f"{cert} ends on {day}; {sentence}")
    else:
        yield Finding("certificate", Status.OK, f"{cert}, until {day}")


def _ended(cert: Path, day: str, *, own: bool) -> str:
    return f"{cert} ended on {day}; {'a new one is made at the next start' if own else 'renew it'}"


def _end_of(cert: Path) -> datetime.datetime:
    """:raises ImportError, OSError, ValueError: it cannot be read."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
