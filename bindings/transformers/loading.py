"""What the four roles have in common: which model, on which device, with which numbers, and how it is loaded.

loaded = await open_model(ModelClass, options, place)     in a thread, told in the log, warmed up
async for item in loaded.stream(produce): ...             at most ``parallel`` calls at once, each in its own thread
"""

import asyncio
import json
import logging
import pickle
import threading
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import Field

from greenroom.bindings.classifier import chosen_device
from greenroom.bindings.hub_models import CONFIG_FILE, check_folder, find_hub_model, installed_models
from greenroom.bindings.roles import OWNER_ONLY, Engine, Model, Operation, Options, Place
from greenroom.bindings.threads import Emit, stream_from_thread
from greenroom.errors import BindingFailed, GreenroomError, Unavailable

from .progress import told_progress

T = TypeVar("T")
_LOADING: Final = threading.Lock()
"""transformers has one place for telling how far it is"""
_MISSING: Final = "the binding transformers needs {package} ({error}); install with: greenroom install transformers"

logger = logging.getLogger("greenroom.bindings.transformers")


class ModelOptions(Options):
    model: str = Field("", max_length=200, description="owner/name as on the hub, or a folder in models/transformers")
    model_path: str = Field("", description="folder of a model, in place of `model`", json_schema_extra=OWNER_ONLY)
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1 or mps")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="numbers that the model reckons with; auto: as it was stored, on the processor float32"
    )
    threads: int = Field(0, ge=0, le=256, description="processor threads for all models together; 0: as torch likes")
    parallel: int = Field(2, ge=1, le=16, description="calls of one model at once; further ones wait")


class TorchModel(Engine):
    """One loaded model. A subclass says how it is loaded and warmed up, in a thread."""

    kind: ClassVar[str] = "model"

    def __init__(self, folder: Path, options: ModelOptions) -> None:
        self.name = options.model or folder.name
        self.folder = folder
        self.options = options
        self.device = "cpu"
        self.dtype = "float32"
        self._model: Any = None
        self._free = asyncio.Semaphore(options.parallel)

    def load(self) -> None:
        """Set ``_model`` and what belongs to it. :raises: what transformers raises for files that do not fit."""
        raise NotImplementedError

    def warm_up(self) -> None:
        """A first short call."""

    @property
    def model(self) -> Any:
        """:raises BindingFailed: after it was closed."""
        if self._model is None:
            raise BindingFailed(f"the model {self.name} has been unloaded")
        return self._model

    @property
    def is_busy(self) -> bool:
        """Whether a further call would have to wait."""
        return self._free.locked()

    @property
    def loading(self) -> dict[str, Any]:
        """Arguments of every ``from_pretrained``: nothing is fetched, and no code of a model's folder runs."""
        return {"local_files_only": True, "trust_remote_code": False}

    @property
    def weights(self) -> dict[str, Any]:
        """The same, for weights. transformers takes safetensors, and of pickles nothing but numbers."""
        return {**self.loading, "dtype": self.dtype}

    def placed(self, model: Any) -> Any:
        """On its device, for use alone."""
        return model.to(self.device).eval()

    async def stream(self, produce: Callable[[Emit[T]], object]) -> AsyncGenerator[T, None]:
        """What ``produce`` emits in a thread of its own, without gradients. :raises BindingFailed: if torch fails."""

        def run(emit: Emit[T]) -> None:
            import torch

            with failures(self.name), torch.inference_mode():
                produce(emit)

        async with self._free, aclosing(stream_from_thread(run, name="transformers")) as items:
            async for item in items:
                yield item

    async def call(self, function: Callable[[], T]) -> T:
        def produce(emit: Emit[T]) -> None:
            emit(function())

        async with aclosing(self.stream(produce)) as items:
            async for item in items:
                return item
        raise BindingFailed(f"the model {self.name} gave no answer")

    async def close(self) -> None:
        """The memory is free as soon as the calls that are being left have ended."""
        self._model = None

    @classmethod
    def opened(cls, folder: Path, options: ModelOptions) -> Self:
        """In a thread. :raises Unavailable: for what is missing or does not load."""
        _import_packages()
        import torch
        from safetensors import SafetensorError

        made = cls(folder, options)
        made.device = chosen_device(options.device)
        stored_as = "float32" if made.device == "cpu" else "auto"
        made.dtype = stored_as if options.dtype == "auto" else options.dtype
        if options.threads:
            torch.set_num_threads(options.threads)
        started = time.monotonic()
        logger.info("loading the %s %s on %s as %s", cls.kind, made.name, made.device, made.dtype)
        try:
            with _LOADING, told_progress(made.name):
                made.load()
            if made.dtype == "auto":
                made.dtype = str(made.model.dtype).removeprefix("torch.")
            with torch.inference_mode():
                made.warm_up()
        except GreenroomError:
            raise
        except ImportError as error:
            raise Unavailable(f"the model in {folder} needs a further package: {_line(error)}") from error
        except pickle.UnpicklingError as error:
            raise Unavailable(
                f"the {cls.kind} in {folder} does not load: its weights are a pickle with more in it than numbers; "
                "choose a model that comes as safetensors"
            ) from error
        except SafetensorError as error:
            raise Unavailable(
                f"the {cls.kind} in {folder} does not load, its weights are broken or cut off; install it again "
                f"({_line(error)})"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            raise Unavailable(f"the {cls.kind} in {folder} does not load: {_line(error)}") from error
        count = sum(parameter.numel() for parameter in made.model.parameters())
        logger.info(
            "loaded the %s %s on %s as %s: %.1f million parameters in %.1f s",
            cls.kind, made.name, made.device, made.dtype, count / 1e6, time.monotonic() - started,
        )  # fmt: skip
        return made


class TransformersOperation(Operation[TorchModel]):
    """Beside a role's own class. ``default_model`` is taken where none is named."""

    Options: ClassVar[type[Options]] = ModelOptions
    default_model: ClassVar[str]
    engine_type: ClassVar[type[TorchModel]]
    architectures: ClassVar[tuple[str, ...]]
    """ends of the names in ``config.json`` by which the models of a role are known"""
    other_architectures: ClassVar[tuple[str, ...]] = ()
    """names with such an end that are something else"""

    @classmethod
    def engine_key(cls, options: Any) -> Hashable:
        return cls.role, *(getattr(options, name) for name in ModelOptions.model_fields)

    @classmethod
    async def open_engine(cls, options: Any, place: Place) -> Engine:
        """:raises Unavailable, BadRequest: about the model or the packages, with what mends it"""
        if options.model_path:
            folder = check_folder(options.model_path)
        else:
            options = options.model_copy(update={"model": options.model or cls.default_model})
            folder = find_hub_model(options.model, place.models, place.binding_id)
        return await asyncio.to_thread(cls.engine_type.opened, folder, options)

    @classmethod
    async def models(cls, options: Any, place: Place) -> Sequence[Model]:
        """Those of this role."""
        return await asyncio.to_thread(cls._installed, place.models)

    @classmethod
    def _installed(cls, models: Path) -> list[Model]:
        found = []
        for model in installed_models(models):
            kind = _architecture(models / model.name)
            if kind.endswith(cls.architectures) and kind not in cls.other_architectures:
                found.append(Model(model.name, kind, size_bytes=model.size_bytes))
        return found


def _architecture(folder: Path) -> str:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        return str(config["architectures"][0])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ""


@contextmanager
def failures(name: str) -> Iterator[None]:
    """:raises BindingFailed: for what torch and transformers raise while a model works."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError, KeyError, TypeError, ImportError, MemoryError) as error:
        raise BindingFailed(f"the model {name} failed: {_line(error)}") from error


def _import_packages() -> None:
    """:raises Unavailable: naming the one that is missing"""
    import importlib

    for package in ("numpy", "torch", "safetensors", "transformers"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise Unavailable(_MISSING.format(package=package, error=error)) from error


def _line(error: BaseException) -> str:
    """What transformers says in many lines, in one."""
    return " ".join(str(error).split())[:500] or type(error).__name__
