"""A storage behind a server, on real sockets."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from greenroom.errors import NotFound
from greenroom.rpc.failures import ApiError
from greenroom.rpc.server import Server, ServiceComponent
from greenroom.rpc.storage import Storage, StorageApi, StorageApiWrap


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    (tmp_path / "secret.txt").write_text("secret")
    made = Storage(tmp_path / "kept")
    made.upload("d/a.txt", b"hello")
    return made


@pytest.fixture
def url(storage: Storage) -> Iterator[str]:
    with Server(0, ServiceComponent(storage)).running() as base_url:
        yield base_url


def ask(url: str, path: str, body: bytes = b"", method: str = "POST") -> tuple[int, bytes]:
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class TestApi:
    def test_the_client_is_a_storage(self, url: str, storage: Storage, tmp_path: Path) -> None:
        (tmp_path / "local").write_bytes(b"local")
        with StorageApi(url) as api:
            for data, expected in (
                (b"", b""),
                (b"x" * 200_000, b"x" * 200_000),
                (tmp_path / "local", b"local"),
                (iter([b"a", b"b"]), b"ab"),
            ):
                api.upload("e/ü #?%.bin", data)
                assert api.read("e/ü #?%.bin") == storage.read("e/ü #?%.bin") == expected
            assert api.list("e") == ["ü #?%.bin"]
            assert api.list() == api.list("") == []
            assert api.list(glob=True) == ["d/a.txt", "e/ü #?%.bin"]
            assert api.list("", glob=True, suffix=".txt") == ["d/a.txt"]
            assert api.list_details(Path("d")) == storage.list_details("d")
            assert (api.is_file("d/a.txt"), api.is_dir("d/a.txt")) == (True, False)
            assert api.download(Path("d") / "a.txt", tmp_path).read_bytes() == b"hello"
            assert api.read_file("d/a.txt").string_content == "hello"
            wrap = StorageApiWrap(api, "d")
            assert wrap.list() == wrap.list("") == ["a.txt"]
            wrap.delete("a.txt")
            with pytest.raises(ApiError, match=r"has no file d/a\.txt") as caught:
                api.open("d/a.txt")
            assert caught.value.status == 404
            assert isinstance(caught.value.restore(), NotFound)
            with pytest.raises(ApiError) as caught:
                api.upload("../secret.txt", b"mine")
            assert caught.value.status == 403

    def test_an_upload_whose_source_fails_is_not_stored(self, url: str, storage: Storage) -> None:
        def broken() -> Iterator[bytes]:
            yield b"x" * 300_000
            raise LookupError("no more")

        with StorageApi(url) as api:
            with pytest.raises(LookupError, match="no more"):
                api.upload("d/a.txt", broken())
            assert api.read("d/a.txt") == b"hello"
            assert storage.list(glob=True) == ["d/a.txt"]

    def test_under_another_prefix(self, storage: Storage) -> None:
        with (
            Server(0, ServiceComponent(storage, "files/of/mine")).running() as base_url,
            StorageApi(base_url, "files/of/mine") as api,
        ):
            assert api.read("d/a.txt") == b"hello"


class TestWire:
    def test_plain_urls(self, url: str, storage: Storage) -> None:
        assert ask(url, "/storage/open/d/a.txt", method="GET") == (200, b"hello")
        assert ask(url, "/storage/upload/d/e/b.txt", b"x" * 100_000) == (200, b"null")
        assert storage.read("d/e/b.txt") == b"x" * 100_000
        assert ask(url, "/storage/list/d?glob=True") == (200, b'["a.txt","e/b.txt"]')
        assert ask(url, "/storage/list?suffix=d") == (200, b"[]")
        assert ask(url, "/storage/is-file/d/a.txt") == (200, b"true")
        assert ask(url, "/storage/is-dir/d/a.txt") == (200, b"false")
        status, body = ask(url, "/storage/list-details/d?prefix=a")
        assert status == 200
        assert [set(one) for one in json.loads(body)] == [{"name", "last_modification_date"}]
        assert ask(url, "/storage/delete/d") == (200, b"null")
        assert ask(url, "/storage/open/d/a.txt", method="GET")[0] == 404

    @pytest.mark.parametrize("call", ["open", "upload", "delete", "is-file", "list", "list-details"])
    @pytest.mark.parametrize("path", ["../secret.txt", "d/../../secret.txt", "/etc/passwd", "..", "a\0b"])
    def test_no_path_leads_out(self, url: str, storage: Storage, call: str, path: str) -> None:
        method = "GET" if call == "open" else "POST"
        for encoded in (quote(path, safe="/."), quote(path, safe=""), path.replace(".", "%2e").replace("\0", "%00")):
            status, body = ask(url, f"/storage/{call}/{encoded}", b"mine", method)
            assert 400 <= status < 500
            assert b"secret\n" not in body
        assert (storage.folder.parent / "secret.txt").read_text() == "secret"
        assert storage.list(glob=True) == ["d/a.txt"]

    @pytest.mark.parametrize(
        "head",
        ["Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3e8\r\n"],
        ids=["length", "chunked"],
    )
    def test_an_upload_cut_off_is_not_stored(self, url: str, storage: Storage, head: str) -> None:
        address = urlsplit(url)
        for name in ("cut.bin", "d/a.txt"):
            with socket.create_connection((address.hostname, address.port)) as connection:
                request = f"POST /storage/upload/{name} HTTP/1.1\r\nHost: {address.netloc}\r\n{head}"
                connection.sendall(request.encode() + b"x" * 1000)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(60)
                while connection.recv(4096):
                    pass
        assert storage.read("d/a.txt") == b"hello"
        assert storage.list(glob=True) == ["d/a.txt"]
