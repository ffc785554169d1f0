"""Names of models, as this door has them, and what stands behind them.

greenroom                       the character of the session, on the session's backend
english/companions/robin        a character (``language/category/name``), on the session's backend
openai/gpt-4o                   a bare model: binding and model
eliza                           a bare binding, as it is configured
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from greenroom.bindings.discovery import FoundBinding
from greenroom.doors.openai.failures import ModelNotFound
from greenroom.errors import BadRequest, GreenroomError, NotFound
from greenroom.personalities.folder import Personality
from greenroom.session.house import House
from greenroom.session.models import models_of
from greenroom.session.session import Session
from greenroom.values import Role

OWN: Final = "greenroom"
ALIASES: Final[Mapping[Role, frozenset[str]]] = MappingProxyType(
    {
        Role.TTS: frozenset((OWN, "tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")),
        Role.STT: frozenset(
            (
                *(OWN, "whisper-1", "gpt-transcribe", "gpt-4o-transcribe"),
                *("gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15"),
            )
        ),
        Role.EMBEDDING: frozenset((OWN, "text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002")),
    }
)
"""names that clients have built in: they stand for what the session has of that role"""
_LISTED_S = 15.0
"""how long a list of models is believed"""
_LOOK_S = 4.0
"""how long one binding may take to say what models it has"""
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """``binding`` empty: in character; then ``personality`` ``None`` is the session's own."""

    name: str
    personality: Personality | None = None
    binding: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    id: str
    owner: str
    title: str = ""
    description: str = ""

    def wire(self, created: int) -> dict[str, Any]:
        extra = {"name": self.title, "description": self.description}
        return {
            "id": self.id,
            "object": "model",
            "created": created,
            "owned_by": self.owner,
            **{key: value for key, value in extra.items() if value},
        }


def binding_options(session: Session, binding_id: str, role: Role) -> dict[str, Any]:
    """What the owner configured for a binding, and what the session chose where it is the session's own."""
    spec = session.operations.spec(role)
    chosen: Mapping[str, Any] = spec.options if spec is not None and spec.id == binding_id else {}
    return {**session.house.binding_defaults(binding_id), **chosen}


class ModelDirectory:
    def __init__(self, house: House) -> None:
        self._house = house
        self.created = int(time.time())
        self._is_binding: OrderedDict[str, bool] = OrderedDict()
        """by name: what a name that was found once stands for, so that it is looked up where it is"""
        self._checked: OrderedDict[str, None] = OrderedDict()
        """bare models that were there when they were first asked for"""
        self._raw: dict[str, tuple[float, asyncio.Task[list[Listed]]]] = {}

    async def find(self, name: str) -> Target:
        """:raises ModelNotFound: nothing goes by that name."""
        if name == OWN:
            return Target(name)
        known = self._is_binding.get(name)
        if known is not False:
            binding, _, model = name.partition("/")
            try:
                self._house.bindings.get(binding)
            except NotFound:
                pass
            else:
                self._remember(name, True)
                return Target(name, binding=binding, model=model)
        try:
            shelf = self._house.personalities
            # One that is not known makes the shelf look at every folder.
            found = shelf.get(name) if known is False else await asyncio.to_thread(shelf.get, name)
        except (NotFound, BadRequest) as error:
            self._is_binding.pop(name, None)
            raise _missing(name, error) from None
        self._remember(name, False)
        return Target(name, personality=found)

    def _remember(self, name: str, is_binding: bool) -> None:
        self._is_binding[name] = is_binding
        while len(self._is_binding) > _REMEMBERED:
            self._is_binding.popitem(last=False)

    async def check(self, session: Session, target: Target, role: Role) -> FoundBinding:
        """The binding behind a bare model. :raises ModelNotFound: it has no such role, or no such model."""
        found = self._house.bindings.get(target.binding)
        try:
            # Its first import is not for the event loop.
            operation = found.operation(role) if found.loaded else await asyncio.to_thread(found.operation, role)
        except NotFound as error:
            raise _missing(target.name, error) from None
        place = f"{role} {target.name}"
        if not target.model or place in self._checked:
            return found
        if "model" not in operation.Options.model_fields:
            raise _missing(target.name, NotFound(f"binding {found.id} has no models to choose from"))
        options = binding_options(session, found.id, role)
        if role is Role.T2T and target.model != options.get("model"):
            known = await self._models(session, found)
            if known and all(one.id != target.name for one in known):
                raise _missing(target.name, NotFound(f"{found.id} has no model {target.model!r}"))
        self._checked[place] = None
        while len(self._checked) > _REMEMBERED:
            self._checked.popitem(last=False)
        return found

    async def listing(self, session: Session) -> list[dict[str, Any]]:
        shelf = self._house.personalities
        characters = await asyncio.to_thread(shelf.all)  # the first one reads every file
        listed = [Listed(OWN, "greenroom", session.character_name(), "the character of the session")]
        listed += [Listed(one.id, "greenroom", one.name, one.description) for one in characters]
        bindings = [found for found in self._house.bindings.all().values() if _may_be_asked(found)]
        for models in await asyncio.gather(*(self._models(session, found) for found in bindings)):
            listed += models
        return [one.wire(self.created) for one in listed]

    def speaking(self) -> list[dict[str, Any]]:
        """The session's voice by the names that clients know, and the bindings that speak."""
        ready = [
            one for one in self._house.bindings.all().values() if one.status == "ready" and Role.TTS in one.card.roles
        ]
        names = [(name, name) for name in sorted(ALIASES[Role.TTS])] + [(one.id, one.card.name) for one in ready]
        return [{"id": name, "name": title or name} for name, title in names]

    async def entry(self, session: Session, name: str) -> dict[str, Any]:
        """:raises ModelNotFound: nothing goes by that name."""
        if name != OWN and any(name in names for names in ALIASES.values()):
            return Listed(name, "greenroom").wire(self.created)
        target = await self.find(name)
        if target.binding:
            has = self._house.bindings.get(target.binding).card.roles
            role = next((role for role in (Role.T2T, *ALIASES) if role in has), Role.T2T)
            await self.check(session, target, role)
            return Listed(name, target.binding).wire(self.created)
        who = target.personality
        if who is None:
            return Listed(OWN, "greenroom", session.character_name()).wire(self.created)
        return Listed(who.id, "greenroom", who.name, who.description).wire(self.created)

    async def _models(self, session: Session, found: FoundBinding) -> list[Listed]:
        """Looked up once for all who ask meanwhile, and believed for some seconds."""
        options = binding_options(session, found.id, Role.T2T)
        key = f"{found.id} {sorted(options.items(), key=str)}"
        now = time.monotonic()
        for old in [name for name, (at, _) in self._raw.items() if now - at > _LISTED_S]:
            del self._raw[old]
        if key not in self._raw:
            look = asyncio.get_running_loop().create_task(self._look(found, options), name=f"models of {found.id}")
            self._raw[key] = now, look
        return await asyncio.shield(self._raw[key][1])

    async def _look(self, found: FoundBinding, options: Mapping[str, Any]) -> list[Listed]:
        try:
            operation = await asyncio.to_thread(found.operation, Role.T2T)
            if "model" not in operation.Options.model_fields:
                return [Listed(found.id, found.id, found.card.name)]
            async with asyncio.timeout(_LOOK_S):
                known = await models_of(self._house, found, options)
        except (GreenroomError, TimeoutError):
            return []
        names = [model.name for model in known if model.installed]
        chosen = options.get("model")
        if isinstance(chosen, str) and chosen and chosen not in names:
            names.insert(0, chosen)
        return [Listed(f"{found.id}/{name}", found.id) for name in names]

    async def close(self) -> None:
        looking = [task for _, task in self._raw.values() if not task.done()]
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


def _may_be_asked(found: FoundBinding) -> bool:
    """Whether listing its models is worth it: it can run, and no process has to be started for the question alone."""
    if found.status != "ready" or (found.elsewhere is not None and not found.loaded):
        return False
    return not found.card.roles or Role.T2T in found.card.roles


def _missing(name: str, why: GreenroomError) -> ModelNotFound:
    return ModelNotFound(
        f"The model {name[:200]!r} does not exist here ({why.message}); GET /v1/models lists those that do",
        details={"field": "model"},
    )
