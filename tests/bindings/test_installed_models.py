"""What ``models.yaml`` of each local binding offers: once installed, its name is what the binding's option takes."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fakes.binding_rig import BINDINGS, Places, open_operation
from fakes.download_server import DownloadServer
from fakes.tiny_classifiers import tiny_emotions, tiny_moderation
from fakes.tiny_voices import tiny_bert, tiny_kokoro, tiny_piper
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.downloads.catalogue import Catalogue
from greenroom.bindings.downloads.hub import Hub
from greenroom.bindings.downloads.store import ModelStore
from greenroom.errors import NotFound, Unavailable
from greenroom.values import Audio, Role, SpeechText, TextChunk

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # transformers and torch warn on import
SHELF = BindingShelf((BINDINGS,))
PACKAGED = "sentence-transformers/all-MiniLM-L6-v2"
"""may be there without being installed: a Python package carries it"""


async def given(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def speaks(operation: Any) -> bool:
    return any([isinstance(item, Audio) async for item in operation.speak(given(SpeechText("Hello lamp.")))])


async def judges(operation: Any) -> bool:
    return all([chunk.extras async for chunk in operation.apply(given(TextChunk("Hello lamp.")))])


async def embeds(operation: Any) -> bool:
    return bool((await operation.embed(["hello lamp"])).any())


@dataclass(frozen=True)
class Kind:
    role: Role
    option: str
    make: Callable[[Path], Path]
    """-> a folder with small files in place of the real ones"""
    works: Callable[[Any], Any]


def _piper(folder: Path) -> Path:
    return tiny_piper(folder, "voice").parent


def _kokoro(folder: Path) -> Path:
    return tiny_kokoro(folder).parent


KINDS: Mapping[str, Kind] = {
    "piper": Kind(Role.TTS, "voice", _piper, speaks),
    "kokoro": Kind(Role.TTS, "model", _kokoro, speaks),
    "minilm": Kind(Role.EMBEDDING, "model", tiny_bert, embeds),
    "emotion_roberta": Kind(Role.FILTER_TEXT, "model", lambda _: tiny_emotions(), judges),
    "mod_koala": Kind(Role.FILTER_TEXT, "model", lambda _: tiny_moderation(), judges),
}
ENTRIES = [
    pytest.param(binding_id, entry, id=f"{binding_id}-{entry['name']}")
    for binding_id in KINDS
    for entry in SHELF.get(binding_id).model_entries
]


@pytest.fixture
async def server() -> AsyncGenerator[DownloadServer, None]:
    async with DownloadServer() as running:
        yield running


def _offered(entry: Mapping[str, Any], server: DownloadServer, small: Path) -> dict[str, Any]:
    """The entry, with the small files behind its addresses."""
    if "hub" in entry:
        names = [path.relative_to(small).as_posix() for path in small.rglob("*") if path.is_file()]
        server.publish(entry["hub"], {name: (small / name).read_bytes() for name in names})
        return dict(entry)
    files = []
    for file in entry["files"]:
        suffix = "".join(Path(file["path"]).suffixes[-2:]) if file["path"].endswith(".json") else file["path"][-4:]
        [source] = [path for path in small.iterdir() if path.name.endswith(suffix)]
        files.append({"path": file["path"], "url": server.put(file["path"], source.read_bytes())})
    return {**entry, "files": files}


@pytest.mark.parametrize(("binding_id", "entry"), ENTRIES)
async def test_what_is_installed_works_by_its_name(
    binding_id: str, entry: dict[str, Any], server: DownloadServer, tmp_path: Path
) -> None:
    kind = KINDS[binding_id]
    places = Places(models=tmp_path / "models")
    options = {kind.option: entry["name"]}
    if entry["name"] != PACKAGED:
        with pytest.raises((Unavailable, NotFound), match=f"greenroom install model {binding_id} {entry['name']}"):
            async with open_operation(binding_id, kind.role, options, places):
                raise AssertionError
    small = kind.make(tmp_path / "small")
    store = ModelStore(
        Catalogue(binding_id, places.models / binding_id, [_offered(entry, server, small)]), Hub(server.url)
    )
    await store.install(entry["name"])
    for chosen in (options, {} if binding_id in ("piper", "kokoro", "minilm") else options):
        async with open_operation(binding_id, kind.role, chosen, places) as operation:
            assert await kind.works(operation)
    found = await type(operation).models(operation.options, places.place(SHELF.get(binding_id)))
    assert entry["name"] in [model.name for model in found if model.installed]
