"""Several addresses, each with its doors, in one process; and https."""

import asyncio
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

import greenroom.client
from e2e.conftest import QUICK, make_home
from e2e.visitor import visitor
from fakes.nginx import free_port
from fakes.server_process import ServerProcess, running_server
from greenroom.errors import Unavailable
from greenroom.serving.certificate import fingerprint, given_certificate, own_certificate

NOT_HERE = 404


async def printed(server: ServerProcess) -> list[str]:
    """The lines after the first."""
    assert server.process.stdout is not None
    lines = []
    async with asyncio.timeout(30):
        while "Ctrl-C" not in (line := (await server.process.stdout.readline()).decode()):
            lines.append(line.strip())
    return lines


async def status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        await answer.read()
        return answer.status


def refused(home: Path, *arguments: str) -> str:
    """What a start that is refused says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    command = (sys.executable, "-m", "greenroom", "serve", "--home", str(home), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


async def test_each_address_opens_its_doors_and_no_others(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    sock = tmp_path / "greenroom.sock"
    config = f"""{QUICK}
listen:
  - {{address: "127.0.0.1:{first}", doors: [socketio, web]}}
  - {{address: "127.0.0.1:{second}", doors: [jaison]}}
  - {{address: "unix:{sock}"}}
  - {{address: "tcp://127.0.0.1:0"}}
"""
    async with running_server(make_home(tmp_path / "home", config), port=None) as server:
        assert server.url == f"http://127.0.0.1:{first}"
        lines = await printed(server)
        assert lines[:2] == [
            f"also  http://127.0.0.1:{second} for jaison",
            f"also  unix:{sock} for socketio, web, jaison, openai",
        ]
        assert lines[2].startswith("also  tcp://127.0.0.1:") and lines[2].endswith(" for wyoming")
        async with (
            visitor(server.url, session="main") as ana,
            aiohttp.ClientSession() as http,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(sock))) as local,
        ):
            assert await status(http, f"http://127.0.0.1:{first}/api/operations") == NOT_HERE
            assert await status(http, f"http://127.0.0.1:{second}/health") == NOT_HERE
            assert await status(http, f"http://127.0.0.1:{second}/socket.io/?EIO=4&transport=polling") == NOT_HERE
            assert await status(local, "http://localhost/v1/models") == 200
            async with http.ws_connect(f"http://127.0.0.1:{second}/") as ws:
                job_id = await ana.job("response", text="Hello.", include_audio=False)
                while job_id not in (await ws.receive_str(timeout=30)):
                    pass
                async with local.get("http://localhost/health") as answer:
                    health = await answer.json()
                assert health["doors"] == {
                    "socketio": {"clients": 1},
                    "web": {"clients": 0},
                    "jaison": {"clients": 1},
                    "openai": {"clients": 0},
                    "wyoming": {"clients": 0},
                }
                assert health["clients"] == 2
                assert await server.stop() == 0
                while (message := await ws.receive(timeout=30)).type is not aiohttp.WSMsgType.CLOSE:
                    assert message.type is aiohttp.WSMsgType.TEXT
    assert not sock.exists()


async def test_a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    sock = tmp_path / "greenroom.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(sock))
    left.close()
    config = f'{QUICK}listen: [{{address: "127.0.0.1:0"}}, {{address: "unix:{sock}"}}]\n'
    home = make_home(tmp_path / "home", config)
    async with running_server(home, port=None):
        said = await asyncio.to_thread(refused, make_home(tmp_path / "other", config))
    assert f"listen: unix:{sock}" in said and "in use" in said
    sock.write_text("a file")
    said = await asyncio.to_thread(refused, home)
    assert "no socket is in the way" in said


@pytest.mark.parametrize(
    ("config", "arguments", "sentence"),
    [
        ("listen: [{address: '0.0.0.0:0'}]", (), "listen: 0.0.0.0:0: listening on 0.0.0.0 lets other machines in"),
        ("listen: [{address: '127.0.0.1:0'}, {address: '0.0.0.0:0', doors: [jaison]}]", (), "set a token"),
        ("listen: [{address: 'tcp://0.0.0.0:0'}]", (), "wyoming.networks"),
        ("", ("--port", "0", "--wyoming", "tcp://0.0.0.0:10200"), "--wyoming: the Wyoming protocol has no tokens"),
        ("", ("--port", "0", "--wyoming", "nowhere"), "no address; one looks like tcp://127.0.0.1:10200"),
        ("listen: [{address: 'nowhere'}]", (), "listen.0.address: wanted 127.0.0.1:9601"),
        ("listen: [{address: '127.0.0.1:0', doors: [http]}]", (), "listen.0.doors.0: wanted"),
        ("listen: [{address: '127.0.0.1:0', doors: [web, wyoming]}]", (), "address of its own"),
        ("listen: [{address: 'tcp://127.0.0.1:0', doors: [web]}]", (), "tcp:// is for wyoming alone"),
        ("listen: [{address: 'tcp://127.0.0.1:0', tls: true}]", (), "knows no TLS"),
        (
            "listen: [{address: '127.0.0.1:1'}, {address: '127.0.0.1:1'}]",
            (),
            "listen.1.address: 127.0.0.1:1 stands there twice",
        ),
        ("listen: [{address: '192.0.2.1:0'}]\nserver: {insecure: true}", (), "listen: 192.0.2.1:0"),
        ("server: {tls: {cert: gone.pem}}", ("--port", "0"), "server.tls: there is no file"),
        ("server: {tls: maybe}", ("--port", "0"), "server.tls"),
        ("server: {root_path: /api}", (), "one of the server's own"),
        ("server: {trusted_proxies: [somebody]}", (), "wanted an address or a network"),
        ("", ("--port", "0", "--tls-key", "key.pem"), "--tls-cert"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, config: str, arguments: tuple[str, ...], sentence: str) -> None:
    (tmp_path / "config.yaml").write_text(config)
    assert sentence in refused(tmp_path, *arguments)


async def test_https_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", QUICK)
    async with running_server(home, "--tls") as server:
        assert server.url.startswith("https://")
        lines = await printed(server)
        cert, key = home / "tls" / "cert.pem", home / "tls" / "key.pem"
        assert f"https certificate SHA-256 {fingerprint(cert.read_text())}" in lines
        assert any(str(cert) in line for line in lines)
        if os.name == "posix":
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
        context = ssl.create_default_context(cafile=str(cert))
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer Pythons do
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
            assert await status(http, f"{server.url}/health") == 200
            assert await status(http, f"{server.url.replace('127.0.0.1', 'localhost')}/health") == 200
            async with http.ws_connect(f"{server.url}/") as ws:
                async with greenroom.client.connect(server.url, certificate=cert) as room:
                    assert (await room.ask("Hello.", voice=False)).text
                await ws.receive(timeout=30)
        async with greenroom.client.connect(server.url, insecure=True) as room:
            with pytest.raises(Unavailable, match="is not trusted"):
                await room_of_a_stranger(server.url)
            assert await server.stop() == 0
    before = cert.read_bytes()
    async with running_server(home, "--tls"):
        assert cert.read_bytes() == before


async def room_of_a_stranger(url: str) -> None:
    async with greenroom.client.connect(url):
        pass


async def test_the_command_line_trusts_this_machines_server(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", QUICK)

    async def say(at: Path, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "greenroom", "say", "Hello.", "--no-voice", "--url", server.url, *arguments),
            env={**os.environ, "GREENROOM_HOME": str(at)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        told, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, told.decode()

    async with running_server(home, "--tls") as server:
        (code, said), (other, why), (insecure, _) = await asyncio.gather(
            say(home), say(tmp_path / "elsewhere"), say(tmp_path / "elsewhere", "--insecure")
        )
        assert code == 0 and said.strip()
        assert other != 0 and "is not trusted" in why and "--insecure" in why
        assert insecure == 0


async def test_https_with_the_owners_files_at_one_address_of_two(tmp_path: Path) -> None:
    made = own_certificate(tmp_path / "given")
    port = free_port()
    config = f"""{QUICK}
server: {{tls: {{cert: {json.dumps(str(made.cert))}, key: {json.dumps(str(made.key))}}}}}
listen: [{{address: "127.0.0.1:0"}}, {{address: "127.0.0.1:{port}", tls: false}}]
"""
    home = make_home(tmp_path / "home", config)
    async with running_server(home, port=None) as server, aiohttp.ClientSession() as plain:
        assert server.url.startswith("https://") and not (home / "tls").exists()
        assert await status(plain, f"http://127.0.0.1:{port}/health") == 200
        context = ssl.create_default_context(cafile=str(made.cert))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
            assert await status(http, f"{server.url}/health") == 200
    both = tmp_path / "both.pem"
    both.write_bytes(made.cert.read_bytes() + made.key.read_bytes())
    async with running_server(make_home(tmp_path / "one", QUICK), "--tls-cert", str(both)) as server:
        assert server.url.startswith("https://")
    assert given_certificate("both.pem", "", tmp_path).fingerprint == made.fingerprint
