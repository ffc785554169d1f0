"""From an event to its answer: spelling, validation, access, the door's own commands, else the session's."""

import logging
from collections.abc import Mapping
from typing import Any

from greenroom.doors.socketio import lollms, membership
from greenroom.doors.socketio.client import Client, Request, State
from greenroom.doors.socketio.receiving import Message
from greenroom.errors import GreenroomError, Internal, Unavailable
from greenroom.protocol.commands import (
    COMMANDS,
    CancelGeneration,
    Command,
    Kind,
    SessionJoin,
    SessionLeave,
    SessionList,
    SessionState,
    parse_command,
)
from greenroom.session.handle import Sessions
from greenroom.values import new_id

logger = logging.getLogger(__name__)


def internal_error(what: str) -> Internal:
    """Call it in the handler of an unexpected exception: the traceback goes to the log, its id to the client."""
    error_id = new_id()
    logger.exception("%s failed; error %s", what, error_id)
    return Internal(f"something went wrong here; the log has it as error {error_id}", details={"id": error_id})


class Dispatcher:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def handle(self, client: Client, message: Message) -> None:
        """Exactly one answer, whatever comes."""
        request = Request(client, message.event, message.arguments, message.ack_id)
        try:
            data = lollms.normalise(message.event, message.arguments)
            command = parse_command(message.event, data)
            command.permit(client.grant)
            request.accept(await self._answer(client, command, request))
        except GreenroomError as error:
            request.refuse(error.payload())
        except Exception:  # noqa: BLE001 -- the boundary of one event
            request.refuse(internal_error(f"event {message.event if message.event in COMMANDS else '?'}").payload())

    async def _answer(self, client: Client, command: Command, request: Request) -> Mapping[str, Any]:
        session = client.session
        if session is None:
            raise Unavailable("not connected")
        match command:
            case SessionJoin():
                return await self._join(client, command)
            case SessionLeave():
                membership.leave(client)
                return {"session": session.name}
            case SessionState():
                return {"session": session.name, "state": await session.state()}
            case SessionList():
                found = await self._sessions.listing()
                return {"sessions": [item for item in found if client.grant.opens(str(item.get("name", "")))]}
            case CancelGeneration():
                # lollms' clients want this before the end of what is cancelled.
                request.accept({})
        if not client.hears:
            # One that nobody heard may have left memory, and comes back from disk as another.
            current = await self._sessions.get(session.name)
            if current is not session and client.session is session:
                membership.act_on(client, current)
            session = current
        if client.state is not State.CONNECTED and command.kind_of in (Kind.IMMEDIATE, Kind.PRIVATE):
            raise Unavailable("the client is gone")
        if command.joins and not client.hears and client.state is State.CONNECTED:
            arrival = await membership.prepare(session, None, None)
            if client.state is State.CONNECTED and not client.hears:
                membership.join(client, arrival, plays=bool(client.auth.plays))
        return await session.execute(command, request)

    async def _join(self, client: Client, command: SessionJoin) -> Mapping[str, Any]:
        client.grant.require_session(command.session)
        handle = await self._sessions.get(command.session)
        # A client that names a number but no epoch means the numbering it is in.
        epoch = handle.log.epoch if command.epoch is None else command.epoch
        arrival = await membership.prepare(handle, epoch, command.last_seq)
        if client.state is not State.CONNECTED:
            raise Unavailable("the client is gone")
        plays = client.auth.plays if command.plays is None else command.plays
        joined = membership.join(client, arrival, plays=bool(plays))
        return {
            "session": joined.session,
            "role": joined.role,
            "epoch": joined.epoch,
            "seq": joined.seq,
            "resumed": joined.resumed,
            "missed": joined.missed,
        }
