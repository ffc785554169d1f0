"""Files and what stands for them."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from greenroom.rpc.files import File, FileKind, FileLikeHandler
from greenroom.rpc.serialization import Serializer

CHUNK = 65536


@dataclass
class Item:
    text: str
    index: int


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(b"hello")
    return path


def test_the_kind_follows_the_extension() -> None:
    names = ["a.wav", "a.MP3", "a.ogg", "a.png", "a.jpg", "a.jpeg", "a.bmp", "a.json", "a.txt", "a.bin", "wav"]
    audio, image = File.Kind.Audio, File.Kind.Image
    expected = [audio, audio, audio, image, image, image, image, File.Kind.Json, File.Kind.Text, None, None]
    assert [File(name, b"").kind for name in names] == expected
    assert [kind.value for kind in FileKind] == [1, 2, 3, 4]
    assert File("a.bin", b"", File.Kind.Audio).kind is File.Kind.Audio


def test_content_and_metadata() -> None:
    file = File("a.txt", "grün")
    assert file.content == "grün".encode()
    assert file.string_content == "grün"
    assert file == File("a.txt", b"gr\xc3\xbcn")
    assert "xc3" not in repr(file)
    assert not file.has_metadata()
    file.metadata = Item("a", 1)
    assert file.has_metadata(Item)
    assert not file.has_metadata(str)


def test_a_file_travels_inside_a_value() -> None:
    serializer = Serializer.parse(list[File])
    file = File("a.bin", b"\x00\x01\x02\x03", File.Kind.Audio)
    file.metadata = object()
    content = {"@type": "bytes", "value": "AAECAw=="}
    assert serializer.to_json([file]) == [{"name": "a.bin", "content": content, "kind": "Audio"}]
    assert serializer.from_json([{"name": "a.txt", "content": content}]) == [File("a.txt", bytes(range(4)))]


def test_reading_and_writing(tmp_path: Path, on_disk: Path) -> None:
    file = File.read(on_disk)
    assert file == File("a.bin", b"hello")
    assert file.write(tmp_path / "new" / "folder").read_bytes() == b"hello"
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.bin"]


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/etc/a", "a/b", "a\\b", "C:a", "a\0", "a" * 256])
def test_a_name_does_not_leave_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not the name of a file"):
        File(name, b"a").write(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_what_is_like_a_file(on_disk: Path) -> None:
    for value in (on_disk, str(on_disk), b"hello", BytesIO(b"hello"), File("a", "hello")):
        assert FileLikeHandler.is_file_like(value)
        assert FileLikeHandler.to_bytes(value) == b"hello"
        assert list(FileLikeHandler.to_bytes_iterable(value)) == [b"hello"]
        assert list(FileLikeHandler.to_bytes_iterable(value, chunk_size=2)) == [b"he", b"ll", b"o"]
    for other in (5, None, [b"a"], bytearray(b"a")):
        assert not FileLikeHandler.is_file_like(other)
    strange: Any
    for strange in (5, None, bytearray(b"a")):
        with pytest.raises(TypeError, match="Expected a file, got"):
            FileLikeHandler.to_bytes(strange)
        with pytest.raises(TypeError, match="Expected a file, got"):
            FileLikeHandler.to_bytes_iterable(strange)


def test_names(on_disk: Path) -> None:
    assert FileLikeHandler.guess_name(on_disk) == "a.bin"
    assert FileLikeHandler.guess_name("folder/b.txt") == "b.txt"
    assert FileLikeHandler.guess_name(File("c.txt", b"")) == "c.txt"
    with on_disk.open("rb") as file:
        assert FileLikeHandler.guess_name(file) == "a.bin"
    assert FileLikeHandler.guess_name(b"") is None
    assert FileLikeHandler.guess_name(BytesIO()) is None


def test_chunks_and_their_limits(on_disk: Path, tmp_path: Path) -> None:
    big = bytes(range(256)) * 600
    assert [len(chunk) for chunk in FileLikeHandler.to_bytes_iterable(big)] == [CHUNK, CHUNK, len(big) - 2 * CHUNK]
    assert list(FileLikeHandler.to_bytes_iterable(b"")) == []
    assert list(FileLikeHandler.to_bytes_iterable([b"ab", b"", b"cde"], chunk_size=2)) == [b"ab", b"cd", b"e"]
    with pytest.raises(ValueError, match="chunk_size must be at least 1"):
        FileLikeHandler.to_bytes_iterable(b"a", chunk_size=0)
    with pytest.raises(FileNotFoundError):
        FileLikeHandler.to_bytes_iterable(tmp_path / "missing")


def test_an_iterable_of_objects_becomes_lines() -> None:
    items = [Item("a", 1), {"b": [2]}, 3]
    content = FileLikeHandler.to_bytes(items)
    assert content == b'{"text":"a","index":1}\n{"b":[2]}\n3\n'
    assert FileLikeHandler.to_bytes(iter(["a", "b\n", b"c"])) == b"ab\nc"
    assert list(FileLikeHandler.to_jsonlines_iterable(content)) == [{"text": "a", "index": 1}, {"b": [2]}, 3]


def test_typed_lines_across_chunks(tmp_path: Path) -> None:
    items = [Item("é" * 50_000, 1), Item("b", 2)]
    path = FileLikeHandler.write(items, tmp_path / "items.jsonl")
    assert list(FileLikeHandler.to_typed_jsonlines_iterable(path, Item)) == items
    pieces = [b'{"text":"a",', b'"index":1}\r\n\n{"te', b'xt":"b","index":2}']
    assert list(FileLikeHandler.to_typed_jsonlines_iterable(pieces, Item)) == [Item("a", 1), Item("b", 2)]
    with pytest.raises(ValueError, match="line 2: Malformed JSON"):
        list(FileLikeHandler.to_jsonlines_iterable(b"1\n{"))
    with pytest.raises(TypeError, match="Expected int at index"):
        list(FileLikeHandler.to_typed_jsonlines_iterable(b'{"text":"a","index":"b"}', Item))


def test_a_write_that_breaks_off_leaves_the_old_file(on_disk: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        FileLikeHandler.write(breaking(), on_disk)
    assert on_disk.read_bytes() == b"hello"
    assert list(on_disk.parent.iterdir()) == [on_disk]


def test_a_large_file_is_not_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(20_000_000)
    tracemalloc.start()
    copy = FileLikeHandler.write(path, tmp_path / "copy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert copy.stat().st_size == 20_000_000
    assert peak < 2_000_000
