"""The child's side of a fork: run as a script by a fresh interpreter, it runs one callable and tells how that went.

    fork_child.py PAYLOAD REPORT        the two ends of private pipes, as named by the parent

PAYLOAD: a line of JSON (``path``, ``argv``, ``install``: modules whose ``install`` to call, ``bytes``), then so many
bytes, the pickled callable. They come from the
parent alone, which could have run anything here anyway. REPORT gets a line of JSON for each of: ``ready``, ``result``,
``unsendable`` (the result is nothing that can be sent) and ``error``. What goes back is data: the parent, which may
hold secrets that this process does not, never decodes a pickle of ours.

The standard library only, and nothing of Greenroom: the callable may need another version of everything.
"""

import base64
import dataclasses
import datetime
import decimal
import enum
import importlib
import inspect
import json
import os
import pathlib
import pickle  # from the parent to the child that it started, over a private pipe
import sys
import threading
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, BinaryIO

TAG = "@"
"""a JSON object with this key is one of our marks, not a dict of the user's"""
AS_TEXT: dict[type, str] = {
    datetime.datetime: "datetime",
    datetime.date: "date",
    datetime.time: "time",
    decimal.Decimal: "decimal",
    uuid.UUID: "uuid",
}
AS_LIST: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}


def encode(value: Any) -> Any:
    """Plain JSON, with tagged objects for what JSON lacks. :raises TypeError: naming the type that cannot be sent."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [encode(item) for item in value]
    if kind is dict:
        if all(type(key) is str for key in value) and TAG not in value:
            return {key: encode(item) for key, item in value.items()}
        return {TAG: "dict", "v": [[encode(key), encode(item)] for key, item in value.items()]}
    if kind in AS_LIST:
        return {TAG: AS_LIST[kind], "v": [encode(item) for item in value]}
    if kind in (bytes, bytearray):
        return {TAG: kind.__name__, "v": base64.b64encode(value).decode()}
    return _encode_object(value, kind)


def _encode_object(value: Any, kind: type) -> Any:
    if kind in AS_TEXT:
        return {TAG: AS_TEXT[kind], "v": value.isoformat() if hasattr(value, "isoformat") else str(value)}
    if kind is datetime.timedelta:
        return {TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]}
    if kind is complex:
        return {TAG: "complex", "v": [value.real, value.imag]}
    if isinstance(value, pathlib.PurePath):
        return {TAG: "path", "v": str(value)}
    if isinstance(value, enum.Flag):
        return {TAG: "flag", "type": type_name(kind), "v": value.value}
    if isinstance(value, enum.Enum):
        return {TAG: "enum", "type": type_name(kind), "v": value.name}
    if isinstance(value, BaseException):
        return {TAG: "error", "v": encode_error(value)}
    if dataclasses.is_dataclass(kind):
        fields = {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(kind)}
        return {TAG: "dataclass", "type": type_name(kind), "v": fields}
    raise TypeError(
        f"a result of type {kind.__module__}.{kind.__qualname__} cannot be sent back from a fork: "
        "make it of numbers, text, bytes, lists, dicts, sets, tuples, dates, paths, enums and dataclasses"
    )


def type_name(kind: type) -> list[str]:
    return [kind.__module__, kind.__qualname__]


def encode_error(error: BaseException) -> dict[str, Any]:
    """Whatever part of it cannot be sent becomes its ``repr`` (an argument) or is left out (an attribute)."""
    # An OSError keeps its file names out of its arguments.
    arguments = OSError.__reduce__(error)[1] if isinstance(error, OSError) else error.args
    return {
        "type": type_name(type(error)),
        "args": [_or_repr(argument) for argument in arguments],
        "state": dict(_sendable(vars(error).items())),
        "text": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _or_repr(value: Any) -> Any:
    try:
        return encode(value)
    except (TypeError, RecursionError):
        return repr(value)


def _sendable(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    for name, value in items:
        try:
            yield name, encode(value)
        except (TypeError, RecursionError):
            continue


class Reports:
    """The pipe to the parent; ``greenroom.rpc.fork.signal_ready`` finds it as ``__main__.fork_reports``."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._writing = threading.Lock()

    def ready(self, value: Any) -> None:
        """:raises TypeError: if ``value`` is nothing that can be sent"""
        self._send("ready", encode(value))

    def result(self, value: Any) -> None:
        try:
            self._send("result", encode(value))
        except (TypeError, RecursionError) as error:
            self._send("unsendable", str(error))

    def error(self, error: BaseException) -> None:
        self._send("error", encode_error(error))

    def _send(self, word: str, value: Any) -> None:
        line = json.dumps([word, value]).encode() + b"\n"
        with self._writing:
            try:
                self._file.write(line)
                self._file.flush()
            except OSError:  # the parent is gone, and we shall be in a moment
                pass


def open_passed(name: str, flags: int) -> BinaryIO:
    """The parent's :func:`greenroom.rpc.processes.passing.name_of`, turned round; not inherited by what we start."""
    if sys.platform == "win32":
        import msvcrt

        os.set_handle_inheritable(int(name), False)
        fd = msvcrt.open_osfhandle(int(name), flags)
    else:
        fd = int(name)
        os.set_inheritable(fd, False)
    return os.fdopen(fd, "rb" if flags == os.O_RDONLY else "wb")


def read_callable(payload: BinaryIO) -> Callable[[], object]:
    header = json.loads(payload.readline())
    sys.path[:] = header["path"]
    sys.argv[:] = header["argv"]
    for module in header["install"]:
        importlib.import_module(module).install()
    pickled = payload.read(header["bytes"])
    if len(pickled) != header["bytes"]:
        raise SystemExit("the parent ended before it had said what to run")
    loaded: Callable[[], object] = pickle.loads(pickled)  # noqa: S301 -- see the module's docstring
    return loaded


def end_with(payload: BinaryIO) -> None:
    """The pipe stays open as long as the parent lives. Where the kernel tells nobody of its death, this does."""
    payload.read(1)
    if sys.platform != "win32":
        import signal

        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def main() -> None:
    payload = open_passed(sys.argv[1], os.O_RDONLY)
    reports = Reports(open_passed(sys.argv[2], os.O_WRONLY))
    vars(sys.modules["__main__"])["fork_reports"] = reports
    reports.result(run(payload, reports))


def run(payload: BinaryIO, reports: Reports) -> object:
    try:
        function = read_callable(payload)
        if sys.platform != "linux":
            threading.Thread(target=end_with, args=(payload,), daemon=True).start()
        result = function()
        return _awaited(result) if inspect.isawaitable(result) else result
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        reports.error(error)
        raise


def _awaited(result: Awaitable[object]) -> object:
    import asyncio  # takes as long as the rest of the start, and few callables need it

    async def wait() -> object:
        return await result

    return asyncio.run(wait())


if __name__ == "__main__":
    main()
