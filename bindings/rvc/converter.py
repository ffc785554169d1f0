"""One loaded voice: a stretch of speech at 16 kHz -> the same in the voice, by infer-rvc-python's own networks.

16 kHz -> high-pass -> pitch (times 2^(f0_up_key / 12)) ----------------.
                    -> HuBERT -> mixed with the index by index_rate -> synthesizer -> loudness of the input
"""

import logging
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import BadRequest, BindingFailed, Unavailable

from .package import load_package, need_crepe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

logger = logging.getLogger("greenroom.bindings.rvc")

SPEECH_RATE: Final = 16_000
FRAME: Final = 160
"""samples at 16 kHz for each value of pitch: 10 ms"""
FRAMES_A_SECOND: Final = SPEECH_RATE // FRAME
_LOUDEST: Final = 0.95
_VOCODERS: Final = ("HiFi-GAN", "Default")
_EMBEDDERS: Final = ("contentvec", "hubert")
"""what Applio and its kin write into a voice that is as RVC's are"""
_RENAMED: Final = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
"""newer and older names of the same weights"""
_FEATURES: Final = {"v1": 256, "v2": 768}
_BROKEN: Final = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
)
"""what torch, transformers and faiss raise for files that are damaged or of another kind"""


@dataclass(frozen=True, slots=True)
class Files:
    voice: Path
    hubert: Path
    rmvpe: Path | None
    index: Path | None


@dataclass(frozen=True, slots=True)
class Manner:
    """How to convert; see the options of the same names."""

    f0_up_key: int
    f0_method: str
    filter_radius: int
    index_rate: float
    rms_mix_rate: float
    protect: float
    speaker_id: int


class Converter:
    """Its methods block; not for several threads at once.

    :raises Unavailable: for files that do not load, or that hold more than weights
    """

    def __init__(self, files: Files, device: str, half: bool, f0_method: str) -> None:
        package = load_package()
        if f0_method == "crepe":
            need_crepe(package)
        self._package = package
        self._device = device
        self._calls = 0
        checkpoint = _read_checkpoint(files.voice)
        self.sample_rate = int(checkpoint["config"][-1])
        self.speakers = int(checkpoint["weight"]["emb_g.weight"].shape[0])
        self._version: str = checkpoint.get("version", "v1")
        self._has_pitch = checkpoint.get("f0", 1) == 1
        # The paddings are those of whole files, which are padded by reflection; here, what was said before is at hand.
        config = SimpleNamespace(x_pad=0, x_query=0, x_center=1, x_max=1, is_half=half, device=device)
        self._network = self._build(checkpoint, files.voice, half)
        if self._version == "v1":
            _check_projection(files.hubert)
        self._hubert = _loaded("HuBERT", files.hubert, lambda: package.main.load_hu_bert(config, str(files.hubert)))
        self._pipe = package.pipe.VC(self.sample_rate, config)
        if files.rmvpe is not None:
            path = str(files.rmvpe)
            self._pipe.model_rmvpe = _loaded(
                "RMVPE", files.rmvpe, lambda: package.rmvpe.RMVPE(path, is_half=half, device=device)
            )
        self._index: Any = None
        self._vectors: Any = None
        if files.index is not None:
            self._read_index(files.index)

    def _build(self, checkpoint: dict[str, Any], path: Path, half: bool) -> Any:
        import torch

        networks = self._package.networks
        kinds = {
            ("v1", True): networks.SynthesizerTrnMs256NSFsid,
            ("v1", False): networks.SynthesizerTrnMs256NSFsid_nono,
            ("v2", True): networks.SynthesizerTrnMs768NSFsid,
            ("v2", False): networks.SynthesizerTrnMs768NSFsid_nono,
        }
        kind = kinds.get((self._version, self._has_pitch))
        if kind is None:
            raise Unavailable(f"{path} is an RVC voice of version {self._version!r}; v1 and v2 are known")
        settings = list(checkpoint["config"])
        settings[-3] = self.speakers

        def build() -> Any:
            network = kind(*settings, is_half=half) if self._has_pitch else kind(*settings)
            del network.enc_q
            missing = network.load_state_dict(_renamed(checkpoint["weight"]), strict=False).missing_keys
            if missing:
                raise ValueError(f"it lacks {len(missing)} weights, among them {missing[0]}")
            return network.eval().to(self._device, dtype=torch.float16 if half else torch.float32)

        return _loaded("the voice", path, build)

    def _read_index(self, path: Path) -> None:
        import faiss

        index = _loaded("the index", path, lambda: faiss.read_index(str(path)))
        if index.d != _FEATURES[self._version]:
            raise Unavailable(f"the index {path} is of another version than the voice: {index.d} values a sound")
        if index.ntotal:
            self._vectors = _loaded("the index", path, lambda: index.reconstruct_n(0, index.ntotal))
            self._index = index

    def convert(self, speech: "Samples", manner: Manner, fixed_pitch: "NDArray[np.float32] | None" = None) -> "Samples":
        """:param speech: mono at 16 kHz, whole frames of 10 ms
        :param fixed_pitch: Hz of the first so many frames, in place of what is found
        :returns: at :attr:`sample_rate`, as long, but for up to 30 ms that lack at the end
        :raises BindingFailed: if a network fails
        """
        try:
            return self._convert(speech, manner, fixed_pitch)
        except (RuntimeError, ValueError, IndexError, AssertionError) as error:
            raise BindingFailed(f"the voice conversion failed: {error}") from error

    def _convert(self, speech: "Samples", manner: Manner, fixed_pitch: "NDArray[np.float32] | None") -> "Samples":
        import numpy as np
        import torch

        pipe = self._package.pipe
        loudest = float(np.abs(speech).max())
        if loudest > _LOUDEST:
            speech = speech * np.float32(_LOUDEST / loudest)
        heard = np.ascontiguousarray(pipe.signal.filtfilt(pipe.bh, pipe.ah, speech))
        pitch, hertz = self._pitch(heard, manner, fixed_pitch) if self._has_pitch else (None, None)
        speaker = torch.tensor([manner.speaker_id], device=self._device)
        made = self._pipe.vc(
            self._hubert, self._network, speaker, heard, pitch, hertz, [0, 0, 0],
            self._index, self._vectors, manner.index_rate, self._version, manner.protect,
        )  # fmt: skip
        if manner.rms_mix_rate < 1:
            made = pipe.change_rms(heard.astype(np.float32), SPEECH_RATE, made, self.sample_rate, manner.rms_mix_rate)
        result: Samples = np.nan_to_num(made).astype(np.float32, copy=False)
        return result

    def _pitch(self, heard: Any, manner: Manner, fixed: "NDArray[np.float32] | None") -> tuple[Any, Any]:
        """-> pitch in 255 steps, pitch in Hz: one value a frame each"""
        import numpy as np
        import torch

        frames = len(heard) // FRAME
        points = None
        if fixed is not None and len(fixed):
            points = np.stack([np.arange(len(fixed)) / FRAMES_A_SECOND, fixed], axis=1).astype(np.float32)
        self._calls += 1
        key = f"{id(self)} {self._calls}"  # under which harvest keeps the sound, and what it made of it
        try:
            steps, hertz = self._pipe.get_f0(
                key, heard, frames, manner.f0_up_key, manner.f0_method, manner.filter_radius, points
            )
        finally:
            self._package.pipe.input_audio_path2wav.pop(key, None)
            self._package.pipe.cache_harvest_f0.cache_clear()
        return (
            torch.tensor(steps[:frames], device=self._device).unsqueeze(0).long(),
            torch.tensor(hertz[:frames].astype(np.float32), device=self._device).unsqueeze(0),
        )

    def check_speaker(self, speaker_id: int) -> None:
        """:raises BadRequest: if the voice has no such speaker"""
        if speaker_id >= self.speakers:
            raise BadRequest(
                f"this voice has {self.speakers} speakers, the first is 0: there is no speaker {speaker_id}",
                details={"field": "speaker_id"},
            )


def _loaded(what: str, path: Path, load: Any) -> Any:
    from safetensors import SafetensorError

    try:
        return load()
    except (*_BROKEN, SafetensorError) as error:
        raise Unavailable(f"{what} in {path} does not load: {error}") from error


def _renamed(weights: dict[str, Any]) -> dict[str, Any]:
    for newer, older in _RENAMED.items():
        weights = {name.replace(newer, older): weight for name, weight in weights.items()}
    return weights


def _check_projection(hubert: Path) -> None:
    """Voices of v1 hear through a layer that other HuBERTs lack; the package would draw its numbers by lot.

    :raises Unavailable: for a HuBERT without it
    """
    from safetensors import SafetensorError, safe_open

    path = hubert / "model.safetensors"
    if not path.is_file():
        return
    try:
        with safe_open(str(path), "pt") as weights:
            is_there = any("final_proj" in name for name in weights.keys())  # noqa: SIM118 -- it is no mapping
    except (SafetensorError, OSError) as error:
        raise Unavailable(f"HuBERT in {hubert} does not load: {error}") from error
    if not is_there:
        raise Unavailable(
            f"HuBERT in {hubert} is not RVC's, and this is a voice of v1, which needs that one; get it with: "
            "greenroom install model rvc hubert_base"
        )


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """The weights of a voice, and nothing else: a file that wants code to be run is refused."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch thinks of a file that it then refuses
            read = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Unavailable(
            f"{path} is refused: it is damaged, or holds code beside weights, which could do anything to this machine"
        ) from error
    except _BROKEN as error:
        raise Unavailable(f"{path} is no whole RVC voice: {error}") from error
    config = read.get("config") if isinstance(read, dict) else None
    weights = read.get("weight") if isinstance(read, dict) else None
    if not isinstance(config, list | tuple) or not isinstance(weights, dict) or "emb_g.weight" not in weights:
        raise Unavailable(
            f"{path} is no RVC voice that can speak: it lacks its config or its weights (G_*.pth and D_*.pth of a "
            "training do; take the small file that the training made of them)"
        )
    if len(config) < 18 or not isinstance(config[-1], int) or config[-1] % FRAMES_A_SECOND or config[-1] <= 0:
        raise Unavailable(f"{path} is no RVC voice that can speak: its config is not one of RVC's")
    vocoder, embedder = read.get("vocoder") or _VOCODERS[0], read.get("embedder_model") or _EMBEDDERS[0]
    if vocoder not in _VOCODERS:
        raise Unavailable(f"{path} was made with Applio's vocoder {vocoder}; voices of {_VOCODERS[0]} can speak here")
    if embedder not in _EMBEDDERS:
        logger.warning(
            "%s was made to hear with %s, not with RVC's HuBERT: it may be hard to understand", path, embedder
        )
    checked: dict[str, Any] = read
    return checked
