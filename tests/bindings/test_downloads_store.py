"""What is installed: from the hub, beside other models, looked after and removed."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from fakes.download_server import Cut, DownloadServer, Hold, Other, Status, sha256
from greenroom.bindings.card import BindingCard
from greenroom.bindings.discovery import FoundBinding
from greenroom.bindings.downloads.catalogue import Catalogue, Presence
from greenroom.bindings.downloads.hub import Hub
from greenroom.bindings.downloads.store import ModelStore, open_store
from greenroom.bindings.downloads.web import Patience
from greenroom.bindings.roles import Place
from greenroom.errors import BadRequest, BindingFailed, Conflict, GreenroomError, NotFound, Unavailable

QUICK = Patience(first_wait_s=0.0, attempts=2)
DATA = bytes(range(256)) * 400
SMALL = b'{"model_type": "tiny"}'
TOKEN = "hf_secret"  # noqa: S105 -- opens a fake only


@pytest.fixture
async def server() -> AsyncGenerator[DownloadServer, None]:
    async with DownloadServer() as store, DownloadServer(store) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "toy"


def store_of(folder: Path, *entries: dict[str, Any], hub: Hub | None = None) -> ModelStore:
    return ModelStore(Catalogue("toy", folder, entries), hub, patience=QUICK)


def files(folder: Path) -> list[str]:
    """Of the models themselves."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.startswith(".downloads"))


async def refusal(store: ModelStore, name: str) -> GreenroomError:
    with pytest.raises(GreenroomError) as caught:
        await store.install(name)
    return caught.value


def presence(store: ModelStore, name: str) -> Presence:
    return store.catalogue.presence(store.catalogue.find(name))


# the hub

TINY: dict[str, Any] = {"name": "tiny", "hub": "owner/tiny"}
CONTENT = {"config.json": SMALL, "onnx/model.onnx": DATA, "onnx/more.onnx": DATA[::-1], ".gitattributes": b"x"}


async def test_a_whole_repository(server: DownloadServer, folder: Path) -> None:
    server.publish("owner/tiny", CONTENT, large=("onnx/model.onnx", "onnx/more.onnx"))
    store = store_of(folder, TINY, hub=Hub(server.url))
    manifest = await store.install("tiny")
    assert files(folder) == [f"owner/tiny/{path}" for path in ("config.json", "onnx/model.onnx", "onnx/more.onnx")]
    assert (folder / "owner/tiny/onnx/model.onnx").read_bytes() == DATA
    assert manifest is not None and manifest.size_bytes == len(SMALL) + 2 * len(DATA)
    assert {file.checksum.partition(":")[0] for file in manifest.files} == {"git", "sha256"}
    assert presence(store, "tiny") is Presence.INSTALLED
    assert await store.check("tiny") == []


async def test_a_repository_that_no_entry_names(server: DownloadServer, folder: Path) -> None:
    """For bindings that run any model of a kind."""
    server.publish("else/where", CONTENT, large=("onnx/model.onnx", "onnx/more.onnx"))
    catalogue = Catalogue("toy", folder, [TINY], any_hub=("*.json", "*/model.onnx"))
    store = ModelStore(catalogue, Hub(server.url), patience=QUICK)
    await store.install("else/where")
    assert files(folder) == ["else/where/config.json", "else/where/onnx/model.onnx"]
    assert presence(store, "else/where") is Presence.INSTALLED
    for name in ("../where", "else/..", "else/where/more", "CON/where", "https://else/where"):
        with pytest.raises(NotFound):
            catalogue.find(name)
    await store.uninstall("else/where")
    assert files(folder) == []
    with pytest.raises(NotFound, match=r"did you mean|it has"):
        store_of(folder, TINY).catalogue.find("else/where")


async def test_some_files_of_a_revision(server: DownloadServer, folder: Path) -> None:
    server.publish("owner/tiny", CONTENT, large=("onnx/model.onnx",), revision="v1.0")
    entry = {**TINY, "revision": "v1.0", "include": ["config.json", "onnx/m?del*"]}
    await store_of(folder, entry, hub=Hub(server.url)).install("owner/tiny")
    assert files(folder) == ["owner/tiny/config.json", "owner/tiny/onnx/model.onnx"]


@pytest.mark.parametrize(
    ("has", "fetched"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["model-00001-of-00001.safetensors", "pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
         ["model-00001-of-00001.safetensors"]),
        (["adapter.safetensors", "pytorch_model.bin"], ["adapter.safetensors", "pytorch_model.bin"]),
        (["pytorch_model.bin", "onnx/model.safetensors"], ["onnx/model.safetensors", "pytorch_model.bin"]),
    ],
)  # fmt: skip
async def test_the_same_weights_are_not_fetched_twice(
    server: DownloadServer, folder: Path, has: list[str], fetched: list[str]
) -> None:
    """Where an entry takes either kind of weights, the pickle comes only if there is no other."""
    server.publish("owner/tiny", dict.fromkeys(has, SMALL))
    entry = {**TINY, "include": ["*.safetensors", "pytorch_model*"]}
    await store_of(folder, entry, hub=Hub(server.url)).install("tiny")
    assert files(folder) == [f"owner/tiny/{path}" for path in fetched]


async def test_a_token_goes_to_the_hub_alone(server: DownloadServer, folder: Path) -> None:
    server.publish("owner/tiny", CONTENT, large=("onnx/model.onnx",), token=TOKEN)
    elsewhere = {"name": "b", "files": [{"path": "b.bin", "url": server.store.put("b.bin", DATA)}]}
    store = store_of(folder, TINY, elsewhere, hub=Hub(server.url, TOKEN))
    await store.install("tiny")
    await store.install("b")
    assert {one.headers.get("authorization") for one in server.requests} == {f"Bearer {TOKEN}"}
    assert len(server.store.requests) == 3  # one after a redirect, two that have nothing to do with the hub
    assert all("authorization" not in one.headers for one in server.store.requests)
    assert not any(TOKEN in path.read_text(errors="replace") for path in (folder / ".downloads").rglob("*.json"))


@pytest.mark.parametrize(
    ("token", "gated", "said"),
    [
        (None, False, "put a token that may read it into HF_TOKEN"),
        ("wrong", False, "does not take the token in HF_TOKEN"),
        (TOKEN, True, "keeps owner/tiny behind conditions: accept them at"),
    ],
)
async def test_a_hub_that_refuses(
    server: DownloadServer, folder: Path, token: str | None, gated: bool, said: str
) -> None:
    server.publish("owner/tiny", CONTENT, token=TOKEN, gated=gated)
    refused = await refusal(store_of(folder, TINY, hub=Hub(server.url, token)), "tiny")
    assert isinstance(refused, BindingFailed) and said in refused.message
    assert token is None or token not in refused.message


async def test_a_hub_without_it(server: DownloadServer, folder: Path) -> None:
    server.publish("owner/tiny", CONTENT)
    missing = [{**TINY, "revision": "gone"}, {**TINY, "include": ["*.gguf"]}]
    said = ["has no such file in owner/tiny", "owner/tiny has no file that fits *.gguf"]
    for entry, sentence in zip(missing, said, strict=True):
        assert sentence in (await refusal(store_of(folder, entry, hub=Hub(server.url)), "tiny")).message
    server.put("api/models", b"<html>", content_type="text/html")
    refused = await refusal(store_of(folder, TINY, hub=Hub(f"{server.url}/nothing")), "tiny")
    assert "has no such file" in refused.message


@pytest.mark.parametrize("path", ["../evil", "a\\b", "con.txt", "C:/x"])
async def test_names_that_a_hub_must_not_choose(server: DownloadServer, folder: Path, path: str) -> None:
    server.publish("owner/tiny", {path: DATA})
    refused = await refusal(store_of(folder, TINY, hub=Hub(server.url)), "tiny")
    assert "cannot be written here" in refused.message
    assert files(folder) == []


async def test_a_variant_of_a_gguf_repository(server: DownloadServer, folder: Path) -> None:
    server.publish(
        "owner/Big-GGUF", {"big-q4.gguf": DATA, "big-q8.gguf": DATA, "README.md": b"x"}, large=("big-q4.gguf",)
    )
    entry = {"name": "owner/Big-GGUF", "type": "gguf", "variants": [{"name": "big-q4.gguf", "size": None}]}
    store = store_of(folder, entry, hub=Hub(server.url))
    assert presence(store, "owner/Big-GGUF") is Presence.MISSING
    await store.install("owner/Big-GGUF")
    assert files(folder) == ["owner/Big-GGUF/big-q4.gguf"]
    download = store.catalogue.find("big-q4.gguf")
    assert store.catalogue.size_bytes(download) == len(DATA)
    assert store.catalogue.known_as(download, ["x", "owner/Big-GGUF/big-q4"]) == "owner/Big-GGUF/big-q4"


async def test_a_file_of_the_hub_by_its_address(server: DownloadServer, folder: Path) -> None:
    """The card knows neither size nor checksum; the hub tells both when it sends us on."""
    server.publish("owner/tiny", {"m.onnx": DATA}, large=("m.onnx",))
    url = f"{server.url}/owner/tiny/resolve/main/m.onnx"
    store = store_of(folder, {"name": "m", "files": [{"path": "m.onnx", "url": url}]})
    manifest = await store.install("m")
    assert manifest is not None and manifest.files[0].checksum == f"sha256:{sha256(DATA)}"
    assert presence(store, "m") is Presence.INSTALLED
    await store.uninstall("m")
    server.store.faults(f"store/{sha256(DATA)}", Other(DATA[::-1]))
    assert "its sha256 checksum is" in (await refusal(store, "m")).message


async def test_newer_files_at_the_hub(server: DownloadServer, folder: Path) -> None:
    server.publish("owner/tiny", CONTENT, large=("onnx/model.onnx",))
    store = store_of(folder, TINY, hub=Hub(server.url))
    await store.install("tiny")
    server.publish("owner/tiny", {"config.json": SMALL, "new.json": b"{}"})
    await store.install("tiny")
    assert "owner/tiny/new.json" not in files(folder)
    await store.install("tiny", upgrade=True)
    assert files(folder) == ["owner/tiny/config.json", "owner/tiny/new.json"]
    assert len(server.asked("owner/tiny/resolve/main/config.json")) == 1


def test_where_the_hub_is(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def secret(name: str, url: str) -> str | None:
        asked.append((name, url))
        return TOKEN

    found = FoundBinding("toy", tmp_path, BindingCard(name="toy"))
    place = Place("toy", tmp_path, tmp_path, secret)
    assert open_store(found, place, {})._hub == Hub("https://huggingface.co", TOKEN)
    assert asked == [("HF_TOKEN", "https://huggingface.co")]
    mirror = {"HF_ENDPOINT": "https://mirror.example/", "HF_TOKEN": "mine"}
    assert open_store(found, place, mirror)._hub == Hub("https://mirror.example", "mine")
    with pytest.raises(BadRequest, match="HF_ENDPOINT: mirror is asked for without encryption"):
        open_store(found, place, {"HF_ENDPOINT": "http://mirror"})
    with pytest.raises(Unavailable):
        open_store(FoundBinding("toy", tmp_path, BindingCard(name="toy"), error="broken"), place, {})


# beside other models


def entry(server: DownloadServer, name: str, *paths: str) -> dict[str, Any]:
    listed = [
        {"path": path, "url": server.put(path, DATA + path.encode()), "size": len(DATA) + len(path)} for path in paths
    ]
    return {"name": name, "files": listed}


async def test_what_two_models_share(server: DownloadServer, folder: Path) -> None:
    store = store_of(
        folder, entry(server, "one", "one.onnx", "voices.bin"), entry(server, "two", "voices.bin", "d/two.onnx")
    )
    await store.install("one")
    await store.install("two")
    assert len(server.asked("voices.bin")) == 1
    assert await store.uninstall("one") is True
    assert files(folder) == ["d/two.onnx", "voices.bin"]
    assert (presence(store, "one"), presence(store, "two")) == (Presence.MISSING, Presence.INSTALLED)
    assert await store.uninstall("two") is True
    assert files(folder) == [] and not (folder / "d").exists()
    assert await store.uninstall("two") is False


async def test_what_somebody_else_put_there_stays(server: DownloadServer, folder: Path) -> None:
    store = store_of(folder, entry(server, "one", "a.onnx", "b.onnx"))
    folder.mkdir(parents=True)
    (folder / "a.onnx").write_bytes(DATA + b"a.onnx")
    (folder / "notes.txt").write_text("mine")
    await store.install("one")
    assert server.asked("a.onnx") == []
    await store.uninstall("one")
    assert files(folder) == ["a.onnx", "notes.txt"]

    (folder / "b.onnx").write_bytes(DATA + b"b.onnx")
    assert presence(store, "one") is Presence.INSTALLED
    assert await store.install("one") is None
    assert await store.check("one") == []
    assert await store.uninstall("one") is False
    assert files(folder) == ["a.onnx", "b.onnx", "notes.txt"]


async def test_a_file_of_another_size_is_not_the_model(server: DownloadServer, folder: Path) -> None:
    store = store_of(folder, entry(server, "one", "a.onnx"))
    folder.mkdir(parents=True)
    (folder / "a.onnx").write_bytes(b"half")
    assert presence(store, "one") is Presence.MISSING
    await store.install("one")
    assert (folder / "a.onnx").read_bytes() == DATA + b"a.onnx"


async def test_a_model_that_lies_elsewhere(server: DownloadServer, folder: Path) -> None:
    """lollms: a file beside the place of the model says where it really is."""
    store = store_of(folder, entry(server, "one", "a.onnx"))
    folder.mkdir(parents=True)
    (folder / "a.onnx.reference").write_text("/somewhere/a.onnx")
    assert presence(store, "one") is Presence.INSTALLED


async def test_links_out_of_the_folder_are_not_followed(server: DownloadServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir(parents=True)
    (folder / "d").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    store = store_of(folder, entry(server, "one", "d/a.onnx"))
    assert "leads out of" in (await refusal(store, "one")).message
    (folder / "d").unlink()
    await store.install("one")
    assert files(folder) == ["d/a.onnx"]
    (folder / "d" / "a.onnx").rename(tmp_path / "elsewhere" / "a.onnx")
    (folder / "d").rmdir()
    (folder / "d").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(BadRequest, match="leads out of"):
        await store.uninstall("one")
    assert (tmp_path / "elsewhere" / "a.onnx").is_file()


async def test_a_card_that_names_other_files_now(server: DownloadServer, folder: Path) -> None:
    await store_of(folder, entry(server, "one", "old.onnx")).install("one")
    newer = store_of(folder, entry(server, "one", "new.onnx"))
    assert presence(newer, "one") is Presence.MISSING
    await newer.install("one")
    assert files(folder) == ["new.onnx"]
    gone = store_of(folder)
    assert gone.knows("one") and await gone.uninstall("one") is True
    assert files(folder) == []


async def test_a_process_that_died_while_it_moved_the_files(
    server: DownloadServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(folder, entry(server, "one", "a.onnx", "b.onnx"))
    moved: list[str] = []
    replace = os.replace

    class Died(BaseException):
        pass

    def once(source: Path, target: Path) -> None:
        if target.suffix == ".onnx":
            if moved:
                raise Died
            moved.append(target.name)
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", once)
        with pytest.raises(Died):
            await store.install("one")
    assert files(folder) == ["a.onnx"]
    assert presence(store, "one") is not Presence.INSTALLED
    await store.install("one")
    assert presence(store, "one") is Presence.INSTALLED
    assert len(server.asked("a.onnx")) == len(server.asked("b.onnx")) == 1
    await store.uninstall("one")
    assert files(folder) == []


# looking after it


async def test_what_is_wrong(server: DownloadServer, folder: Path) -> None:
    listed = entry(server, "one", "a.onnx", "b.onnx", "c.onnx")
    for file in listed["files"]:
        file["sha256"] = sha256(DATA + file["path"].encode())
    store = store_of(folder, listed)
    (problem,) = await store.check("one")
    assert problem == "it is not installed; install it with: greenroom install model toy one"
    await store.install("one")
    assert await store.check("one") == []
    (folder / "a.onnx").write_bytes(b"x" * (len(DATA) + 6))
    (folder / "b.onnx").write_bytes(b"x")
    (folder / "c.onnx").unlink()
    wrong = await store.check("one")
    assert [sentence.partition(";")[0] for sentence in wrong] == [
        "a.onnx is damaged: its sha256 checksum is another",
        f"b.onnx has 1 bytes, and should have {len(DATA) + 6}",
        "c.onnx is gone",
    ]
    await store.install("one", upgrade=True)
    assert await store.check("one") == []
    server.faults("a.onnx", Cut(10), Status(404))
    await store.uninstall("one")
    await refusal(store, "one")
    (problem,) = await store.check("one")
    assert problem.startswith("a part of it is here")
    assert await store.uninstall("one") is True
    assert presence(store, "one") is Presence.MISSING


async def test_names(server: DownloadServer, folder: Path) -> None:
    store = store_of(
        folder,
        entry(server, "lessac-medium", "a.onnx"),
        {"name": "cloud", "type": "api"},
        {"name": "carried"},
        {"name": "bad", "hub": "x"},
        {"name": "o/G", "type": "gguf", "variants": ["q4.gguf", "q8.gguf"]},
    )
    find = store.catalogue.find
    assert find("a.onnx").name == find(f"{server.url}/a.onnx").name == "lessac-medium"
    assert find("o/G/q8.gguf").name == "q8.gguf"
    with pytest.raises(NotFound, match="did you mean lessac-medium"):
        find("lesac-medium")
    with pytest.raises(NotFound, match="it has: lessac-medium, q4"):
        find("../../etc/passwd")
    for name, said in (
        ("cloud", "needs no download"),
        ("carried", "see its README"),
        ("bad", "hub: wanted owner/name"),
    ):
        with pytest.raises(BadRequest, match=said):
            find(name)
    with pytest.raises(BadRequest, match=r"which o/G of toy\? Choose one of: q4.gguf, q8.gguf"):
        find("o/G")
    with pytest.raises(NotFound, match="toy has no models to install"):
        store_of(folder).catalogue.find("x")


async def test_two_at_once(server: DownloadServer, folder: Path) -> None:
    listed = entry(server, "one", "a.onnx")
    server.faults("a.onnx", Hold(1000))
    first = asyncio.create_task(store_of(folder, listed).install("one"))
    async with asyncio.timeout(20):
        await server.held.wait()
        for doing in (store_of(folder, listed).install("one"), store_of(folder, listed).uninstall("one")):
            with pytest.raises(Conflict, match="is being installed or removed by process"):
                await doing
        server.go.set()
        await first
    assert files(folder) == ["a.onnx"]


async def test_two_models_with_one_file_at_once(server: DownloadServer, folder: Path) -> None:
    store = store_of(folder, entry(server, "one", "a.bin", "voices.bin"), entry(server, "two", "voices.bin"))
    server.faults("voices.bin", Hold(1000))
    first = asyncio.create_task(store.install("one"))
    async with asyncio.timeout(20):
        await server.held.wait()
        await store.install("two")
        server.go.set()
        await first
    assert (folder / "voices.bin").read_bytes() == DATA + b"voices.bin"
    await store.uninstall("two")
    assert files(folder) == ["a.bin", "voices.bin"]


async def test_a_folder_that_cannot_be_made(server: DownloadServer, folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    assert (
        "a file of that name is in the way"
        in (await refusal(store_of(folder, entry(server, "one", "a")), "one")).message
    )


async def test_a_folder_where_a_file_belongs(server: DownloadServer, folder: Path) -> None:
    (folder / "a").mkdir(parents=True)
    store = store_of(folder, entry(server, "one", "a"))
    assert "cannot be written" in (await refusal(store, "one")).message
    (folder / "a").rmdir()
    server.faults("a", Other(b""))
    await store.install("one")  # what had come is still there
    assert len(server.asked("a")) == 1
