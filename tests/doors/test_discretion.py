"""Where the server keeps its files is told to its owner alone."""

import json
import logging
from pathlib import Path, PureWindowsPath
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import Response

from greenroom.doors.discretion import Discretion
from greenroom.doors.door import Rooms
from greenroom.doors.rest.door import RestDoor
from greenroom.doors.rest.wire import status_of
from greenroom.doors.safety import Guard, Token
from greenroom.errors import BindingFailed, GreenroomError, NotFound
from greenroom.protocol import events
from greenroom.values import Access

HOME = Path("/srv/green room")
PLACES = [
    (HOME, "the home folder", ""),
    (Path("/srv"), "~", "~/"),
    (Path("/opt/greenroom"), "the installation", ""),
    (Path("/"), "everything", ""),
]
DISCREET = Discretion(PLACES)


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("no model in /srv/green room/models/minilm; install one", "no model in models/minilm; install one"),
        ("/srv/green room/bindings/x/binding_card.yaml, line 3: bad", "bindings/x/binding_card.yaml, line 3: bad"),
        ("no file '/srv/green room/.env' here", "no file '.env' here"),
        ("no file file:///srv/green room/a.onnx", "no file file:a.onnx"),
        ("there is no room left in /srv/green room: make some", "there is no room left in the home folder: make some"),
        ("it is in /srv/green room/ or nowhere", "it is in the home folder or nowhere"),
        ("look into /srv/green room.", "look into the home folder."),
        ("/srv/green rooms/a and /srv/green room.old/b", "~/green rooms/a and ~/green room.old/b"),
        ("/srv/other/voice.pth", "~/other/voice.pth"),
        ("/opt/greenroom/bindings/espeak/card.yaml is broken", "bindings/espeak/card.yaml is broken"),
        ("two: /srv/green room/a, /srv/green room/b", "two: a, b"),
        ("there is no POST /v1/srv; GET /opt is none either", "there is no POST /v1/srv; GET /opt is none either"),
        ("http://host/opt/greenroom/x stays", "http://host/opt/greenroom/x stays"),
        ("nothing of the kind", "nothing of the kind"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_sentence(sentence: str, told: str) -> None:
    assert DISCREET.text(sentence) == told
    assert Discretion().text(sentence) == sentence


def test_on_windows() -> None:
    class Folder(PureWindowsPath):
        def resolve(self) -> "Folder":
            return self

    discreet = Discretion([(cast(Path, Folder(r"C:\Users\joe\Green")), "the home folder", "")])
    for form in (r"C:\Users\joe\Green\models\x", r"c:\users\joe\green\models\x", "C:/Users/joe/Green/models/x"):
        assert discreet.text(f"no {form}!").replace("\\", "/") == "no models/x!"
    assert discreet.text(repr(r"C:\Users\joe\Green\models")) == "'models'"
    assert discreet.text(r"D:\Users\joe\Green\x") == r"D:\Users\joe\Green\x"


def test_a_link_to_the_home_is_the_home(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    discreet = Discretion([(link, "the home folder", "")])
    assert discreet.text(f"no {link / 'a'}, no {tmp_path.resolve() / 'real' / 'a'}") == "no a, no a"


def test_an_error_stays_what_it_is() -> None:
    failed = BindingFailed(
        f"no {HOME}/a", kind="broken", details={"status": 503, "files": [f"{HOME}/a"], "field": "x"}, retryable=True
    )
    assert DISCREET.error(failed, Access.OWNER) is failed
    for access in (Access.PERFORMER, Access.VIEWER):
        told = DISCREET.error(failed, access)
        assert type(told) is BindingFailed and told.retryable and told.kind == "broken"
        assert (told.message, str(told)) == ("no a", "no a")
        assert told.details == {"status": 503, "files": ["a"], "field": "x"}
        assert status_of(told) == 502
    assert failed.message == f"no {HOME}/a" and failed.details is not None and failed.details["files"] == [f"{HOME}/a"]
    plain = NotFound("there is none", details={"field": "x"})
    assert DISCREET.error(plain, Access.VIEWER) is plain


class Odd(GreenroomError):
    def __init__(self, *, place: Path) -> None:
        super().__init__(f"odd: {place}")


def test_an_error_that_is_made_otherwise() -> None:
    told = DISCREET.error(Odd(place=HOME / "a"), Access.VIEWER)
    assert type(told) is Odd and told.message == "odd: a" and told.details is None


PLACE = f"{HOME}/models/x is broken"
WHOLE: list[tuple[events.Event, dict[str, Any]]] = [
    (
        events.JobFinished(
            job_id="j", job_type="response", success=False, error={"code": "unavailable", "type": "t", "reason": PLACE}
        ),
        {"error": {"code": "unavailable", "type": "t", "reason": "models/x is broken"}},
    ),
    (events.GenerationError(job_id="j", error=PLACE), {"error": "models/x is broken"}),
    (events.ToolResult(job_id="j", tool="t", content=PLACE, error=PLACE), {"error": "models/x is broken"}),
    (
        events.JobProgress(job_id="j", result={"changed": [PLACE], "warnings": [PLACE]}),
        {"result": {"changed": [PLACE], "warnings": ["models/x is broken"]}},
    ),
    (
        events.StateChanged(changed={"personality": {"id": None, "error": PLACE}}, by="b"),
        {"changed": {"personality": {"id": None, "error": "models/x is broken"}}},
    ),
    (
        events.SessionJoined(
            session="s",
            role="viewer",
            epoch="e",
            seq=1,
            resumed=False,
            missed=0,
            server={},
            state={"personality": {"error": PLACE}},
        ),
        {"state": {"personality": {"error": "models/x is broken"}}},
    ),
]


@pytest.mark.parametrize(("event", "changed"), WHOLE, ids=lambda value: getattr(value, "name", ""))
def test_an_event(event: events.Event, changed: dict[str, Any]) -> None:
    assert DISCREET.event(event, Access.OWNER) is event
    told = DISCREET.event(event, Access.PERFORMER)
    assert type(told) is type(event)
    assert events.payload(told) == {**events.payload(event), **changed}
    assert DISCREET.event(told, Access.VIEWER) is told, "what has nothing to hold back is not made anew"


def test_what_people_say_is_not_touched() -> None:
    said = events.TextChunk(job_id="j", chunk=PLACE)
    assert DISCREET.event(said, Access.VIEWER) is said
    reply = {"lines": [{"content": PLACE}], "config": {"bindings": {"rvc": {"folder": str(HOME)}}}}
    assert DISCREET.reply(reply, Access.PERFORMER) is reply
    listed = {"bindings": [{"name": "x", "error": PLACE, "card": {"title": PLACE}}]}
    assert DISCREET.reply(listed, Access.OWNER) is listed
    assert DISCREET.reply(listed, Access.VIEWER) == {
        "bindings": [{"name": "x", "error": "models/x is broken", "card": {"title": PLACE}}]
    }


def test_the_log_keeps_it_whole_and_once(caplog: pytest.LogCaptureFixture) -> None:
    discreet = Discretion(PLACES)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            discreet.text(PLACE)
        discreet.text("nothing")
    assert [record.getMessage() for record in caplog.records] == [f"told without its place: {PLACE}"]


TOKENS = {Access.OWNER: "o", Access.PERFORMER: "p", Access.VIEWER: "v"}


@pytest.mark.parametrize("access", [*TOKENS, None])
async def test_by_rest(access: Access | None) -> None:
    """Also where nobody knows who asks."""
    guard = Guard(tokens=[Token(value, role) for role, value in TOKENS.items()])
    rooms = Rooms(cast(Any, None), cast(Any, None), guard, "main", discretion=DISCREET)

    async def fail(_: Any) -> Response:
        raise NotFound(PLACE)

    given = [(b"x-api-key", TOKENS[access].encode())] if access is not None else []
    scope = {"type": "http", "method": "GET", "path": "/api/x", "query_string": b"", "headers": given}
    answer = await RestDoor(rooms).answer(Request(scope), {"GET": fail}, public=access is None)
    assert answer.status_code == 404
    assert json.loads(bytes(answer.body))["message"] == (PLACE if access is Access.OWNER else "models/x is broken")
