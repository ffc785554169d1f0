import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.config import Config, ConfigError, load_config
from greenroom.config.document import MAX_BYTES, Document
from greenroom.config.keys import Key, value_at, walk
from greenroom.config.validation import validated

KEYS = list(walk())


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def told(folder: Path, text: str) -> list[str]:
    """The problems of a file, without the folder's name."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}, {})
    return caught.value.message.replace(str(path), "config.yaml").splitlines()


def other_value(key: Key) -> Any:
    """A valid value that is not the default."""
    samples: dict[str, Any] = {
        "operations": [{"role": "t2t", "id": "openai", "model": "m"}],
        "bindings": {"openai": {"base_url": "http://localhost:1/v1"}},
        "personalities": ["a/b/c", "d/e"],
        "active_personality": 0,
        "server.allowed_origins": ["https://a.org"],
        "server.allowed_hosts": ["a.org:1"],
        "server.tokens": [{"name": "a", "env": "A_TOKEN", "role": "viewer", "sessions": ["x"]}],
        "server.host": "::1",
        "server.root_path": "/greenroom",
        "server.trusted_proxies": ["10.0.0.0/8", "unix"],
        "server.tls": "auto",
        "listen": [{"address": "unix:/g.sock", "doors": ["jaison"], "tls": True, "open_to": "group"}],
        "jaison.order": "documented",
        "wyoming.networks": ["10.0.0.0/8"],
        "context.name_translations": {"a": "b"},
        "isolation": {"espeak": "process"},
        "turn.thoughts": "shown",
        "store.url": "sqlite+aiosqlite:///x.db",
        "store.synchronous": "full",
        "log.level": "DEBUG",
        "generation.temperature": 0.5,
        "generation.top_p": 0.5,
        "turn.sentences_ahead": 4,
    }
    if key.name in samples:
        return samples[key.name]
    default = key.default
    if isinstance(default, bool):
        return not default
    if isinstance(default, str):
        return f"{default}x"
    if default is None:
        return 7
    return default - 1 if default > 1 else default + 1


def test_no_file_at_all_is_a_complete_configuration() -> None:
    loaded = load_config(None, {}, {})
    assert loaded.config == Config()
    assert (loaded.path, loaded.source_text, loaded.warnings) == (None, "", ())


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "server:\noperations:\n", "server:\n  tokens:\n  # - {}\n"]
)
def test_empty_files_and_sections_that_are_commented_out(tmp_path: Path, text: str) -> None:
    config = load_config(write(tmp_path, text), {}, {}).config
    assert config.server == Config().server
    assert config.operations == (() if "operations" in text else Config().operations)


def test_file_then_environment_then_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "server: {port: 1, host: file}\nuser_name: Ann\nturn: {chunk_ms: 50}\n")
    env = {"GREENROOM_SERVER_PORT": "2", "GREENROOM_SERVER_HOST": "env", "GREENROOM_USER_NAME": ""}
    loaded = load_config(path, env, {"server.port": 3, "log.level": None})
    assert (loaded.config.server.port, loaded.config.server.host) == (3, "env")
    assert (loaded.config.user_name, loaded.config.turn.chunk_ms) == ("Ann", 50)
    assert loaded.file_config.server.port == 1
    assert loaded.file_values == {"server": {"port": 1, "host": "file"}, "user_name": "Ann", "turn": {"chunk_ms": 50}}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_can_be_set_in_each_way(tmp_path: Path, key: Key) -> None:
    value = other_value(key)
    nested = {key.path[0]: value} if len(key.path) == 1 else {key.path[0]: {key.path[1]: value}}
    text = value if isinstance(value, str) else json.dumps(value)
    in_file = load_config(write(tmp_path, yaml.safe_dump(nested)), {}, {})
    in_environment = load_config(None, {key.variable: text}, {})
    on_command_line = load_config(None, {}, {key.name: value})
    assert in_file.config == in_environment.config == on_command_line.config
    assert value_at(in_file.config.model_dump(mode="json"), key.path) == value
    assert in_environment.warnings == ()


def test_variables_are_unique() -> None:
    assert len({key.variable for key in KEYS}) == len(KEYS)


def test_lists_by_environment_may_be_commas() -> None:
    env = {"GREENROOM_SERVER_ALLOWED_ORIGINS": "https://a.org, https://b.org", "GREENROOM_GENERATION_SEED": "null"}
    config = load_config(None, env, {}).config
    assert config.server.allowed_origins == ("https://a.org", "https://b.org")
    assert config.generation.seed is None


def test_bad_environment_and_command_line_are_told_together() -> None:
    env = {"GREENROOM_SERVER_PORT": "many", "GREENROOM_BINDINGS": "[1", "GREENROOM_OPERATIONS": "{a: 1}"}
    with pytest.raises(ConfigError) as caught:
        load_config(None, env, {"sever.port": 1, "turn.chunk_ms": 1})
    lines = caught.value.message.splitlines()
    assert "GREENROOM_SERVER_PORT: server.port: wanted a whole number from 0 to 65535, found 'many'" in lines
    assert "command line: turn.chunk_ms: wanted a whole number from 20 to 1000, found 1" in lines
    assert "command line: sever.port: is not a known key; did you mean server.port?" in lines
    assert any(line.startswith("GREENROOM_BINDINGS: bindings: wanted a mapping") for line in lines)
    assert any(line.startswith("GREENROOM_OPERATIONS: operations: wanted a list") for line in lines)
    assert caught.value.kind == "config_unknown_field"


def test_unknown_variables_are_reported_with_the_nearest() -> None:
    env = {
        "GREENROOM_SERVER_PROT": "1",
        "GREENROOM_HOME": "x",
        "GREENROOM_TOKEN": "x",
        "GREENROOM_BIND_TOKEN": "x",
        "GREENROOM_OVERLAY": "a token",
        "GREENROOM_PORT_9601_TCP_ADDR": "set by an orchestrator",
        "GREENROOM_SERVICE_HOST": "set by an orchestrator",
        "HOME": "x",
        "GREENROOM_SERVER_TOKENS": "[{name: a, env: GREENROOM_OVERLAY}]",
    }
    loaded = load_config(None, env, {})
    assert loaded.warnings == (
        "environment variable GREENROOM_SERVER_PROT is not known and has no effect; "
        "did you mean GREENROOM_SERVER_PORT?",
    )


def test_every_problem_of_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    text = """\
server:
  prot: 1
  port: 96o1
  tokens:
    - {name: x, env: A, role: boss}
    - {env: B}
turn: {thoughts: no}
operations:
  - role: t2t
    id: openai
    nested: {api_key: sk-12}
  - {role: sing, id: x}
history_length: 3
limits: 5
bindings: {a: 3}
1: 2
generation: {temperature: .nan}
store: {url: nonsense}
"""
    lines = told(tmp_path, text)
    assert lines == [
        "config.yaml, line 2: server.prot: is not a known key; did you mean server.port?",
        "config.yaml, line 3: server.port: wanted a whole number from 0 to 65535, found '96o1'",
        "config.yaml, line 5: server.tokens.0.role: wanted viewer, performer or owner, found 'boss'",
        "config.yaml, line 6: server.tokens.1.name: is missing; wanted text of 1 to 256 characters",
        "config.yaml, line 7: turn.thoughts: wanted hidden or shown, found false",
        "config.yaml, line 11: operations.0.nested.api_key: a secret does not belong in the configuration; "
        "put it into the environment or the .env file",
        "config.yaml, line 12: operations.1.role: wanted stt, mcp, t2t, tts, filter_text, filter_audio or embedding, "
        "found 'sing'",
        "config.yaml, line 13: history_length: is not a known key; did you mean session.history_length?",
        "config.yaml, line 14: limits: wanted a mapping of keys to values, found 5",
        "config.yaml, line 15: bindings.a: wanted a mapping of keys to values, found 3",
        "config.yaml, line 16: 1: wanted a text as key, found 1",
        "config.yaml, line 17: generation.temperature: wanted a number from 0 to 10 or null, found nan",
        "config.yaml, line 18: store.url: wanted a database URL such as postgresql+psycopg://host/greenroom, "
        "found 'nonsense'",
    ]


def test_the_details_name_each_problem(tmp_path: Path) -> None:
    path = write(tmp_path, "server: {prot: 1}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}, {}, label="mine.yaml")
    payload = caught.value.payload()
    assert payload["code"] == "bad_request"
    assert payload["details"]["problems"] == [
        {
            "source": "mine.yaml",
            "line": 1,
            "key": "server.prot",
            "problem": "is not a known key; did you mean server.port?",
        }
    ]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: [1,\nb\n", "config.yaml, line 3, column 1: not valid YAML:"),
        ("server:\n\tport: 1\n", "config.yaml, line 2, column 1: not valid YAML:"),
        ("user_name: @x\n", "config.yaml, line 1, column 12: not valid YAML:"),
        ("a: é\nb: \x01\n", "config.yaml, line 2, column 4: not valid YAML:"),
        ("a: !!python/object:os.system x\n", "config.yaml, line 1, column 4: not valid YAML:"),
        ("a: 2024-13-45\n", "config.yaml: not valid YAML: month"),
        ("- a\n", "config.yaml, line 1: wanted keys with values, such as 'user_name: Ann', found a list"),
        ("word\n", "config.yaml, line 1: wanted keys with values, such as 'user_name: Ann', found a single value"),
        ("server:\n  port: 1\n  port: 2\n", "config.yaml, line 3: server.port: stands there twice; keep one"),
        ("active_personality: 2\n", "config.yaml, line 1: active_personality: wanted a number below 1"),
        ("a: " + "[" * 3000 + "]" * 3000, "config.yaml"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, start: str) -> None:
    assert told(tmp_path, text)[0].startswith(start)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none.yaml", "there is no such file"),
        (tmp_path, "is a folder|cannot be read"),
        (tmp_path / "latin.yaml", "line 2: is not UTF-8 text"),
        (tmp_path / "large.yaml", "is larger than"),
    ):
        if path.name.startswith("latin"):
            path.write_bytes(b"a: 1\nb: \xe9\n")
        if path.name.startswith("large"):
            path.write_bytes(b"#" * (MAX_BYTES + 1))
        with pytest.raises(ConfigError, match=reason) as caught:
            load_config(path, {}, {})
        assert caught.value.message.startswith(str(path))


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfuser_name: Ann\r\nserver:\r\n  port: 1\r\n")
    assert load_config(path, {}, {}).config.server.port == 1


def test_a_password_in_the_file_is_refused_and_never_shown(tmp_path: Path) -> None:
    text = "store:\n  url: postgresql://ann:pa55word@db/x\n"
    assert told(tmp_path, text) == [
        "config.yaml, line 2: store.url: holds a password; set GREENROOM_STORE_URL in the environment "
        "or the .env file instead"
    ]
    config = load_config(None, {"GREENROOM_STORE_URL": "postgresql://ann:pa55word@db/x"}, {}).config
    assert config.store.url.endswith("@db/x")


def test_merge_keys_and_aliases(tmp_path: Path) -> None:
    text = "bindings:\n  a: &a {x: 1}\n  b: {<<: *a, y: 2}\n  c: *a\n"
    assert load_config(write(tmp_path, text), {}, {}).config.bindings == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1},
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def told_or_taken(env: dict[str, str]) -> bool:
    try:
        load_config(None, env, {})
    except ConfigError as error:
        return bool(error.problems) and bool(error.message)
    return True


@settings(deadline=None)
@given(VALUES)
def test_any_value_anywhere_is_taken_or_told(value: Any) -> None:
    assert told_or_taken({"GREENROOM_OPERATIONS": json.dumps([value]), "GREENROOM_SERVER_PORT": json.dumps(value)})
    for data in ({"server": value}, {"operations": [value]}, {"bindings": value}, {"x": value}):
        document = Document("config.yaml", data)
        try:
            validated(data, lambda way, document=document: (document.origin(way), way))
        except ConfigError as error:
            told = [problem.key and problem.text for problem in error.problems]
            if not all(told):
                pytest.fail(error.message)


def test_loading_imports_nothing_that_only_saving_needs() -> None:
    code = (
        "import sys; from pathlib import Path; from greenroom.config import load_config;"
        "load_config(Path(sys.argv[1]), {'GREENROOM_SERVER_PORT': '1'}, {});"
        "print([name for name in ('ruamel', 'ruamel.yaml', 'numpy', 'socketio', 'dotenv') if name in sys.modules])"
    )
    shipped = Path(__file__).parents[2] / "config.yaml"
    result = subprocess.run(
        [sys.executable, "-c", code, str(shipped)], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert result.stdout.strip() == "[]"
