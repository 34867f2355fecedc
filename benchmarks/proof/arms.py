"""What is compared: arms, sizes, styles, samplers and seeds, each fixed before a test document is read.

All students of a style, size and seed see the same passages and take steps of as many tokens, without replay items, so that they
differ in the objective alone. Each run is one half cosine with a look at validation text an epoch: `best` has the weights of the
look that found it likeliest (early stopping), `last` those after the last step.

*Same budget.* A soft target costs its references (K − 1 = 1 times the text an epoch, three epochs), one scoring (a third of an epoch) and
its own four epochs: 7⅓ passes over the text. SFT's longest run has 8 epochs, and all of its sweep comes on top of that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.recipes import Recipe, Size
from benchmarks.students import State
from timbre.inference.sampling import Controls

SEEDS = (1, 2, 3)
"""Each draws passages of its own, and the order in which they are learnt."""
STYLES = ("conversational", "literary", "instructions")
"""In the order in which they are run."""
CORPUS = {"conversational": "conversational", "literary": "literary", "instructions": "oratory"}
"""Mailing lists split by date, so that test documents were written after the others; Moby Dick; and speeches as answers to what asks for
them (`target.formats = instruction`): their human author is the one who answers."""

SAMPLERS: dict[str, Controls] = {
    "serving": Controls(top_p=0.95),
    "cooler": Controls(temperature=0.9),
    "min-p": Controls(min_p=0.05),
    "plain": Controls(),
    "cold": Controls(temperature=0.8),
    "narrow": Controls(top_p=0.9),
    "min-p-high": Controls(min_p=0.1),
    "recommended": Controls(temperature=0.2, top_p=0.9),
}
"""`serving` is the release's own; `recommended` is what the base model's card uses."""
SWEPT = ("serving", "cooler", "min-p")
SWEPT_LARGE = (*SWEPT, "plain", "cold", "narrow", "min-p-high")
TEMPERATURES = (0.9, 1.0, 1.1)
"""At which SFT's likelihood and calibration are read; all others are read at 1."""

_PLAIN = {"patience": 99, "replay_items": 0, "replay_weight": 0.0}
_SHORT, _BUDGET = 3, 8


def _recipe(name: str, why: str, objective: str = "sft", target: Mapping[str, Any] | None = None, **training: float) -> Recipe:
    return Recipe(name, why, objective, target=target or {}, training=_PLAIN | {"learning_rate": 1e-3, "epochs": _SHORT} | training)


@dataclass(frozen=True, eq=False)
class Arm:
    """A row of the table: how it is trained, with which weights and how it writes."""

    name: str
    title: str
    recipe: Recipe | None = None
    """None for the base."""
    state: State = "best"
    samplers: tuple[str, ...] = ("serving",)
    temperatures: tuple[float, ...] = (1.0,)
    asked: bool = False
    """Asked for varied writing, in words."""
    sequence: bool = False
    """Goes on at the sequence level, where that is admitted."""
    corpus: Mapping[str, Any] = field(default_factory=dict)
    """Of the release's configuration, as {"corpus.folds": 4}."""

    @property
    def folds(self) -> int:
        """K of its references."""
        return int(self.corpus.get("corpus.folds", 2))


def _soft(name: str, title: str, target: Mapping[str, Any] | None = None, objective: str = "forward_kl", **training: float) -> Arm:
    target = {"alpha": 0.75} | dict(target or {})
    return Arm(name, title, _recipe(name, title, objective, target, **({"epochs": 4} | training)), state="last")


def _sft(name: str, title: str, samplers: tuple[str, ...] = SWEPT, **training: float) -> Arm:
    return Arm(name, title, _recipe(name, title, **training), samplers=samplers, temperatures=TEMPERATURES)


DFT = _soft("dft", "DFT: α = .75 at 1e-3, four epochs, nucleus .95")
"""The setting that the pilot of little text chose on validation documents of one style, at one size; nothing was chosen anew here."""
SFT = (
    _sft("sft-high", "SFT at 1e-3, three epochs"),
    _sft("sft-budget", "SFT at 5e-4, eight epochs: all that the target costs", ("serving",), learning_rate=5e-4, epochs=_BUDGET),
)
SFT_LARGE = (
    *(_sft(f"sft-{rate:.0e}-{epochs}".replace("e-0", "e-"), f"SFT at {rate:g}, {epochs} epochs", SWEPT_LARGE,
           learning_rate=rate, epochs=epochs)
      for rate in (2e-4, 5e-4, 1e-3) for epochs in (_SHORT, _BUDGET)),
)  # fmt: skip
BASES = (
    Arm("base", "the base at its recommended sampler, and at the serving one", samplers=("recommended", "serving")),
    Arm("base-asked", "the base asked for varied writing", samplers=("recommended",), asked=True),
)
OTHERS = (
    Arm("smoothing", "label smoothing, ε = .02", _recipe("smoothing", "label smoothing", "label_smoothing", smoothing=0.02)),
    Arm("gem", "GEM, β = .7", _recipe("gem", "GEM", "gem", gem_beta=0.7)),
    Arm("resident-teacher", "resident teacher, α = .75", _recipe("resident-teacher", "the base as teacher", "resident_teacher",
        teacher_alpha=0.75)),
    Arm("dft-sequence", "DFT and sequence level", DFT.recipe, state="last", sequence=True),
)  # fmt: skip
ABLATIONS = (
    _soft("no-cross-fitting", "the base as the reference, nothing cross-fitted", {"reference_epochs": 0}),
    _soft("alpha-25", "α = .25", {"alpha": 0.25}),
    _soft("alpha-50", "α = .5", {"alpha": 0.5}),
    _soft("n-gram", "n-grams in the reference, fitted", {"ngram_weight": 0.3, "fit": ("ngram",)}),
    Arm("folds-4", "K = 4", DFT.recipe, state="last", corpus={"corpus.folds": 4}),
    Arm("folds-8", "K = 8", DFT.recipe, state="last", corpus={"corpus.folds": 8}),
    _soft("reverse", "reverse KL", objective="reverse_kl"),
    _soft("jsd", "JSD, β = .5", objective="jsd"),
    _soft("accuracy", "λ = .1 on the replay set", replay_items=2, replay_weight=0.1),
)
"""Each differs from `dft` in one thing; `dft-sequence` is the one of level."""
ARMS = {arm.name: arm for arm in (*BASES, DFT, *SFT, *OTHERS, *SFT_LARGE, *ABLATIONS)}

LITTLE = Size(
    "cpu", train_tokens=2_048, passage_tokens=256, top_k=64, admission_tokens=2_048, reference_epochs=3, epochs=4, learning_rate=5e-4,
    batch_tokens=512, validation_tokens=1_024, evaluate_every=4, likelihood_tokens=4_096, prompts=64, prompt_tokens=24, new_tokens=64,
)  # fmt: skip
LARGE = Size(
    "large", train_tokens=131_072, passage_tokens=256, top_k=64, admission_tokens=16_384, reference_epochs=3, epochs=4, learning_rate=5e-4,
    batch_tokens=2_048, validation_tokens=16_384, evaluate_every=64, likelihood_tokens=65_536, prompts=256, prompt_tokens=24,
    new_tokens=256,
)  # fmt: skip
SIZES = {size.name: size for size in (LITTLE, LARGE)}
PROBES = {"cpu": 45, "large": 180}
"""Pairs of true and false statements, and as many of groups of people."""
POOL = {"cpu": (48, 4), "large": (1_024, 4)}
"""Prompts of the pool of completions, and completions each: 12,288 tokens, and a million."""


@dataclass(frozen=True)
class Cell:
    """One figure of the proof."""

    arm: str
    style: str
    size: str
    seed: int
    """0 for the base, which nothing is trained for."""

    @property
    def name(self) -> str:
        return f"{self.style}-{self.size}-{self.seed}-{self.arm}"


def size_of(cell: Cell) -> Size:
    """The size, with passages put as the style wants them."""
    from dataclasses import replace

    formats = ("instruction",) if cell.style == "instructions" else ("continuation",)
    return replace(SIZES[cell.size], formats=formats)
