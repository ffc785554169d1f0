"""``/v1/chat/completions`` and ``/v1/completions``."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from greenroom.bindings.engines import LoadedOperation
from greenroom.doors.openai.answers import Answer, ChatEvents, ChatWhole, TextEvents, TextWhole
from greenroom.doors.openai.bound import answer_in_session
from greenroom.doors.openai.context import Context
from greenroom.doors.openai.exchange import Exchange
from greenroom.doors.openai.generation import Generation
from greenroom.doors.openai.messages import Conversation, Limits, Tools, conversation, tools_of
from greenroom.doors.openai.models import Target
from greenroom.doors.openai.requests import ChatRequest, CompletionRequest, bounded, parse
from greenroom.doors.openai.requests import Generation as GenerationRequest
from greenroom.personalities.prompt import merged
from greenroom.protocol.grant import Grant
from greenroom.session.direct import character_prompt
from greenroom.session.prompting import configured
from greenroom.session.session import Session
from greenroom.values import Access, Message, Prompt, Role, Sampling

MAX_CHAT_BYTES = 24 << 20
_IMAGE_BYTES = 16 << 20


async def chat(context: Context, exchange: Exchange, grant: Grant) -> None:
    grant.require(Access.PERFORMER, "generating text")
    request = parse(ChatRequest, await exchange.body(MAX_CHAT_BYTES))
    exchange.watch()
    request.check()
    talk = conversation(request.messages, Limits(context.config.limits.text_bytes, _IMAGE_BYTES))
    answer: Answer
    if request.stream:
        answer = ChatEvents(exchange, request.model, with_usage=request.include_usage)
    else:
        answer = ChatWhole(exchange, request.model)
    if request.metadata and request.metadata.get("session") is not None:
        await answer_in_session(context, grant, request, talk, answer)
        return
    tools = tools_of(request.tools, request.tool_choice)
    target = await context.models.find(request.model)
    session = await context.session(grant)
    async with context.admission.place(Role.T2T):
        if target.binding:
            prompt = _bare_prompt(session, talk, request, tools)
        else:
            prompt = character_prompt(
                session,
                target.personality,
                talk.messages,
                system=talk.system,
                sampling=request.sampling(),
                tools=tools.specs,
            )
        prompt = replace(prompt, must_call=tools.must_call, response_format=_format(request))
        await _generate(context, session, grant, target, request, prompt, answer)


async def complete(context: Context, exchange: Exchange, grant: Grant) -> None:
    grant.require(Access.PERFORMER, "generating text")
    request = parse(CompletionRequest, await exchange.body(MAX_CHAT_BYTES))
    exchange.watch()
    request.check()
    text = bounded("prompt", request.text(), context.config.limits.text_bytes)
    answer: Answer
    if request.stream:
        answer = TextEvents(exchange, request.model, with_usage=request.include_usage)
    else:
        answer = TextWhole(exchange, request.model)
    target = await context.models.find(request.model)
    session = await context.session(grant)
    async with context.admission.place(Role.T2T):
        if target.binding:
            prompt = Prompt(raw=text, sampling=_bare_sampling(session, request))
        else:
            said = (Message("user", text),)
            prompt = character_prompt(session, target.personality, said, sampling=request.sampling())
        if request.echo:
            await answer.text(text)
        await _generate(context, session, grant, target, request, prompt, answer)


async def _generate(
    context: Context,
    session: Session,
    grant: Grant,
    target: Target,
    request: GenerationRequest,
    prompt: Prompt,
    answer: Answer,
) -> None:
    async with AsyncExitStack() as held:
        formatted = prompt.response_format is not None
        model = await context.backends.hold(
            session, Role.T2T, target, grant.access, _changes(request), formatted=formatted
        )
        held.push_async_callback(model.release)
        filters: list[LoadedOperation] | None = None
        if not target.binding:
            filters = await session.operations.hold_filters(Role.FILTER_TEXT)
            for loaded in filters:
                held.push_async_callback(loaded.release)
        await Generation(model, prompt, answer, context.config.turn.timeout_s, filters).run()


def _bare_prompt(session: Session, talk: Conversation, request: ChatRequest, tools: Tools) -> Prompt:
    return Prompt(
        system=talk.system,
        messages=talk.messages,
        tools=tools.specs,
        sampling=_bare_sampling(session, request),
    )


def _bare_sampling(session: Session, request: GenerationRequest) -> Sampling:
    """The configuration's values behind the client's, but for the length: a bare model has its own limit."""
    return merged(request.sampling(), replace(configured(session.house.config.value), max_tokens=None))


def _format(request: ChatRequest) -> Mapping[str, Any] | None:
    """What the answer is to be held to; ``None``: any text will do."""
    wanted = request.response_format
    return None if wanted is None or wanted.get("type") in (None, "text") else wanted


def _changes(request: GenerationRequest) -> dict[str, Any]:
    """Options of this one use."""
    wanted = {
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "reasoning_effort": request.reasoning_effort if isinstance(request, ChatRequest) else None,
    }
    return {name: value for name, value in wanted.items() if value is not None}
