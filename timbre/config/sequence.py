"""Sequence-level targets: which completions are drawn, how they are weighed, and how a student is trained on them."""

from typing import Literal

from pydantic import ConfigDict, Field

from timbre.config.base import Frozen


class CompletionsConfig(Frozen):
    """The completions that a sequence-level target weighs."""

    prompts: int = Field(192, ge=2, description="Openings of passages that the tuned model was not trained on.")
    completions: int = Field(4, ge=2, description="Texts for each of them, at T = 1 with nothing cut off.")
    prompt_tokens: int = Field(24, ge=1)
    new_tokens: int = Field(96, ge=8, description="Exact length of each completion.")
    batch_tokens: int = Field(16_384, ge=16, description="Tokens written at once, padding included.")
    seed: int = 0


class SequenceConfig(CompletionsConfig):
    """A sequence-level target: how completions are weighed, and how a student is trained on them (target.level = sequence)."""

    model_config = ConfigDict(allow_inf_nan=False)
    weights: Literal["tilt", "ratio"] = Field(
        "tilt", description="tilt: exponential, to human moments; ratio: relative density ratio of at most 10."
    )
    ridge: float = Field(0.02, ge=0, description="Of λ, on standardised features; 0 matches the moments exactly.")
    folds: int = Field(5, ge=2, description="Of the critics: a document's completions are weighed by one that never saw it.")
    uniform: bool = Field(False, description="All completions weigh the same: the control arm.")
    epochs: int = Field(2, ge=1, description="Of the student, from the token-level one on.")
    learning_rate: float = Field(2e-4, gt=0)
    completions_a_step: int = Field(8, ge=1, description="Completions an optimizer step, each drawn as often as it weighs.")
    completions_weight: float = Field(1.0, gt=0, description="Of their NLL, beside the token-level objective on human text.")
    anchor: float = Field(0.2, ge=0, description="κ of KL(p₀‖student), which on p₀'s own samples is a share of uniform weights.")

    def of_completions(self) -> CompletionsConfig:
        """What the stage "completions" is built with."""
        return CompletionsConfig(**{name: getattr(self, name) for name in CompletionsConfig.model_fields})
