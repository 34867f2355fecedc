"""Does weighing bring completions nearer to human text? Decided before anything is trained, by witnesses that the weights know nothing of.

Weights of a prompt's completions come from a critic that never saw its document. Of each prompt, plain completions and completions drawn
by weight are set against the human continuation by fresh classifiers (`timbre.metrics.told_apart`), of families that the features do not
contain: n-grams of letters, and words. The gain is the area of the plain ones less that of the weighted ones, a paired mean by document.
Admitted is a target with a lower one-sided 95% bound above 0 by both families, and an effective sample size of .4 and more.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.config import Frozen
from timbre.metrics.told_apart import Side, told_by
from timbre.progress import SILENT, Progress
from timbre.sequence.weights import Floats, Weighted, resampled
from timbre.statistics import clustered_bound

WITNESSES = ("characters", "words")
"""Families that φ does not contain."""
LEAST_ESS = 0.4
ROUNDS = 4
"""Draws a prompt that the areas are averaged over, at most as many as there are completions."""


class Witness(Frozen):
    """What one family of classifiers says."""

    family: str
    plain_auc: float
    weighted_auc: float
    gain: float
    """How much less the weighted completions are told apart."""
    low: float | None
    """One-sided 95%, by document; None where it has none."""
    high: float | None


class SequenceAdmission(Frozen):
    """`admission.json` of a sequence-level target."""

    admitted: bool
    why: str
    """In words, whatever was decided."""
    ess: float | None = None
    """Effective sample size over the number of completions."""
    expected_ess: float | None = None
    """What the critic's area alone lets expect: exp(−d′²)."""
    critic_auc: float | None = None
    """How well the critic tells human text from completions, on documents that it did not see; it falls as p₀ comes nearer."""
    witnesses: tuple[Witness, ...] = ()
    prompts: int = 0
    documents: int = 0
    completions: int = 0


def refused(why: str) -> SequenceAdmission:
    """Without figures."""
    return SequenceAdmission(admitted=False, why=f"refused: {why}")


def judge(
    completions: Sequence[Sequence[str]], human: Sequence[str], documents: Sequence[str], weighted: Weighted, seed: int,
    progress: Progress = SILENT,
) -> SequenceAdmission:  # fmt: skip
    """Decide from C prompts' completions (C×N texts), their human continuations and documents, and cross-fitted weights."""
    size, rounds = len(completions[0]), min(ROUNDS, len(completions[0]))
    rng = np.random.default_rng(seed)
    plain_CR = rng.permuted(np.tile(np.arange(size), (len(completions), 1)), axis=1)[:, :rounds]
    drawn_CR = resampled(weighted.weights_CN, rounds, seed)
    names = progress.track(WITNESSES, "asking witnesses")
    witnesses = tuple(_witness(name, completions, human, documents, plain_CR, drawn_CR, seed) for name in names)
    ess = weighted.ess
    return SequenceAdmission(
        admitted=ess >= LEAST_ESS and all(one.low is not None and one.low > 0 for one in witnesses), why=_why(ess, witnesses), ess=ess,
        expected_ess=weighted.expected_ess, critic_auc=weighted.critic_auc, witnesses=witnesses, prompts=len(completions),
        documents=len(set(documents)), completions=size * len(completions),
    )  # fmt: skip


def _witness(
    name: str, completions: Sequence[Sequence[str]], human: Sequence[str], documents: Sequence[str],
    plain_CR: npt.NDArray[np.int64], drawn_CR: npt.NDArray[np.int64], seed: int,
) -> Witness:  # fmt: skip
    plain_C, weighted_C = (contributions(name, completions, human, documents, places, seed) for places in (plain_CR, drawn_CR))
    bound = clustered_bound(plain_C - weighted_C, list(documents))
    return Witness(
        family=name, plain_auc=float(plain_C.mean()), weighted_auc=float(weighted_C.mean()), gain=bound.mean,
        low=_finite(bound.low), high=_finite(bound.high),
    )  # fmt: skip


def contributions(
    name: str,
    completions: Sequence[Sequence[str]],
    human: Sequence[str],
    documents: Sequence[str],
    places_CR: npt.NDArray[np.int64],
    seed: int,
) -> Floats:
    """Each prompt's share in the area, mean over R choices of one completion a prompt; their mean is the mean area."""
    shares = []
    theirs = Side(human, documents)
    for places_C in places_CR.T:
        own = Side([of_one[place] for of_one, place in zip(completions, places_C, strict=True)], documents)
        shares.append(told_by(name, own, theirs, seed).contributions)
    return np.asarray(np.mean(shares, axis=0), np.float64)


def _why(ess: float, witnesses: Sequence[Witness]) -> str:
    reasons = []
    if ess < LEAST_ESS:
        reasons.append(f"the effective sample size is {ess:.2f} of the completions and {LEAST_ESS} is the least")
    for one in witnesses:
        if one.low is None or one.low <= 0:
            low = "unknown" if one.low is None else f"{one.low:+.3f}"
            reasons.append(
                f"by {one.family} weighted completions are told apart with an area of {one.weighted_auc:.3f} and plain ones with "
                f"{one.plain_auc:.3f} (gain {one.gain:+.3f}, lower bound {low}; it must be above 0)"
            )
    if reasons:
        return f"refused: {'; '.join(reasons)}"
    gains = " and ".join(f"{one.gain:.3f} by {one.family} (lower bound {one.low:+.3f})" for one in witnesses)
    return f"admitted: told apart less by {gains}, effective sample size {ess:.2f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_row(admission: SequenceAdmission) -> dict[str, Any]:
    """As `--json` and tables have it."""
    return admission.model_dump(mode="json")
