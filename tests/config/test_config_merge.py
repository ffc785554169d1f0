from typing import Any

import pytest

from greenroom.config import Config, ConfigError, changes_need_owner, load_config, merge, public_config
from greenroom.config.keys import walk
from greenroom.values import Role

BASE = Config.model_validate(
    {
        "bindings": {"openai": {"base_url": "http://localhost:1/v1", "model": "a"}},
        "operations": [{"role": "t2t", "id": "openai", "temperature": 1}, {"role": "tts", "id": "espeak"}],
        "context": {"name_translations": {"a": "b", "c": "d"}},
    }
)


def test_mappings_are_merged_and_lists_replaced() -> None:
    merged = merge(
        BASE,
        {
            "session": {"history_length": "20"},
            "bindings": {"openai": {"model": "b"}, "espeak": {"rate": 170}},
            "operations": [{"role": "tts", "id": "espeak", "voice": "en"}],
        },
    )
    assert merged.config.session.history_length == 20
    assert merged.config.session.queued_jobs == BASE.session.queued_jobs
    assert merged.config.bindings == {
        "openai": {"base_url": "http://localhost:1/v1", "model": "b"},
        "espeak": {"rate": 170},
    }
    assert [entry.settings for entry in merged.config.operations] == [{"voice": "en"}]
    assert merged.changed == ("operations", "bindings", "session.history_length")
    assert merged.warnings == ()
    assert BASE.session.history_length == 200


def test_nothing_given_or_the_same_again_changes_nothing() -> None:
    assert merge(BASE, {}).changed == ()
    merged = merge(BASE, BASE.model_dump(mode="json"))
    assert (merged.config, merged.changed) == (BASE, ())
    assert merge(BASE, public_config(BASE)).config == BASE


def test_null_removes_an_entry_of_a_free_map() -> None:
    merged = merge(BASE, {"bindings": {"openai": None}, "context": {"name_translations": {"a": None}}})
    assert merged.config.bindings == {}
    assert merged.config.context.name_translations == {"c": "d"}


@pytest.mark.parametrize(
    ("update", "kind", "text"),
    [
        ({"sesion": {}}, "config_unknown_field", "config_update: sesion: is not a known key; did you mean session?"),
        (
            {"session": {"history_length": 5, "histroy": 1}},
            "config_unknown_field",
            "config_update: session.histroy: is not a known key",
        ),
        ({"turn": {"chunk_ms": 1}}, "unknown", "config_update: turn.chunk_ms: wanted a whole number from 20 to 1000"),
        ({"turn": None}, "unknown", "config_update: turn: wanted a mapping of keys to values, found nothing"),
        ({"operations": [{"role": "t2t"}]}, "unknown", "config_update: operations.0.id: is missing"),
        ({"history_length": 0}, "unknown", "config_update: history_length: wanted a whole number from 1 to 10000"),
        ({"prompter": {"nam": 0}}, "config_unknown_field", "config_update: prompter.nam: prompter.nam is not a known"),
        ({"store": {"url": "postgresql://a:b@c/d"}}, "unknown", "config_update: store.url: holds a password"),
        ({"bindings": {"openai": {"api_key": "x"}}}, "unknown", "config_update: bindings.openai.api_key: a secret"),
        ({"bindings": {"openai": {"x": float("inf")}}}, "unknown", "config_update: bindings.openai.x: wanted a finite"),
        ({"bindings": {"openai": {"x": "\ud800"}}}, "unknown", "config_update: bindings.openai.x: is not Unicode"),
    ],
)
def test_a_bad_key_or_value_changes_nothing_at_all(update: dict[str, Any], kind: str, text: str) -> None:
    before = BASE.model_dump()
    with pytest.raises(ConfigError) as caught:
        merge(
            BASE, {"user_name": "Bob", **update} if "user_name" in Config.model_fields and "turn" in update else update
        )
    assert caught.value.message.startswith(text)
    assert caught.value.kind == kind
    assert BASE.model_dump() == before


def test_the_keys_of_other_servers_are_understood() -> None:
    merged = merge(BASE, {"prompter": {"history_length": 9, "character_name": "Robin"}, "spacy_model": "x"})
    assert (merged.config.session.history_length, merged.config.context.character_name) == (9, "Robin")
    assert merged.warnings == ("spacy_model is ignored: sentences are split without a language model",)
    merged = merge(BASE, {"model_name": "llama"})
    assert merged.config.operations[0].settings == {"temperature": 1, "model": "llama"}
    assert [entry.role for entry in merged.config.operations] == [Role.T2T, Role.TTS]


@pytest.mark.parametrize("key", [key for key in walk() if key.owner_only], ids=lambda key: key.name)
def test_every_marked_key_needs_the_owner(key: Any) -> None:
    update = key.default
    for part in reversed(key.path):
        update = {part: update}
    assert changes_need_owner(update) == [key.name]


def test_these_are_marked() -> None:
    marked = {key.name for key in walk() if key.owner_only}
    assert {
        "server.host",
        "server.port",
        "server.tokens",
        "server.allowed_origins",
        "server.allowed_hosts",
        "server.insecure",
        "store.url",
        "log.file",
        "limits.text_bytes",
    } <= marked
    assert not marked & {"operations", "personalities", "turn.chunk_ms", "session.history_length", "user_name"}


@pytest.mark.parametrize(
    ("update", "needs"),
    [
        ({"session": {"history_length": 3}, "turn": {"chunk_ms": 50}}, []),
        ({"operations": [{"role": "t2t", "id": "openai", "model": "m"}]}, []),
        (
            {"operations": [{"role": "stt", "id": "x"}, {"role": "t2t", "id": "openai", "base_url": "http://evil"}]},
            ["operations.1.base_url"],
        ),
        ({"bindings": {"kobold": {"kobold_filepath": "/bin/sh"}}}, ["bindings.kobold.kobold_filepath"]),
        ({"bindings": {"x": {"deep": [{"command": ["sh"]}]}}}, ["bindings.x.deep.0.command"]),
        ({"kcpps_filepath": "x"}, ["kcpps_filepath"]),
        ({"history_filepath": "x"}, ["history_filepath"]),
        ({"host": "0.0.0.0", "binding_name": "a"}, ["host"]),
        ({"debug": True, "model_name": "x"}, ["debug"]),
        ({"some_new_url": "x"}, ["some_new_url"]),
        ({"server": "nonsense"}, []),
        ({"operations": "nonsense", "bindings": 3}, []),
    ],
)
def test_updates_and_who_may_send_them(update: dict[str, Any], needs: list[str]) -> None:
    assert changes_need_owner(update) == needs


def test_what_is_in_force_already_is_nobodys_change() -> None:
    everything = BASE.model_dump(mode="json")
    assert changes_need_owner(everything, BASE) == []
    config = merge(
        BASE, {"operations": [{"role": "t2t", "id": "openai", "base_url": "http://a"}, {"role": "tts", "id": "espeak"}]}
    ).config
    same = [{"role": "tts", "id": "espeak"}, {"role": "t2t", "id": "openai", "base_url": "http://a", "model": "new"}]
    assert changes_need_owner({"operations": same}, config) == []
    same[1]["base_url"] = "http://b"
    assert changes_need_owner({"operations": same}, config) == ["operations.1.base_url"]
    assert changes_need_owner({"bindings": {"openai": {"base_url": "http://b"}}}, config) == [
        "bindings.openai.base_url"
    ]
    assert changes_need_owner({"server": {"port": 1}}, config) == ["server.port"]


def test_no_secret_leaves_with_the_public_configuration() -> None:
    config = load_config(None, {"GREENROOM_STORE_URL": "postgresql://ann:pa55@db/x"}, {}).config
    assert "pa55" not in str(public_config(config))
    assert "url" not in public_config(config)["store"]
    assert public_config(Config())["store"]["url"] == ""
    assert merge(config, public_config(config)).config == config
