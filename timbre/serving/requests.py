"""What may be asked, in OpenAI's words and ours. What is not served is refused by its name; nothing is silently left out."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from timbre.inference.spans import LONGEST, SHORTEST
from timbre.inference.steering import Steering, rest_of
from timbre.serving.limits import MOST_STEPS

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (None,), "best_of": (None, 1), "echo": (None, False), "frequency_penalty": (None, 0), "function_call": (None, "none", "auto"),
    "functions": (None, []), "logit_bias": (None, {}), "metadata": (None, {}), "modalities": (None, ["text"]),
    "parallel_tool_calls": (None, True, False), "prediction": (None,), "presence_penalty": (None, 0), "reasoning_effort": (None, "none"),
    "response_format": (None, {"type": "text"}), "service_tier": (None, "auto", "default"), "store": (None, False), "suffix": (None, ""),
    "tool_choice": (None, "none", "auto"), "tools": (None, []),
}  # fmt: skip
"""Fields of OpenAI's that are not served, and the values that ask for nothing."""

Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Share = Annotated[float, Field(gt=0, le=1)]
Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, strict=True)


class StreamOptions(_Strict):
    """Whether a last chunk counts the tokens."""

    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


class _GenerationRequest(_Strict):
    """What completions and chats share."""

    model: Annotated[str, Field(max_length=300, description="`timbre-<style>`, as `/v1/models` lists it.")] | None = None
    style: Annotated[str, Field(max_length=200)] | None = Field(None, description="The style alone, instead of `model`.")
    n: int = Field(1, ge=1, description="Texts for each prompt.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**64, description="The same seed gives the same text; drawn and told if left out.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 is greedy. Default: as the version was judged.")
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, description="0 means no limit.")
    min_p: float | None = Field(None, ge=0, lt=1, description="Leaves out tokens less than this times as likely as the likeliest.")
    top_h: float | None = Field(None, gt=0, le=1, description="Keeps the likeliest tokens up to this share of the entropy.")
    dynamic_temperature: float | None = Field(None, ge=0, le=10, description="θ of the temperature T·0.8^(θ/H), H the entropy in nats.")
    strength: float | None = Field(None, ge=0, le=1.5, description="Of the style: 0 is the base model, 1 (the default) the champion.")
    diversity: float | None = Field(None, ge=0, le=1, description="0: the surest words base and style agree on, 1: the freest.")
    blend: Annotated[dict[Annotated[str, StringConstraints(max_length=200)], Share], Field(max_length=4)] | None = Field(
        None, description='Other styles of this server with their shares, as {"oratory": 0.4}; the style itself has the rest.'
    )
    baseline: bool | None = Field(None, description="Written by the baseline that was trained beside the version, SFT say, not by it.")
    no_repeat: int | None = Field(
        None, ge=SHORTEST, le=LONGEST, description="No run of so many tokens of the style's training text is written out."
    )
    refine: int | None = Field(
        None, ge=0, le=MOST_STEPS, description="Steps in which what is furthest from the style is written anew; not streamed, one text."
    )
    watermark: bool | None = Field(None, description="Marks the text, or not. Default: as the server was started.")
    user: Annotated[str, Field(max_length=500)] | None = Field(
        None, description="Stays with one version while a challenger is tried; not kept."
    )

    served: ClassVar[Literal["completions", "chat"]]

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        left = dict(body)
        for name in body:
            if name in cls.model_fields:
                continue
            if name in _NEUTRAL and any(_same(body[name], value) for value in _NEUTRAL[name]):
                left.pop(name)
            elif name in _NEUTRAL:
                raise ValueError(f"the field {name!r} is not supported here: leave it out")
        return left

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        rest_of(self.blend or {})
        return self

    @model_validator(mode="after")
    def _refined_alone(self) -> Self:
        if self.refine is None:
            return self
        asked = {
            "stream": self.stream, "n": self.n > 1, "stop": self.stop, "logprobs": getattr(self, "logprobs", None) not in (None, False),
            "strength and diversity": self.steering, "blend": self.blend, "no_repeat": self.no_repeat,
        }  # fmt: skip
        if unwanted := [name for name, there in asked.items() if there]:
            raise ValueError(f"refine takes no {', '.join(unwanted)}: leave that out, or refine")
        return self

    @model_validator(mode="after")
    def _baseline_alone(self) -> Self:
        mixed = {"strength": self.strength, "diversity": self.diversity, "blend": self.blend, "refine": self.refine}
        if self.baseline and (unwanted := [name for name, asked in mixed.items() if asked is not None]):
            raise ValueError(f"the baseline writes alone: leave {', '.join(unwanted)} out, or baseline")
        return self

    @property
    def steering(self) -> Steering | None:
        """How another model is mixed in; None where none is. A baseline writes as what is mixed in wholly."""
        if self.baseline:
            return Steering(strength=0.0)
        steering = Steering(strength=1.0 if self.strength is None else self.strength, diversity=self.diversity)
        return None if steering.idle else steering

    @property
    def stops(self) -> tuple[str, ...]:
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def counts_at_the_end(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionRequest(_GenerationRequest):
    """`POST /v1/completions`."""

    prompt: (
        str
        | Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
        | Annotated[list[str], Field(min_length=1)]
        | Annotated[list[Tokens], Field(min_length=1)]
    ) = Field(description="Text, tokens, or several of either.")
    max_tokens: int | None = Field(None, ge=1, description="Default 16, as OpenAI's.")
    logprobs: int | None = Field(None, ge=0, le=20, description="Tell of each token's log-probability and of so many likelier ones.")

    served = "completions"

    @property
    def wanted(self) -> int | None:
        return 16 if self.max_tokens is None else self.max_tokens

    @property
    def top(self) -> int | None:
        return self.logprobs

    @property
    def prompts(self) -> list[str | list[int]]:
        """One text or token row a prompt."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [part for part in self.prompt if not isinstance(part, int)]


class TextPart(_Strict):
    """A part of a message; only text is read."""

    type: Literal["text"]
    text: str


class Message(_Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: None = None
    refusal: None = None
    tool_calls: None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(_GenerationRequest):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, description="Default: as many as are allowed.")
    max_completion_tokens: int | None = Field(None, ge=1, description="OpenAI's newer name of `max_tokens`.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)

    served = "chat"

    @model_validator(mode="after")
    def _agree(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            raise ValueError("max_tokens and max_completion_tokens disagree: give one")
        return self

    @property
    def wanted(self) -> int | None:
        return self.max_tokens if self.max_tokens is not None else self.max_completion_tokens

    @property
    def top(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


def _same(given: Any, value: Any) -> bool:
    """Equal, and not merely because False is 0."""
    return given == value and isinstance(given, bool) == isinstance(value, bool)
