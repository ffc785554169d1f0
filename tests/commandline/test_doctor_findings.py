"""What the doctor says of models and of who may come in."""

import datetime
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from greenroom.commandline.exposure import exposure
from greenroom.commandline.finding import Finding, Status
from greenroom.commandline.local import Local, find_local
from greenroom.commandline.model_findings import models
from greenroom.serving.certificate import LIFETIME, own_certificate

NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
MODELS = """
- {name: small, license: MIT, files: [{path: small.bin, url: "https://example.org/small.bin", size: 5}]}
- {name: large, license: MIT, files: [{path: large.bin, url: "https://example.org/large.bin", size: 9000000}]}
- {name: odd, license: MIT, files: [{path: ../odd.bin, url: "https://example.org/odd.bin"}]}
"""


def local(home: Path, config: str = "", env: Mapping[str, str] | None = None) -> Local:
    home.mkdir(exist_ok=True)
    (home / "config.yaml").write_text(config, encoding="utf-8")
    found = find_local(home, env=env or {})
    assert not found.problem, found.problem
    return found


def told(findings: list[Finding], what: str) -> list[tuple[Status, str]]:
    return [(one.status, one.sentence) for one in findings if one.what == what]


def with_parrot(home: Path) -> None:
    folder = home / "bindings" / "parrot"
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text("name: Parrot\nroles: [tts]\n", encoding="utf-8")
    (folder / "binding.py").write_text("", encoding="utf-8")
    (folder / "models.yaml").write_text(MODELS, encoding="utf-8")


def of_models(found: Local) -> list[Finding]:
    return list(models(found, found.bindings_here().all()))


def test_how_many_models_are_here_and_what_is_wrong_with_the_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with_parrot(home)
    own = home / "models" / "parrot"
    own.mkdir(parents=True)
    (own / "small.bin").write_bytes(b"12345")
    found = local(home)
    findings = told(of_models(found), "models of parrot")
    assert (Status.OK, "1 of 2 installed, 5 bytes") in findings
    assert any("odd" in sentence for status, sentence in findings if status is Status.NOTE)
    from greenroom.bindings.downloads.manifest import Ledger

    Ledger(own).parts("large").mkdir(parents=True)
    assert any(
        "greenroom install model parrot large" in sentence for _, sentence in told(of_models(found), "models of parrot")
    )


@pytest.mark.parametrize("option", ["model", "voice"])
def test_a_model_that_the_configuration_names_and_that_is_not_here(tmp_path: Path, option: str) -> None:
    home = tmp_path / "home"
    with_parrot(home)
    found = local(home, f"operations: [{{role: tts, id: parrot, {option}: large}}]\n")
    failed = [one for one in of_models(found) if one.status is Status.FAILED]
    assert [one.what for one in failed] == ["models of parrot"]
    assert "greenroom install model parrot large" in failed[0].sentence


def test_room_and_the_hubs_token(tmp_path: Path) -> None:
    found = of_models(local(tmp_path / "home", env={"HF_TOKEN": "hf_hunter2"}))
    assert told(found, "hub")[0][1].startswith("HF_TOKEN is set")
    assert "hunter2" not in str(found)
    assert "are free for models" in told(found, "disk")[0][1]
    assert told(of_models(local(tmp_path / "home")), "hub")[0][1].startswith("HF_TOKEN is not set")


TLS = "server: {host: 0.0.0.0, tls: true}\n"


@pytest.mark.parametrize(
    ("config", "env", "status", "part"),
    [
        ("server: {host: 0.0.0.0}", {}, Status.FAILED, "there is no token"),
        ("server: {host: 0.0.0.0, insecure: true}", {}, Status.NOTE, "without any token"),
        ("server: {host: 0.0.0.0}", {"GREENROOM_TOKEN": "hunter2"}, Status.NOTE, "goes over the network open"),
        (TLS, {"GREENROOM_TOKEN": "hunter2"}, Status.OK, "over https"),
        ("server: {host: 0.0.0.0, tokens: [{name: a, env: A_TOKEN}]}", {}, Status.FAILED, "A_TOKEN"),
        ("server: {host: 0.0.0.0, tokens: [{name: a, env: A_TOKEN}]}", {"A_TOKEN": "hunter2"}, Status.NOTE, "open"),
        ('listen: [{address: "tcp://0.0.0.0:10200"}]', {}, Status.FAILED, "wyoming.networks"),
        (
            'listen: [{address: "tcp://0.0.0.0:10200"}]\nwyoming: {networks: [192.168.1.0/24]}',
            {},
            Status.OK,
            "192.168.1.0/24",
        ),
        ('listen: [{address: "tcp://0.0.0.0:10200"}]\nserver: {insecure: true}', {}, Status.NOTE, "no tokens"),
    ],
)
def test_who_may_come_in(tmp_path: Path, config: str, env: dict[str, str], status: Status, part: str) -> None:
    found = [one for one in exposure(local(tmp_path / "home", config, env)) if one.what.startswith("address")]
    assert [one.status for one in found] == [status] and part in found[0].sentence
    assert "hunter2" not in str(found)


def test_this_machine_alone_is_no_matter(tmp_path: Path) -> None:
    assert list(exposure(local(tmp_path / "home"))) == []
    assert next(exposure(local(tmp_path / "home", "server: {host: 0.0.0.0}"), "given")).status is Status.NOTE


def certificate_of(found: Local, now: datetime.datetime = NOW) -> tuple[Status, str]:
    return told(list(exposure(found, now=now)), "certificate")[0]


def test_the_certificate(tmp_path: Path) -> None:
    found = local(tmp_path / "home", "server: {tls: true}\n")
    assert certificate_of(found)[0] is Status.OK and "first start" in certificate_of(found)[1]
    made = own_certificate(found.home.tls, now=NOW)
    assert certificate_of(found)[0] is Status.OK
    soon = certificate_of(found, NOW + LIFETIME - datetime.timedelta(days=20))
    assert soon[0] is Status.NOTE and "at the next start" in soon[1]
    late = certificate_of(found, NOW + LIFETIME)
    assert late[0] is Status.NOTE and " ended on " in late[1]
    if os.name == "posix":
        made.key.chmod(0o644)
        assert "chmod 600" in certificate_of(found)[1]
    made.cert.write_text("nothing", encoding="utf-8")
    made.key.chmod(0o600)
    assert certificate_of(found)[0] is Status.FAILED
    own_certificate(tmp_path / "given", now=NOW)
    given = local(
        tmp_path / "home",
        f"server: {{tls: {{cert: {(tmp_path / 'given' / 'cert.pem').as_posix()!r}, "
        f"key: {(tmp_path / 'given' / 'key.pem').as_posix()!r}}}}}\n",
    )
    assert certificate_of(given)[0] is Status.OK
    assert certificate_of(given, NOW + LIFETIME)[0] is Status.FAILED
    (tmp_path / "given" / "key.pem").unlink()
    assert "there is no file" in certificate_of(given)[1]
