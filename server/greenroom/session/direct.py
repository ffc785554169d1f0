"""What a session's backends and characters do for one request, beside its queue: no job, no line, nobody else hears it.

Doors whose requests carry their whole conversation (OpenAI's) use a session as it stands here: its operations, its
character and its text filters.
"""

from collections.abc import Sequence
from dataclasses import replace

from greenroom.errors import Unavailable
from greenroom.personalities.folder import Personality
from greenroom.personalities.prompt import chat_prompt, merged
from greenroom.session.handle import SessionHandle
from greenroom.session.prompting import configured, prompt_file
from greenroom.session.session import Session
from greenroom.values import Message, Prompt, Sampling, ToolSpec


def at_hand(handle: SessionHandle) -> Session:
    """The session itself, where it lives in this process. :raises Unavailable: it does not."""
    if not isinstance(handle, Session):
        raise Unavailable(f"the session {handle.name} lives in another process; what is asked needs it in this one")
    return handle


def character_prompt(
    session: Session,
    personality: Personality | None,
    messages: Sequence[Message],
    *,
    system: str = "",
    sampling: Sampling = Sampling(),  # noqa: B008 -- frozen
    tools: tuple[ToolSpec, ...] = (),
) -> Prompt:
    """A character's own instructions before a conversation that the client keeps.

    ``None``: the character that answers in the session, with what is configured for it there (prompt files, customs).
    ``system``: the client's own instructions; they stand behind the character's. A user's message that has a name other
    than the configured one begins with it, as in a turn.

    :raises NotFound: no character is on call, or a prompt file is gone.
    """
    config = session.house.config.value
    settings = session.context.settings
    instructions = scene = ""
    changing: list[str] = []
    if personality is None:
        personality = session.personality()
        if settings.character_name:
            personality = replace(personality, name=settings.character_name)
        if settings.character_prompt_filename:
            text = prompt_file(session.house.prompts, "character", settings.character_prompt_filename)
            personality = replace(personality, conditioning=text)
        if settings.instruction_prompt_filename:
            instructions = prompt_file(session.house.prompts, "instruction", settings.instruction_prompt_filename)
        if settings.scene_prompt_filename:
            scene = prompt_file(session.house.prompts, "scene", settings.scene_prompt_filename)
        changing += [f"{item.name}: {item.description}" for item in settings.customs.values()]
    first = configured(config) if config.generation.override_personality else Sampling()
    prompt = chat_prompt(
        personality,
        (),
        user_name=config.user_name,
        sampling=merged(sampling, first),
        defaults=configured(config),
        instructions=instructions,
        scene=scene,
        changing=[*changing, system],
    )
    named = tuple(_named(message, config.user_name) for message in messages)
    return replace(prompt, messages=named, tools=tools)


def _named(message: Message, user_name: str) -> Message:
    if message.role != "user" or message.name in ("", user_name):
        return message
    return replace(message, content=f"[{message.name}]: {message.content}", name="")
