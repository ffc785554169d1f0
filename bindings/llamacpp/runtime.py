"""One model loaded by llama.cpp in this process, shared by every session that uses it with the same load options."""

import asyncio
import http.client
import json
import secrets
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from pydantic import Field

from greenroom.bindings.roles import Engine, Model, Operation, Options, Place
from greenroom.errors import BindingFailed, Unavailable

from .model_files import ModelFile, choose_model, find_models

_CLOSE_PATIENCE_S = 10.0
_PROMPT_BATCH = 512
"""prompt tokens between two chances to stop"""
_TOKENIZE_TIMEOUT_S = 10.0
_SILENT = -1

Callback = Callable[[dict[str, Any]], bool]
"""Takes a chunk; says whether to stop."""


class LlamaServer(Protocol):
    """What is used of ``xllamacpp.Server``; every call blocks, releases the GIL, and may run in several threads."""

    listening_address: str

    def handle_chat_completions(self, request: dict[str, Any], callback: Callback) -> object: ...
    def handle_completions(self, request: dict[str, Any], callback: Callback) -> object: ...
    def handle_embeddings(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def handle_metrics(self) -> object: ...


class ModelOptions(Options):
    model: str = Field("", description="name of a file in the models folder; empty: the only one there is")
    n_ctx: int = Field(4096, ge=128, le=1 << 20, description="tokens that one conversation may have, answer included")
    n_parallel: int = Field(2, ge=1, le=64, description="conversations answered at once; each takes memory for n_ctx")
    n_threads: int = Field(0, ge=0, le=512, description="processor threads; 0: as llama.cpp finds best")
    n_gpu_layers: int = Field(-1, ge=-1, le=10_000, description="layers put on a GPU; -1: as many as fit")
    prompt_cache_mib: int = Field(
        512, ge=0, le=1 << 20, description="memory in MiB for prompts of conversations that have no slot now"
    )


class LlamaEngine(Engine):
    def __init__(self, name: str, server: LlamaServer, key: str) -> None:
        self.name = name
        self._server: LlamaServer | None = server
        self._address = server.listening_address
        self._key = key
        self._users = 0
        self._idle = threading.Condition()

    @contextmanager
    def use(self) -> Iterator[LlamaServer]:
        """In a worker thread: the model stays loaded until it is left. :raises BindingFailed: if it is closed."""
        with self._idle:
            server = self._server
            if server is None:
                raise BindingFailed(f"the model {self.name} has been unloaded")
            self._users += 1
        try:
            yield server
        except (ValueError, RuntimeError) as error:
            raise BindingFailed(f"llama.cpp refused the request: {error}") from error
        finally:
            del server
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    async def close(self) -> None:
        """Frees the memory, once calls that are being stopped have returned."""
        await asyncio.to_thread(self._unload)

    def _unload(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._users == 0, _CLOSE_PATIENCE_S)
            self._server = None

    async def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What xllamacpp has no call for, over llama.cpp's own HTTP port on this machine."""
        return await asyncio.to_thread(self._ask, path, body)

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        address = urlsplit(self._address)
        with self.use():
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TOKENIZE_TIMEOUT_S)
            try:
                headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
                connection.request("POST", path, json.dumps(body), headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise BindingFailed(f"llama.cpp did not answer {path}: {error}", retryable=True) from error
            finally:
                connection.close()
        if response.status != 200 or not isinstance(answer, dict):
            raise BindingFailed(f"llama.cpp refused {path} with status {response.status}")
        return answer


class LlamaOperation(Operation[LlamaEngine]):
    """What the roles have in common."""

    Options: ClassVar[type[Options]] = ModelOptions
    embeds: ClassVar[bool] = False
    engine: LlamaEngine

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return (cls.embeds, tuple(getattr(options, name) for name in cls._load_options()))

    @classmethod
    def _load_options(cls) -> Sequence[str]:
        return tuple(ModelOptions.model_fields)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> LlamaEngine:
        """:raises Unavailable, NotFound, BadRequest: about the file; :raises BindingFailed: it does not load."""
        return await asyncio.to_thread(cls._load, options, place)

    @classmethod
    def _load(cls, options: Any, place: Place) -> LlamaEngine:
        model = choose_model(place.models, options.model)
        key = secrets.token_urlsafe(24)
        return LlamaEngine(model.name, cls._start(options, model, key), key)

    @classmethod
    def _start(cls, options: ModelOptions, model: ModelFile, key: str) -> LlamaServer:
        try:
            import xllamacpp
        except ImportError as error:
            raise Unavailable(f"xllamacpp cannot be imported: {error}") from error
        params = xllamacpp.CommonParams()
        params.model.path = str(model.path)
        params.model_alias = {model.name}
        params.n_ctx = options.n_ctx * options.n_parallel
        params.n_parallel = options.n_parallel
        params.n_batch = _PROMPT_BATCH
        params.n_gpu_layers = options.n_gpu_layers
        params.cache_ram_mib = options.prompt_cache_mib
        if options.n_threads:
            params.cpuparams.n_threads = options.n_threads
            params.cpuparams_batch.n_threads = options.n_threads
        params.verbosity = _SILENT
        _lock_port(params, key)
        cls._prepare(params, options)
        try:
            server: LlamaServer = xllamacpp.Server(params)
        except RuntimeError as error:
            raise BindingFailed(
                f"llama.cpp cannot load {model.name}: too little memory for it (a smaller n_ctx needs less), "
                "or a kind of model that this version does not know"
            ) from error
        # a server that is freed before its loop has begun waits for it for ever, with the GIL held: let it do one task
        server.handle_metrics()
        return server

    @classmethod
    def _prepare(cls, params: Any, options: Any) -> None:
        """What a role sets beside what all set."""

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        found = await asyncio.to_thread(find_models, place.models)
        return [Model(model.name, installed=model.is_there, size_bytes=model.size_bytes) for model in found]


def _lock_port(params: Any, key: str) -> None:
    """llama.cpp always listens on a port of this machine; only this process may use it, a web page least of all."""
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.cors_origins = "http://nowhere.invalid"
    params.cors_origins_explicit = True
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_props = False
    params.endpoint_metrics = True
    params.n_threads_http = 1
