"""Who may send what: the command says it, once for every door."""

import pytest

from greenroom.errors import Forbidden
from greenroom.protocol.commands import COMMANDS, ConfigSave, ConfigUpdate, Reach, SessionState
from greenroom.protocol.grant import Grant
from greenroom.values import Access

STAGE = frozenset({"stage"})


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("event", COMMANDS)
def test_a_command_is_permitted_by_role_and_reach(event: str, access: Access) -> None:
    command = COMMANDS[event]
    for sessions in (frozenset[str](), STAGE):
        grant = Grant(access, sessions)
        bound = bool(sessions) and access < Access.OWNER and command.reach is Reach.SERVER
        if access >= command.access and not bound:
            command.permit(grant)
        else:
            with pytest.raises(Forbidden, match=event):
                command.permit(grant)


def test_what_writes_for_everybody_is_the_servers() -> None:
    """Whatever an owner alone may send is for the whole server; what a performer may, mostly not."""
    assert {name for name, command in COMMANDS.items() if command.access is Access.OWNER} < {
        name for name, command in COMMANDS.items() if command.reach is Reach.SERVER
    }
    assert SessionState.reach is Reach.SESSION


def test_the_role_is_named_before_the_sessions() -> None:
    with pytest.raises(Forbidden, match="config_save needs the role owner; yours is performer"):
        ConfigSave.permit(Grant(Access.PERFORMER, STAGE))


def test_the_sentence_lists_a_few_sessions() -> None:
    many = frozenset(f"room-{number}" for number in range(10))
    with pytest.raises(Forbidden, match="room-7 and 2 more alone; use a token that is not bound to sessions"):
        ConfigUpdate.permit(Grant(Access.PERFORMER, many))


def test_where_a_client_comes_in_that_names_no_session() -> None:
    assert Grant(Access.VIEWER).session_or("main") == "main"
    assert Grant(Access.VIEWER, frozenset({"main", "a"})).session_or("main") == "main"
    assert Grant(Access.VIEWER, frozenset({"c", "b"})).session_or("main") == "b"
