"""What is trained: arms, sizes and seeds, each fixed before a test document is read.

All arms of a size and seed see the same passages and take steps of as many tokens; none has replay items, so that they differ in
the objective alone. Each epochs' run is one half cosine, with a look at 1,536 validation tokens an epoch. `best` is the adapter of the
look that found those likeliest (early stopping), `last` the one after the last step.
"""

from dataclasses import dataclass

from benchmarks.recipes import Recipe, Size

EPOCHS, BATCH, PASSAGE, RATE = 10, 512, 256, 5e-4

SIZES = (4_096, 2_048, 8_192)
"""Training tokens, in the order in which they are run."""
SEEDS = (1, 2, 3)
"""Each draws passages of its own, and the order in which they are learnt."""
PILOT_SEED = 9
STYLE, SECOND_STYLE, SECOND_SIZE = "literary", "conversational", 4_096

_PLAIN = {"patience": 99, "replay_items": 0, "replay_weight": 0.0}
"""No early end: the adapter of the best look is kept anyhow, and the curve is wanted to its end."""


def _arm(name: str, why: str, objective: str = "sft", **training: float) -> Recipe:
    return Recipe(name, why, objective, training=_PLAIN | training, top_p=0.95)


SHORT = {"epochs": 3}
SFT_RATES = (
    _arm("sft-5e-4", "cross-entropy at a rate of 5e-4, three epochs", **SHORT),
    _arm("sft-1e-3", "cross-entropy at 1e-3, three epochs", **SHORT, learning_rate=1e-3),
)
SFT_LONG = (
    _arm("sft-1e-3-long", "cross-entropy at 1e-3, ten epochs", learning_rate=1e-3),
    _arm("sft-5e-4-long", "cross-entropy at 5e-4, ten epochs"),
    _arm("sft-2e-4-long", "cross-entropy at 2e-4, ten epochs", learning_rate=2e-4),
)
REGULARISERS = (
    _arm("smoothing", "label smoothing, ε = .02, at 1e-3, three epochs", "label_smoothing", smoothing=0.02, **SHORT, learning_rate=1e-3),
    _arm("decay", "weight decay of 5, at 1e-3, three epochs", weight_decay=5.0, **SHORT, learning_rate=1e-3),
)

BASELINES = (
    _arm("gem", "GEM, β = .7, at 1e-3, three epochs", "gem", **SHORT, learning_rate=1e-3),
    _arm(
        "resident-teacher",
        "the base as the teacher, α = .75, at 1e-3, three epochs",
        "resident_teacher",
        teacher_alpha=0.75,
        **SHORT,
        learning_rate=1e-3,
    ),
)


def _soft(name: str, why: str, alpha: float, **training: float | str) -> Recipe:
    return Recipe(name, why, target={"alpha": alpha}, training=_PLAIN | training, top_p=0.95)


SOFT = (
    _soft("dft-75", "α = .75 at 5e-4, four epochs", 0.75, epochs=4),
    _soft("dft-75-1e-3", "α = .75 at 1e-3, four epochs", 0.75, epochs=4, learning_rate=1e-3),
    _soft("dft-50", "α = .5 at 5e-4, four epochs", 0.5, epochs=4),
    _soft("dft-75-renorm", "α = .75, the tail left out, at 5e-4, four epochs", 0.75, epochs=4, tail="renorm"),
)
SOFT_LONG = (
    _soft("dft-75-1e-3-long", "α = .75 at 1e-3, ten epochs", 0.75, learning_rate=1e-3),
    _soft("dft-75-long", "α = .75 at 5e-4, ten epochs", 0.75),
    _soft("dft-50-long", "α = .5 at 5e-4, ten epochs", 0.5),
)


@dataclass(frozen=True)
class Cell:
    """One figure of the trial: an arm, how much text, which seed, whose style."""

    arm: str
    tokens: int
    seed: int
    style: str = STYLE

    @property
    def name(self) -> str:
        return f"{self.style}-{self.tokens}-{self.seed}-{self.arm}" if self.tokens else f"{self.style}-{self.arm}"


def size(tokens: int) -> Size:
    """The trial at so many training tokens."""
    return Size(
        f"little-{tokens}", train_tokens=tokens, passage_tokens=PASSAGE, top_k=64, admission_tokens=2_048, reference_epochs=3,
        epochs=EPOCHS, learning_rate=RATE, batch_tokens=BATCH, validation_tokens=1_536, evaluate_every=max(tokens // BATCH, 1),
        likelihood_tokens=6_144, prompts=128, prompt_tokens=24, new_tokens=96,
    )  # fmt: skip
