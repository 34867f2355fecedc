"""Style Diversity Score, 0–100: how much of the way from machine text to human text, by the metrics that can tell.

For each metric, H and σ are its value and noise in human halves of the candidate's count, D the value of an anchor: the
untuned base model decoding greedily, or sampling at temperature 2.

    excess(m) = max(0, |m − H| − 1.64σ)        s = 100 · clip(1 − excess(m) / (|D − H| − 1.64σ), 0, 1)

The anchor is the one on the candidate's side of H, the nearer of two; where none stands there, the other side's is
mirrored. An anchor within 4σ of H cannot tell machine from human by this metric and is not used; a metric without a
usable anchor is dropped, and said so. A number a group (lexical, repetition, distribution), then their geometric mean, so
that no strength makes up for a group that fails.

The number of a group is the mean of its metrics. Half of the metrics cannot see the order of words, so that mean may be kind to
shuffled text; calibration tries the means first, and where they fail it, the mean of the worse half of each group. Which of
the two was adopted stands in the calibration and beside every score.

Beside it, *gap closed* a metric: 1 − excess(m)/excess(m_base); 0 = the base, 1 = inside the human band, negative = worse.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from timbre.metrics.catalogue import GROUPS, METRIC
from timbre.metrics.measuring import BAND, Figure, Human, Reference, measure

TELLING = 4.0
"""σ that an anchor must be away from human text."""
GREEDY, HOT = "greedy", "temperature 2"
Definition = Literal["group means", "worse half of each group"]
DEFINITIONS: tuple[Definition, ...] = ("group means", "worse half of each group")
"""In the order in which calibration tries them."""
Anchors = Mapping[str, Mapping[str, float | None]]
"""Anchor -> metric -> value."""


@dataclass(frozen=True)
class MetricScore:
    """One metric's part of the score. `score` is None where the metric was dropped; `why` then says so."""

    name: str
    group: str
    score: float | None
    anchor: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class StyleScore:
    """The score, its two-sided 95% interval, and what it is made of. `value` is None where a whole group was dropped."""

    value: float | None
    low: float | None
    high: float | None
    groups: dict[str, float]
    metrics: tuple[MetricScore, ...]

    @property
    def dropped(self) -> dict[str, str]:
        return {metric.name: metric.why for metric in self.metrics if metric.why is not None}


def excess(value: float, human: Human) -> float:
    """How far outside the human band; 0 inside it."""
    return max(0.0, abs(value - human.mean) - BAND * human.sigma)


def gap_closed(candidate: Figure, base: Figure) -> float | None:
    """Share of the base's distance to the human band that is gone; None where the base is inside it or has no value."""
    if base.value is None or not (before := excess(base.value, base.human)):
        return None
    return 1 - excess(candidate.value, candidate.human) / before if candidate.value is not None else None


def anchor_values(measured: Mapping[str, Mapping[str, Figure]]) -> dict[str, dict[str, float | None]]:
    """The anchors' values from their figures, measured against the same reference as the candidate."""
    return {name: {metric: figure.value for metric, figure in figures.items()} for name, figures in measured.items()}


def score_and_gaps(
    figures: Mapping[str, Figure], reference: Reference, texts: Mapping[str, Sequence[str]], definition: Definition
) -> tuple[StyleScore, dict[str, float | None]]:
    """Score of a candidate, and gap closed a scored metric.

    Args:
        figures: of the candidate, against `reference`.
        texts: of the untuned base: anchor -> texts, and under "base" those at its own sampler; `reference.count` are used.
    """
    measured = {name: measure(of[: reference.count], reference) for name, of in texts.items()}
    base = measured.pop("base")
    gaps = {name: gap_closed(figure, base[name]) for name, figure in figures.items() if METRIC[name].group in GROUPS}
    return style_diversity(figures, anchor_values(measured), definition), gaps


def style_diversity(figures: Mapping[str, Figure], anchors: Anchors, definition: Definition = "group means") -> StyleScore:
    """Score of a candidate measured by `measure`, with anchors measured against the same reference.

    A metric that the candidate's texts do not give (no sentence, no word) scores 0, never 100.
    """
    scored = [figure for figure in figures.values() if METRIC[figure.name].group in GROUPS]
    metrics = tuple(_score(figure.name, figure.value, figure.human, anchors) for figure in scored)
    kept = {metric.name: metric.score for metric in metrics if metric.score is not None}
    groups = _group_numbers(kept, definition)
    value = _joined(groups)
    low, high = _interval(scored, anchors, kept.keys(), definition) if value is not None else (None, None)
    return StyleScore(value, low, high, groups, metrics)


def _score(name: str, value: float | None, human: Human, anchors: Anchors) -> MetricScore:
    group = METRIC[name].group
    places = {anchor: values.get(name) for anchor, values in anchors.items()}
    usable = {
        anchor: place - human.mean
        for anchor, place in places.items()
        if place is not None and abs(place - human.mean) >= TELLING * human.sigma and abs(place - human.mean) > 1e-12
    }
    if not usable:
        return MetricScore(name, group, None, why=f"no anchor is {TELLING:g}σ away from human text")
    if value is None:
        return MetricScore(name, group, 0.0)
    side = math.copysign(1.0, value - human.mean)
    ours = {anchor: abs(gap) for anchor, gap in usable.items() if gap * side > 0}
    there = ours or {anchor: abs(gap) for anchor, gap in usable.items()}
    anchor = min(there, key=lambda name: (there[name], name))
    part = excess(value, human) / (there[anchor] - BAND * human.sigma)
    return MetricScore(name, group, 100 * min(1.0, max(0.0, 1 - part)), anchor if ours else f"{anchor}, mirrored")


def _group_numbers(scores: Mapping[str, float], definition: Definition) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for group in GROUPS:
        members = sorted(score for name, score in scores.items() if METRIC[name].group == group)
        if definition == "worse half of each group":
            members = members[: math.ceil(len(members) / 2)]
        if members:
            numbers[group] = float(np.mean(members))
    return numbers


def _joined(groups: Mapping[str, float]) -> float | None:
    if len(groups) < len(GROUPS):
        return None
    return float(np.prod([groups[group] for group in GROUPS]) ** (1 / len(GROUPS)))


def _interval(figures: Sequence[Figure], anchors: Anchors, kept: Collection[str], definition: Definition) -> tuple[float, float]:
    """Percentiles of the score over the replicates, which are the same texts for every metric."""
    scores = []
    for row in range(len(figures[0].replicates)):
        parts = {}
        for figure in figures:
            if figure.name in kept:
                one = float(figure.replicates[row])
                parts[figure.name] = _score(figure.name, None if math.isnan(one) else one, figure.human, anchors).score or 0.0
        scores.append(_joined(_group_numbers(parts, definition)) or 0.0)
    return float(np.quantile(scores, 0.025)), float(np.quantile(scores, 0.975))
