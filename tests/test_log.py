import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenroom.config import LogConfig
from greenroom.errors import Unavailable
from greenroom.log import BoundedFile, bind_job, bind_session, set_up_logging

logger = logging.getLogger("greenroom.turn")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    ours = logging.getLogger("greenroom")
    before = (ours.level, ours.propagate, list(ours.handlers))
    yield
    assert (ours.level, ours.propagate, ours.handlers) == before


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_for_people_carry_session_and_job(tmp_path: Path) -> None:
    stream = io.StringIO()
    with set_up_logging(LogConfig(), tmp_path, stream):
        with bind_session("main"), bind_job("3f2a"):
            logger.info("turn %s", "finished", extra={"first_text_ms": 12})
        logger.warning("idle")
        logger.debug("not at this level")
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} INFO    turn \[main 3f2a\] turn finished first_text_ms=12", first)
    assert second.endswith(" WARNING turn idle")
    assert list(tmp_path.iterdir()) == []


def test_json_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    with set_up_logging(LogConfig(json_lines=True, level="DEBUG"), tmp_path, stream):
        with bind_session("main"):
            logger.debug("a\nb", extra={"bytes_sent": 3})
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("failed")
    first, second = json_lines(stream.getvalue())
    assert {name: first[name] for name in ("level", "logger", "message", "session", "bytes_sent")} == {
        "level": "DEBUG",
        "logger": "greenroom.turn",
        "message": "a\nb",
        "session": "main",
        "bytes_sent": 3,
    }
    assert "job" not in first
    assert str(first["time"]).endswith("+00:00")
    assert "ValueError: broken" in str(second["error"])
    assert "session" not in second


async def test_each_task_has_its_own_ids(tmp_path: Path) -> None:
    stream = io.StringIO()
    both_bound = asyncio.Barrier(2)

    async def turn(session: str, job: str) -> None:
        with bind_session(session), bind_job(job):
            await both_bound.wait()
            logger.info("in a task")
            await asyncio.to_thread(logger.info, "in a thread")

    with set_up_logging(LogConfig(json_lines=True), tmp_path, stream):
        async with asyncio.TaskGroup() as group:
            group.create_task(turn("a", "1"))
            group.create_task(turn("b", "2"))
        logger.info("outside")
    seen = sorted((str(line.get("session")), str(line.get("job"))) for line in json_lines(stream.getvalue()))
    assert seen == [("None", "None"), ("a", "1"), ("a", "1"), ("b", "2"), ("b", "2")]


def test_nested_ids_come_back(tmp_path: Path) -> None:
    stream = io.StringIO()
    with set_up_logging(LogConfig(), tmp_path, stream), bind_session("a"):
        with bind_session("b"):
            logger.info("x")
        logger.info("y")
    assert re.findall(r"\[(\w)\]", stream.getvalue()) == ["b", "a"]


def test_a_name_cannot_forge_a_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    with set_up_logging(LogConfig(), tmp_path, stream), bind_session("x\n12:00:00 ERROR"):
        logger.info("user %s", "a\r\n\x1b[31m\u2028b é 語")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r"[x\n12:00:00 ERROR] user a\r\n\x1b[31m\u2028b é 語")


def test_a_traceback_follows_its_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    with set_up_logging(LogConfig(), tmp_path, stream):
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("ERROR   turn failed")
    assert lines[-1] == "ValueError: broken"


def test_other_packages_warn_but_do_not_chatter(tmp_path: Path) -> None:
    stream = io.StringIO()
    with set_up_logging(LogConfig(level="DEBUG"), tmp_path, stream):
        logging.getLogger("engineio.server").info("what a client sent")
        logging.getLogger("uvicorn.error").warning("a warning")
    assert [line.split(maxsplit=2)[2] for line in stream.getvalue().splitlines()] == ["uvicorn.error a warning"]


def test_a_refused_websocket_is_no_fault(tmp_path: Path) -> None:
    stream = io.StringIO()
    with set_up_logging(LogConfig(), tmp_path, stream):
        logging.getLogger("uvicorn.error").error("ASGI callable returned without completing handshake.")
        logging.getLogger("uvicorn.error").error("something else")
    assert [line.split(" ", 1)[1].strip() for line in stream.getvalue().splitlines()] == [
        "ERROR   uvicorn.error something else"
    ]


def test_the_file_is_bounded(tmp_path: Path) -> None:
    config = LogConfig(file="sub/greenroom.log", file_bytes=65536, file_count=2)
    with set_up_logging(config, tmp_path, io.StringIO()), bind_session("main"):
        for _ in range(40):
            logger.info("x" * 8000)
    files = sorted((tmp_path / "sub").iterdir())
    assert [path.name for path in files] == ["greenroom.log", "greenroom.log.1"]
    assert all(path.stat().st_size <= 65536 for path in files)
    assert "[main]" in files[0].read_text(encoding="utf-8")


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "greenroom.log").mkdir()
    with pytest.raises(Unavailable, match=r"greenroom\.log cannot be opened"):
        set_up_logging(LogConfig(file="greenroom.log"), tmp_path, io.StringIO())


def test_a_full_disk_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = BoundedFile(tmp_path / "a.log", 65536, 2)

    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    whole = handler.setStream(Full())  # type: ignore[arg-type]
    assert whole is not None
    whole.close()
    for _ in range(3):
        handler.handle(logging.makeLogRecord({"msg": "x"}))
    handler.close()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "a.log cannot be written: [Errno 28] No space left on device" in told[0]


def test_standard_error_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with set_up_logging(LogConfig(), tmp_path):
        logger.info("here")
    assert capsys.readouterr().err.endswith("turn here\n")
