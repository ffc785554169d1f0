"""Models that the real packages run, with random or simple insides, made in a moment.

tiny_piper(folder, "en_XX-tiny-low")   -> a voice for piper-tts: a tone as long as the phonemes are many
tiny_kokoro(folder)                    -> a model and a file of voices for kokoro-onnx: a tone for each voice
tiny_bert(folder)                      -> a random BERT with its tokenizer
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

TINY_WORDS: Final = tuple(
    f"{word}{number}"
    for number in ("", "s", "er")
    for word in ("hello", "lamp", "door", "kettle", "sing", "day", "may")
)
HOP: Final = 256
"""samples of one phoneme number, at normal speed"""
PIPER_RATE: Final = 16_000
KOKORO_RATE: Final = 24_000
KOKORO_HOP: Final = 600
KOKORO_STYLES: Final = 510
"""rows of a voice, one for each number of tokens"""
KOKORO_TONES: Final = {"af_heart": 220.0, "am_adam": 150.0, "bf_emma": 330.0, "ff_siwis": 440.0}


def _saved(path: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Path:
    import onnx

    graph = onnx.helper.make_graph(list(nodes), "tiny", list(inputs), list(outputs))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def _constant(name: str, value: Any, kind: Any) -> Any:
    import onnx

    tensor = onnx.numpy_helper.from_array(np.asarray(value, kind), name)
    return onnx.helper.make_node("Constant", [], [name], value=tensor)


def _tone(samples: str, hertz: str, rate: int, loudness: float, out: str) -> list[Any]:
    """Nodes: a sine of ``samples`` (int64 scalar) samples at ``hertz`` (float scalar)."""
    from onnx.helper import make_node

    return [
        _constant("zero", 0, np.int64),
        _constant("one", 1, np.int64),
        make_node("Range", ["zero", samples, "one"], ["at"]),
        make_node("Cast", ["at"], ["at_float"], to=1),
        _constant("turn", 2 * np.pi / rate, np.float32),
        make_node("Mul", ["at_float", "turn"], ["turned"]),
        make_node("Mul", ["turned", hertz], ["phase"]),
        make_node("Sin", ["phase"], ["sine"]),
        _constant("loudness", loudness, np.float32),
        make_node("Mul", ["sine", "loudness"], [out]),
    ]


def tiny_piper(
    folder: Path,
    name: str,
    *,
    speakers: Mapping[str, int] | None = None,
    language: str = "en_US",
    espeak_voice: str = "en-us",
    hertz: float = 200.0,
) -> Path:
    """``<name>.onnx`` and its JSON. Speaker n sounds 100 n Hz above ``hertz``; length_scale is the length.

    Inputs as piper's: input [1, n], input_lengths [1], scales [3] (noise, length, width), sid [1] with speakers.
    """
    from onnx import TensorProto
    from onnx.helper import make_node, make_tensor_value_info
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

    nodes = [
        _constant("length_at", [1], np.int64),
        make_node("Gather", ["scales", "length_at"], ["length_scale"]),
        make_node("Cast", ["input_lengths"], ["count"], to=TensorProto.FLOAT),
        _constant("hop", [HOP], np.float32),
        make_node("Mul", ["count", "hop"], ["plain"]),
        make_node("Mul", ["plain", "length_scale"], ["long"]),
        make_node("Cast", ["long"], ["samples_1"], to=TensorProto.INT64),
        _constant("none", [], np.int64),
        make_node("Reshape", ["samples_1", "none"], ["samples"]),
        _constant("base", hertz, np.float32),
    ]
    inputs = [
        make_tensor_value_info("input", TensorProto.INT64, [1, "n"]),
        make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers:
        inputs.append(make_tensor_value_info("sid", TensorProto.INT64, [1]))
        nodes += [
            make_node("Cast", ["sid"], ["speaker_1"], to=TensorProto.FLOAT),
            make_node("Reshape", ["speaker_1", "none"], ["speaker"]),
            _constant("step", 100.0, np.float32),
            make_node("Mul", ["speaker", "step"], ["above"]),
            make_node("Add", ["base", "above"], ["hertz"]),
        ]
    else:
        nodes.append(make_node("Identity", ["base"], ["hertz"]))
    nodes += [
        *_tone("samples", "hertz", PIPER_RATE, 0.5, "wave"),
        _constant("shape", [1, 1, 1, -1], np.int64),
        make_node("Reshape", ["wave", "shape"], ["output"]),
    ]
    path = _saved(
        folder / f"{name}.onnx",
        nodes,
        inputs,
        [make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "samples_out"])],
    )
    config = {
        "audio": {"sample_rate": PIPER_RATE, "quality": "low"},
        "espeak": {"voice": espeak_voice},
        "language": {"code": language},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": 256,
        "num_speakers": len(speakers) if speakers else 1,
        "speaker_id_map": dict(speakers or {}),
    }
    (folder / f"{name}.onnx.json").write_text(json.dumps(config), encoding="utf-8")
    return path


def tiny_kokoro(folder: Path, model: str = "kokoro-v1.0", voices: str = "voices-v1.0.bin") -> Path:
    """The tone of each voice stands in the first number of its styles; ``speed`` divides the length.

    Inputs as kokoro's: tokens [1, n], style [1, 256], speed [1]; output audio [samples].
    """
    from onnx import TensorProto
    from onnx.helper import make_node, make_tensor_value_info

    nodes = [
        make_node("Size", ["tokens"], ["count"]),
        make_node("Cast", ["count"], ["count_float"], to=TensorProto.FLOAT),
        _constant("hop", KOKORO_HOP, np.float32),
        make_node("Mul", ["count_float", "hop"], ["plain"]),
        _constant("none", [], np.int64),
        make_node("Reshape", ["speed", "none"], ["pace"]),
        make_node("Div", ["plain", "pace"], ["long"]),
        make_node("Cast", ["long"], ["samples"], to=TensorProto.INT64),
        _constant("first", 0, np.int64),
        make_node("Gather", ["style", "first"], ["row"], axis=0),
        make_node("Gather", ["row", "first"], ["hertz"], axis=0),
        *_tone("samples", "hertz", KOKORO_RATE, 0.5, "audio"),
    ]
    path = _saved(
        folder / f"{model}.onnx",
        nodes,
        [
            make_tensor_value_info("tokens", TensorProto.INT64, [1, "n"]),
            make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
            make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
        ],
        [make_tensor_value_info("audio", TensorProto.FLOAT, ["samples_out"])],
    )
    styles: dict[str, Any] = {
        name: np.full((KOKORO_STYLES, 1, 256), hertz, np.float32) for name, hertz in KOKORO_TONES.items()
    }
    with (folder / voices).open("wb") as file:
        np.savez(file, **styles)
    return path


def tiny_bert(folder: Path) -> Path:
    """A random BERT of two layers and 48 numbers, with a tokenizer that knows ``TINY_WORDS``."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *TINY_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 -- the word for unknown ones
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    model = BertModel(config)
    with torch.no_grad():
        for parameter in model.parameters():  # layer norms and biases at their defaults would hide mistakes
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(str(folder))
    return folder
