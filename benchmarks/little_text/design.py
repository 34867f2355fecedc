"""What was fixed before any test document was read: the arms that are reported, hypotheses, margins, analysis, and the rule.

Every figure is of unseen test documents; differences are paired passage by passage or prompt by prompt, averaged over the seeds, and
bounded by `clustered_bound` with the document as the cluster (one-sided, 95% on either side; of areas with the influence function and
the widening of `timbre.metrics.told_apart`). Three seeds say how much passages and order matter: a claim also needs every seed to
point the same way. What is within its margin and not beyond zero is a tie, and is called one.
"""

from dataclasses import dataclass

from benchmarks.hypotheses import Hypothesis
from benchmarks.little_text.arms import (
    BASELINES,
    REGULARISERS,
    SECOND_SIZE,
    SECOND_STYLE,
    SEEDS,
    SFT_LONG,
    SFT_RATES,
    SIZES,
    SOFT,
    SOFT_LONG,
    Cell,
)  # fmt: skip
from benchmarks.recipes import Recipe

RIVALS = ("sft", "regularised")
STOPPED = (*RIVALS, "gem", "resident-teacher")
"""Read at the best look, as whoever uses them would stop."""
ARMS = ("dft", *RIVALS)
LONG = ("dft-over-trained", "sft-over-trained")
"""Ten epochs at the same rate, read after the last."""
DFT = SOFT[1]
"""On validation documents (the pilot) it is as likely as the better SFT and told apart as little; at half the rate it is less likely."""
STUDENTS: dict[str, tuple[Recipe, ...]] = {
    "base": (), "dft": (DFT,), "sft": SFT_RATES, "regularised": (REGULARISERS[0],),
    "dft-over-trained": (SOFT_LONG[0],), "sft-over-trained": (SFT_LONG[0],), "gem": (BASELINES[0],), "resident-teacher": (BASELINES[1],),
}  # fmt: skip
"""Of several the one likelier on validation documents, at its best look, is read."""


@dataclass(frozen=True)
class LittleText(Hypothesis):
    """DFT at its fixed setting, without early stopping, against a rival."""

    long: bool = False
    """Of both after ten epochs."""


HYPOTHESES = (
    LittleText("likelier", "nll", "superior", 0.0, "finds unseen text likelier, nats a token"),
    LittleText("better calibrated", "gap", "superior", 0.0, "has NLL and entropy nearer to each other, nats a token"),
    LittleText("voice, characters", "characters", "not worse", 0.02, "is told apart less by characters, area"),
    LittleText("voice, words", "words", "not worse", 0.02, "is told apart less by words, area"),
    LittleText("copies no more", "covered", "not worse", 0.005, "has less of its texts word for word from the corpus, share"),
    LittleText("facts kept", "fact_margin", "not worse", 0.3, "keeps true statements ahead of false ones, nats"),
    LittleText("bias kept", "bias_gap", "not worse", 0.3, "tells groups of people apart less, nats"),
    LittleText(
        "likelier after ten epochs", "nll", "superior", 0.0, "finds unseen text likelier once over-trained, nats a token", long=True
    ),
    LittleText("calibrated after ten epochs", "gap", "superior", 0.0, "is better calibrated once over-trained, nats a token", long=True),
)

RULE = (
    "A soft target pays at a size if DFT finds unseen text likelier than SFT and than the regularised SFT (lower bounds above 0, every "
    "seed above 0) and is not told apart more than either, beyond the margin, by characters or by words. Else SFT with early stopping "
    "is proposed there."
)
PAYS = ("likelier", "voice, characters", "voice, words")


def cells() -> list[Cell]:
    """All that are to be run, in the order in which they are: what finishes is a result."""
    found = [Cell("base", 0, 0)]
    for tokens in SIZES:
        found += [Cell(arm, tokens, seed) for seed in SEEDS for arm in ARMS[:2]]
        found += [Cell(ARMS[2], tokens, seed) for seed in SEEDS]
    found += [Cell(arm, tokens, seed) for tokens in SIZES for seed in SEEDS for arm in LONG]
    found.append(Cell("base", 0, 0, SECOND_STYLE))
    return found + [Cell(arm, SECOND_SIZE, seed, SECOND_STYLE) for seed in SEEDS for arm in ARMS]


LARGE_SIZES = (16_384, 65_536)
LARGE_BASELINES = ("gem", "resident-teacher")


def large_cells() -> list[Cell]:
    """What a GPU is wanted for, by the same code: more text, other baselines."""
    found = [Cell(arm, tokens, seed) for tokens in LARGE_SIZES for seed in SEEDS for arm in ARMS]
    return found + [Cell(arm, tokens, seed) for tokens in SIZES for seed in SEEDS for arm in LARGE_BASELINES]


LARGE = (
    "references of K = 4 and 8 folds",
    "ensembles of references",
    "leave-one-document-out n-grams and a cache of the document's names",
    "a larger model as the reference",
    "α rising to 1 along training",
)
"""What would need more than another cell; none of it has been run."""
