"""How KoboldCPP draws tokens: every sampler that it has, under its own name."""

from typing import Annotated, Any, Literal

from pydantic import Field

from greenroom.bindings.roles import OWNER_ONLY
from greenroom.values import Sampling

from .connection import ConnectionOptions
from .templates import TemplateName

ALWAYS_SENT = (
    "max_context_length",
    "rep_pen",
    "rep_pen_range",
    "rep_pen_slope",
    "temperature",
    "tfs",
    "top_a",
    "top_k",
    "top_p",
    "typical",
)
SENT_IF_SET = (
    "min_p",
    "top_n_sigma",
    "presence_penalty",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "dynatemp_range",
    "dynatemp_exponent",
    "smoothing_factor",
    "xtc_threshold",
    "xtc_probability",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "sampler_order",
    "sampler_seed",
    "banned_tokens",
    "bypass_eos",
    "grammar",
)
_WIRE_NAMES = {"top_n_sigma": "nsigma"}


class SamplerOptions(ConnectionOptions):
    model: str = Field("", description="for display alone: KoboldCPP answers with the model that it has loaded")
    chat_template: TemplateName = Field(
        "model", description="how messages become one text; model: as KoboldCPP finds in the model, with tools, images"
    )
    max_context_length: int = Field(2048, ge=64, le=1 << 24, description="tokens of prompt and answer together")
    max_length: int = Field(100, ge=1, le=1 << 20, description="longest answer in tokens")
    rep_pen: float = Field(1.1, ge=0.1, le=10, description="above 1: repetition becomes unlikelier")
    rep_pen_range: int = Field(256, ge=-1, le=1 << 24, description="tokens looked back upon for rep_pen")
    rep_pen_slope: float = Field(1.0, ge=0, le=10, description="how much stronger rep_pen is on what was said last")
    temperature: float = Field(0.5, ge=0, le=5, description="0: always the likeliest word; higher: freer")
    tfs: float = Field(1.0, ge=0, le=1, description="tail-free sampling; 1: off")
    top_a: float = Field(0.0, ge=0, le=1, description="drop what is far below the likeliest; 0: off")
    top_k: int = Field(100, ge=0, le=1 << 20, description="draw from this many likeliest words; 0: from all")
    top_p: float = Field(0.9, gt=0, le=1, description="draw from the likeliest words that together reach this share")
    typical: float = Field(1.0, gt=0, le=1, description="typical sampling; 1: off")
    quiet: bool = Field(True, description="accepted as elsewhere; prompts are never printed")
    min_p: float | None = Field(None, ge=0, le=1, description="drop what is below this share of the likeliest")
    top_n_sigma: float | None = Field(None, ge=0, le=10, description="keep within this many standard deviations")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="makes new subjects likelier")
    mirostat: Literal[0, 1, 2] | None = Field(None, description="steer the perplexity: version 1 or 2; 0: off")
    mirostat_tau: float | None = Field(None, ge=0, le=100, description="wanted surprise")
    mirostat_eta: float | None = Field(None, ge=0, le=1, description="how quickly mirostat steers")
    dynatemp_range: float | None = Field(None, ge=0, le=5, description="temperature varies by so much either way")
    dynatemp_exponent: float | None = Field(None, ge=0, le=10, description="shape of the varying temperature")
    smoothing_factor: float | None = Field(None, ge=0, le=10, description="quadratic smoothing; 0: off")
    xtc_threshold: float | None = Field(None, ge=0, le=1, description="likely words above this share may be left out")
    xtc_probability: float | None = Field(None, ge=0, le=1, description="how often they are left out")
    dry_multiplier: float | None = Field(None, ge=0, le=100, description="against repeated sequences; 0: off")
    dry_base: float | None = Field(None, ge=0, le=8, description="how it grows with the sequence's length")
    dry_allowed_length: int | None = Field(None, ge=0, le=1000, description="longest sequence that may be repeated")
    dry_penalty_last_n: int | None = Field(None, ge=-1, le=1 << 24, description="tokens looked back upon for it")
    dry_sequence_breakers: tuple[str, ...] | None = Field(None, description="where a sequence ends")
    sampler_order: tuple[Annotated[int, Field(ge=0, le=6)], ...] | None = Field(
        None, max_length=7, description="order of the samplers, by number"
    )
    sampler_seed: int | None = Field(
        None, ge=-1, le=2**31 - 1, description="the same seed, the same answer; -1: random"
    )
    banned_tokens: tuple[str, ...] | None = Field(None, description="texts that must not be said")
    bypass_eos: bool | None = Field(None, description="go on where the model would end")
    grammar: str | None = Field(None, max_length=1 << 16, description="a GBNF grammar that the answer follows")
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="further members of the request, for what newer versions know",
        json_schema_extra=OWNER_ONLY,
    )


def sampler_body(options: SamplerOptions, sampling: Sampling) -> dict[str, Any]:
    """What a character's own sampling parameters say goes over the options."""
    body: dict[str, Any] = {name: getattr(options, name) for name in ALWAYS_SENT}
    for name in SENT_IF_SET:
        value = getattr(options, name)
        if value is not None:
            body[_WIRE_NAMES.get(name, name)] = list(value) if isinstance(value, tuple) else value
    over = {
        "max_length": sampling.max_tokens or options.max_length,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "rep_pen": sampling.repeat_penalty,
        "rep_pen_range": sampling.repeat_last_n,
        "sampler_seed": sampling.seed,
    }
    body.update((name, value) for name, value in over.items() if value is not None)
    if body["rep_pen_range"] < 0:
        body["rep_pen_range"] = options.max_context_length
    return body | {"quiet": True}
