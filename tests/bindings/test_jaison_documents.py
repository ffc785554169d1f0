"""What jaison's documents show of operations loads here as it stands: their settings, defaults and examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.binding_rig import BINDINGS
from greenroom.bindings.discovery import BindingShelf
from greenroom.bindings.engines import parse_options
from greenroom.config import Format, load_config
from greenroom.errors import BadRequest
from greenroom.values import Role

SHELF = BindingShelf((BINDINGS,))
OPENAI = "https://api.openai.com/v1/"
OLLAMA = "http://localhost:11434/v1"

DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("stt", "openai"): {"base_url": OPENAI, "model": "gpt-4o", "language": "en"},
    ("stt", "azure"): {"language": "en-US"},
    ("stt", "fish"): {},
    ("stt", "kobold"): {"suppress_non_speech": True, "langcode": "en"},
    ("t2t", "openai"): {
        "base_url": OPENAI, "model": "gpt-4o", "temperature": 1, "top_p": 0.9, "presence_penalty": 0,
        "frequency_penalty": 0,
    },
    ("t2t", "kobold"): {
        "max_context_length": 2048, "max_length": 100, "rep_pen": 1.1, "rep_pen_range": 256, "rep_pen_slope": 1,
        "temperature": 0.5, "tfs": 1, "top_a": 0, "top_k": 100, "top_p": 0.9, "typical": 1, "quiet": True,
    },
    ("tts", "openai"): {"base_url": OPENAI, "voice": "nova", "model": "tts-1"},
    ("tts", "azure"): {"voice": "en-US-AshleyNeural"},
    ("tts", "fish"): {
        "model_id": "c9198512a4164a18b11a3bf96e5c668f", "backend": "speech-1.6", "normalize": False,
        "latency": "normal",
    },
    ("tts", "kobold"): {"voice": "kobo"},
    ("tts", "melo"): {
        "config_filepath": None, "model_filepath": None, "device": "cpu", "language": "EN", "sdp_ratio": 0.2,
        "noise_scale": 0.6, "noise_scale_w": 0.8, "speed": 1.0,
    },
    ("tts", "pytts"): {"gender": "female"},
    ("filter_audio", "pitch"): {"pitch_amount": 0},
    ("filter_audio", "rvc"): {
        "f0_up_key": 0, "f0_method": "rmvpe", "f0_file": None, "index_file": None, "index_rate": 0,
        "filter_radius": 3, "resample_sr": 0, "rms_mix_rate": 0, "protect": 0.5,
    },
    ("filter_text", "chunker_sentence"): {},
    ("filter_text", "emotion_roberta"): {},
    ("filter_text", "mod_koala"): {},
    ("filter_text", "filter_clean"): {},
    ("embedding", "openai"): {"base_url": OPENAI, "model": "text-embedding-3-small", "dimensions": 1536},
}  # fmt: skip
REQUIRED: Mapping[tuple[str, str], dict[str, Any]] = {
    ("tts", "melo"): {"speaker_id": "EN-Default"},
    ("tts", "pytts"): {"voice": "english"},
    ("filter_audio", "rvc"): {"voice": "mira"},
}
"""settings without a default there"""

EXAMPLES = """
- {role: stt, id: openai, model: whisper-1, language: en}
- {role: stt, id: openai, model: gpt-4o-transcribe}
- {role: stt, id: azure, language: en-US}
- {role: stt, id: fish}
- {role: stt, id: kobold, suppress_non_speech: true, langcode: en}
- {role: t2t, id: openai, model: gpt-4, temperature: 1, top_p: 0.9, presence_penalty: 1, frequency_penalty: 1}
- {role: t2t, id: openai, base_url: "http://localhost:11434/v1", model: llama3}
- {role: mcp, id: openai, model: gpt-4o, temperature: 0.25, presence_penalty: 0.2, frequency_penalty: 0.2}
- {role: t2t, id: kobold, max_context_length: 4096, max_length: 200, quiet: true, rep_pen: 1.1, rep_pen_range: 1024,
   rep_pen_slope: 1, temperature: 0.7, tfs: 1, top_a: 0, top_k: 40, top_p: 0.9, typical: 1}
- {role: mcp, id: kobold, quiet: false}
- {role: tts, id: openai, voice: alloy, model: tts-1}
- {role: tts, id: azure, voice: en-US-AshleyNeural}
- {role: tts, id: fish, model_id: c9198512a4164a18b11a3bf96e5c668f, backend: default, normalize: true,
   latency: balanced}
- {role: tts, id: fish, backend: speech-1.6, normalize: false, latency: normal}
- {role: tts, id: kobold, voice: default}
- {role: tts, id: melo, config_filepath: null, model_filepath: null, speaker_id: EN_INDIA, device: cpu, language: EN,
   sdp_ratio: 0.2, noise_scale: 0.6, noise_scale_w: 0.8, speed: 1.0}
- {role: tts, id: pytts, voice: english, gender: female, working_file: output/temp/ttsg-synth-out.wav}
- {role: filter_audio, id: rvc, voice: mira, f0_up_key: 0, f0_method: rmvpe, f0_file: null, index_file: null,
   index_rate: 0.75, filter_radius: 3, resample_sr: 0, rms_mix_rate: 0.25, protect: 0.33}
- {role: filter_audio, id: pitch, pitch_amount: 2}
- {role: filter_text, id: filter_clean}
- {role: filter_text, id: emotion_roberta}
- {role: filter_text, id: mod_koala}
- {role: filter_text, id: chunker_sentence}
- {role: embedding, id: openai, model: text-embedding-3-small, dimensions: 1536}
- {role: embedding, id: openai, base_url: "http://localhost:11434/v1"}
"""
ENTRIES: list[dict[str, Any]] = yaml.safe_load(EXAMPLES)

HELD_TO: dict[tuple[str, str], dict[str, tuple[Any, ...]]] = {
    ("t2t", "openai"): {
        "temperature": (-0.1, 2.1), "top_p": (-0.1, 1.1), "presence_penalty": (-0.1, 1.1),
        "frequency_penalty": (-0.1, 1.1),
    },
    ("t2t", "kobold"): {"top_p": (0, 1.1), "max_length": (0,), "temperature": (-1,), "quiet": ("loud",)},
    ("tts", "fish"): {"latency": ("fast",)},
    ("tts", "melo"): {"sdp_ratio": (1.25,), "noise_scale": (-0.1, 1.25), "noise_scale_w": (-0.1, 1.25), "speed": (0,)},
    ("filter_audio", "rvc"): {"f0_method": ("ear",)},
    ("embedding", "openai"): {"dimensions": (0,)},
}  # fmt: skip
"""values that are refused there"""


def on_the_shelf(binding_id: str) -> bool:
    return binding_id in SHELF.all()


def parsed(role: str, binding_id: str, settings: Mapping[str, Any]) -> Any:
    return parse_options(SHELF.get(binding_id).operation(Role(role)), settings, binding_id)


def name_of(value: Any) -> str:
    return "-".join(value) if isinstance(value, tuple) else f"{value['role']}-{value['id']}-{len(value)}"


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_an_example_of_the_documents_loads(entry: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"operations": [entry], "prompter": {"character_name": "Robin"}}), "utf-8")
    loaded = load_config(path, {}, {})
    assert loaded.format is Format.JAISON
    assert loaded.warnings == ()
    [found] = loaded.config.operations
    given = {name: value for name, value in entry.items() if name not in ("role", "id")}
    assert (found.role, found.id, found.settings) == (entry["role"], entry["id"], given)
    if on_the_shelf(entry["id"]):
        options = parsed(found.role, found.id, found.settings)
        assert {name: getattr(options, name) for name in given} == given


@pytest.mark.parametrize("operation", DEFAULTS, ids=name_of)
def test_settings_have_the_names_and_defaults_of_the_documents(operation: tuple[str, str]) -> None:
    if on_the_shelf(operation[1]):
        options = parsed(*operation, REQUIRED.get(operation, {}))
        assert {name: getattr(options, name) for name in DEFAULTS[operation]} == DEFAULTS[operation]


@pytest.mark.parametrize("operation", HELD_TO, ids=name_of)
def test_settings_have_the_ranges_of_the_documents(operation: tuple[str, str]) -> None:
    if on_the_shelf(operation[1]):
        for name, values in HELD_TO[operation].items():
            for value in values:
                with pytest.raises(BadRequest, match=f"option {name}"):
                    parsed(*operation, {**REQUIRED.get(operation, {}), name: value})


def test_every_example_at_once_is_one_configuration(tmp_path: Path) -> None:
    """Of several for one role the last one counts, as there."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"operations": ENTRIES, "spacy_model": "en_core_web_sm"}), "utf-8")
    kept = {(entry.role, entry.id) for entry in load_config(path, {}, {}).config.operations}
    filters = {(entry["role"], entry["id"]) for entry in ENTRIES if entry["role"].startswith("filter_")}
    last = {entry["role"]: entry["id"] for entry in ENTRIES if not entry["role"].startswith("filter_")}
    assert kept == filters | set(last.items())
