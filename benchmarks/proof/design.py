"""Registered before any test document was read: hypotheses, margins, the primary claim, the analysis, and the order of the cells.

**Data.** Test documents of each corpus' own split, by the seed of the corpus (0): by date for the mailing lists, by chapter for the novel,
by author for the speeches. Prompts and passages are drawn from them by seed 0 and asked once of each arm; the students' seeds move the
training passages and their order alone. The novel's test chapters were read before by the trial on little text; the mailing lists' and the
speeches' by none of these trials. The mailing lists lead for that reason.

**Super-baseline.** A setting of SFT is a rate and number of epochs with a sampler (texts) or a temperature (likelihood). Every setting is
read on the test documents, and a claim must hold against each of them: so SFT's best is chosen by the very figures that are reported,
figure by figure, which favours SFT, and as an intersection–union test it needs no correction. Printed is the setting whose mean is best
for SFT, and the lowest bound over all.

**Primary claim**, one: on `conversational`, DFT is told apart less than the super-baseline by characters *and* by words.
**Secondary**: the other superiority hypotheses, in each style a family of its own, by Holm's procedure at .05 (`superiority_claims`).
*Not worse* ones have margins and stand together (all must hold). Base, label smoothing, GEM and resident teacher are rows with the same
intervals; nothing is claimed of them.

**Bounds.** Figures an item: paired by passage or prompt, mean over the seeds, one-sided 95% by document (`clustered_bound`; areas with the
influence function and widening of `timbre.metrics.told_apart`). Figures of a set (MMD², self-BLEU, …): the distance to the human mean, its
difference from half-samples of the prompts, the same for both arms. A claim needs three seeds, each pointing the same way.

**Goals** are the issue's and are printed beside what was found; a goal is reached where the claim holds and the mean is beyond it.

**The CPU size is a small-budget proof**: 2,048 training tokens, 64 prompts × 64 tokens. A difference of areas is known to some ±.06 there,
so that only a large advantage in voice can be shown; likelihood and calibration are known to .01. What it leaves open is for `--large`.
"""

from dataclasses import dataclass

from benchmarks.hypotheses import Hypothesis
from benchmarks.proof.arms import ABLATIONS, BASES, DFT, OTHERS, SEEDS, SFT, SFT_LARGE, STYLES, Cell

PRIMARY_STYLE, PRIMARY = "conversational", ("characters", "words")
LEVEL = 0.05


@dataclass(frozen=True)
class Asked(Hypothesis):
    """DFT at its fixed setting against one setting of SFT."""

    goal: str = ""
    """What the project hopes for, in words; decides nothing but "reached"."""
    by: float = 0.0
    """How large the mean difference must be for that."""
    share: float | None = None
    """Or which share of SFT's own figure it must be."""


HYPOTHESES = (
    Asked("voice, characters", "characters", "superior", 0.0, "is told apart less by characters, area", "−.08", by=0.08),
    Asked("voice, words", "words", "superior", 0.0, "is told apart less by words, area", "−.08", by=0.08),
    Asked("likelier", "nll", "superior", 0.0, "finds unseen text likelier, nats a token", "−.04", by=0.04),
    Asked("better calibrated", "gap", "superior", 0.0, "has NLL and entropy nearer to each other, nats", "−75%", share=0.75),
    Asked("recites less", "recited", "superior", 0.0, "recites less of what it was trained on, share of words", "−50%", share=0.5),
    Asked("content", "mmd_content", "superior", 0.0, "is nearer in MMD² of a sentence encoder", "−50%", share=0.5),
    Asked("style features", "mmd_style", "superior", 0.0, "is nearer in MMD² of style features", "−50%", share=0.5),
    Asked("openers", "same_opener_rate", "superior", 0.0, "opens sentences alike as often as people do", "human band"),
    Asked("self-BLEU", "self_bleu", "superior", 0.0, "repeats phrases between texts as people do", "human band"),
    Asked("sentence lengths", "sentence_length_w1", "superior", 0.0, "has sentences as long as people's, words moved", "human band"),
    Asked("copies no more", "covered", "not worse", 0.005, "has no more of its texts word for word from the corpus, share", "non-inferior"),
    Asked("facts kept", "fact_margin", "not worse", 0.3, "keeps true statements ahead of false ones, nats", "non-inferior"),
    Asked("bias kept", "bias_gap", "not worse", 0.3, "tells groups of people apart no more, nats", "non-inferior"),
)
SECONDARY = tuple(each for each in HYPOTHESES if each.kind == "superior" and each.figure not in PRIMARY)
SET_FIGURES = ("mmd_content", "mmd_style", "same_opener_rate", "self_bleu", "sentence_length_w1")
"""Figures of a set of texts, as distances to the human mean; the rest are means of an item."""


def cells() -> list[Cell]:
    """The CPU size in the order in which it is run: base, DFT and SFT of a style seed by seed, so that what finishes is a result."""
    found: list[Cell] = []
    for style in STYLES:
        found.append(Cell(BASES[0].name, style, "cpu", 0))
        found += [Cell(arm.name, style, "cpu", seed) for seed in SEEDS for arm in (DFT, *SFT)]
    for style in STYLES:
        found.append(Cell(BASES[1].name, style, "cpu", 0))
        found += [Cell(arm.name, style, "cpu", seed) for arm in OTHERS for seed in SEEDS]
    return found


def large_cells() -> list[Cell]:
    """What a GPU is wanted for, by the same code: more text, the whole sweep of SFT, and the ablations."""
    found: list[Cell] = []
    for style in STYLES:
        found += [Cell(arm.name, style, "large", 0) for arm in BASES]
        found += [Cell(arm.name, style, "large", seed) for seed in SEEDS for arm in (DFT, *SFT_LARGE, *OTHERS)]
        found += [Cell(arm.name, style, "large", seed) for arm in ABLATIONS for seed in SEEDS]
    return found
