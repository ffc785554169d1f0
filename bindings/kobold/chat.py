"""Roles t2t and mcp: the answer token by token, by one of KoboldCPP's two streaming endpoints.

Prompt -> POST /v1/chat/completions        -> chunks                  -> TextDelta ... ToolCall ... Ended
       -> POST /api/extra/generate/stream  -> {token, finish_reason}  -> TextDelta ... Ended

The chat endpoint is the default: it applies the template of the model that is loaded, takes tools and images, and knows
every sampler all the same. The other one takes a raw text, or messages under a template named by ``chat_template``.
"""

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from greenroom.bindings.chat_format import AnswerReader, answer_form, chat_messages, refuse_images, tool_schemas
from greenroom.bindings.roles import Options, TextToText
from greenroom.bindings.server_events import EventDecoder
from greenroom.errors import BadRequest
from greenroom.values import Ended, FinishReason, ModelOutput, Prompt, Role, TextDelta, ToolCall

from .connection import KoboldEngine, KoboldOperation
from .samplers import SamplerOptions, sampler_body
from .templates import template
from .tools import plain_tools

if TYPE_CHECKING:
    import aiohttp

_CHAT, _STREAM = "/v1/chat/completions", "/api/extra/generate/stream"
_DONE = b"[DONE]"


class Chat(KoboldOperation, TextToText[KoboldEngine]):
    Options: ClassVar[type[Options]] = SamplerOptions
    options: SamplerOptions
    keeps_formats = True

    async def generate(self, prompt: Prompt) -> AsyncIterator[ModelOutput]:
        """:raises BindingFailed: also after text was yielded, if the stream breaks; :raises BadRequest: no prompt."""
        engine = self.engine
        reader = AnswerReader(engine.server.name, engine.failures.clean)
        said = False
        async with engine.generation() as key:
            path, body = self._request(prompt)
            response = await engine.open(path, body | {"genkey": key}, self.options.max_retries)
            async with engine.reading(response), aclosing(self._read(response, reader)) as deltas:
                async for delta in deltas:
                    said = said or bool(delta.text)
                    yield delta
        for item in reader.finish(may_be_empty=True):
            said = said or isinstance(item, ToolCall) or self.role is Role.MCP
            if said or (isinstance(item, Ended) and item.reason is FinishReason.LENGTH):
                yield item
        if not said and self.role is not Role.MCP:
            raise await engine.empty("llm", "name one in the .kcpps file, or in KoboldCPP's launcher")

    def _request(self, prompt: Prompt) -> tuple[str, dict[str, Any]]:
        if prompt.raw is None and not prompt.messages and not prompt.system:
            raise BadRequest("there is nothing to answer: the prompt is empty")
        body = sampler_body(self.options, prompt.sampling)
        stops = [stop for stop in prompt.sampling.stop if stop]
        bound = prompt.tools or prompt.response_format is not None
        if prompt.raw is None and (self.options.chat_template == "model" or bound):
            return _CHAT, self._chat_body(prompt, body, stops) | self.options.extra_body
        if prompt.raw is not None:
            body["prompt"] = prompt.raw
        else:
            chosen = template(self.options.chat_template)
            body["prompt"] = chosen.render(prompt)
            stops += chosen.stops
            images = [image for message in prompt.messages for image in message.images]
            if any(not image.data for image in images):
                refuse_images(prompt)
            body["images"] = [base64.b64encode(image.data).decode() for image in images if image.data]
        own = {"stop_sequence": stops, "trim_stop": True, "replace_instruct_placeholders": False}
        return _STREAM, body | own | self.options.extra_body

    def _chat_body(self, prompt: Prompt, body: dict[str, Any], stops: list[str]) -> dict[str, Any]:
        """Some of KoboldCPP's own names are read here under OpenAI's alone."""
        if any(image.url and not image.data for message in prompt.messages for image in message.images):
            raise BadRequest("KoboldCPP fetches no images: send the image itself (data:image/png;base64,...)")
        body |= {
            "model": "kcpp",
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": chat_messages(prompt, sees=True),
            "max_tokens": body["max_length"],
            "replace_instruct_placeholders": False,
        }
        if stops:
            body["stop"] = stops
        if "sampler_seed" in body:
            body["seed"] = body["sampler_seed"]
        if "mirostat" in body:
            body["mirostat_mode"] = body["mirostat"]
        if prompt.tools:
            body["tools"] = plain_tools(tool_schemas(prompt))
        return body | answer_form(prompt)

    async def _read(self, response: "aiohttp.ClientResponse", reader: AnswerReader) -> AsyncGenerator[TextDelta, None]:
        engine = self.engine
        kind = response.content_type
        if kind == "application/json":  # versions that do not stream where tools are offered
            for delta in reader.feed(engine.parse(await engine.read_whole(response))):
                yield delta
            return
        if kind == "text/html":
            page = await engine.read_whole(response)
            raise engine.failures.nonsense(engine.failures.clean(page.decode(errors="replace")))
        decoder = EventDecoder()
        heard = False
        async for piece in response.content.iter_any():
            for event in decoder.feed(piece):
                heard = True
                if event == _DONE:
                    return
                for delta in reader.feed(_as_chunk(engine.parse(event))):
                    yield delta
        for event in decoder.end():
            if event != _DONE:
                for delta in reader.feed(_as_chunk(engine.parse(event))):
                    yield delta
        if not reader.finish_reason:
            raise engine.failures.cut_off() if heard else engine.failures.nonsense("no event at all")

    async def tokenize(self, text: str) -> list[int | str]:
        answer = await self.engine.ask("/api/extra/tokencount", {"prompt": text, "special": False})
        ids = answer.get("ids")
        if not isinstance(ids, list):
            raise self.engine.failures.nonsense("something that is no list of tokens")
        return [int(token) for token in ids]

    async def detokenize(self, tokens: Sequence[int | str]) -> str:
        """:raises BadRequest: for tokens that are no numbers"""
        if not all(isinstance(token, int) and token >= 0 for token in tokens):
            raise BadRequest("this model's tokens are numbers from 0")
        answer = await self.engine.ask("/api/extra/detokenize", {"ids": list(tokens)})
        return str(answer.get("result", ""))


def _as_chunk(event: dict[str, Any]) -> dict[str, Any]:
    """KoboldCPP's own event in the shape of the other endpoint's."""
    if "token" not in event:
        return event
    return {"choices": [{"text": event["token"] or "", "finish_reason": event.get("finish_reason")}]}


class ToolChooser(Chat):
    """The same, asked by the server to pick tools: an answer without text or tools is one, too."""

    role = Role.MCP
