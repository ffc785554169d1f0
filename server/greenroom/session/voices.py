"""The desk for the voices that there are to choose from."""

from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import TextToSpeech
from greenroom.protocol.commands import ListVoices
from greenroom.session.handle import Caller, Reply
from greenroom.session.operations import operation_as
from greenroom.session.session import Session
from greenroom.values import Role


class VoiceDesk:
    def __init__(self, session: Session) -> None:
        self._session = session
        session.handle(ListVoices, self._voices)

    async def _voices(self, command: ListVoices, caller: Caller) -> Reply:
        loaded = await self._hold(command.binding)
        try:
            with guarded(loaded.binding_id):
                voices = await operation_as(TextToSpeech, loaded).voices()
        finally:
            await loaded.release()
        return {
            "success": True,
            "binding": loaded.binding_id,
            "voices": [
                {"id": one.id, "name": one.name, "language": one.language, "gender": one.gender} for one in voices
            ],
        }

    async def _hold(self, binding: str | None) -> LoadedOperation:
        operations = self._session.operations
        spec = operations.spec(Role.TTS)
        if binding is None or (spec is not None and spec.id == binding):
            return await operations.hold(Role.TTS)
        return await operations.hold_unlisted(Role.TTS, self._session.house.bindings.get(binding).id)
