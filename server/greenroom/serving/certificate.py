"""The certificate that https is served with: the owner's, or one that the server makes for itself and keeps.

<home>/tls/cert.pem  key.pem   signed by itself, for localhost, this machine's names and its addresses
"""

import contextlib
import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenroom.errors import BadRequest, Unavailable
from greenroom.paths import make_folder

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LIFETIME = datetime.timedelta(days=820)
"""phones refuse certificates that live for more than 825"""
RENEWED_BEFORE = datetime.timedelta(days=30)
_NAME = "Greenroom"


@dataclass(frozen=True, slots=True)
class Certificate:
    cert: Path
    key: Path
    own: bool
    """made here: no browser knows who signed it"""

    @property
    def fingerprint(self) -> str:
        """SHA-256 as browsers show it: ``AB:CD:...``."""
        return fingerprint(self.cert.read_text(encoding="ascii", errors="replace"))

    def context(self) -> ssl.SSLContext:
        """:raises BadRequest: the files do not belong together, or are none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # Without a password given, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(self.cert, self.key, password="")
        except ssl.SSLError as error:
            reason = error.reason or error
            raise BadRequest(
                f"server.tls: {self.cert} and {self.key} cannot be used together: {reason}; wanted a PEM certificate "
                "and its key without a passphrase"
            ) from error
        except OSError as error:
            raise BadRequest(f"server.tls: {self.cert} or {self.key}: {error.strerror or error}") from error
        return context


def fingerprint(pem: str) -> str:
    """Of the first certificate in it. :raises BadRequest: there is none."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    block = pem[pem.find(begin) : pem.find(end) + len(end)]
    try:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest().upper()
    except ValueError:
        raise BadRequest("server.tls: the certificate's file holds no PEM certificate") from None
    return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))


def given_certificate(cert: str, key: str, base: Path) -> Certificate:
    """The owner's files; relative ones are looked for in ``base``. :raises BadRequest: one is missing."""
    found = Certificate(base / cert, base / (key or cert), own=False)
    for path in (found.cert, found.key):
        if not path.is_file():
            raise BadRequest(f"server.tls: there is no file {path}")
    return found


def own_certificate(folder: Path, names: Iterable[str] = (), *, now: datetime.datetime | None = None) -> Certificate:
    """The one in ``folder``; made, or made anew, where it is missing, near its end or lacks one of this machine's names
    or ``names``. Its key stays.

    :raises Unavailable: the package cryptography is missing, or the folder cannot be written.
    """
    try:
        from cryptography import x509
    except ImportError:
        raise Unavailable(
            'a certificate cannot be made without the package cryptography: pip install "greenroom[tls]", '
            "or give one with --tls-cert and --tls-key"
        ) from None
    now = now or datetime.datetime.now(datetime.UTC)
    found = Certificate(folder / "cert.pem", folder / "key.pem", own=True)
    wanted = _subject_names([*machine_names(), *names])
    key = _read_key(found.key)
    if key is not None:
        with contextlib.suppress(OSError, ValueError, x509.ExtensionNotFound):
            kept = x509.load_pem_x509_certificate(found.cert.read_bytes())
            if _still_good(kept, key, wanted, now):
                _close_to_others(found.key)
                return found
    _write(found, key, wanted, now)
    return found


def machine_names() -> list[str]:
    """localhost, what this machine calls itself, and the addresses by which its networks reach it."""
    names = ["localhost", "127.0.0.1", "::1"]
    host = socket.gethostname()
    if host:
        names += [host, *([] if "." in host else [f"{host}.local"])]
    return [*names, *lan_addresses()]


def lan_addresses(bound_to: str = "::") -> list[str]:
    """The addresses from which this machine would speak to others; nothing is sent to find them.

    :param bound_to: only those at which a socket with this address is reached.
    """
    if bound_to not in ("0.0.0.0", "::"):  # noqa: S104
        return [bound_to]
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((elsewhere, 9))
            found.append(str(asking.getsockname()[0]))
    return [address for address in found if bound_to == "::" or ":" not in address]


def _subject_names(names: Iterable[str]) -> "list[x509.GeneralName]":
    from cryptography import x509

    found: dict[x509.GeneralName, None] = {}
    for name in names:
        bare = name.partition("%")[0].strip("[]").lower()
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            if bare and bare.isascii() and all(part and part.replace("-", "").isalnum() for part in bare.split(".")):
                found[x509.DNSName(bare)] = None
        else:
            if not address.is_unspecified:
                found[x509.IPAddress(address)] = None
    return list(found)


def _read_key(path: Path) -> "EllipticCurvePrivateKey | None":
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    with contextlib.suppress(OSError, ValueError, TypeError):
        key = load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, EllipticCurvePrivateKey):
            return key
    return None


def _close_to_others(key: Path) -> None:
    """A copy or a backup may have come back with wider rights than we gave it."""
    if os.name == "posix" and key.stat().st_mode & 0o077:
        key.chmod(0o600)


def _still_good(
    certificate: "x509.Certificate",
    key: "EllipticCurvePrivateKey",
    wanted: "list[x509.GeneralName]",
    now: datetime.datetime,
) -> bool:
    from cryptography import x509

    if certificate.public_key() != key.public_key():
        return False
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - RENEWED_BEFORE:
        return False
    known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(wanted) <= set(known)


def _write(
    place: Certificate,
    key: "EllipticCurvePrivateKey | None",
    names: "list[x509.GeneralName]",
    now: datetime.datetime,
) -> None:
    """:raises Unavailable: the folder cannot be written."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = key or ec.generate_private_key(ec.SECP256R1())
    signed = _signed(key, names, now)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    make_folder(place.cert.parent)
    try:
        _replace(place.key, secret, 0o600)
        _replace(place.cert, signed.public_bytes(Encoding.PEM), 0o644)
    except OSError as error:
        raise Unavailable(f"{place.cert.parent} cannot be written: {error.strerror or error}") from error


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable to others for a moment."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _signed(
    key: "EllipticCurvePrivateKey", names: "list[x509.GeneralName]", now: datetime.datetime
) -> "x509.Certificate":
    """By itself. It calls itself an authority, since phones let only those be installed as trusted."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _NAME),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{_NAME} on {socket.gethostname() or 'this machine'}"[:64]),
        ]
    )
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFETIME - datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
