"""Loading: defaults < file < environment < command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from greenroom.config.confidential import has_password
from greenroom.config.document import MAX_BYTES, Document, Way, parse
from greenroom.config.environment import FromEnvironment, read_environment, unknown_variables
from greenroom.config.foreign import Format, as_ours, format_of
from greenroom.config.keys import Path, put, section_of, walk
from greenroom.config.problems import ConfigError, Origin, Problem
from greenroom.config.schema import Config
from greenroom.config.validation import dotted, unknown_key_sentence, validated

COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    config: Config
    """what is in force"""
    file_config: Config
    """defaults and file alone: what saving starts from, so that no environment variable ends up in a file"""
    path: FilePath | None = None
    source_text: str = ""
    format: Format = Format.GREENROOM
    warnings: tuple[str, ...] = ()
    file_values: Mapping[str, Any] | None = None
    """what the file says, under our names"""
    unused: Mapping[str, Any] = field(default_factory=dict)
    """what else it says, under its own names: fields of another server that have no meaning here"""
    unknown: tuple[Problem, ...] = ()
    """fields that the other server does not know either; ``warnings`` name them, too"""


@dataclass(frozen=True, slots=True)
class FileValues:
    """A file's values under our names, and how to say where each of them stands."""

    data: dict[str, Any]
    document: Document
    format: Format
    ways: Mapping[Way, Way]
    """our key -> the foreign file's own, where they differ"""
    warnings: tuple[str, ...]
    unused: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[Problem, ...] = ()

    def locate(self, way: Way) -> tuple[Origin, Way]:
        for length in range(len(way), 0, -1):
            given = self.ways.get(way[:length])
            if given is not None:
                own = (*given, *way[length:])
                return self.document.origin(own), own
        return self.document.origin(way), way


def load_config(
    path: FilePath | None,
    env: Mapping[str, str],
    overrides: Mapping[str, Any],
    *,
    label: str = "",
) -> LoadedConfig:
    """Read ``path`` (``None``: there is no file) and what overrides it.

    ``overrides`` holds dotted keys, ``{"server.port": 8000}``; those with the value ``None`` were not given.
    ``label`` is what messages call the file, its path by default.

    :raises ConfigError: with every problem: file, line, key, what was wanted, the nearest known key.
    """
    text = "" if path is None else read_text(path, label or str(path))
    file = file_values(text, label or str(path))
    from_environment = read_environment(env)
    from_command_line, problems = _overrides(overrides)
    problems = [*_stored_password(file), *from_environment.problems, *problems]
    try:
        file_config = validated(file.data, file.locate)
        config = _with_layers(file, from_environment, from_command_line)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    tokens = [token.env for token in config.server.tokens]
    return LoadedConfig(
        config=config,
        file_config=file_config,
        path=path,
        source_text=text,
        format=file.format,
        warnings=(*file.warnings, *unknown_variables(env, tokens)),
        file_values=file.data,
        unused=file.unused,
        unknown=file.unknown,
    )


def read_text(path: FilePath, label: str) -> str:
    """:raises ConfigError: if the file is missing, unreadable, too large or not UTF-8."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _whole(label, "there is no such file") from None
    except IsADirectoryError:
        raise _whole(label, "is a folder, not a file") from None
    except OSError as error:
        raise _whole(label, f"cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise _whole(label, f"is larger than {MAX_BYTES} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(Origin(label, line), "", "is not UTF-8 text")]) from None


def _whole(label: str, text: str) -> ConfigError:
    return ConfigError([Problem(Origin(label), "", text)])


def file_values(text: str, label: str, base: Config | None = None) -> FileValues:
    """A file's text as values under our names. :raises ConfigError: for what is not YAML."""
    document = parse(text, label)
    form = format_of(document.data)
    if form is Format.GREENROOM:
        return FileValues(_filled(document.data), document, form, {}, ())
    mapped = as_ours(document.data, form, base or Config())
    warnings = tuple(f"{document.origin(ignored.way)}: {ignored.text}" for ignored in mapped.ignored)
    unknown = tuple(
        Problem(document.origin(ignored.way), dotted(ignored.way), ignored.text, unknown_key=True)
        for ignored in mapped.ignored
        if ignored.unknown
    )
    return FileValues(_filled(mapped.values), document, form, mapped.ways, warnings, mapped.unused, unknown)


def _filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """A section or collection with all of its entries commented out is an empty one, not a bad value."""
    filled = dict(data)
    for name, known in Config.model_fields.items():
        if name not in filled:
            continue
        section = section_of(known)
        if section is None:
            filled[name] = _nothing_as_empty(filled[name], known.default)
        elif filled[name] is None:
            filled[name] = {}
        elif isinstance(filled[name], dict):
            filled[name] = {
                key: _nothing_as_empty(
                    value, section.model_fields[key].default if key in section.model_fields else None
                )
                for key, value in filled[name].items()
            }
    return filled


def _nothing_as_empty(value: Any, default: Any) -> Any:
    if value is None and isinstance(default, tuple | dict):
        return [] if isinstance(default, tuple) else {}
    return value


def _stored_password(file: FileValues) -> list[Problem]:
    store = file.data.get("store")
    url = store.get("url") if isinstance(store, dict) else None
    if not isinstance(url, str) or not has_password(url):
        return []
    origin, _ = file.locate(("store", "url"))
    text = "holds a password; set GREENROOM_STORE_URL in the environment or the .env file instead"
    return [Problem(origin, "store.url", text)]


def _overrides(overrides: Mapping[str, Any]) -> tuple[dict[Path, Any], list[Problem]]:
    known = {key.name: key.path for key in walk()}
    values: dict[Path, Any] = {}
    problems = []
    for name, value in overrides.items():
        if value is None:
            continue
        if name in known:
            values[known[name]] = value
        else:
            way = tuple(name.split("."))
            problems.append(Problem(Origin(COMMAND_LINE), name, unknown_key_sentence(way), unknown_key=True))
    return values, problems


def _with_layers(file: FileValues, environment: FromEnvironment, command_line: Mapping[Path, Any]) -> Config:
    data = {key: dict(value) if isinstance(value, dict) else value for key, value in file.data.items()}
    for path, value in (*environment.values.items(), *command_line.items()):
        put(data, path, value)
    variables = {key.path: key.variable for key in walk()}

    def locate(way: Way) -> tuple[Origin, Way]:
        for path in (_texts(way[:1]), _texts(way[:2])):
            if path in command_line:
                return Origin(COMMAND_LINE), way
            if path in environment.values:
                return Origin(variables[path]), way
        return file.locate(way)

    return validated(data, locate)


def _texts(way: Way) -> Path:
    return tuple(str(part) for part in way)
