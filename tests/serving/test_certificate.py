"""The server's own certificate: made once, renewed in time, its key nobody else's."""

import datetime
import ipaddress
import os
import ssl
import stat
import sys
from pathlib import Path

import pytest
from cryptography import x509

from greenroom.errors import BadRequest, Unavailable
from greenroom.serving.certificate import (
    LIFETIME,
    RENEWED_BEFORE,
    Certificate,
    fingerprint,
    given_certificate,
    own_certificate,
)

NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)


def read(made: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(made.cert.read_bytes())


def names_of(made: Certificate) -> set[str]:
    found = read(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_it_names_this_machine_and_what_was_asked(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, ["room.lan", "0.0.0.0", "::", "192.168.7.7", "not a name", ""], now=NOW)
    names = names_of(made)
    assert {"localhost", "127.0.0.1", "::1", "room.lan", "192.168.7.7"} <= names
    assert not {"0.0.0.0", "::", "not a name"} & names
    certificate = read(made)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == LIFETIME
    made.context()
    if os.name == "posix":
        assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert ipaddress.ip_address("127.0.0.1") in {
        name.value
        for name in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if isinstance(name, x509.IPAddress)
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cert.pem", "key.pem"]


def test_it_stays_until_it_must_change_and_its_key_for_ever(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, now=NOW)
    before, key = first.fingerprint, first.key.read_bytes()
    late = NOW + LIFETIME - RENEWED_BEFORE
    assert own_certificate(tmp_path, now=late - datetime.timedelta(days=2)).fingerprint == before
    renewed = own_certificate(tmp_path, now=late + datetime.timedelta(days=2))
    assert renewed.fingerprint != before and renewed.key.read_bytes() == key
    named = own_certificate(tmp_path, ["room.lan"], now=NOW)
    assert "room.lan" in names_of(named) and named.key.read_bytes() == key
    assert own_certificate(tmp_path, now=NOW).fingerprint == named.fingerprint


@pytest.mark.parametrize("broken", ["cert.pem", "key.pem"])
def test_what_is_damaged_is_made_anew(tmp_path: Path, broken: str) -> None:
    before = own_certificate(tmp_path).fingerprint
    (tmp_path / broken).write_text("nonsense")
    made = own_certificate(tmp_path)
    assert made.fingerprint != before
    made.context()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("in the way")
    with pytest.raises(Unavailable, match="in the way"):
        own_certificate(tmp_path / "tls")


def test_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(Unavailable, match=r"pip install .*--tls-cert"):
        own_certificate(tmp_path)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    one, other = own_certificate(tmp_path / "one"), own_certificate(tmp_path / "other")
    mixed = given_certificate(str(one.cert), str(other.key), tmp_path)
    with pytest.raises(BadRequest, match="cannot be used together"):
        mixed.context()
    with pytest.raises(BadRequest, match="there is no file"):
        given_certificate("cert.pem", "", tmp_path)


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    made = own_certificate(tmp_path)
    key = serialization.load_pem_private_key(made.key.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    made.key.write_bytes(locked)
    with pytest.raises(BadRequest, match="without a passphrase"):
        made.context()


def test_the_fingerprint_is_the_first_certificates(tmp_path: Path) -> None:
    made = own_certificate(tmp_path)
    text = made.cert.read_text()
    assert fingerprint(f"comment\n{text}\n{own_certificate(tmp_path / 'x').cert.read_text()}") == made.fingerprint
    assert len(ssl.PEM_cert_to_DER_cert(text)) > 0 and len(made.fingerprint) == 95
    with pytest.raises(BadRequest):
        fingerprint("no certificate at all")


@pytest.mark.skipif(sys.platform == "win32", reason="rights are other ones there")
def test_a_kept_key_is_closed_to_others_again(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, now=NOW)
    before = made.key.read_bytes()
    made.key.chmod(0o644)
    assert own_certificate(tmp_path, now=NOW).key.read_bytes() == before
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
