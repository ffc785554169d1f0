"""Logging: lines for people on the console, JSON lines for machines, session and job on every record.

    with bind_session("main"), bind_job(job_id):
        logger.info("turn finished", extra={"first_text_ms": 12})

    12:30:01.204 INFO    turn [main 3f2a...] turn finished first_text_ms=12

Records hold ids and timings, never what people said. The ids are those of the context that makes the record: tasks and
``asyncio.to_thread`` inherit it.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from greenroom.config.schema import LogConfig
from greenroom.errors import Unavailable
from greenroom.paths import make_folder

_session: ContextVar[str] = ContextVar("greenroom_session", default="")
_job: ContextVar[str] = ContextVar("greenroom_job", default="")

_OURS = "greenroom"
_OTHERS = ("uvicorn", "socketio", "engineio", "asyncio", "sqlalchemy", "aiosqlite", "py.warnings")
"""Their warnings are worth reading; below that they log what clients sent."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "session", "job"}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROL |= {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}


@contextmanager
def bind_session(name: str) -> Iterator[None]:
    """Records made inside carry this session."""
    token = _session.set(name)
    try:
        yield
    finally:
        _session.reset(token)


@contextmanager
def bind_job(job_id: str) -> Iterator[None]:
    """Records made inside carry this job."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


def bound_ids() -> dict[str, str]:
    """``session`` and ``job`` of the context, as far as there are any: for work that goes on in another process."""
    return {name: found for name, found in (("session", _session.get()), ("job", _job.get())) if found}


class _Bound(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.session = _session.get()
        record.job = _job.get()
        return True


def _is_news(record: logging.LogRecord) -> bool:
    """Not that a websocket was refused with an answer of its own: uvicorn takes each of these for a fault of ours."""
    refused = "ASGI callable returned without completing handshake."
    return not (record.name == "uvicorn.error" and record.msg == refused)


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class TextLines(logging.Formatter):
    """One line a record; control characters are escaped, so that a name cannot forge a line. A traceback follows it."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        place = " ".join(part for part in (vars(record).get("session", ""), vars(record).get("job", "")) if part)
        extras = "".join(f" {name}={value}" for name, value in _extras(record).items())
        source = record.name.removeprefix(f"{_OURS}.")
        where = f"{source} [{place}]" if place else source
        line = f"{time}.{int(record.msecs):03d} {record.levelname:<7} {where} {record.getMessage()}{extras}"
        line = line.translate(_CONTROL)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: value for name in ("session", "job") if (value := vars(record).get(name))}
        entry |= {name: value for name, value in _extras(record).items() if name not in entry}
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class BoundedFile(RotatingFileHandler):
    """At most ``count`` (>= 2) files of ``max_bytes`` each. :raises OSError: if the first cannot be opened."""

    def __init__(self, path: Path, max_bytes: int, count: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=count - 1, encoding="utf-8", errors="replace")
        self._told = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Records are dropped while the disk refuses them; that is said once, on standard error."""
        if not self._told:
            self._told = True
            error = sys.exc_info()[1]
            sys.stderr.write(f"the log file {self.baseFilename} cannot be written: {error}\n")


class Logging:
    """What :func:`set_up_logging` put in place; ``close`` takes it away again."""

    def __init__(self, handlers: list[logging.Handler]) -> None:
        self._handlers = handlers
        self._before: list[tuple[logging.Logger, int, bool]] = []

    def attach(self, levels: Mapping[str, int]) -> None:
        for name, level in levels.items():
            logger = logging.getLogger(name)
            self._before.append((logger, logger.level, logger.propagate))
            logger.setLevel(level)
            logger.propagate = False
            for handler in self._handlers:
                logger.addHandler(handler)

    def close(self) -> None:
        for logger, level, propagate in self._before:
            logger.setLevel(level)
            logger.propagate = propagate
            for handler in self._handlers:
                logger.removeHandler(handler)
        self._before.clear()
        for handler in self._handlers:
            handler.close()

    def __enter__(self) -> "Logging":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def set_up_logging(config: LogConfig, logs: Path, stream: TextIO | None = None) -> Logging:
    """Send our records, and other packages' warnings, to ``stream`` (standard error) and to the configured file.

    ``logs``: the folder to which ``log.file`` is relative; made if it is needed.

    :raises Unavailable: if the log file cannot be opened.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(stream or sys.stderr)]
    if config.file:
        handlers.append(_file_handler(config, logs))
    formatter = JsonLines() if config.json_lines else TextLines()
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_Bound())
        handler.addFilter(_is_news)
    active = Logging(handlers)
    level = logging.getLevelNamesMapping()[config.level]
    active.attach({_OURS: level, **dict.fromkeys(_OTHERS, max(level, logging.WARNING))})
    return active


def _file_handler(config: LogConfig, logs: Path) -> logging.Handler:
    path = logs / config.file
    make_folder(path.parent)
    try:
        return BoundedFile(path, config.file_bytes, config.file_count)
    except OSError as error:
        raise Unavailable(f"the log file {path} cannot be opened: {error.strerror or error}") from error
