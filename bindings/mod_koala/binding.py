"""Lets a sentence pass only once a model has judged it harmless. What it cannot judge does not pass."""

from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing

from pydantic import Field

from greenroom.bindings.classifier import Classifier
from greenroom.bindings.hub_models import check_folder, find_hub_model, installed_models
from greenroom.bindings.roles import OWNER_ONLY, Binding, Effect, Engine, Model, Options, Place, TextFilter, Unit
from greenroom.errors import BindingFailed, Unavailable
from greenroom.values import Role, TextChunk

DEFAULT_MODEL = "KoalaAI/Text-Moderation"


class ModerationOptions(Options):
    model: str = Field(DEFAULT_MODEL, description="a text classifier: owner/name as on the hub")
    model_path: str = Field("", description="folder of the model, in place of `model`", json_schema_extra=OWNER_ONLY)
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1 or mps")
    allowed: tuple[str, ...] = Field(("OK",), min_length=1, description="labels of sentences that may pass")
    min_score: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how sure the model must be that a sentence may pass; 0: as long as it is likeliest",
    )
    replacement: str = Field(
        "Filtered.", max_length=200, description="what is shown and spoken instead; empty: nothing"
    )


class Moderation(TextFilter[Classifier]):
    Options = ModerationOptions
    unit = Unit.SENTENCE
    effect = Effect.GATE

    def __init__(self, engine: Classifier, options: ModerationOptions) -> None:
        """:raises Unavailable: for a model that has none of the labels that would let anything pass."""
        super().__init__(engine, options)
        if not set(options.allowed) & set(engine.labels):
            raise Unavailable(
                f"{engine.name} has no label {' or '.join(options.allowed)}, so nothing would pass; "
                f"set allowed to one of its labels: {', '.join(engine.labels)}"
            )

    @classmethod
    def engine_key(cls, options: ModerationOptions) -> Hashable:
        return options.model, options.model_path, options.device

    @classmethod
    async def open_engine(cls, options: ModerationOptions, place: Place) -> Engine:
        if options.model_path:
            folder = check_folder(options.model_path)
        else:
            folder = find_hub_model(options.model, place.models, place.binding_id)
        return await Classifier.open(folder, options.device)

    @classmethod
    async def models(cls, options: ModerationOptions, place: Place) -> Sequence[Model]:
        return installed_models(place.models)

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
        """``filtered`` on every sentence, ``original_content`` on those that did not pass (performers alone see it).

        :raises BindingFailed: if the model fails; the sentence does not pass then.
        """
        async for chunk in text:
            if not chunk.text.strip():
                yield chunk
                continue
            try:
                label = await self._objection(chunk.text.strip())
            except BindingFailed as error:
                raise BindingFailed(f"nothing passes, since the moderation failed: {error.message}") from error
            if not label:
                yield TextChunk(chunk.text, {**chunk.extras, "filtered": False})
                continue
            extras = {**chunk.extras, "filtered": True, "original_content": chunk.text, "moderation": label}
            if self.options.replacement:
                start = chunk.text[: len(chunk.text) - len(chunk.text.lstrip())]
                end = chunk.text[len(chunk.text.rstrip()) :]
                yield TextChunk(start + self.options.replacement + end, extras)

    async def _objection(self, text: str) -> str:
        """The label for which it must not pass; empty if it may. Of a long text, every part must be harmless."""
        async with aclosing(self.engine.scores_of_parts(text)) as parts:
            async for scores in parts:
                label, score = next(iter(scores.items()))
                if label not in self.options.allowed or score < self.options.min_score:
                    return label
        return ""


BINDING = Binding({Role.FILTER_TEXT: Moderation})
