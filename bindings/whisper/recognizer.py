"""The model: one stretch of sound -> what is said in it. Several stretches at once, each in a thread of its own.

recognizer = Recognizer.load(folder, device="auto", compute_type="auto", threads=0, parallel=2)
await recognizer.speech(samples, longest_s)          [Span(...), ...]: where somebody speaks
async for phrase in recognizer.hear(samples, how):   phrases with their times, as they are recognised
"""

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.bindings.roles import Engine
from greenroom.bindings.threads import Emit, stream_from_thread
from greenroom.errors import BadRequest, BindingFailed, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE: Final = 16_000
_PACKAGES: Final = ("numpy", "onnxruntime", "ctranslate2", "faster_whisper")
_SHORTEST_PAUSE_MS: Final = 500
_PAD_MS: Final = 200
"""of the sound around speech that is left to it"""
_WARM_UP_S: Final = 1
_GPU_HELP: Final = "a GPU needs NVIDIA's cuBLAS and cuDNN, see the binding's README; or set device: cpu"

logger = logging.getLogger("greenroom.bindings.whisper")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the sound, in samples."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Phrase:
    """What the model took together; times in seconds from the start of the sound."""

    text: str
    start_s: float
    end_s: float
    language: str
    language_probability: float


@dataclass(frozen=True, slots=True)
class How:
    """How a stretch is to be heard."""

    language: str = ""
    """empty: found out"""
    task: str = "transcribe"
    beam_size: int = 5
    prompt: str = ""


class Recognizer(Engine):
    def __init__(self, name: str, model: Any, parallel: int) -> None:
        self.name = name
        self._model: Any = model
        self._free = asyncio.Semaphore(parallel)

    @classmethod
    def load(cls, folder: Path, device: str, compute_type: str, threads: int, parallel: int) -> "Recognizer":
        """In a thread; warmed up. :raises Unavailable: for what is missing or does not load."""
        for package in _PACKAGES:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise Unavailable(
                    f'whisper needs the package {package} ({error}); install with: pip install "greenroom[whisper]"'
                ) from error
        from faster_whisper import WhisperModel

        logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it tells of every single stretch
        kind, _, number = device.partition(":")
        if not (folder / "tokenizer.json").is_file():  # or the package would ask the hub for one
            raise Unavailable(f"the model in {folder} lacks its tokenizer.json; install it again")
        try:
            model = WhisperModel(
                str(folder),
                device=kind,
                device_index=int(number or 0),
                compute_type=compute_type,
                cpu_threads=threads,
                num_workers=parallel,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError, IndexError, KeyError) as error:
            raise Unavailable(f"the Whisper model in {folder} does not load: {error}") from error
        made = cls(folder.name, model, parallel)
        try:
            made._warm_up()
        except BindingFailed as error:  # that a graphics card lacks its libraries is found out no sooner
            if model.model.device != "cuda":
                raise
            if kind != "auto":
                raise Unavailable(f"{error.message}; {_GPU_HELP}") from error
            logger.warning("%s; using the processor: %s", error.message, _GPU_HELP)
            return cls.load(folder, "cpu", "auto", threads, parallel)
        logger.info(
            "loaded the Whisper model %s on %s as %s", folder.name, model.model.device, model.model.compute_type
        )
        return made

    @property
    def device(self) -> str:
        """As in ``cpu, int8_float32``."""
        return f"{self._model.model.device}, {self._model.model.compute_type}" if self._model is not None else ""

    @property
    def is_busy(self) -> bool:
        """Whether a further stretch would have to wait."""
        return self._free.locked()

    def check_language(self, language: str) -> None:
        """:raises BadRequest: for one that the model does not know."""
        known = self._loaded().supported_languages
        if language and language not in known:
            some = "English alone" if known == ["en"] else ", ".join(sorted(known))
            raise BadRequest(
                f"the Whisper model {self.name} does not know the language {language!r}; it knows {some}",
                details={"field": "language"},
            )

    async def speech(self, samples: "NDArray[np.float32]", longest_s: float) -> list[Span]:
        """Where somebody speaks, with a little room around it; cut at its quietest where it is longer than that."""
        return await asyncio.to_thread(self._speech, samples, longest_s)

    async def hear(self, samples: "NDArray[np.float32]", how: How) -> AsyncGenerator[Phrase, None]:
        """Phrases as they are recognised. Closed early, the model stops before the next one.

        :raises BindingFailed: if the model fails
        """

        def produce(emit: Emit[Phrase]) -> None:
            with _failures(self.name):
                for phrase in self._phrases(samples, how):
                    if not emit(phrase):
                        return

        async with self._free, aclosing(stream_from_thread(produce, limit=1, name="whisper")) as phrases:
            async for phrase in phrases:
                yield phrase

    async def close(self) -> None:
        """The memory is free as soon as the stretches that are being left have ended."""
        self._model = None

    def _loaded(self) -> Any:
        if self._model is None:
            raise BindingFailed(f"the Whisper model {self.name} has been unloaded")
        return self._model

    def _speech(self, samples: "NDArray[np.float32]", longest_s: float) -> list[Span]:
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        options = VadOptions(
            min_silence_duration_ms=_SHORTEST_PAUSE_MS,
            speech_pad_ms=_PAD_MS,
            max_speech_duration_s=longest_s,
        )
        with _failures(self.name):
            return [Span(int(one["start"]), int(one["end"])) for one in get_speech_timestamps(samples, options)]

    def _phrases(self, samples: "NDArray[np.float32]", how: How) -> Iterator[Phrase]:
        segments, info = self._loaded().transcribe(
            samples,
            language=how.language or None,
            task=how.task,
            beam_size=how.beam_size,
            initial_prompt=how.prompt or None,
            condition_on_previous_text=False,  # what went wrong once would go wrong in every stretch after it
            vad_filter=False,  # done before, see speech
        )
        for segment in segments:
            yield Phrase(segment.text, segment.start, segment.end, info.language, info.language_probability)

    def _warm_up(self) -> None:
        import numpy as np

        samples = np.random.default_rng(0).normal(0, 0.01, _WARM_UP_S * SAMPLE_RATE).astype(np.float32)
        self._speech(samples, _WARM_UP_S)
        with _failures(self.name):
            next(self._phrases(samples, How(beam_size=1)), None)


@contextmanager
def _failures(name: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:
        raise BindingFailed(f"the Whisper model {name} failed: {error}") from error
