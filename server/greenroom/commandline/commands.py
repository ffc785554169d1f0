"""The slash commands of ``greenroom chat``."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from greenroom.client import Room
from greenroom.commandline.console import Console
from greenroom.errors import BadRequest

HISTORY_LINES = 20


class Quit(Exception):
    """The user leaves."""


@dataclass(frozen=True, slots=True)
class _Command:
    arguments: str
    what: str
    do: Callable[[str], Awaitable[None]]


class Commands:
    """:ivar voice: whether the voice is wanted."""

    def __init__(self, room: Room, console: Console, *, voice: bool) -> None:
        self.voice = voice
        self._room = room
        self._console = console
        self._known: Mapping[str, _Command] = {
            "help": _Command("", "this list", self._help),
            "personality": _Command("[NAME]", "choose a character, or list them", self._personality),
            "binding": _Command("[NAME]", "choose what thinks, or list what there is", self._binding),
            "model": _Command("[NAME]", "choose a model, or list those of the binding", self._model),
            "voice": _Command("[on|off|NAME]", "hear the character or not, or choose another voice", self._voice),
            "history": _Command("[N]", "the last lines of the conversation", self._history),
            "clear": _Command("", "forget the conversation", self._clear),
            "quit": _Command("", "leave (so does Ctrl-D); Ctrl-C interrupts the character", self._quit),
        }

    async def do(self, line: str) -> None:
        """``/name argument``. :raises GreenroomError: what is wrong. :raises Quit: the user leaves."""
        name, _, argument = line.removeprefix("/").partition(" ")
        found = [known for known in self._known if known == name] or [
            known for known in self._known if name and known.startswith(name)
        ]
        if not found:
            raise BadRequest(f"there is no command /{name}; /help lists them")
        await self._known[found[0]].do(argument.strip())

    async def _help(self, _argument: str) -> None:
        for name, command in self._known.items():
            self._console.line(f"  {f'/{name} {command.arguments}':<24} {command.what}")

    async def _personality(self, name: str) -> None:
        if name:
            chosen = await self._room.select_personality(name)
            self._console.note(f"[{chosen.get('name', name)} is here]")
            return
        active = await self._room.active_personalities()
        for language, categories in (await self._room.personalities()).items():
            for category, infos in categories.items():
                for info in infos:
                    mark = "*" if info.get("name") in active else " "
                    path = f"{language}/{category}/{info.get('folder', '')}"
                    self._console.line(f"{mark} {path}  {info.get('description', '')}")

    async def _binding(self, name: str) -> None:
        if name:
            await self._room.select_binding(name)
            self._console.note(f"[{name} thinks now]")
            return
        for entry in await self._room.bindings():
            roles = ", ".join(str(role) for role in entry.get("roles", ()))
            self._console.line(f"  {entry.get('name', '')}  {roles}  {entry.get('error') or entry.get('status', '')}")

    async def _model(self, name: str) -> None:
        if name:
            await self._room.select_model(name)
            self._console.note(f"[model {name}]")
            return
        for model in await self._room.models():
            roles = model.get("roles")
            if roles and "t2t" not in roles:  # it speaks or listens: what thinks is chosen here
                continue
            self._console.line(f"  {model.get('title') or model.get('name', '')}  {model.get('description', '')}")

    async def _voice(self, name: str) -> None:
        if name in ("on", "off", ""):
            self.voice = self.voice if not name else name == "on"
            self._console.note(f"[voice {'on' if self.voice else 'off'}]")
            return
        tts = (await self._room.operations()).get("operations", {}).get("tts")
        if not tts:
            raise BadRequest("no voice is loaded in this session")
        await self._room.configure_operations({"role": "tts", "config": {"voice": name}})
        self.voice = True
        self._console.note(f"[voice {name}]")

    async def _history(self, count: str) -> None:
        if count and not (count.isascii() and count.isdigit() and 0 < int(count) <= 1000):
            raise BadRequest("wanted a number of lines from 1 to 1000, as in: /history 5")
        for line in await self._room.history(int(count or HISTORY_LINES)):
            self._console.line(str(line.get("line") or f"{line.get('user', '')}: {line.get('content', '')}"))

    async def _clear(self, _argument: str) -> None:
        await self._room.clear()
        self._console.note("[forgotten]")

    async def _quit(self, _argument: str) -> None:
        raise Quit
