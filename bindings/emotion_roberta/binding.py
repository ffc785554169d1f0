"""Says of each sentence which emotion it shows: ``emotion`` and ``emotion_score`` on ``sentence`` events."""

from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from typing import Any

from pydantic import Field

from greenroom.bindings.classifier import Classifier
from greenroom.bindings.hub_models import check_folder, find_hub_model, installed_models
from greenroom.bindings.roles import OWNER_ONLY, Binding, Effect, Engine, Model, Options, Place, TextFilter, Unit
from greenroom.values import Role, TextChunk

DEFAULT_MODEL = "SamLowe/roberta-base-go_emotions"


class EmotionOptions(Options):
    model: str = Field(DEFAULT_MODEL, description="a text classifier: owner/name as on the hub")
    model_path: str = Field("", description="folder of the model, in place of `model`", json_schema_extra=OWNER_ONLY)
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1 or mps")
    min_score: float = Field(0.0, ge=0, le=1, description="below this, the emotion is `otherwise`")
    otherwise: str = Field("neutral", max_length=64, description="the emotion of a sentence that shows none clearly")


class EmotionFilter(TextFilter[Classifier]):
    """Beside the text, not in its way: the text is shown while the model still reads."""

    Options = EmotionOptions
    unit = Unit.SENTENCE
    effect = Effect.ANNOTATE

    @classmethod
    def engine_key(cls, options: EmotionOptions) -> Hashable:
        return options.model, options.model_path, options.device

    @classmethod
    async def open_engine(cls, options: EmotionOptions, place: Place) -> Engine:
        if options.model_path:
            folder = check_folder(options.model_path)
        else:
            folder = find_hub_model(options.model, place.models, place.binding_id)
        return await Classifier.open(folder, options.device)

    @classmethod
    async def models(cls, options: EmotionOptions, place: Place) -> Sequence[Model]:
        return installed_models(place.models)

    async def apply(self, text: AsyncIterator[TextChunk]) -> AsyncGenerator[TextChunk, None]:
        """:raises BindingFailed: if the model fails."""
        async for chunk in text:
            if not chunk.text.strip():
                yield chunk
                continue
            emotion, score = next(iter((await self.engine.scores(chunk.text.strip())).items()))
            if score < self.options.min_score:
                emotion = self.options.otherwise
            extras: dict[str, Any] = {"emotion": emotion, "emotion_score": round(score, 4)}
            yield TextChunk(chunk.text, {**chunk.extras, **extras})


BINDING = Binding({Role.FILTER_TEXT: EmotionFilter})
