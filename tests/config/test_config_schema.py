from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from greenroom.config import Config, OperationEntry, load_config
from greenroom.config.keys import Key, sections, walk
from greenroom.config.reference import configuration_page, main, shipped_config
from greenroom.config.wording import schema_at, wanted
from greenroom.values import Role

ROOT = Path(__file__).parents[2]
KEYS = list(walk())


def numbers(schema: dict[str, Any]) -> list[dict[str, Any]]:
    options = schema.get("anyOf", [schema])
    return [option for option in options if option.get("type") in ("integer", "number")]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_is_described_and_every_number_is_bounded(key: Key) -> None:
    assert key.field.description
    assert "\n" not in key.field.description
    for number in numbers(dict(schema_at(key.path) or {})):
        assert {"minimum", "exclusiveMinimum"} & number.keys()
        assert {"maximum", "exclusiveMaximum"} & number.keys()
    assert wanted(schema_at(key.path) or {}) != "a value"


def test_every_section_says_what_it_is_for() -> None:
    assert all(section.__doc__ for section in sections().values())


def test_defaults_are_valid_and_the_configuration_cannot_be_changed() -> None:
    config = Config.model_validate(Config().model_dump())
    assert config == Config()
    with pytest.raises(ValidationError):
        config.server.port = 1
    assert (config.server.host, config.server.port) == ("127.0.0.1", 9601)
    assert [(entry.role, entry.id) for entry in config.operations] == [
        (Role.T2T, "eliza"),
        (Role.TTS, "espeak"),
        (Role.STT, "pocketsphinx"),
        (Role.FILTER_TEXT, "filter_clean"),
    ]


def test_an_operations_options_stand_beside_role_and_id() -> None:
    entry = OperationEntry.model_validate({"role": "t2t", "id": "openai", "model": "m", "temperature": 0.5})
    assert entry.settings == {"model": "m", "temperature": 0.5}
    assert entry.model_dump(mode="json") == {"role": "t2t", "id": "openai", "model": "m", "temperature": 0.5}


@pytest.mark.parametrize(
    "operations",
    [
        [{"role": "t2t", "id": "a"}, {"role": "t2t", "id": "b"}],
        [{"role": "filter_text", "id": "a"}, {"role": "filter_text", "id": "a"}],
        [{"role": "t2t", "id": "../a"}],
        [{"role": "t2t", "id": "openai", "api_key": "sk-1"}],
        [{"role": "t2t", "id": "openai", "headers": {"Authorization": "Bearer x"}}],
        [{"role": "t2t", "id": "openai", "base_url": "https://user:word@example.org/v1"}],
    ],
)
def test_operations_that_are_refused(operations: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"operations": operations})


def test_two_roles_of_one_binding_and_two_filters_are_fine() -> None:
    entries = [
        {"role": "t2t", "id": "openai", "max_tokens": 3, "api_key_env": "MY_KEY"},
        {"role": "tts", "id": "openai"},
        {"role": "filter_text", "id": "a"},
        {"role": "filter_text", "id": "b"},
    ]
    assert len(Config.model_validate({"operations": entries}).operations) == 4


@pytest.mark.parametrize("origin", ["https://a.org", "http://a.org:80/", "app://obs", "null", " HTTPS://A.org "])
def test_origins(origin: str) -> None:
    config = Config.model_validate({"server": {"allowed_origins": [origin]}})
    assert config.server.allowed_origins[0] == origin.strip().rstrip("/").lower()


@pytest.mark.parametrize(
    "server",
    [
        {"allowed_origins": ["*"]},
        {"allowed_origins": ["a.org"]},
        {"allowed_origins": ["https://a.org/path"]},
        {"allowed_hosts": ["https://a.org"]},
        {"allowed_hosts": ["*"]},
        {"tokens": [{"name": "a", "env": "A B"}]},
        {"tokens": [{"name": "a", "env": "A", "value": "secret"}]},
        {"tokens": [{"name": "a", "env": "A"}, {"name": "a", "env": "B"}]},
        {"port": 65536},
    ],
)
def test_server_values_that_are_refused(server: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"server": server})


def test_the_shipped_file_holds_the_defaults_and_names_every_key() -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    assert text == shipped_config(), "stale: python -m greenroom.config.reference docs/configuration.md config.yaml"
    loaded = load_config(ROOT / "config.yaml", {}, {})
    assert loaded.config == Config()
    assert loaded.warnings == ()
    lines = [line.strip().removeprefix("# ") for line in text.splitlines()]
    for key in KEYS:
        assert any(line.startswith(f"{key.path[-1]}:") for line in lines), key.name
        assert f"# {key.field.description}" in text


def test_every_example_in_the_shipped_file_is_a_valid_value() -> None:
    for key in KEYS:
        for example in key.field.examples or ():
            data = {key.path[0]: example} if len(key.path) == 1 else {key.path[0]: {key.path[1]: example}}
            Config.model_validate(data)


def test_the_key_reference_is_fresh(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == configuration_page(), "stale: python -m greenroom.config.reference docs/configuration.md config.yaml"
    for key in KEYS:
        assert f"| `{key.name}` |" in page
    main([str(tmp_path / "page.md"), str(tmp_path / "config.yaml")])
    assert (tmp_path / "page.md").read_bytes().decode() == page
