"""``models.yaml`` in all its generations."""

from pathlib import Path
from typing import Any

import pytest

from greenroom.bindings.downloads.checksum import Checksum
from greenroom.bindings.downloads.entries import Download, RemoteFile, read_entries, read_entry
from greenroom.bindings.downloads.paths import checked_path, inside
from greenroom.errors import BadRequest
from greenroom.yaml_text import load_yaml

SHA = "ab" * 32
BINDINGS = Path(__file__).parents[2] / "bindings"


def only(raw: dict[str, Any]) -> Download:
    entry = read_entry(raw)
    assert entry.problem == ""
    (download,) = entry.downloads
    return download


def test_files_with_sizes_and_checksums() -> None:
    entry = read_entry(
        {
            "name": "lessac",
            "title": "Lessac",
            "license": "MIT",
            "languages": ["en-US"],
            "roles": ["tts"],
            "type": "local",
            "files": [
                {"path": "en/a.onnx", "url": "https://example.org/a.onnx", "size": 100, "sha256": SHA.upper()},
                {"path": "en/a.onnx.json", "url": "https://example.org/a.json", "size": 20, "sha256": None},
            ],
        }
    )
    assert (entry.title, entry.license, entry.languages, entry.roles) == ("Lessac", "MIT", ("en-US",), ("tts",))
    (download,) = entry.downloads
    assert download.files[0] == RemoteFile("en/a.onnx", "https://example.org/a.onnx", 100, Checksum("sha256", SHA))
    assert (download.name, download.size, entry.size) == ("lessac", 120, 120)


def test_a_repository_of_the_hub() -> None:
    download = only({"name": "tiny", "hub": "owner/tiny", "revision": "v1.0", "include": ["*.safetensors"], "size": 7})
    assert download.hub is not None
    assert (download.hub.repository, download.hub.revision, download.hub.include) == (
        "owner/tiny",
        "v1.0",
        ("*.safetensors",),
    )
    assert (download.size, download.source) == (7, "owner/tiny")
    assert "owner/tiny" in download.aliases


def test_variants_of_a_gguf_repository() -> None:
    entry = read_entry(
        {
            "name": "owner/Big-GGUF",
            "type": "gguf",
            "variants": [{"name": "big-q4.gguf", "size": "900"}, {"name": "big-q8-00001-of-00002.gguf", "size": None}],
        }
    )
    first, second = entry.downloads
    assert (first.name, first.size, first.by_hand) == (
        "big-q4.gguf",
        900,
        ("big-q4.gguf", "owner/Big-GGUF/big-q4.gguf"),
    )
    assert first.hub is not None and first.hub.include == ("big-q4.gguf",)
    assert second.hub is not None and second.hub.include == ("big-q8-*-of-00002.gguf",)
    assert not any("owner/Big-GGUF" in one.aliases for one in entry.downloads)
    assert "owner/Big-GGUF" in only({"name": "owner/Big-GGUF", "type": "gguf", "variants": ["x.gguf"]}).aliases


def test_lollms_of_2023() -> None:
    entry = read_entry(
        {
            "filename": "m.ggmlv3.q4_0.bin",
            "server": "https://example.org/repo/resolve/main",
            "SHA256": SHA,
            "file_size": 5740621472,
            "variants": [{"name": "m.ggmlv3.q8_0.bin", "size": 9}, "m.ggmlv3.q2.bin"],
        }
    )
    named = {download.name: download for download in entry.downloads}
    assert set(named) == {"m.ggmlv3.q4_0.bin", "m.ggmlv3.q8_0.bin", "m.ggmlv3.q2.bin"}
    main = named["m.ggmlv3.q4_0.bin"]
    (file,) = main.files
    assert file.url == "https://example.org/repo/resolve/main/m.ggmlv3.q4_0.bin"
    assert file.checksum == Checksum("sha256", SHA)
    assert main.size == 5740621472
    assert file.url in main.aliases
    assert named["m.ggmlv3.q8_0.bin"].files[0].checksum is None


def test_an_old_checksum_and_sizes_that_are_words() -> None:
    raw = {"filename": "x.bin", "server": "https://example.org/", "md5sum": "cd" * 16, "filesize": "Too much"}
    assert only(raw).files[0].checksum == Checksum("md5", "cd" * 16)
    assert read_entry(raw).size is None


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "gpt", "type": "api", "files": [{"path": "x", "url": "https://example.org/x"}]},
        {"filename": "auto", "model_type": "API"},
        {"name": "owner/name", "type": "gptq", "variants": None},
        {"name": "plain"},
        {},
    ],
)
def test_nothing_to_fetch(raw: dict[str, Any]) -> None:
    entry = read_entry(raw)
    assert entry.downloads == () and entry.problem == ""


def file(**changes: Any) -> dict[str, Any]:
    return {"files": [{"path": "a", "url": "https://example.org/a", **changes}]}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (file(path="../a"), "files.0.path"),
        (file(path="/a"), "files.0.path"),
        (file(path="a\\b"), "files.0.path"),
        (file(path=".downloads/x"), "files.0.path: '.downloads/x': .downloads is Greenroom's own"),
        (file(url="ftp://example.org/a"), "files.0.url: wanted a URL that begins with https://"),
        (file(url="http://example.org/a"), "files.0.url: example.org is asked for without encryption"),
        (file(url="https://user:word@example.org/a"), "the URL holds a user or a password"),
        (file(url="file:///etc/passwd"), "wanted a URL that begins with https://"),
        (file(url="https://example.org:x/a"), "files.0.url"),
        (file(size=-1), "files.0.size"),
        (file(sha256="zz"), "files.0.sha256: wanted a sha256 checksum of 64 hexadecimal digits"),
        (file(colour="red"), "files.0.colour"),
        ({"files": []}, "files: "),
        ({"files": "a"}, "files: "),
        ({"files": [*file()["files"], *file(path="A")["files"]]}, "'A' stands there twice"),
        ({"hub": "tiny"}, "hub: wanted owner/name, found 'tiny'"),
        ({"hub": "../tiny"}, "hub: wanted owner/name"),
        ({"hub": "a/b", "revision": "../x"}, "revision: "),
        ({"hub": "a/b", "include": "*"}, "include: wanted a list of patterns"),
        ({"filename": "../x", "server": "https://example.org"}, "without empty parts"),
        ({"filename": "x", "server": "http://example.org"}, "without encryption"),
    ],
)
def test_a_bad_entry_is_listed_with_what_is_wrong(raw: dict[str, Any], said: str) -> None:
    entry = read_entry({"name": "bad", "title": "Bad", **raw})
    assert entry.downloads == ()
    assert entry.title == "Bad"
    assert said in entry.problem


def test_two_downloads_of_one_name() -> None:
    first, second = read_entries([{"name": "a", **file()}, {"name": "a", **file()}])
    assert first.downloads and not second.downloads
    assert "an earlier entry has that name" in second.problem


GOOD = ["a", "a/b.c", "a b/c", "ä/模型.onnx", ".hidden", "con1", "auxiliary/x", "a..b"]
BAD = [
    *(
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "a/./b",
        "../a",
        "a\\b",
        "C:/a",
        "c:a",
        "a:stream",
        "a\0b",
        "a\nb",
    ),
    *("con", "a/NUL", "aux.txt", "COM1.onnx", "lpt9", "a.", "a ", "x/b. /c", "a*", "a?", "a|b", "<a>", 'a"b'),
    *("x" * 300, "a/" * 800 + "b", ".downloads", ".Downloads/a"),
]


@pytest.mark.parametrize("path", GOOD)
def test_paths_that_are_taken(path: str) -> None:
    assert checked_path(path) == path


@pytest.mark.parametrize("path", BAD)
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        checked_path(path)


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "models" / "toy"
    root.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (root / "inner").mkdir()
    (root / "out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "in").symlink_to(root / "inner", target_is_directory=True)
    assert inside(root, "in/a") == root / "in/a"
    assert inside(root, "not/yet/there") == root / "not/yet/there"
    with pytest.raises(BadRequest, match="leads out of"):
        inside(root, "out/a")


@pytest.mark.parametrize("path", sorted(BINDINGS.glob("*/models.yaml")), ids=lambda path: path.parent.name)
def test_what_is_shipped_has_no_bad_entry(path: Path) -> None:
    entries = read_entries(load_yaml(path.read_text(encoding="utf-8")) or [])
    assert [entry.problem for entry in entries if entry.problem] == []
