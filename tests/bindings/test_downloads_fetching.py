"""Fetching over a real connection from a server with every fault that there is."""

import asyncio
import errno
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.download_server import Cut, DownloadServer, Fault, Hold, Other, Redirect, Status, Whole, sha256
from greenroom.bindings.downloads import progress, transfer
from greenroom.bindings.downloads.catalogue import Catalogue, Presence
from greenroom.bindings.downloads.store import SPARE_BYTES, ModelStore
from greenroom.bindings.downloads.web import Patience
from greenroom.bindings.installing.progress import Phase, Progress
from greenroom.errors import BindingFailed, GreenroomError, Unavailable

QUICK = Patience(first_wait_s=0.0, attempts=3)
DATA = bytes(range(256)) * 800


@pytest.fixture
async def server() -> AsyncGenerator[DownloadServer, None]:
    async with DownloadServer() as running:
        yield running


class Shop:
    """A binding ``toy`` with the models that a test names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[Progress] = []

    def store(self, *entries: dict[str, Any], **more: Any) -> ModelStore:
        return ModelStore(Catalogue("toy", self.folder, entries), **{"patience": QUICK, **more})

    async def install(self, *entries: dict[str, Any], **more: Any) -> None:
        await self.store(*entries, **more).install(entries[0]["name"], self.told.append)

    async def fails(self, *entries: dict[str, Any], **more: Any) -> GreenroomError:
        with pytest.raises(GreenroomError) as caught:
            await self.install(*entries, **more)
        return caught.value

    def left(self) -> list[str]:
        """Every file but locks and notes."""
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix not in (".lock", ".json")
        )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "models" / "toy")


def model(url: str, path: str = "a.bin", **more: Any) -> dict[str, Any]:
    return {"name": "toy", "files": [{"path": path, "url": url, **more}]}


async def test_from_0_to_100(server: DownloadServer, shop: Shop) -> None:
    entry = {
        "name": "toy",
        "files": [
            {"path": f"deep/{n}.bin", "url": server.put(f"{n}.bin", DATA), "size": len(DATA), "sha256": sha256(DATA)}
            for n in range(6)
        ],
    }
    await shop.install(entry)
    assert shop.left() == [f"deep/{n}.bin" for n in range(6)]
    assert all((shop.folder / path).read_bytes() == DATA for path in shop.left())
    first, last = shop.told[0], shop.told[-1]
    assert (first.phase, first.percent) == (Phase.PREPARING, 0)
    assert (last.phase, last.percent, last.message) == (Phase.DONE, 100, "6 files, 1.2 MB")
    assert last.downloaded == last.total == 6 * len(DATA)
    assert [one.percent for one in shop.told] == sorted(one.percent for one in shop.told)
    before = len(server.requests)
    await shop.install(entry)
    assert len(server.requests) == before
    assert shop.store(entry).catalogue.presence(shop.store(entry).catalogue.find("toy")) is Presence.INSTALLED


async def test_an_empty_file_and_one_of_unknown_length(server: DownloadServer, shop: Shop) -> None:
    files = [
        {"path": "empty", "url": server.put("empty", b""), "size": 0, "sha256": sha256(b"")},
        {"path": "some", "url": server.put("some", DATA, says_length=False), "sha256": sha256(DATA)},
    ]
    await shop.install({"name": "toy", "files": files})
    assert (shop.folder / "empty").read_bytes() == b""
    assert (shop.folder / "some").read_bytes() == DATA


async def test_a_cut_stream_goes_on_where_it_stopped(server: DownloadServer, shop: Shop) -> None:
    url = server.put("a.bin", DATA)
    server.faults("a.bin", Cut(70_000), Cut(50_000))
    await shop.install(model(url, sha256=sha256(DATA)))
    assert (shop.folder / "a.bin").read_bytes() == DATA
    assert [one.headers.get("range") for one in server.asked("a.bin")] == [None, "bytes=70000-", "bytes=120000-"]


async def test_what_was_cancelled_is_taken_up_later(
    server: DownloadServer, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_TOLD_EVERY_S", 0.0)
    url = server.put("a.bin", DATA)
    server.faults("a.bin", Hold(90_000))
    entry = model(url)
    came = asyncio.Event()

    def report(told: Progress) -> None:
        if told.downloaded == 90_000:
            came.set()

    task = asyncio.create_task(shop.store(entry).install("toy", report))
    async with asyncio.timeout(20):
        await came.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.left.wait()
    assert task.cancelled()
    catalogue = shop.store(entry).catalogue
    assert catalogue.presence(catalogue.find("toy")) is Presence.PARTIAL
    assert not (shop.folder / "a.bin").exists()
    await shop.install(entry)
    assert server.asked("a.bin")[-1].headers["range"] == "bytes=90000-"
    assert server.asked("a.bin")[-1].headers["if-range"] == server.files["a.bin"].etag
    assert shop.left() == ["a.bin"]
    assert (shop.folder / "a.bin").read_bytes() == DATA


async def held_back(server: DownloadServer, shop: Shop, entry: dict[str, Any]) -> None:
    """Begin, and fail with a part of it on the disk."""
    server.faults("a.bin", Cut(90_000), *[Status(503)] * 3)
    failed = await shop.fails(entry)
    assert failed.retryable and "it goes on from there" in failed.message


@pytest.mark.parametrize("checksum", [False, True])
async def test_a_file_that_has_changed_meanwhile_starts_anew(
    server: DownloadServer, shop: Shop, checksum: bool
) -> None:
    url = server.put("a.bin", DATA)
    await held_back(server, shop, model(url))
    new = DATA[::-1]
    server.put("a.bin", new)
    await shop.install(model(url, **({"sha256": sha256(new)} if checksum else {})))
    assert (shop.folder / "a.bin").read_bytes() == new


async def test_a_server_without_validators_or_ranges(server: DownloadServer, shop: Shop) -> None:
    url = server.put("a.bin", DATA, etag="")
    await held_back(server, shop, model(url))
    await shop.install(model(url))
    assert "range" not in server.asked("a.bin")[-1].headers
    assert (shop.folder / "a.bin").read_bytes() == DATA

    entry = {**model(server.put("b.bin", DATA), path="b.bin"), "name": "other"}
    server.faults("b.bin", Cut(1000), Whole())
    await shop.install(entry)
    assert (shop.folder / "b.bin").read_bytes() == DATA


async def test_without_a_validator_a_checksum_will_do(server: DownloadServer, shop: Shop) -> None:
    entry = model(server.put("a.bin", DATA, etag=""), sha256=sha256(DATA))
    await held_back(server, shop, entry)
    await shop.install(entry)
    assert server.asked("a.bin")[-1].headers["range"] == "bytes=90000-"
    assert (shop.folder / "a.bin").read_bytes() == DATA


async def test_a_part_that_was_damaged_meanwhile_is_fetched_again(server: DownloadServer, shop: Shop) -> None:
    entry = model(server.put("a.bin", DATA), sha256=sha256(DATA))
    await held_back(server, shop, entry)
    (part,) = (shop.folder / ".downloads").glob("*/*.part")
    part.write_bytes(b"x" * 90_000)
    await shop.install(entry)
    assert (shop.folder / "a.bin").read_bytes() == DATA


async def test_a_part_that_is_longer_than_the_file(server: DownloadServer, shop: Shop) -> None:
    entry = model(server.put("a.bin", DATA, says_length=False), sha256=sha256(DATA))
    await held_back(server, shop, entry)
    (part,) = (shop.folder / ".downloads").glob("*/*.part")
    part.write_bytes(DATA + b"more")
    await shop.install(entry)
    assert server.asked("a.bin")[-2].headers["range"] == f"bytes={len(DATA) + 4}-"  # refused with 416
    assert (shop.folder / "a.bin").read_bytes() == DATA


async def test_what_may_be_only_half_of_it_is_not_taken(server: DownloadServer, shop: Shop) -> None:
    """No length, no checksum: an end of the stream says nothing."""
    failed = await shop.fails(model(server.put("a.bin", DATA, says_length=False)))
    assert "cannot be known whether all of it came" in failed.message


async def test_busy_servers_are_waited_for(server: DownloadServer, shop: Shop) -> None:
    url = server.put("a.bin", DATA)
    server.faults("a.bin", Status(429, {"Retry-After": "0"}), Status(502), Cut(0), Status(500), Cut(0))
    await shop.install(model(url), patience=Patience(first_wait_s=0.0, attempts=6))
    assert (shop.folder / "a.bin").read_bytes() == DATA


GIVE_UPS: list[tuple[tuple[Fault, ...], str]] = [
    ((Status(429, {"Retry-After": "86400"}),), "the server wants fewer requests and asks to wait for 86400 s"),
    ((Status(500),) * 3, "the server answered with status 500, 3 times in a row"),
    ((Cut(0),) * 3, "3 times in a row"),
]


@pytest.mark.parametrize(("faults", "said"), GIVE_UPS)
async def test_and_given_up(server: DownloadServer, shop: Shop, faults: tuple[Fault, ...], said: str) -> None:
    url = server.put("a.bin", DATA)
    server.faults("a.bin", *faults)
    failed = await shop.fails(model(url))
    assert isinstance(failed, BindingFailed) and failed.retryable
    assert said in failed.message and "what has come is kept" in failed.message


async def test_nobody_there(server: DownloadServer, shop: Shop) -> None:
    url = server.put("a.bin", DATA)
    async with DownloadServer() as gone:
        url = gone.put("a.bin", DATA)
    failed = await shop.fails(model(url))
    assert failed.retryable and "no connection" in failed.message


REFUSALS: list[tuple[Fault, str]] = [
    (Status(401), "wants a login"),
    (Status(403), "refuses it"),
    (Status(404), "has no such file"),
    (Status(418), "answered with status 418"),
    (Other(b"<html>please log in</html>", "text/html; charset=utf-8"), "the server sends a web page in its place"),
    (Other(DATA[:500]), "it has 500 bytes, and 204800 were announced"),
    (Other(DATA[::-1]), "its sha256 checksum is"),
]


@pytest.mark.parametrize(("fault", "said"), REFUSALS)
async def test_what_is_refused(server: DownloadServer, shop: Shop, fault: Fault, said: str) -> None:
    url = server.put("a.bin", DATA)
    server.faults("a.bin", fault)
    failed = await shop.fails(model(url, size=len(DATA), sha256=sha256(DATA)))
    assert isinstance(failed, BindingFailed) and not failed.retryable
    assert said in failed.message
    assert "a.bin from 127.0.0.1" in failed.message
    assert not (shop.folder / "a.bin").exists()
    assert len(server.asked("a.bin")) == 1
    await shop.install(model(url, size=len(DATA), sha256=sha256(DATA)))


async def test_one_of_several_fails(server: DownloadServer, shop: Shop) -> None:
    files = [{"path": f"{n}.bin", "url": server.put(f"{n}.bin", DATA)} for n in range(3)]
    server.faults("1.bin", Status(404))
    assert "1.bin" in (await shop.fails({"name": "toy", "files": files})).message
    assert [path for path in shop.left() if not path.startswith(".downloads")] == []
    await shop.install({"name": "toy", "files": files})
    assert shop.left() == ["0.bin", "1.bin", "2.bin"]


async def test_redirects(server: DownloadServer, shop: Shop) -> None:
    async with DownloadServer() as other:
        url = server.put("a.bin", b"")
        server.faults("a.bin", Redirect("/b.bin"))
        server.put("b.bin", b"")
        server.faults("b.bin", Redirect(other.put("c.bin", DATA)))
        await shop.install(model(url))
    assert (shop.folder / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("http://example.org/a", "example.org is asked for without encryption"),
        ("file:///etc/passwd", "wanted a URL that begins with https://"),
        ("/a.bin", "leads in circles"),
    ],
)
async def test_redirects_that_are_not_followed(server: DownloadServer, shop: Shop, to: str, said: str) -> None:
    url = server.put("a.bin", DATA)
    server.faults("a.bin", *[Redirect(to)] * 20)
    assert said in (await shop.fails(model(url, size=len(DATA)))).message


async def test_there_must_be_room_before_anything_begins(server: DownloadServer, shop: Shop) -> None:
    url = server.put("a.bin", DATA)
    failed = await shop.fails(model(url, size=30_000_000_000), free_bytes=lambda folder: 5_000_000_000)
    assert isinstance(failed, Unavailable) and failed.kind == "no_room"
    assert "this takes 30.0 GB" in failed.message and "5.0 GB are free" in failed.message
    assert server.requests == []
    # where the card says nothing, the server does
    failed = await shop.fails(model(url), free_bytes=lambda folder: SPARE_BYTES + 1000)
    assert "this takes 204.8 kB" in failed.message
    assert server.asked("a.bin") == [] and len(server.asked("a.bin", "HEAD")) == 1


async def test_what_is_here_already_needs_no_room(server: DownloadServer, shop: Shop) -> None:
    entry = model(server.put("a.bin", DATA), size=len(DATA))
    await held_back(server, shop, entry)
    await shop.install(entry, free_bytes=lambda folder: SPARE_BYTES + len(DATA) - 90_000)
    assert (shop.folder / "a.bin").read_bytes() == DATA


def full_disk(after: int) -> Callable[[Path, int], Any]:
    """As the real one, but the disk takes no more than so many bytes."""
    opened = transfer._open_at

    def open_at(file: Path, held: int) -> Any:
        real = opened(file, held)
        left = after

        class Full:
            def write(self, data: bytes) -> int:
                nonlocal left
                if left == 0:
                    raise OSError(errno.ENOSPC, "No space left on device", str(file))
                count = real.write(data[:left])
                left -= count
                return count

            def close(self) -> None:
                real.close()

        return Full()

    return open_at


async def test_a_full_disk(server: DownloadServer, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = model(server.put("a.bin", DATA), sha256=sha256(DATA))
    with monkeypatch.context() as patched:
        patched.setattr(transfer, "_open_at", full_disk(60_000))
        failed = await shop.fails(entry)
    assert isinstance(failed, Unavailable) and failed.kind == "no_room"
    assert "there is no room left in" in failed.message and "goes on from there" in failed.message
    await shop.install(entry)
    assert server.asked("a.bin")[-1].headers["range"] == "bytes=60000-"
    assert (shop.folder / "a.bin").read_bytes() == DATA


def test_nobody_waits_longer_than_is_asked_of_them() -> None:
    assert Patience(longest_wait_s=10).wait_s(30) == 10
