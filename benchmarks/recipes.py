"""The recipes of `benchmarks.recipe`, and the sizes at which they are tried.

All rows of one size share model, corpus, passages, cross-fitted references, optimizer settings, replay and early stopping;
a recipe says only what differs. The DFT rows are read at one setting; the others, which tuning the temperature helps,
at each of a sweep, so that the best of them is what a recipe has to beat. SFT is also swept over learning rate, epochs and
nucleus.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from timbre.config import Objective, TargetConfig, TrainingConfig

SWEEP = (0.7, 0.8, 0.9, 0.95, 1.0, 1.05)
SCORING_EPOCHS = 1 / 3
"""Scoring a passage is a forward pass, about a third of a training step."""


@dataclass(frozen=True)
class Recipe:
    """What a row does differently."""

    name: str
    why: str
    objective: Objective = "forward_kl"
    target: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    temperatures: tuple[float, ...] = (1.0,)
    top_p: float = 1.0
    trained: bool = True
    budget: bool = False
    """As many more epochs as cross-fitting and scoring the target cost."""

    @property
    def distribution(self) -> bool:
        """Whether it learns from the target distribution, not from the observed token alone."""
        return self.trained and self.objective == "forward_kl"

    @property
    def rival(self) -> bool:
        """Whether it is SFT: what a recipe has to beat."""
        return self.trained and self.objective == "sft"


@dataclass(frozen=True)
class Size:
    """How large a trial is."""

    name: str
    train_tokens: int
    passage_tokens: int
    top_k: int
    admission_tokens: int
    reference_epochs: int
    epochs: int
    learning_rate: float
    batch_tokens: int
    validation_tokens: int
    evaluate_every: int
    likelihood_tokens: int
    prompts: int
    prompt_tokens: int
    new_tokens: int
    formats: tuple[str, ...] = ("continuation",)
    """How passages are put, as `target.formats` has it."""

    def target(self, recipe: Recipe, seed: int) -> TargetConfig:
        """The target that a recipe learns from; rows that learn from the observed token share the plain one."""
        values: dict[str, Any] = {
            "train_tokens": self.train_tokens, "passage_tokens": self.passage_tokens, "top_k": self.top_k, "seed": seed,
            "admission_tokens": self.admission_tokens, "reference_epochs": self.reference_epochs,
            "reference_learning_rate": self.learning_rate, "batch_tokens": self.batch_tokens, "formats": self.formats,
        }  # fmt: skip
        return TargetConfig.model_validate(values | dict(recipe.target))

    def training(self, recipe: Recipe, seed: int, folds: int) -> TrainingConfig:
        """How a recipe is trained."""
        crossfit = self.reference_epochs * (folds - 1)
        epochs = self.epochs + (math.ceil(crossfit + SCORING_EPOCHS) if recipe.budget else 0)
        values: dict[str, Any] = {
            "objective": recipe.objective, "epochs": epochs, "learning_rate": self.learning_rate, "seed": seed,
            "batch_tokens": self.batch_tokens, "validation_tokens": self.validation_tokens, "evaluate_every": self.evaluate_every,
            "checkpoint_every": self.evaluate_every,
        }  # fmt: skip
        return TrainingConfig.model_validate(values | dict(recipe.training))


_COOL = {"temperature": 0.8}
_ALL = (
    Recipe("base", "the untuned model", trained=False, temperatures=(0.7, 1.0)),
    Recipe("sft", "cross-entropy on the same passages", "sft", temperatures=SWEEP),
    Recipe("sft-nucleus", "sampled from a nucleus of .95", "sft", temperatures=(0.8, 0.9, 1.0, 1.05), top_p=0.95),
    Recipe("sft-low-rate", "two fifths of the learning rate", "sft", training={"learning_rate": 2e-4}, temperatures=(0.9, 1.0)),
    Recipe("sft-high-rate", "twice the learning rate", "sft", training={"learning_rate": 1e-3}, temperatures=(0.9, 1.0)),
    Recipe("sft-budget", "and as many epochs more as the target costs", "sft", temperatures=(0.8, 0.9, 1.0), budget=True),
    Recipe("label-smoothing", "ε = .1", "label_smoothing", temperatures=(0.8, 0.9, 1.0)),
    Recipe("gem", "GEM, β = .7 (2408.16673)", "gem", temperatures=(0.8, 0.9, 1.0)),
    Recipe("emo", "the EMO bound (2310.04691)", "emo", temperatures=(0.8, 0.9, 1.0)),
    Recipe(
        "dpo",
        "the preference-tuned row: human text preferred to the base's, a tenth of the rate",
        "dpo",
        training={"learning_rate": 5e-5},
        temperatures=(0.8, 0.9, 1.0),
    ),
    Recipe("dft", "α = .75, tail bucket: the release's default"),
    Recipe("dft-nucleus", "the same, sampled from a nucleus of .95", top_p=0.95),
    Recipe("alpha-25", "α = .25", target={"alpha": 0.25}),
    Recipe("alpha-50", "α = .5", target={"alpha": 0.5}),
    Recipe("cool", "reference at temperature .8", target=_COOL),
    Recipe("fitted", "temperature and n-grams by the reference distribution's log score", target={"fit": ["temperature", "ngram"]}),
    Recipe("renorm", "the tail is left out, the rest scaled up", training={"tail": "renorm"}),
    Recipe("drop", "the tail is left out", training={"tail": "drop"}),
    Recipe("short", "the 8 likeliest tokens only", target={"top_k": 8}, training={"tail": "renorm"}),
    Recipe("cool-renorm", "reference at .8, without a tail", target=_COOL, training={"tail": "renorm"}),
    Recipe("alpha-50-cool", "α = .5, reference at .8", target={"alpha": 0.5, **_COOL}),
    Recipe("alpha-50-renorm", "α = .5, without a tail", target={"alpha": 0.5}, training={"tail": "renorm"}),
    Recipe("alpha-50-both", "α = .5, reference at .8, without a tail", target={"alpha": 0.5, **_COOL}, training={"tail": "renorm"}),
)
RECIPES = {recipe.name: recipe for recipe in _ALL}
PLAIN, BASELINE = "dft", "sft"

FULL = Size(
    "full", train_tokens=16_384, passage_tokens=256, top_k=64, admission_tokens=4_096, reference_epochs=2, epochs=4, learning_rate=5e-4,
    batch_tokens=1_024, validation_tokens=4_096, evaluate_every=8, likelihood_tokens=6_144, prompts=64, prompt_tokens=24, new_tokens=112,
)  # fmt: skip
QUICK = Size(
    "quick", train_tokens=4_096, passage_tokens=256, top_k=64, admission_tokens=2_048, reference_epochs=2, epochs=2, learning_rate=5e-4,
    batch_tokens=1_024, validation_tokens=2_048, evaluate_every=4, likelihood_tokens=4_096, prompts=24, prompt_tokens=24, new_tokens=64,
)  # fmt: skip
SMALL = Size(
    "small", train_tokens=2_304, passage_tokens=48, top_k=16, admission_tokens=768, reference_epochs=3, epochs=3, learning_rate=1e-2,
    batch_tokens=256, validation_tokens=512, evaluate_every=6, likelihood_tokens=1_024, prompts=8, prompt_tokens=8, new_tokens=40,
)  # fmt: skip


LARGE = Size(
    "large", train_tokens=196_608, passage_tokens=256, top_k=64, admission_tokens=16_384, reference_epochs=2, epochs=4, learning_rate=5e-4,
    batch_tokens=2_048, validation_tokens=16_384, evaluate_every=16, likelihood_tokens=32_768, prompts=128, prompt_tokens=24,
    new_tokens=256,
)  # fmt: skip


def chosen(names: str) -> list[Recipe]:
    """The recipes of a comma-separated list, in the order of the table; the baseline and the plain recipe always come along.

    Raises:
        ValueError: an unknown name; the sentence lists those that there are.
    """
    wanted = {name.strip() for name in names.split(",") if name.strip()} or set(RECIPES)
    if unknown := sorted(wanted - RECIPES.keys()):
        raise ValueError(f"unknown recipe {', '.join(unknown)}: choose of {', '.join(RECIPES)}")
    return [recipe for recipe in RECIPES.values() if recipe.name in wanted | {BASELINE, PLAIN}]
