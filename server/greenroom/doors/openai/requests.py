"""What clients send, as far as it means something here; members that are not listed are ignored, as clients send many.

Types are strict: ``"0.7"`` is no number. ``null`` counts as left out.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from greenroom.doors.bounds import check_structure
from greenroom.doors.openai.failures import bad_field, of_validation, too_large, unsupported
from greenroom.values import Sampling

_MAX_STOPS = 64
_MAX_NAME = 1000
_MAX_NESTED = 200_000
_MAX_LISTED = 2_000_000

Body = TypeVar("Body", bound=BaseModel)


def _texts(value: Any) -> Any:
    """A text, or a list of texts -> a list."""
    if isinstance(value, str):
        return [value]
    if value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        return value
    raise ValueError("wanted a text or a list of texts")


def _unlimited(value: Any) -> Any:
    """LM Studio's and llama.cpp's way to say that there is no limit."""
    return None if value == -1 else value


def _voice(value: Any) -> Any:
    """``"nova"`` or ``{"id": "nova"}``"""
    if isinstance(value, dict):
        return value.get("id")
    return value


def _text_or_nothing(value: Any) -> Any:
    """Some clients send more about their user than a name."""
    return value if isinstance(value, str) else None


ModelName = Annotated[str, Field(min_length=1, max_length=_MAX_NAME)]
Stops = Annotated[Annotated[list[str], Field(max_length=_MAX_STOPS)] | None, BeforeValidator(_texts)]
MaxTokens = Annotated[Annotated[int, Field(ge=1, le=10_000_000)] | None, BeforeValidator(_unlimited)]
Penalty = Annotated[float | None, Field(ge=-2, le=2)]


class Request(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())

    model: ModelName


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    include_usage: bool | None = None


class Generation(Request):
    """What chat and completion requests share; ``top_k`` and the repeat penalties are what local servers add."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stops = None
    max_tokens: MaxTokens = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=-1, le=1_000_000)] = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None
    repeat_penalty: Annotated[float | None, Field(ge=0, le=10)] = None
    repetition_penalty: Annotated[float | None, Field(ge=0, le=10)] = None
    n: int | None = None
    logprobs: Any = None
    logit_bias: dict[str, Any] | None = None
    user: Annotated[str | None, BeforeValidator(_text_or_nothing)] = None

    @property
    def limit(self) -> int | None:
        return self.max_tokens

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self) -> Sampling:
        return Sampling(
            max_tokens=self.limit,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k if self.top_k is not None and self.top_k >= 0 else None,
            repeat_penalty=self.repeat_penalty if self.repeat_penalty is not None else self.repetition_penalty,
            seed=self.seed if self.seed is not None and self.seed >= 0 else None,
            stop=tuple(dict.fromkeys(stop for stop in self.stop or () if stop)),
        )

    def check(self) -> None:
        """:raises BadRequest: for what this server cannot do, rather than doing something else."""
        if self.n not in (None, 1):
            raise unsupported("n", "one answer is given; ask again for another")
        if self.logprobs not in (None, False):
            raise unsupported("logprobs", "probabilities of tokens are not given")
        if self.logit_bias:
            raise unsupported("logit_bias", "the numbers of tokens are another model's")


class ChatRequest(Generation):
    messages: Annotated[list[Any], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: MaxTokens = None
    reasoning_effort: Annotated[str | None, Field(max_length=_MAX_NAME)] = None
    tools: Annotated[list[Any] | None, Field(max_length=1024)] = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    functions: Any = None
    metadata: dict[str, Any] | None = None

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    def check(self) -> None:
        super().check()
        if self.functions:
            raise unsupported("functions", "the older form of tools; send tools instead")
        if self.modalities and "audio" in self.modalities:
            raise unsupported("modalities", "answers are text; /v1/audio/speech speaks them")


class CompletionRequest(Generation):
    prompt: Any
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    def check(self) -> None:
        super().check()
        if self.best_of not in (None, 1):
            raise unsupported("best_of", "one answer is generated")
        if self.suffix:
            raise unsupported("suffix", "text is continued at its end only")

    def text(self) -> str:
        """:raises BadRequest: for several prompts, or for tokens."""
        prompt = self.prompt
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
            prompt = prompt[0]
        if isinstance(prompt, str):
            if not prompt:
                raise bad_field("prompt", "there is nothing to continue")
            return prompt
        if isinstance(prompt, list) and prompt and all(isinstance(item, str) for item in prompt):
            raise unsupported("prompt", "one prompt a request; send several requests")
        raise bad_field("prompt", "wanted a text; token numbers are not taken")


AudioFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]


class SpeechRequest(Request):
    input: str
    voice: Annotated[Annotated[str, Field(max_length=_MAX_NAME)] | None, BeforeValidator(_voice)] = None
    response_format: AudioFormat | None = None
    speed: Annotated[float | None, Field(ge=0.25, le=4)] = None
    stream_format: Literal["audio", "sse"] | None = None


class EmbeddingRequest(Request):
    input: Any
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int | None, Field(ge=1, le=100_000)] = None


def parse(kind: type[Body], body: bytes) -> Body:
    """:raises BadRequest: no JSON, or not such a request, naming the member that is wrong.
    :raises TooLarge: too many values.
    """
    check_structure(body, nested=_MAX_NESTED, listed=_MAX_LISTED)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise of_validation(error) from None


def bounded(param: str, text: str, limit: int) -> str:
    """:raises TooLarge: more than ``limit`` bytes of UTF-8."""
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise too_large(param, f"at most {limit} bytes are taken")
    return text
