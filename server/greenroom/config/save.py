"""Writing a configuration back: only what changed, with the user's comments, order and quoting kept, and atomically.

Slow (ruamel is imported, files are synced): not for the event loop.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any
from uuid import uuid4

from greenroom.config.foreign import Format
from greenroom.config.from_jaison import translated_back
from greenroom.config.keys import Path, differences, put
from greenroom.config.load import FileValues, LoadedConfig, file_values, read_text
from greenroom.config.schema import Config
from greenroom.config.validation import validated
from greenroom.errors import Conflict, Internal, Unavailable

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
}


def save_config(loaded: LoadedConfig, config: Config, path: FilePath | None = None) -> LoadedConfig:
    """Write ``config`` to ``path`` (by default where it came from) and return it as if loaded from there.

    What came from the environment or the command line and has not changed since is not written. A file that was edited
    by hand meanwhile keeps those edits. An existing file under another name ends up with exactly what is in force.
    A file of jaison's stays one: what changes is written under jaison's names.

    :raises Conflict: if the file is another server's configuration and cannot say what changes, or there is no file to
        write to.
    :raises ConfigError: if the file there cannot be read as a configuration; it is left as it is.
    :raises Unavailable: if it cannot be written; the old file is left as it is.
    """
    target = path or loaded.path
    if target is None:
        raise Conflict("the configuration did not come from a file; say under which name to save it")
    changes = differences(loaded.config, config)
    wanted = _with_changes(loaded.file_config, changes)
    label = target.name
    text = read_text(target, label) if target.exists() else None
    form = Format.GREENROOM
    if text is not None:
        file = file_values(text, label)
        form = file.format
        present = validated(file.data, file.locate)
        if _same_file(target, loaded.path):
            wanted = _with_changes(present, changes)
        edits = _in_its_form(file, differences(present, wanted), present, label)
    else:
        ours = loaded.format is Format.GREENROOM
        text, present = (loaded.source_text, loaded.file_config) if ours else ("", Config())
        edits = differences(present, wanted)
    rendered = render(text, edits, wanted)
    write_atomically(target, rendered)
    return replace(
        loaded,
        config=config,
        file_config=wanted,
        path=target,
        source_text=rendered,
        format=form,
        warnings=(),
        file_values=file_values(rendered, label).data,
    )


def _in_its_form(file: FileValues, changes: Mapping[Path, Any], present: Config, label: str) -> Mapping[Path, Any]:
    """:raises Conflict: the file's form has no words for a change."""
    if file.format is Format.GREENROOM:
        return changes
    edits = translated_back(changes, present.bindings, file.ways) if file.format is Format.JAISON else None
    if edits is None:
        raise Conflict(
            f"{label} is a {file.format} configuration, which cannot say all that changes; save under another name"
        )
    return edits


def _same_file(target: FilePath, other: FilePath | None) -> bool:
    return other is not None and other.exists() and target.samefile(other)


def _with_changes(config: Config, changes: Mapping[Path, Any]) -> Config:
    data = config.model_dump(mode="json")
    for path, value in changes.items():
        put(data, path, value)
    return Config.model_validate(data)


def render(text: str, changes: Mapping[Path, Any], wanted: Config) -> str:
    """``text`` with ``changes`` made, checked to read as ``wanted``."""
    if not changes:
        return text
    from greenroom.config.roundtrip import edited  # ruamel is needed by nothing else, and slow to import

    for in_place in (True, False):  # a value in place may be shared by a YAML alias: then it is written anew
        rendered = edited(text, changes, in_place)
        file = file_values(rendered, "rendered")
        if validated(file.data, file.locate) == wanted:
            return rendered
    raise Internal("the configuration could not be written in the form of the present file; nothing was saved")


def write_atomically(path: FilePath, text: str) -> None:
    """Replace a file by one that is complete, or not at all. :raises Unavailable: with the reason."""
    try:
        target = path.resolve()
        with _beside(target) as temporary:
            with temporary.open("xb") as stream:
                stream.write(text.encode())
                stream.flush()
                os.fsync(stream.fileno())
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o7777)
            temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        state = "the old file is unchanged" if path.exists() else "no file was written"
        raise Unavailable(f"{path.name} cannot be saved: {reason}; {state}") from error


@contextlib.contextmanager
def _beside(target: FilePath) -> Iterator[FilePath]:
    """A name in the same folder; what is left under it at the end is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: FilePath) -> None:
    """The new name itself survives a power cut; where folders cannot be opened (Windows) the system sees to it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
