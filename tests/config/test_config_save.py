import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.config import Config, ConfigError, Format, LoadedConfig, NamedConfigs, load_config, merge, save_config
from greenroom.config.keys import differences
from greenroom.config.load import file_values
from greenroom.config.reference import shipped_config
from greenroom.config.save import render, write_atomically
from greenroom.config.validation import validated
from greenroom.errors import BadRequest, Conflict, NotFound, Unavailable

COMMENTED = """\
# mine
user_name: 'Ann'   # that is me

server:
    # the usual
    port: 0x1F90      # eight thousand and eighty
    tokens:
    -   name: overlay   # OBS
        env: OVERLAY
    # the other one
    -   {name: bot, env: "BOT"}
operations:
# speaks
-   role: tts
    id: espeak
    voice: "en-gb"     # British
# thinks
-   role: t2t
    id: eliza
personalities: [a/b/c,   d/e/f]
"""


def saved(
    folder: Path, text: str, update: dict[str, Any], env: dict[str, str] | None = None
) -> tuple[str, LoadedConfig]:
    path = folder / "config.yaml"
    path.write_bytes(text.encode())
    loaded = load_config(path, env or {}, {})
    after = save_config(loaded, merge(loaded.config, update).config)
    written = path.read_bytes().decode()
    assert after.source_text == written
    assert load_config(path, {}, {}).config == after.file_config
    assert [entry.name for entry in folder.iterdir()] == ["config.yaml"]
    return written, after


def changed_lines(before: str, after: str) -> list[str]:
    old = before.splitlines()
    return [line for line in after.splitlines() if line not in old]


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    written, _ = saved(tmp_path, COMMENTED, {"user_name": "Bob", "turn": {"chunk_ms": 50}})
    assert changed_lines(COMMENTED, written) == [
        "user_name: 'Bob'   # that is me",
        "personalities: [a/b/c, d/e/f]",
        "turn:",
        "    chunk_ms: 50",
    ]


def test_nothing_changed_nothing_written(tmp_path: Path) -> None:
    assert saved(tmp_path, COMMENTED, {"user_name": "Ann"})[0] == COMMENTED


def test_every_comment_of_a_list_stays_with_its_entry(tmp_path: Path) -> None:
    update = {
        "operations": [
            {"role": "tts", "id": "espeak", "voice": "de"},
            {"role": "t2t", "id": "eliza"},
            {"role": "stt", "id": "pocketsphinx"},
        ],
        "server": {"tokens": [{"name": "overlay", "env": "OVERLAY"}, {"name": "bot", "env": "BOT", "role": "owner"}]},
    }
    written, _ = saved(tmp_path, COMMENTED, update)
    assert written.splitlines()[3:] == [
        "server:",
        "    # the usual",
        "    port: 0x1F90      # eight thousand and eighty",
        "    tokens:",
        "    -   name: overlay   # OBS",
        "        env: OVERLAY",
        "    # the other one",
        "        role: performer",
        "        sessions: []",
        '    -   {name: bot, env: "BOT", role: owner, sessions: []}',
        "operations:",
        "# speaks",
        "-   role: tts",
        "    id: espeak",
        '    voice: "de"        # British',
        "# thinks",
        "-   role: t2t",
        "    id: eliza",
        "-   role: stt",
        "    id: pocketsphinx",
        "personalities: [a/b/c, d/e/f]",
    ]


def test_an_entry_that_is_removed_takes_no_other_with_it(tmp_path: Path) -> None:
    _, after = saved(tmp_path, COMMENTED, {"operations": [{"role": "t2t", "id": "eliza"}], "server": {"tokens": []}})
    assert [entry.id for entry in after.file_config.operations] == ["eliza"]


def test_the_shipped_file_keeps_all_its_comments(tmp_path: Path) -> None:
    text = shipped_config()
    update = {"server": {"port": 9700}, "generation": {"seed": 5}, "user_name": "yes", "personalities": ["a/b/c"]}
    written, _ = saved(tmp_path, text, update)
    assert changed_lines(text, written) == [
        'user_name: "yes"',
        "personalities: [a/b/c]",
        "  port: 9700",
        "  seed: 5",
    ]
    comments = [line for line in text.splitlines() if line.strip().startswith("#")]
    assert [line for line in written.splitlines() if line.strip().startswith("#")] == comments


def test_windows_line_ends_stay(tmp_path: Path) -> None:
    text = COMMENTED.replace("\n", "\r\n")
    written, _ = saved(tmp_path, text, {"turn": {"chunk_ms": 50}})
    assert written.count("\n") == written.count("\r\n") > 10


@pytest.mark.parametrize("text", ["", "# only a comment", "---\n# only a comment\n"])
def test_files_without_a_key(tmp_path: Path, text: str) -> None:
    written, after = saved(tmp_path, text, {"server": {"port": 5}, "bindings": {"a": {"x": [1, {"y": None}]}}})
    assert ("# only a comment" in written) is ("#" in text)
    assert after.config.server.port == 5


def test_a_value_shared_by_an_alias_changes_in_one_place_alone(tmp_path: Path) -> None:
    text = "bindings:\n  a: &a {x: 1}\n  b: *a\n"
    _, after = saved(tmp_path, text, {"bindings": {"b": {"x": 2}}})
    assert after.config.bindings == {"a": {"x": 1}, "b": {"x": 2}}


def test_environment_and_command_line_do_not_end_up_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("server: {port: 1}\n", encoding="utf-8")
    env = {"GREENROOM_STORE_URL": "postgresql://ann:pa55@db/x"}
    loaded = load_config(path, env, {"server.port": 2})
    after = save_config(loaded, merge(loaded.config, {"user_name": "Bob"}).config)
    assert path.read_text(encoding="utf-8") == "server: {port: 1}\nuser_name: Bob\n"
    assert (after.config.server.port, after.file_config.server.port) == (2, 1)
    again = save_config(after, merge(after.config, {"user_name": "Cy"}).config)
    assert "pa55" not in path.read_text(encoding="utf-8")
    assert again.file_config.user_name == "Cy"


def test_edits_made_by_hand_meanwhile_stay(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("user_name: Ann\n", encoding="utf-8")
    loaded = load_config(path, {}, {})
    path.write_text("user_name: Eve  # edited\nturn: {chunk_ms: 40}\n", encoding="utf-8")
    after = save_config(loaded, merge(loaded.config, {"session": {"queued_jobs": 3}}).config)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "user_name: Eve  # edited",
        "turn: {chunk_ms: 40}",
        "session:",
        "  queued_jobs: 3",
    ]
    assert (after.file_config.user_name, after.config.user_name) == ("Eve", "Ann")
    path.write_text("user_name: [broken\n", encoding="utf-8")
    with pytest.raises(ConfigError):
        save_config(loaded, merge(loaded.config, {"user_name": "Bob"}).config)
    assert path.read_text(encoding="utf-8") == "user_name: [broken\n"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(deadline=None)
@given(
    st.lists(TEXTS, min_size=1, max_size=4),
    st.dictionaries(TEXTS, TEXTS | st.floats(allow_nan=False, allow_infinity=False) | st.none()),
)
def test_whatever_was_saved_is_read_back(names: list[str], options: dict[str, Any]) -> None:
    update = {
        "personalities": names,
        "user_name": names[0],
        "bindings": {"a": {f"o_{key}": value for key, value in options.items()}},
        "context": {"name_translations": {name: name for name in names}},
    }
    for text in ("", COMMENTED.replace("a/b/c,   d/e/f", "z"), "user_name: |\n  Ann\nbindings: {a: {o_a: 1}}\n"):
        present = read(text)
        wanted = merge(present, update).config
        assert read(render(text, differences(present, wanted), wanted)) == wanted


def read(text: str) -> Config:
    file = file_values(text, "config.yaml")
    return validated(file.data, file.locate)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "the disk is read-only"), (errno.EACCES, "no permission")],
)
def test_a_disk_that_refuses_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("user_name: Ann\n", encoding="utf-8")
    loaded = load_config(path, {}, {})

    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(Unavailable, match=f"config.yaml cannot be saved: {reason}.*; the old file is unchanged"):
        save_config(loaded, merge(loaded.config, {"user_name": "Bob"}).config)
    assert path.read_text(encoding="utf-8") == "user_name: Ann\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "configs").write_text("in the way", encoding="utf-8")
    with pytest.raises(Unavailable, match=r"a\.yaml cannot be saved: .*; no file was written"):
        write_atomically(tmp_path / "configs" / "a.yaml", "x")


if sys.platform != "win32":

    def test_mode_and_link_stay(tmp_path: Path) -> None:
        real, link = tmp_path / "real.yaml", tmp_path / "config.yaml"
        real.write_text("user_name: Ann\n", encoding="utf-8")
        real.chmod(0o640)
        link.symlink_to(real)
        loaded = load_config(link, {}, {})
        save_config(loaded, merge(loaded.config, {"user_name": "Bob"}).config)
        assert link.is_symlink()
        assert real.read_text(encoding="utf-8") == "user_name: Bob\n"
        assert real.stat().st_mode & 0o777 == 0o640


def test_without_a_file_there_is_nowhere_to_save() -> None:
    loaded = load_config(None, {}, {})
    with pytest.raises(Conflict, match="under which name"):
        save_config(loaded, loaded.config)


def named(tmp_path: Path) -> NamedConfigs:
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "stream.yaml").write_text("user_name: Viewer  # of the stream\n", encoding="utf-8")
    (folder / "jaison.yml").write_text("prompter: {character_name: Robin}\nspacy_model: x\n", encoding="utf-8")
    (folder / "broken.yaml").write_text("sever: {}\n", encoding="utf-8")
    (folder / ".hidden.yaml").write_text("user_name: no\n", encoding="utf-8")
    (tmp_path / "outside.yaml").write_text("user_name: no\n", encoding="utf-8")
    return NamedConfigs(folder, {"GREENROOM_SERVER_PORT": "7"}, {"server.host": "::1"})


def test_names_are_looked_up_with_or_without_their_ending(tmp_path: Path) -> None:
    configs = named(tmp_path)
    assert configs.names() == ["broken", "jaison", "stream"]
    for name in ("stream", "stream.yaml"):
        config = configs.load(name).config
        assert (config.user_name, config.server.port, config.server.host) == ("Viewer", 7, "::1")
    loaded = configs.load("jaison")
    assert loaded.config.context.character_name == "Robin"
    assert loaded.warnings[0].startswith("jaison.yml, line 2: spacy_model is ignored")


@pytest.mark.parametrize(
    "name",
    [
        "streem",
        "",
        ".",
        "..",
        "../outside",
        "../outside.yaml",
        "configs/stream",
        "/etc/passwd",
        ".hidden",
        "stream.yaml/",
        "a\0b",
    ],
)
def test_names_that_are_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        named(tmp_path).load(name)
    assert caught.value.kind == "config_unknown_file"
    assert str(tmp_path) not in caught.value.message
    if name == "streem":
        assert caught.value.message == "Config file streem does not exist; did you mean stream?"


def test_a_broken_one_is_told_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        named(tmp_path).load("broken")
    assert caught.value.message == "broken.yaml, line 1: sever: is not a known key; did you mean server?"
    assert caught.value.kind == "config_unknown_field"
    assert NamedConfigs(tmp_path / "nowhere").names() == []


def test_saving_under_a_name(tmp_path: Path) -> None:
    configs = named(tmp_path)
    loaded = configs.load("stream")
    config = merge(loaded.config, {"turn": {"chunk_ms": 50}}).config
    fresh = configs.save("evening show", loaded, config)
    assert (tmp_path / "configs" / "evening show.yaml").read_text(encoding="utf-8").splitlines() == [
        "user_name: Viewer  # of the stream",
        "turn:",
        "  chunk_ms: 50",
    ]
    assert configs.load("evening show").config == config
    assert fresh.path is not None
    (tmp_path / "configs" / "old.yaml").write_text(
        "user_name: Old # kept\nsession: {queued_jobs: 9}\n", encoding="utf-8"
    )
    configs.save("old", loaded, config)
    assert "# kept" in (tmp_path / "configs" / "old.yaml").read_text(encoding="utf-8")
    assert configs.load("old").config == config


def test_another_servers_file_is_never_overwritten(tmp_path: Path) -> None:
    configs = named(tmp_path)
    (tmp_path / "configs" / "lollms.yaml").write_text("binding_name: llama_cpp_official\nseed: -1\n", encoding="utf-8")
    loaded = configs.load("lollms")
    with pytest.raises(Conflict, match="is a lollms configuration"):
        configs.save("lollms", loaded, loaded.config)
    loaded = configs.load("jaison")
    for update in ({"turn": {"audio_lead_ms": 5}}, {"bindings": {"kobold": {"url": "http://localhost:5001"}}}):
        with pytest.raises(Conflict, match="is a jaison configuration, which cannot say all"):
            configs.save("jaison", loaded, merge(loaded.config, update).config)
    configs.save("mine", loaded, loaded.config)
    assert (tmp_path / "configs" / "mine.yaml").read_text(encoding="utf-8") == "context:\n  character_name: Robin\n"


JAISONS = """\
# for the stream
operations:
- type: t2t  # the big one
  id: openai
  openai_t2t_model: gpt-4o
prompter:
  character_name: "Robin"  # as the script has it
history_length: 20
spacy_model: en_core_web_sm
"""


@pytest.mark.parametrize(
    ("update", "written"),
    [
        ({}, JAISONS),
        ({"history_length": 9}, JAISONS.replace("20", "9")),
        ({"prompter": {"character_name": "Polly"}}, JAISONS.replace("Robin", "Polly")),
        (
            {"scene_prompt_filename": "sea.txt"},
            JAISONS.replace("history", "  scene_prompt_filename: sea.txt\nhistory"),
        ),
        ({"kobold_filepath": "/opt/kobold"}, f'{JAISONS}kobold_filepath: "/opt/kobold"\n'),
    ],
    ids=["nothing", "top", "prompter", "new", "binding"],
)
def test_a_file_of_jaisons_stays_one(tmp_path: Path, update: dict[str, Any], written: str) -> None:
    configs = named(tmp_path)
    file = tmp_path / "configs" / "own.yaml"
    file.write_text(JAISONS, encoding="utf-8")
    loaded = configs.load("own")
    config = merge(loaded.config, update).config
    saved = configs.save("own", loaded, config)
    assert file.read_text(encoding="utf-8") == written
    assert saved.format is Format.JAISON
    again = configs.load("own")
    assert again.config == config and again.file_values == saved.file_values


def test_operations_of_a_file_of_jaisons_are_written_as_its_newer_ones_are(tmp_path: Path) -> None:
    configs = named(tmp_path)
    file = tmp_path / "configs" / "own.yaml"
    file.write_text(JAISONS, encoding="utf-8")
    loaded = configs.load("own")
    config = merge(loaded.config, {"operations": [{"role": "tts", "id": "openai", "voice": "nova"}]}).config
    configs.save("own", loaded, config)
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["operations"] == [
        {"role": "tts", "id": "openai", "voice": "nova"}
    ]
    again = configs.load("own")
    assert again.format is Format.JAISON and again.config == config


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "a\\b", ".x", "con", "NUL.yaml", "a:b", "x" * 200, "a\n", "a."]
)
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    configs = named(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    loaded = configs.load("stream")
    with pytest.raises(BadRequest):
        configs.save(name, loaded, loaded.config)
    assert sorted(tmp_path.rglob("*")) == before
