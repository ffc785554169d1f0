"""Text and JSON survive the way into the database and back, whatever is in them."""

import asyncio
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.errors import BadRequest, Unavailable
from greenroom.store import JobRecord, LineRecord, Store
from greenroom.store.encoding import decode_object, encode_object, protect_text, restore_text

ANY_TEXT = st.text(st.one_of(st.characters(exclude_categories=()), st.sampled_from("\x00\x1a\ud83d\ude00\udfffé漢")))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
ANY_OBJECT = st.dictionaries(ANY_TEXT, ANY_JSON, max_size=5)
ANY_TIME = st.floats(allow_nan=False, allow_infinity=False)


@given(ANY_TEXT)
def test_protected_text_is_plain_and_comes_back(text: str) -> None:
    protected = protect_text(text)
    protected.encode("utf-8")
    assert "\x00" not in protected
    assert restore_text(protected) == text


@given(ANY_OBJECT)
def test_objects_come_back(value: dict[str, Any]) -> None:
    assert decode_object(restore_text(protect_text(encode_object(value, "state"))), "state") == value


def test_what_is_stored_stays_readable() -> None:
    assert protect_text("Grüße, 漢字 😀\n") == "Grüße, 漢字 😀\n"
    assert encode_object({"said": "Grüße"}, "state") == '{"said":"Grüße"}'


def test_read_only_mappings_and_tuples_are_json_too() -> None:
    assert encode_object(MappingProxyType({"a": (1, MappingProxyType({}))}), "state") == '{"a":[1,{}]}'


def _nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": {"b": float("nan")}}, r"^state\.a\.b is nan"),
        ({"a": [1, float("-inf")]}, r"^state\.a\[1\] is -inf"),
        ({"a": b"audio"}, r"^state\.a is of type bytes"),
        ({"a": {1: 2}}, r"^state\.a has the key 1;"),
        ({"a": {1, 2}}, r"^state\.a is of type set"),
        (_nested(100_000), r"nested too deeply; at most 64 levels"),
        ({"a": 10**5000}, "^state cannot be stored"),
        ([1], "^state must be a mapping, not list"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_name(value: Any, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        encode_object(value, "state")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"a"'])
def test_a_damaged_object_is_said_to_be_one(text: str) -> None:
    with pytest.raises(Unavailable, match="damaged line"):
        decode_object(text, "line")


async def test_a_bad_value_is_refused_before_it_is_queued(store: Store) -> None:
    with pytest.raises(BadRequest, match=r"state\.voice"):
        await store.save_session("main", {"voice": object()})
    assert await store.list_sessions() == []


def test_records_come_back_from_the_database(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(tmp_path / "greenroom.db"))

        async def keep(session: str, state: dict[str, Any], lines: list[LineRecord], job: JobRecord) -> None:
            await store.save_session(session, state)
            for line in lines:
                await store.add_line(line)
            await store.add_job(job)
            await store.remember_command(session, f"reply {job.command_id}", state)
            loaded = await store.load_session(session)
            assert loaded is not None and loaded.state == state and loaded.name == session
            assert await store.lines(session, 10) == lines
            assert await store.unfinished_jobs(session) == [job]
            assert await store.job_by_command(session, job.command_id) == (job if job.command_id else None)
            assert await store.command_reply(session, f"reply {job.command_id}") == state
            assert await store.delete_session(session)

        line_values = st.tuples(ANY_TEXT, ANY_TEXT, ANY_TIME, ANY_TEXT, ANY_OBJECT)

        @settings(deadline=None, max_examples=60)
        @given(
            ANY_TEXT,
            ANY_OBJECT,
            st.dictionaries(ANY_TEXT, line_values, max_size=4),
            ANY_TIME,
            st.tuples(*[ANY_TEXT] * 4),
        )
        def check(session: str, state: dict[str, Any], lines: dict[str, Any], created: float, texts: Any) -> None:
            job_id, job_type, command_id, partial = texts
            job = JobRecord(job_id, session, job_type, state, created, command_id, {"state": state}, partial)
            records = [LineRecord(line_id, session, *values) for line_id, values in lines.items()]
            runner.run(keep(session, state, records, job))

        try:
            check()
        finally:
            runner.run(store.close())
