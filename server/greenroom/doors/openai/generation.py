"""From a prompt to an answer: a model's deltas as they come, and for a character what a turn does with them.

    bare model     deltas -> stop texts -> Answer
    character      deltas -> stop texts -> thoughts apart -> text filters -> Answer

One task does it all: what the backend gives is written before the next is asked for.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from greenroom.bindings.engines import LoadedOperation
from greenroom.bindings.guard import guarded
from greenroom.bindings.roles import TextFilter, TextToText
from greenroom.doors.openai.answers import Answer, Usage
from greenroom.errors import BindingFailed, GreenroomError
from greenroom.personalities.prompt import estimated_tokens
from greenroom.personalities.stop import cut
from greenroom.pipeline.annotations import text_stages
from greenroom.pipeline.chain import closable, stacked, unstalled
from greenroom.pipeline.thoughts import ThoughtSplitter
from greenroom.session.operations import operation_as
from greenroom.values import Ended, FinishReason, ModelOutput, Prompt, TextChunk, TextDelta, ToolCall

_CUT_SHORT = (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
"""for OpenAI's clients an answer that ended so is one, however little of it there is"""


class StopTexts:
    """Ends an answer at the first of some texts, letter for letter; holds back only what may still become one.

    The first is the one that is complete first, so that it does not matter in which pieces the answer comes.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        if not self._stops:
            return text
        pending = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := pending.find(stop)) >= 0]
        if found:
            self.found = True
            self._held = ""
            return pending[: min(found)[1]]
        keep = max(_overlap(pending, stop) for stop in self._stops)
        self._held = pending[len(pending) - keep :]
        return pending[: len(pending) - keep]

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How much of the text's end is a beginning of ``stop``."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0


@dataclass(slots=True)
class Generation:
    """``filters``: a character's text filters; ``None``: a bare model. All that is held stays the caller's."""

    model: LoadedOperation
    prompt: Prompt
    answer: Answer
    stall_s: float
    filters: Sequence[LoadedOperation] | None = None
    _deltas: int = field(init=False, default=0)
    _calls: int = field(init=False, default=0)
    _said: list[str] = field(init=False, default_factory=list)
    _ended: Ended | None = field(init=False, default=None)
    _exhausted: bool = field(init=False, default=False)
    """the model ended by itself, not at a stop text here"""

    async def run(self) -> None:
        """:raises GreenroomError: as the backend failed, also in the middle of the answer."""
        model: TextToText[Any] = operation_as(TextToText, self.model)
        with guarded(self.model.binding_id):
            deltas = self._until_ended(closable(model.generate(self.prompt)))
            if self.filters is None:
                await self._bare(deltas)
            else:
                await self._in_character(deltas, self.filters)
        await self.answer.finish(self._reason(), await self._usage(model) if self.answer.wants_usage else None)

    async def _until_ended(
        self, output: AsyncGenerator[ModelOutput, None]
    ) -> AsyncGenerator[TextDelta | ToolCall, None]:
        try:
            async with aclosing(output):
                async for item in unstalled(output, self.stall_s, self.model.binding_id):
                    if isinstance(item, Ended):
                        self._ended = item
                    else:
                        yield item
        except BindingFailed:
            if self._ended is None or self._ended.reason not in _CUT_SHORT:
                raise
        self._exhausted = True

    async def _bare(self, deltas: AsyncGenerator[TextDelta | ToolCall, None]) -> None:
        stops = StopTexts(self.prompt.sampling.stop)
        async with aclosing(deltas):
            async for delta in deltas:
                if isinstance(delta, ToolCall):
                    await self._call(delta)
                elif delta.thought:
                    await self._thought(delta.text)
                else:
                    self._deltas += 1
                    await self._text(stops.feed(delta.text))
                    if stops.found:
                        return
        await self._text(stops.finish())

    async def _in_character(
        self, deltas: AsyncGenerator[TextDelta | ToolCall, None], filters: Sequence[LoadedOperation]
    ) -> None:
        stages = text_stages([operation_as(TextFilter, loaded) for loaded in filters])
        async with stacked(self._spoken(deltas), stages) as chunks:
            async for chunk in chunks:
                await self._text(chunk.text)

    async def _spoken(self, deltas: AsyncGenerator[TextDelta | ToolCall, None]) -> AsyncGenerator[TextChunk, None]:
        """The answer's text; thoughts and tool calls pass the filters by."""
        thoughts = ThoughtSplitter()
        async with aclosing(closable(cut(deltas, self.prompt.sampling.stop))) as source:
            async for delta in source:
                if isinstance(delta, ToolCall):
                    await self._call(delta)
                elif delta.thought:
                    await self._thought(delta.text)
                else:
                    self._deltas += 1
                    for piece in thoughts.feed(delta.text):
                        if not piece.thought:
                            yield TextChunk(piece.text)
                        else:
                            await self._thought(piece.text, counted=True)
        for piece in thoughts.finish():
            if not piece.thought:
                yield TextChunk(piece.text)
            else:
                await self._thought(piece.text, counted=True)

    async def _text(self, text: str) -> None:
        if text:
            self._said.append(text)
            await self.answer.text(text)

    async def _thought(self, text: str, *, counted: bool = False) -> None:
        if text:
            self._deltas += not counted
            await self.answer.thought(text)

    async def _call(self, call: ToolCall) -> None:
        self._calls += 1
        await self.answer.call(call)

    def _reason(self) -> FinishReason:
        """As the backend tells it. Of one that does not: as many deltas as tokens were allowed mean that they ran out.

        Servers differ in what they call the end of an answer that calls tools; clients look for one word.
        """
        told = self._ended.reason if self._ended is not None else None
        if self._calls and told in (None, FinishReason.STOP):
            return FinishReason.TOOL_CALLS
        if told is not None and (self._calls or told is not FinishReason.TOOL_CALLS):
            return told
        limit = self.prompt.sampling.max_tokens
        ran_out = self._exhausted and limit is not None and self._deltas >= limit
        return FinishReason.LENGTH if told is None and ran_out else FinishReason.STOP

    async def _usage(self, model: TextToText[Any]) -> Usage:
        """What the backend told; where it told nothing, a guess."""
        told = self._ended or Ended()
        asked, said = told.prompt_tokens, told.completion_tokens
        if asked is None or said is None:
            guess = await self._guess(model)
            asked = guess.prompt_tokens if asked is None else asked
            said = guess.completion_tokens if said is None else said
        return Usage(asked, said, told.cached_tokens, told.reasoning_tokens)

    async def _guess(self, model: TextToText[Any]) -> Usage:
        """By the model's own tokens where it tells them, else by its deltas, and a token for three bytes."""
        prompt = self.prompt
        asked = (
            prompt.raw if prompt.raw is not None else "\n".join([prompt.system, *(m.content for m in prompt.messages)])
        )
        if type(model).tokenize is not TextToText.tokenize:
            try:
                with guarded(self.model.binding_id):
                    said = len(await model.tokenize("".join(self._said)))
                    return Usage(len(await model.tokenize(asked)), max(said, self._deltas))
            except GreenroomError:
                pass  # the answer has been given; how it is counted is not worth its failure
        return Usage(estimated_tokens(asked), self._deltas)
