"""Hypotheses of a trial, and what paired differences say of them: better, not worse, worse, open, or too few seeds to claim anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timbre.statistics import Interval, clustered_bound

Floats = NDArray[np.float64]
Kind = Literal["superior", "not worse"]
LEAST_SEEDS = 3
"""Training runs below which nothing is claimed, whatever the bound: it covers documents, not the order and choice of passages."""


@dataclass(frozen=True)
class Hypothesis:
    """One arm against a rival; a positive difference is the arm's."""

    name: str
    figure: str
    kind: Kind
    margin: float
    """A superior one must exceed 0; one that is not worse must exceed −margin."""
    sentence: str


@dataclass(frozen=True)
class Difference:
    """What an arm has over a rival: the mean over seeds with one-sided 95% bounds by document, and that of every seed."""

    hypothesis: Hypothesis
    rival: str
    interval: Interval
    seeds: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """`better`, `not worse` (than the margin, where one was set), `worse`, `open`, or `too few seeds`; better and worse need
        every seed to point the same way."""
        low, high = self.interval.low, self.interval.high
        if len(self.seeds) < LEAST_SEEDS:
            return "too few seeds"
        if low > 0 and min(self.seeds) > 0:
            return "better"
        if self.hypothesis.kind == "not worse" and low > -self.hypothesis.margin:
            return "not worse"
        return "worse" if high < 0 and max(self.seeds) < 0 else "open"

    @property
    def holds(self) -> bool:
        """Whether the hypothesis does."""
        return self.verdict in (("better",) if self.hypothesis.kind == "superior" else ("better", "not worse"))

    def sentence(self) -> str:
        """As a table's cell has it."""
        low, high = (f"{value:+.3f}" if np.isfinite(value) else "unknown" for value in (self.interval.low, self.interval.high))
        seeds = " ".join(f"{value:+.3f}" for value in self.seeds)
        return f"{self.verdict}: {self.interval.mean:+.3f} [{low}, {high}]; seeds {seeds}"


@dataclass(frozen=True)
class Paired:
    """Differences an item, positive where the arm is better; the document of each, and weights."""

    values: Floats
    clusters: Sequence[str]
    weights: Floats | None = None

    @property
    def mean(self) -> float:
        return float(np.average(self.values, weights=self.weights))


def over_seeds(pairs: Sequence[Paired], confidence: float = 0.95) -> Interval:
    """The mean over seeds, bounded by document: seeds that were read on the same items are averaged item by item, others put together."""
    first = pairs[0]
    if all(list(pair.clusters) == list(first.clusters) for pair in pairs):
        return clustered_bound(np.mean([pair.values for pair in pairs], axis=0), first.clusters, confidence, weights=first.weights)
    return clustered_bound(np.concatenate([pair.values for pair in pairs]), [each for pair in pairs for each in pair.clusters], confidence)


def floats(values: Sequence[float]) -> Floats:
    """As an array."""
    return np.asarray(values, float)


def nll_an_item(read: Mapping[str, Any], tokens: Floats) -> Floats:
    """Of each passage, nats a token."""
    return np.asarray(floats(read["nll"]) / tokens, float)


def gap_an_item(read: Mapping[str, Any], tokens: Floats) -> Floats:
    """Of each passage, nats a token: NLL less entropy with the sign of the whole, so that the mean is its size."""
    gap = (floats(read["nll"]) - floats(read["entropy"])) / tokens
    return np.asarray(np.sign(np.average(gap, weights=tokens)) * gap, float)
