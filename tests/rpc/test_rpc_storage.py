"""A folder as a service: what it keeps, and that nobody gets out of it."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from greenroom.errors import BadRequest, Conflict, Forbidden, GreenroomError, NotFound
from greenroom.rpc.files import CHUNK_BYTES, File
from greenroom.rpc.storage import UNFINISHED, IStorage, Storage, StorageApiWrap


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "kept")


@pytest.fixture
def filled(storage: Storage) -> Storage:
    for name in ("a.txt", "b.wav", "d/a.wav", "d/e/c.wav"):
        storage.upload(name, name.encode())
    return storage


OUTSIDE = ["..", "../secret.txt", "d/../../secret.txt", "/etc/passwd", "./../secret.txt", "a\0b", "link/secret.txt"]


class TestFiles:
    def test_what_was_uploaded_is_read(self, storage: Storage, tmp_path: Path) -> None:
        (tmp_path / "local.bin").write_bytes(b"local")
        big = bytes(range(256)) * 1000
        for data, expected in (
            (b"", b""),
            (big, big),
            (BytesIO(b"io"), b"io"),
            (File("x", "tëxt"), "tëxt".encode()),
            (tmp_path / "local.bin", b"local"),
            (iter([b"a", b"b"]), b"ab"),
        ):
            storage.upload("d/e/f.bin", data)
            assert storage.read("d/e/f.bin") == expected
        storage.upload(Path("d") / "big", big)
        assert [len(chunk) for chunk in storage.open("d/big")][:2] == [CHUNK_BYTES, CHUNK_BYTES]
        assert storage.is_file("d/big")
        assert not storage.is_dir("d/big")
        assert storage.is_dir("d")
        assert not storage.is_file("nowhere")
        assert storage.read_file("d/big").name == "big"

    def test_an_upload_that_breaks_off_changes_nothing(self, filled: Storage) -> None:
        def broken() -> Iterator[bytes]:
            yield b"half"
            assert not any(name.endswith(UNFINISHED) for name in filled.list())
            raise ConnectionError("gone")

        for name in ("a.txt", "new.txt"):
            with pytest.raises(ConnectionError):
                filled.upload(name, broken())
        assert filled.read("a.txt") == b"a.txt"
        assert not filled.is_file("new.txt")
        assert sorted(os.listdir(filled.folder)) == ["a.txt", "b.wav", "d"]

    def test_deleting(self, filled: Storage) -> None:
        filled.delete("a.txt")
        filled.delete("d")
        assert filled.list(glob=True) == ["b.wav"]
        for name in ("a.txt", "b.wav/x", "d/a.wav"):
            with pytest.raises(NotFound, match="has no file"):
                filled.delete(name)

    def test_names_that_are_in_the_way(self, filled: Storage) -> None:
        for name in ("d", "a.txt/b"):
            with pytest.raises(Conflict, match="in the way"):
                filled.upload(name, b"x")
        assert filled.read("a.txt") == b"a.txt"

    def test_what_is_missing(self, filled: Storage) -> None:
        for name in ("nowhere", "d", "a.txt/b", ""):
            with pytest.raises(NotFound, match="has no file"):
                filled.open(name)

    def test_download(self, filled: Storage, tmp_path: Path) -> None:
        assert filled.download("d/a.wav", tmp_path) == tmp_path / "a.wav"
        assert filled.download("d/a.wav", tmp_path / "x" / "y").read_bytes() == b"d/a.wav"


class TestListing:
    def test_by_name_and_in_depth(self, filled: Storage) -> None:
        assert filled.list() == filled.list("") == filled.list(".") == ["a.txt", "b.wav"]
        assert filled.list("d") == ["a.wav"]
        assert filled.list(prefix="a") == ["a.txt"]
        assert filled.list(glob=True) == ["a.txt", "b.wav", "d/a.wav", "d/e/c.wav"]
        assert filled.list("d", suffix=".wav", glob=True) == ["a.wav", "e/c.wav"]
        assert filled.list("nowhere") == []
        with pytest.raises(BadRequest, match="a file, not a folder"):
            filled.list("a.txt")

    def test_with_times(self, filled: Storage) -> None:
        os.utime(filled.folder / "a.txt", (1_000_000, 1_000_000))
        (details,) = filled.list_details(suffix=".txt")
        assert details.name == "a.txt"
        assert details.last_modification_date == datetime.fromtimestamp(1_000_000, UTC)

    def test_a_storage_without_its_folder_is_empty(self, storage: Storage) -> None:
        assert storage.list() == storage.list(glob=True) == []
        assert not storage.folder.exists()


class TestConfinement:
    @pytest.fixture(autouse=True)
    def outside(self, filled: Storage) -> Path:
        secret = filled.folder.parent / "secret.txt"
        secret.write_text("secret")
        (filled.folder / "link").symlink_to(filled.folder.parent)
        (filled.folder / "leak.txt").symlink_to(secret)
        (filled.folder / "inner").symlink_to("d")
        (filled.folder / "same.txt").symlink_to("a.txt")
        return secret

    @pytest.mark.parametrize("name", OUTSIDE)
    def test_no_path_leads_out(self, filled: Storage, name: str, outside: Path) -> None:
        for call in (filled.open, filled.delete, filled.is_file, filled.is_dir, filled.list, filled.list_details):
            with pytest.raises(Forbidden):
                call(name)
        with pytest.raises(Forbidden):
            filled.upload(name, b"x")
        assert outside.read_text() == "secret"

    def test_links_out_are_not_followed(self, filled: Storage, outside: Path) -> None:
        assert filled.list() == ["a.txt", "b.wav", "same.txt"]
        assert filled.list("inner") == ["a.wav"]
        for call in (filled.open, filled.is_file):
            with pytest.raises(Forbidden):
                call("leak.txt")
        filled.upload("leak.txt", b"mine")
        assert filled.read("leak.txt") == b"mine"
        filled.delete("link")
        assert outside.read_text() == "secret"

    def test_links_inside_are(self, filled: Storage) -> None:
        assert filled.read("inner/a.wav") == b"d/a.wav"
        filled.upload("inner/new", b"x")
        assert filled.read("d/new") == b"x"
        filled.delete("inner")
        assert filled.is_dir("d")

    def test_the_storage_itself_stays(self, filled: Storage) -> None:
        for name in ("", ".", "d/..", "./"):
            with pytest.raises(Forbidden):
                filled.delete(name)
            with pytest.raises(Forbidden):
                filled.upload(name, b"x")

    def test_unfinished_uploads_are_out_of_reach(self, filled: Storage) -> None:
        (filled.folder / f".1{UNFINISHED}").write_bytes(b"half")
        assert ".1" not in str(filled.list(glob=True))
        for call in (filled.open, filled.delete):
            with pytest.raises(Forbidden):
                call(f".1{UNFINISHED}")


class TestWrapping:
    def test_a_folder_of_a_storage_is_a_storage(self, filled: Storage) -> None:
        wrap = StorageApiWrap(filled, "d")
        wrap.upload("f/x", b"1")
        assert wrap.list() == ["a.wav"]
        assert wrap.list(".", glob=True, suffix="x") == ["f/x"]
        assert [details.name for details in wrap.list_details("f")] == ["x"]
        assert wrap.read("f/x") == filled.read("d/f/x") == b"1"
        assert (wrap.is_file("f/x"), wrap.is_dir("f")) == (True, True)
        wrap.delete("f")
        assert not filled.is_dir("d/f")

    @pytest.mark.parametrize("name", ["..", "../a.txt", "e/../../a.txt", "/a.txt"])
    def test_nothing_leads_out_of_it(self, filled: Storage, name: str) -> None:
        wrap: IStorage = StorageApiWrap(filled, "d")
        for call in (wrap.open, wrap.delete, wrap.is_file, wrap.list):
            with pytest.raises(GreenroomError, match=r"not in the storage|no path in the storage"):
                call(name)
