"""Is the reference worth learning from? Decided on validation documents, before any student is trained.

Admitted is a reference whose held-out log score beats that of the student's own un-adapted base: paired, clustered by
document, lower one-sided 95% bound above 0. So it is whatever the reference is made of. Where it is another model, adapted or
not, what counts is that the student can learn from it; what its adaptation is worth stands beside. The other figures are
there to be read: how wide the distributions are, how much of them is stored, whether they are calibrated, how often they
disagree with what was written, and how narrow their material is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.config import Frozen
from timbre.corpus.passages import Passage
from timbre.statistics import clustered_bound
from timbre.targets.fitting import Fit, Gain, known
from timbre.targets.scoring import PassageScores

BINS = 15
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class TargetRefused(ValueError):
    """The reference is not better than the student's base: the target is not built, an older one stays."""


class Admission(Frozen):
    """`admission.json`."""

    admitted: bool
    log_score_gain: Gain
    """Of the reference over the student's un-adapted base."""
    adaptation_gain: Gain | None = None
    """Of the reference over its own un-adapted model, where that is another one than the student's base and was adapted."""
    base_nll: float
    reference_nll: float
    effective_support_mean: float
    effective_support_quantiles: dict[str, float]
    captured_mass: float
    expected_calibration_error: float
    argmax_differs_share: float
    largest_author: str
    largest_author_share: float
    largest_source: str
    largest_source_share: float
    fit: Fit | None = None
    """What was fitted of the mixture. The figures above are then of numbers fitted without the documents they are measured on."""

    def to_json(self) -> dict[str, Any]:
        """`admission.json`: without the fit where nothing was fitted, and the adaptation where nothing else was adapted."""
        return self.model_dump(mode="json", exclude={name for name in ("fit", "adaptation_gain") if getattr(self, name) is None})

    def sentence(self) -> str:
        """The decision in words."""
        gain = self.log_score_gain
        low = "unknown with a single document" if gain.low is None else f"{gain.low:+.4f}"
        return (
            f"on {gain.tokens} unseen tokens of {gain.documents} documents the reference scores {gain.mean:+.4f} nats a token "
            f"against the base model (95% lower bound {low}; it must be above 0)"
        )


def judge(
    passages: Sequence[Passage],
    base: Sequence[PassageScores],
    folds: Sequence[Sequence[PassageScores]],
    learnt: Sequence[Passage],
    source_of: Mapping[str, str],
    fit: Fit | None = None,
    own: Sequence[PassageScores] | None = None,
) -> Admission:
    """Decide from the scores of validation passages.

    Args:
        passages: validation passages of two tokens and more.
        base: their scores under the student's un-adapted base, in the same order.
        folds: their scores under each fold's adapter; the reference distribution's log score is the mean over these.
        learnt: the training passages, for narrowness.
        source_of: source of each training document.
        fit: what was fitted, to be kept beside the figures.
        own: scores under the reference's own un-adapted model, where that is another one and was adapted.
    """
    reference_nll = [float(np.mean([-scores[i].log_probs_N.mean() for scores in folds])) for i in range(len(passages))]
    base_nll = [float(-scores.log_probs_N.mean()) for scores in base]
    weights = [len(scores) for scores in base]
    gain = _gain(passages, base_nll, reference_nll, weights)
    everything = [scores for fold in folds for scores in fold]
    support = np.exp(_joined(scores.entropy_N for scores in everything))
    correct = _joined(scores.best_ids_N == scores.observed_N for scores in everything)
    author, author_share = _largest((passage.author, len(passage.token_ids)) for passage in learnt)
    source, source_share = _largest((source_of[passage.doc_id], len(passage.token_ids)) for passage in learnt)
    return Admission(
        admitted=gain.low is not None and gain.low > 0,
        log_score_gain=gain,
        adaptation_gain=None if own is None else _gain(passages, [float(-one.log_probs_N.mean()) for one in own], reference_nll, weights),
        base_nll=float(np.average(base_nll, weights=weights)),
        reference_nll=float(np.average(reference_nll, weights=weights)),
        effective_support_mean=float(support.mean()),
        effective_support_quantiles={f"{q:g}": float(np.quantile(support, q)) for q in _QUANTILES},
        captured_mass=float(1 - _joined(scores.distributions.tail_N for scores in everything).mean()),
        expected_calibration_error=calibration_error(_joined(scores.best_probs_N for scores in everything), correct),
        argmax_differs_share=float(1 - correct.mean()),
        largest_author=author, largest_author_share=author_share, largest_source=source, largest_source_share=source_share, fit=fit,
    )  # fmt: skip


def _gain(passages: Sequence[Passage], from_nll: Sequence[float], to_nll: Sequence[float], weights: Sequence[int]) -> Gain:
    bound = clustered_bound(
        [one - other for one, other in zip(from_nll, to_nll, strict=True)], [passage.doc_id for passage in passages], weights=weights
    )
    return Gain(mean=bound.mean, low=known(bound.low), high=known(bound.high), documents=bound.clusters, tokens=sum(weights))


def calibration_error(confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.float64]) -> float:
    """Expected calibration error of the likeliest token over 15 equal bins of confidence (Guo et al. 2017, eq. 3)."""
    gap = np.bincount(confidence_bins(confidence), confidence - correct, BINS)
    return float(np.abs(gap).sum() / len(confidence))


def confidence_bins(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Number of the bin of each confidence."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _joined(arrays: Iterable[npt.NDArray[np.generic]]) -> npt.NDArray[np.float64]:
    return np.concatenate(list(arrays)).astype(np.float64)


def _largest(weighted: Iterable[tuple[str, int]]) -> tuple[str, float]:
    totals: Counter[str] = Counter()
    for name, tokens in weighted:
        totals[name] += tokens
    name, tokens = min(totals.items(), key=lambda item: (-item[1], item[0]))
    return name, tokens / totals.total()
