from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from greenroom.store import LineRecord, Store

MakeLine = Callable[..., LineRecord]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "greenroom.db"


@pytest.fixture
async def store(database: Path) -> AsyncIterator[Store]:
    opened = await Store.open(database)
    yield opened
    await opened.close()


@pytest.fixture
def make_line() -> MakeLine:
    def make(line_id: str, content: str = "Hello.", session: str = "main", **others: object) -> LineRecord:
        values: dict[str, object] = {"kind": "chat", "user": "Ada", "timestamp": 12.5, "extra": {}, **others}
        return LineRecord(line_id=line_id, session=session, content=content, **values)  # type: ignore[arg-type]

    return make
