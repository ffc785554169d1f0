"""The ``program`` block of a binding's card."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from greenroom.bindings.program import Program
from greenroom.bindings.program_card import ProgramCard
from greenroom.bindings.programs import HttpProbe, TcpProbe
from greenroom.errors import BadRequest

KOBOLD = {
    "command": ["{kobold}", "--config", "{config}", "--port", "{port}", '--json={"a": {port}}'],
    "ready": "/api/v1/model",
    "env": {"CACHE": "{config}.cache"},
    "start_timeout_s": 300,
}


def test_a_card_becomes_a_program(tmp_path: Path) -> None:
    values = {"kobold": 'python "kobold cpp.py"', "config": "a b.kcpps", "port": "1"}
    made = ProgramCard.model_validate(KOBOLD).program("kobold", values, tmp_path)
    assert made.command == (
        *("python", "kobold cpp.py", "--config", "a b.kcpps"),
        *("--port", "{port}", '--json={"a": {port}}'),
    )
    assert made.env == {"CACHE": "a b.kcpps.cache"}
    assert (made.key, made.cwd, made.start_timeout_s) == ("kobold", tmp_path, 300)
    assert made.probe == HttpProbe("/api/v1/model")


def test_what_is_left_out_is_the_default() -> None:
    made = ProgramCard.model_validate({"command": ["x"]}).program("x", {})
    assert made == Program("x", ("x",))
    assert made.probe == TcpProbe()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"command": "kobold --port 1"}, "a list of arguments is wanted"),
        ({"command": []}, "at least 1"),
        ({"ready": "model"}, "pattern"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"shell": True}, "Extra inputs"),
    ],
)
def test_a_card_that_is_wrong(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ProgramCard.model_validate({**KOBOLD, **change})


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"kobold": "k"}, "wants config"), ({"kobold": '"k', "config": "c"}, "names no program"), ({}, "wants kobold")],
)
def test_values_that_are_missing_or_wrong(values: dict[str, str], problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        ProgramCard.model_validate(KOBOLD).program("kobold", values)
