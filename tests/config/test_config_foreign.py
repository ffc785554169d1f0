from pathlib import Path

import pytest

from greenroom.config import ConfigError, Format, LoadedConfig, load_config
from greenroom.config.from_jaison import KEYS as JAISON_KEYS
from greenroom.config.from_lollms import KEYS as LOLLMS_KEYS

JAISON = """\
operations:
  - {role: stt, id: openai, model: whisper-1, language: en}
  - {role: t2t, id: openai, base_url: "http://localhost:11434/v1", model: gpt-4, temperature: 0.7, top_p: 0.9}
  - {role: t2t, id: kobold, max_context_length: 4096, rep_pen_range: 1024}
  - {role: tts, id: melo, config_filepath: null, speaker_id: EN-Default}
  - {role: filter_audio, id: pitch, pitch_amount: 2}
  - {role: filter_text, id: filter_clean}
  - {role: filter_text, id: chunker_sentence}
prompter:
  instruction_prompt_filename: example.txt
  character_prompt_filename: robin
  scene_prompt_filename: null
  character_name: Robin
  name_translations: {old name: new name}
  history_length: 20
  colour: red
mcp:
  - {id: files, command: python, args: [server.py], cwd: models/mcp}
history_filepath: output/history.txt
spacy_model: en_core_web_sm
kobold_filepath: models/kobold/koboldcpp
kcpps_filepath: null
"""

LOLLMS = """\
version: 11
binding_name: llama_cpp_official
model_name: mistral.gguf
enable_gpu: true
host: localhost
port: 9600
discussion_prompt_separator: '!@>'
seed: -1
n_predict: 1024
ctx_size: 2048
temperature: 0.9
top_k: 50
top_p: 0.95
repeat_last_n: 40
repeat_penalty: 1.2
n_threads: 8
personalities: [english/generic/lollms, 'fun/pirate:french']
active_personality_id: 1
override_personality_model_parameters: false
user_name: ann
user_description: likes tea
use_user_name_in_discussions: false
user_avatar: default_user.svg
auto_update: true
debug: true
colour: red
"""


def load(folder: Path, text: str) -> LoadedConfig:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, {}, {}, label="config.yaml")


def test_a_jaison_configuration(tmp_path: Path) -> None:
    loaded = load(tmp_path, JAISON)
    assert loaded.format is Format.JAISON
    config = loaded.config
    assert [(entry.role, entry.id) for entry in config.operations] == [
        ("stt", "openai"),
        ("t2t", "kobold"),
        ("tts", "melo"),
        ("filter_audio", "pitch"),
        ("filter_text", "filter_clean"),
        ("filter_text", "chunker_sentence"),
    ]
    assert config.operations[1].settings == {"max_context_length": 4096, "rep_pen_range": 1024}
    assert config.operations[2].settings == {"config_filepath": None, "speaker_id": "EN-Default"}
    assert config.session.history_length == 20
    assert config.context.model_dump() == {
        "character_name": "Robin",
        "name_translations": {"old name": "new name"},
        "instruction_prompt_filename": "example.txt",
        "character_prompt_filename": "robin",
        "scene_prompt_filename": "",
    }
    assert config.bindings == {"kobold": {"kobold_filepath": "models/kobold/koboldcpp"}}
    assert loaded.warnings == (
        "config.yaml, line 3: operations.1 is ignored: a later entry also has role t2t",
        "config.yaml, line 16: prompter.colour is not a known key",
        "config.yaml, line 17: mcp is ignored: tool servers are not started (files)",
        "config.yaml, line 19: history_filepath is ignored: conversations are kept in the database (store.url)",
        "config.yaml, line 20: spacy_model is ignored: sentences are split without a language model",
    )


OLDER_JAISON = """\
operations:
- type: stt
  id: openai
  openai_stt_model: gpt-4o-transcribe
- type: t2t
  id: openai
  openai_t2t_base_url: http://localhost:11434/v1
  openai_t2t_temperature: 1
- type: filter_text
  id: chunker_sentence
  spacy_model: en_core_web_sm
- type: tts
  id: azure
- type: tts
  id: fish
  fish_model_backend: speech-1.6
  fish_normalize: true
- type: filter_audio
  id: pitch
  pitch_amount: 2
- type: filter_audio
  id: rvc
  rvc_voice: my-voice-model
  rvc_f0_up_key: many
- {role: mcp, id: openai, openai_t2t_model: gpt-4o-mini, type: t2t}
- {type: filter_text, id: my_chunker, spacy_model: en_core_web_sm}
"""


def test_operations_of_older_jaison_files_have_types_and_prefixed_settings(tmp_path: Path) -> None:
    loaded = load(tmp_path, OLDER_JAISON)
    assert loaded.format is Format.JAISON
    assert [(entry.role, entry.id, entry.settings) for entry in loaded.config.operations] == [
        ("stt", "openai", {"model": "gpt-4o-transcribe"}),
        ("t2t", "openai", {"base_url": "http://localhost:11434/v1", "temperature": 1}),
        ("filter_text", "chunker_sentence", {}),
        ("tts", "fish", {"backend": "speech-1.6", "normalize": True}),
        ("filter_audio", "pitch", {"pitch_amount": 2}),
        ("filter_audio", "rvc", {"voice": "my-voice-model", "f0_up_key": "many"}),
        ("mcp", "openai", {"model": "gpt-4o-mini"}),
        ("filter_text", "my_chunker", {"spacy_model": "en_core_web_sm"}),
    ]
    assert [warning.split(" is ignored")[0] for warning in loaded.warnings] == [
        "config.yaml, line 11: operations.2.spacy_model",
        "config.yaml, line 12: operations.3",
        "config.yaml, line 25: operations.7.type",
    ]


def test_a_bad_role_of_an_older_file_is_told_as_it_is_written_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml, line 2: operations\.0\.type: wanted .*found 'voice'"):
        load(tmp_path, "operations:\n  - {type: voice, id: azure}\n")


def test_prompt_settings_at_top_level(tmp_path: Path) -> None:
    loaded = load(tmp_path, "character_name: Robin\nhistory_length: '7'\n")
    assert loaded.format is Format.JAISON
    assert (loaded.config.context.character_name, loaded.config.session.history_length) == ("Robin", 7)


def test_a_bad_value_is_told_under_its_own_name_and_line(tmp_path: Path) -> None:
    text = "operations:\n  - {role: t2t, id: a}\n  - {role: t2t}\nprompter:\n  history_length: 0\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.message.splitlines() == [
        "config.yaml, line 3: operations.1.id: is missing; wanted text of at most 128 characters",
        "config.yaml, line 5: prompter.history_length: wanted a whole number from 1 to 10000, found 0",
    ]
    with pytest.raises(ConfigError, match=r"config\.yaml, line 2: port: wanted a whole number"):
        load(tmp_path, "binding_name: a\nport: many\n")


def test_a_lollms_configuration(tmp_path: Path) -> None:
    loaded = load(tmp_path, LOLLMS)
    assert loaded.format is Format.LOLLMS
    config = loaded.config
    assert [(entry.role, entry.id) for entry in config.operations] == [
        ("t2t", "llamacpp"),
        ("tts", "espeak"),
        ("stt", "pocketsphinx"),
        ("filter_text", "filter_clean"),
    ]
    assert config.operations[0].settings == {"model": "mistral.gguf"}
    assert config.personalities == ("english/generic/lollms", "fun/pirate:french")
    assert (config.active_personality, config.user_name, config.log.level) == (1, "ann", "DEBUG")
    assert (config.server.host, config.server.port) == ("localhost", 9600)
    generation = config.generation
    assert (generation.temperature, generation.top_k, generation.top_p, generation.seed) == (0.9, 50, 0.95, -1)
    assert (generation.repeat_penalty, generation.repeat_last_n) == (1.2, 40)
    assert (generation.n_predict, generation.ctx_size, generation.separator) == (1024, 2048, "!@>")
    told = [warning.split(": ", 1)[1].split()[0].rstrip(":") for warning in loaded.warnings]
    assert told == [
        "enable_gpu",
        "n_threads",
        "user_description",
        "use_user_name_in_discussions",
        "user_avatar",
        "auto_update",
        "colour",
        "binding_name",
    ]


def test_a_lollms_personality_that_is_not_there(tmp_path: Path) -> None:
    loaded = load(tmp_path, "binding_name: hugging_face\npersonalities: [a/b/c]\nactive_personality_id: -1\n")
    assert loaded.config.active_personality == 0
    assert loaded.config.operations[0].id == "hugging_face"
    assert loaded.warnings == (
        "config.yaml, line 3: active_personality_id is ignored: there is no personality -1; the first one is taken",
    )


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", Format.GREENROOM),
        ("user_name: a\n", Format.GREENROOM),
        ("operations: []\n", Format.GREENROOM),
        ("server: {port: 1}\n", Format.GREENROOM),
        ("operations: []\nspacy_model: null\n", Format.JAISON),
        ("personalities: [a/b]\nmodel_name: null\n", Format.LOLLMS),
    ],
)
def test_whose_configuration_it_is(tmp_path: Path, text: str, form: Format) -> None:
    assert load(tmp_path, text).format is form


def test_a_foreign_key_in_our_own_file_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="binding_name: is not a known key"):
        load(tmp_path, "server: {port: 1}\nbinding_name: a\n")


@pytest.mark.parametrize(("keys", "form"), [(JAISON_KEYS, Format.JAISON), (LOLLMS_KEYS, Format.LOLLMS)])
def test_every_foreign_key_has_an_effect_or_a_warning(tmp_path: Path, keys: frozenset[str], form: Format) -> None:
    plain = load(tmp_path, "").config
    for key in keys - {"version", "prompter"}:
        sample = {
            "mcp": "[{id: a}]",
            "name_translations": "{a: b}",
            "host": "localhost",
            "debug": "true",
            "override_personality_model_parameters": "true",
            "binding_name": "hugging_face",
            "temperature": "0.3",
            "top_p": "0.3",
            "ctx_size": "512",
        }.get(key, "3")
        extra = "personalities: [a/b, a/c, a/d, a/e]\n" if key == "active_personality_id" else ""
        loaded = load(tmp_path, f"{key}: {sample}\n{extra}")
        assert loaded.format is form, key
        assert loaded.config != plain or key in loaded.warnings[0], key
