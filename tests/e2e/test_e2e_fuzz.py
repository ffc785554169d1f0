"""Every event with everything that it cannot mean: each gets its one answer, and nobody else notices."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import psutil
import pytest
import pytest_asyncio

from e2e.conftest import make_home
from e2e.promises import check_numbers, check_turn
from e2e.visitor import PATIENCE_S, Visitor, text_of, visitor
from fakes.server_process import ServerProcess, running_server
from greenroom.protocol.commands import COMMANDS, CONTEXT_KINDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
operations: [{role: t2t, id: scripted}, {role: tts, id: scripted}, {role: stt, id: scripted}]
turn: {audio_lead_ms: 0}
session: {history_length: 10, replay_log_bytes: 1048576}
limits: {requests_per_s: 100000, requests_burst: 100000}
"""
AT_ONCE = 32
GROWTH_BYTES = 12 << 20
SENTENCE = "say It is quite calm in here, thank you."
CODES = {
    *("bad_request", "unauthorized", "forbidden", "not_found", "conflict", "busy", "too_large", "unavailable"),
    *("binding_failed", "cancelled", "restarted", "too_slow"),
}
"""``internal`` would be a bug"""


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 2**53, 10**30, -1e308, float("nan"), float("inf")),
    *("", " ", "\0", "x" * 300, "y" * 70_000, "../../etc/passwd", "{{date}}", "\ud800", "你好", "0", "-1"),
    *([], [None], [[]], [0] * 3000, {}, {"a": 1}, {"": {"": {}}}, {"_placeholder": True, "num": 7}),
    *(b"", b"\xff", b"\0" * 5000, [b"1", b"2"], nested(20), nested(200), {f"k{n}": n for n in range(2000)}),
)
BASE: dict[str, dict[str, Any]] = {
    "list_available_models": {"binding": "nobody"},
    "list_voices": {"binding": "nobody"},
    "list_available_personalities_categories": {"language": "elvish"},
    "list_available_personalities_names": {"language": "elvish", "category": "tests"},
    "session_join": {"session": "den", "epoch": "e", "last_seq": 1, "plays": False},
    "history_get": {"limit": 1, "before": "nobody"},
    "tokenize": {"prompt": "x"},
    "detokenize": {"prompt": ["x"]},
    "embed": {"prompt": "x"},
    "vectorize_text": {
        "payloads": [{"path": "x", "text": "x y"}],
        "chunk_size": 2,
        "vectorization_method": "tfidf_vectorizer",
        "return_database": True,
        "database_path": "",
    },
    "query_database": {
        "query": "x",
        "database": {"embeddings": [], "texts": [], "infos": []},
        "vectorization_method": "ftidf_vectorizer",
        "top_k": 1,
        "database_path": "",
    },
    "cancel_job": {"job_id": "nobody", "reason": "x"},
    "interrupt": {"heard_ms": 1, "heard_text": "x", "job_id": "nobody"},
    "audio_heard": {"job_id": "nobody", "index": 0, "ms": 1},
    "select_binding": {"binding_name": "nobody", "options": {"model": "x"}},
    "select_model": {"model_name": "nobody"},
    "install_binding": {"name": "nobody", "upgrade": False},
    "uninstall_binding": {"name": "nobody"},
    "install_model": {"binding": "nobody", "name": "nothing", "upgrade": False},
    "uninstall_model": {"binding": "nobody", "name": "nothing"},
    "cancel_install": {"binding": "nobody", "name": "nothing"},
    "add_personality": {"path": "a/b/c"},
    "remove_personality": {"id": 99},
    "activate_personality": {"id": 99},
    "response": {"include_audio": False, "user": "x", "text": "say", "audio_lead_ms": 0},
    "say": {"text": "x", "include_audio": False},
    "context_custom_register": {"context_id": "x", "context_name": "x", "context_description": "x"},
    "context_custom_remove": {"context_id": "x"},
    "context_configure": {
        "name_translations": {"a": "b"},
        "character_name": "x",
        "history_length": 9,
        **{f"{kind}_prompt_filename": "nobody" for kind in ("instruction", "character", "scene")},
    },
    "operation_load": {"ops": [{"role": "tts", "id": "nobody", "config": {}, "loose_key": 1}]},
    "operation_unload": {"ops": [{"role": "embedding", "id": "nobody"}]},
    "operation_configure": {"ops": [{"role": "embedding", "id": "nobody", "voice": "x"}]},
    "operation_use": {"role": "filter_text", "id": "nobody", "payload": {"content": "x"}},
    "config_load": {"config_name": "nobody"},
    "config_update": {"config": {"turn": {"chunk_ms": "x"}}},
    "config_save": {"config_name": "../x"},
    "generate_text": {"prompt": "say x", "personality": -1, "n_predicts": 1, "n_crop": 1, "parameters": {"top_k": 1}},
}
LINES: tuple[dict[str, Any], ...] = (
    {"kind": "chat", "user": "x", "content": "x", "timestamp": 1},
    {"kind": "request", "content": "x", "timestamp": 1},
    {"kind": "custom", "context_id": "nobody", "content": "x", "timestamp": 1},
    {"kind": "audio", "user": "x", "audio": b"1234", "sr": 8000, "sw": 2, "ch": 1, "timestamp": 1},
)


def events() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Event names and arguments."""
    names = [*COMMANDS, "list_personalities", "", "x" * 500, "constructor", "disconnect", "connect", "*", "a\0b"]
    for name in names:
        bases = LINES if name == "context_add" else (BASE.get(name, {}),)
        yield name, ()
        yield name, (bases[0], bases[0])
        yield name, tuple(range(20))
        for value in VALUES:
            yield name, (value,)
        for base in bases:
            yield name, ({**base, "something": "else"},)
            for field in [*base, "command_id"]:
                yield name, ({key: value for key, value in base.items() if key != field},)
                for value in VALUES:
                    yield name, ({**base, field: value},)
                if isinstance(base.get(field), list) and isinstance(base[field][0], dict):
                    for inner in base[field][0]:
                        for value in VALUES:
                            yield name, ({**base, field: [{**base[field][0], inner: value}]},)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ServerProcess, None]:
    async with running_server(make_home(tmp_path_factory.mktemp("fuzzed"), CONFIG)) as process:
        yield process


class Fuzzer:
    """Sends a number of events at once and counts the answer to each."""

    def __init__(self, client: Visitor) -> None:
        self.client = client
        self.answers: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        self.wrong: list[tuple[str, str, Any]] = []
        self._slots = asyncio.Semaphore(AT_ONCE)
        handled = client.sio._handle_ack

        async def counted(namespace: str, ack_id: int, data: Any) -> None:
            self.answers[ack_id] += 1
            await handled(namespace, ack_id, data)

        client.sio._handle_ack = counted

    async def send(self, name: str, arguments: tuple[Any, ...]) -> None:
        async with self._slots:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self.client.ask(name, *arguments)
            self.client.told.clear()
            self.client.times.clear()
        good = isinstance(answer, dict) and (
            answer.get("success") is True or (answer.get("code") in CODES and bool(answer.get("error")))
        )
        self.codes[answer.get("code", "success") if isinstance(answer, dict) else "?"] += 1
        if not good:
            self.wrong.append((name, repr(arguments)[:200], answer))


async def test_every_event_is_fuzzed() -> None:
    bare = {name for name, command in COMMANDS.items() if set(command.model_fields) == {"command_id"}}
    assert set(COMMANDS) == {*BASE, *bare, "context_add"}
    assert {line["kind"] for line in LINES} == set(CONTEXT_KINDS)
    for name, base in BASE.items():
        assert {*base, "command_id"} == set(COMMANDS[name].model_fields), name
    for line in LINES:
        assert {*line, "command_id"} == set(CONTEXT_KINDS[line["kind"]].model_fields)


@pytest.mark.slow
async def test_fuzz(fuzzed: ServerProcess, den: str) -> None:
    server = psutil.Process(fuzzed.pid)
    async with visitor(fuzzed.url, session="den") as hostile, visitor(fuzzed.url, session=den) as ana:
        over = asyncio.Event()

        async def talks() -> int:
            turns = 0
            while not over.is_set():
                told = await ana.run("response", text=SENTENCE)
                check_turn(told)
                assert text_of(told).strip() == SENTENCE.removeprefix("say ")
                turns += 1
            return turns

        talking = asyncio.create_task(talks())
        fuzzer = Fuzzer(hostile)
        resident = []
        for _ in range(2):
            async with asyncio.TaskGroup() as group:
                for name, arguments in events():
                    group.create_task(fuzzer.send(name, arguments))
            resident.append(server.memory_info().rss)
        over.set()
        assert await talking > 3
        assert fuzzer.wrong == []
        assert set(fuzzer.answers.values()) == {1}
        assert fuzzer.answers.total() == 2 * len(list(events()))
        check_numbers(ana)
        assert resident[1] - resident[0] < GROWTH_BYTES, resident
        assert "Traceback" not in fuzzed.logged()
