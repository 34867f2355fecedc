"""Generated texts beside human ones: every metric with its human value, the noise of human halves, and an interval.

The human side is measured once (`Reference`) and may serve any number of candidates; the candidate's side is measured at
the same count of texts. In each of 200 random splits the human texts fall into halves A and B of `count` texts. H and σ
of a metric are mean and standard deviation over the splits, of A, or from A to B for a distance. A candidate stands in the
place of A. Whole documents go to one half or the other: passages of one chapter share its subject, and halves that
shared every chapter would be nearer to each other than any new text can be to them. σ of figures of one set is widened by
√((1 + f)/(1 − f)), f = count/human texts: halves drawn without replacement scatter less (1 − f) than fresh texts do around a
pool that is itself a sample (1 + f). On 80-word passages of one novel, 16 against 32, the band (mean ± 1.64σ) without it held
58–75% of fresh human sets, and holds 87–95% with it; for distances, where both halves move, the plain one holds 95% (unigram
and bigram L2, W1) and 73% (JSD).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from timbre.metrics.catalogue import METRIC, METRICS, OPTIONAL, Bandwidths, Measures, Ruler, TextFeatures
from timbre.metrics.encoder import Encoder
from timbre.statistics import Interval, bootstrap_interval, half_sample_interval, half_samples, pseudo_values
from timbre.statistics.interval import cluster_index

SPLITS = 200
BAND = 1.64
_SUBSETS = 40
"""Random subsets of `count` texts that a figure of one set is averaged over where a candidate has more texts than that."""
_HALVES = 100
LEAST = 4


@dataclass(frozen=True)
class Human:
    """What human text gives for one metric."""

    mean: float
    sigma: float
    """Noise of a fresh set of `count` human texts."""
    splits: np.ndarray
    """The metric in every split, NaN where it has none."""

    @property
    def low(self) -> float:
        return self.mean - BAND * self.sigma

    @property
    def high(self) -> float:
        return self.mean + BAND * self.sigma


@dataclass(frozen=True)
class Reference:
    """The human side, frozen."""

    ruler: Ruler
    features: TextFeatures
    bandwidths: Bandwidths
    count: int
    halves: list[tuple[np.ndarray, np.ndarray]]
    human: dict[str, Human]
    seed: int

    @classmethod
    def of(
        cls, texts: Sequence[str], count: int, *, clusters: Sequence[Hashable] | None = None, seed: int = 0,
        encoder: Encoder | None = None, splits: int = SPLITS,
    ) -> "Reference":  # fmt: skip
        """Measure human texts for candidates of `count` texts; `clusters` names the document of each text.

        Raises:
            ValueError: fewer than twice `count` texts, or `count` below 2.
        """
        if count < 2 or len(texts) < 2 * count:
            raise ValueError(f"{len(texts)} human texts make no two halves of {count} (2 at least): give more, or ask for fewer")
        ruler = Ruler.of(texts, encoder)
        features = TextFeatures.of(texts, ruler, of_reference=True)
        bandwidths = Bandwidths.of(features)
        halves = _split_halves(clusters, len(texts), count, splits, seed)
        measures = Measures([features], bandwidths)
        values: dict[str, list[float | None]] = {name: [] for name in (*measures.sets, *measures.distances)}
        for first, second in halves:
            for name, of in measures.sets.items():
                values[name].append(of(first))
            for name, between in measures.distances.items():
                values[name].append(between(first, second))
        widen = math.sqrt((len(texts) + count) / (len(texts) - count))
        human = {name: _human(np.array(values[name], float), widen if name in measures.sets else 1.0) for name in values}
        return cls(ruler, features, bandwidths, count, halves, {k: v for k, v in human.items() if v is not None}, seed)

    def missing(self) -> dict[str, str]:
        """Metrics that this reference does not measure, and why."""
        return {
            metric.name: OPTIONAL.get(metric.name, "the human texts give no such figure")
            for metric in METRICS
            if metric.name not in self.human
        }

    def oddness(self, names: Sequence[str]) -> np.ndarray:
        """The largest deviation from the human mean over these metrics, in σ, of each human half: what chance alone gives."""
        columns = []
        for name in names:
            splits = self.human[name].splits
            spread = float(np.nanstd(splits))
            columns.append(np.abs(splits - np.nanmean(splits)) / spread if spread > 0 else np.zeros_like(splits))
        return np.nanmax(np.stack(columns), axis=0) if columns else np.zeros(len(self.halves))


@dataclass(frozen=True)
class Figure:
    """One metric of a candidate beside human text."""

    name: str
    value: float | None
    interval: Interval | None
    human: Human
    replicates: np.ndarray = field(repr=False)
    """What other samples of the candidate could have given, aligned between metrics; NaN where a half gives nothing."""

    @property
    def sigmas(self) -> float | None:
        """Distance from the human mean in units of human noise; None if there is no value."""
        if self.value is None:
            return None
        gap = self.value - self.human.mean
        return gap / self.human.sigma if self.human.sigma > 0 else math.copysign(math.inf, gap) if abs(gap) > 1e-12 else 0.0

    @property
    def place(self) -> str:
        """ "inside" the human band or "outside" it, whole interval and all; "unclear" where the interval crosses its edge."""
        if self.value is None:
            return "outside"
        low, high = (self.interval.low, self.interval.high) if self.interval else (-math.inf, math.inf)
        if low >= self.human.low and high <= self.human.high:
            return "inside"
        return "outside" if low > self.human.high or high < self.human.low else "unclear"


def measure(texts: Sequence[str], reference: Reference, clusters: Sequence[Hashable] | None = None) -> dict[str, Figure]:
    """Every metric of a candidate's texts, in the order of `METRICS`.

    Args:
        texts: at least `reference.count`; more are used through random subsets of that size.
        clusters: the prompt or document of each text, for the intervals; None makes each text its own. Of a single one no
            interval can be given: no figure has one then, and its replicates are NaN.

    Raises:
        ValueError: fewer texts than the reference was made for.
    """
    if len(texts) < reference.count:
        raise ValueError(f"{len(texts)} texts, but the human side was measured for {reference.count}: measure it anew for as many")
    own = TextFeatures.of(texts, reference.ruler)
    measures = Measures([own, reference.features], reference.bandwidths)
    drawn = _subsets(len(texts), reference)
    values: dict[str, float | None] = {name: _average([of(one) for one in drawn[:_SUBSETS]]) for name, of in measures.sets.items()}
    shifted = [len(texts) + second for _, second in reference.halves]
    pairs = [(drawn[index % len(drawn)], second) for index, second in enumerate(shifted)]
    distances: dict[str, list[float | None]] = {name: [] for name in measures.distances}
    for first, second in pairs:  # splits outermost: L2 and JSD of one pair share their frequencies
        for name, between in measures.distances.items():
            distances[name].append(between(first, second))
    values |= {name: _average(list_) for name, list_ in distances.items()}
    if clusters is not None and len(set(clusters)) < 2:
        replicates, factor = {name: np.full(_HALVES, np.nan) for name in values}, 1.0
    else:
        halves, factor = half_samples(list(clusters) if clusters is not None else len(texts), _HALVES, reference.seed)
        replicates = _replicates(measures, halves, len(texts) + np.arange(len(reference.features.texts)))
    return {
        metric.name: _figure(metric.name, values[metric.name], replicates[metric.name], factor, own, clusters, reference)
        for metric in METRICS
        if metric.name in reference.human and metric.name in values
    }


def dealt_anew(
    first: Sequence[str], second: Sequence[str], clusters: tuple[Sequence[Hashable], Sequence[Hashable]], names: Sequence[str], *,
    seed: int = 0, encoder: Encoder | None = None, deals: int = SPLITS,
) -> float:  # fmt: skip
    """How often two sides are as far apart, in their furthest metric, when the documents of both are dealt to them anew; they count too.

    Where documents are exchangeable, a share of at most p comes up no more often than p, however few there are and however much they
    differ: a permutation test (Fisher), by whole documents. Halves of one side alone cannot promise that: how much documents differ is
    then guessed from a few of them. Everything that is learnt from texts is learnt from both sides here.

    Args:
        clusters: the document of each text, of either side; the same name on both is two documents.
        names: the metrics that count.
    """
    texts = [*first, *second]
    ruler = Ruler.of(texts, encoder)
    features = TextFeatures.of(texts, ruler, of_reference=True)
    measures = Measures([features], Bandwidths.of(features))
    documents = [*((0, name) for name in clusters[0]), *((1, name) for name in clusters[1])]
    count = len(first)
    index, groups = cluster_index(documents, len(texts))
    rng = np.random.default_rng(seed)
    orders = [np.arange(len(texts))]
    orders += [np.lexsort((rng.random(len(texts)), rng.permutation(groups)[index])) for _ in range(deals)]
    sides = [(np.sort(order[:count]), np.sort(order[count:])) for order in orders]
    columns = []
    for name in names:
        given: list[float | None] = []
        for one, other in sides:
            if (of := measures.sets.get(name)) is None:
                given.append(measures.distances[name](one, other))
            else:
                first_value, second_value = of(one), of(other)
                given.append(None if first_value is None or second_value is None else first_value - second_value)
        found = np.array([math.nan if value is None else value for value in given])
        spread = float(np.nanstd(found))
        columns.append(np.abs(found - np.nanmean(found)) / spread if spread > 0 else np.zeros(len(found)))
    furthest = np.nanmax(np.stack(columns), axis=0)
    return float(np.mean(furthest >= furthest[0] - 1e-12))


def figure_row(figure: Figure) -> dict[str, Any]:
    """A figure as summaries have it; an end that is not bounded, or a distance without noise to measure it by, is None."""
    sigmas, interval = figure.sigmas, figure.interval
    finite = {
        "value": figure.value, "low": interval.low if interval else None, "high": interval.high if interval else None,
        "human": figure.human.mean, "sigma": figure.human.sigma, "human_low": figure.human.low, "human_high": figure.human.high,
        "sigmas": sigmas,
    }  # fmt: skip
    known = {name: value if value is not None and math.isfinite(value) else None for name, value in finite.items()}
    return {"group": METRIC[figure.name].group, **known, "place": figure.place}


def _split_halves(
    clusters: Sequence[Hashable] | None, texts: int, count: int, splits: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of disjoint halves of `count` texts; at most one document, the one at the border, is in both."""
    index, groups = cluster_index(clusters, texts)
    rng, halves = np.random.default_rng(seed), []
    for _ in range(splits):
        order = np.lexsort((rng.random(texts), rng.permutation(groups)[index]))[: 2 * count]
        halves.append((np.sort(order[:count]), np.sort(order[count:])))
    return halves


def _subsets(texts: int, reference: Reference) -> list[np.ndarray]:
    if texts == reference.count:
        return [np.arange(texts)]
    rng = np.random.default_rng(reference.seed)
    return [np.sort(rng.permutation(texts)[: reference.count]) for _ in reference.halves]


def _replicates(measures: Measures, halves: Sequence[np.ndarray], human: np.ndarray) -> dict[str, np.ndarray]:
    values: dict[str, list[float | None]] = {name: [] for name in (*measures.sets, *measures.distances)}
    for half in halves:
        for name, of in measures.sets.items():
            values[name].append(of(half))
        for name, between in measures.distances.items():
            values[name].append(between(half, human))
    return {name: np.array(list_, float) for name, list_ in values.items()}


def _figure(
    name: str, value: float | None, halves: np.ndarray, factor: float, own: TextFeatures, clusters: Sequence[Hashable] | None,
    reference: Reference,
) -> Figure:  # fmt: skip
    human = reference.human[name]
    if value is None:
        return Figure(name, None, None, human, np.full(len(halves), np.nan))
    known = ~np.isnan(halves)
    replicates = np.full(len(halves), np.nan)
    interval = None
    if known.sum() >= len(halves) // 2:
        replicates[known] = pseudo_values(value, halves[known], factor)
        groups = len(set(clusters)) if clusters is not None else len(own.texts)
        interval = half_sample_interval(value, halves[known], factor, len(own.texts), groups)
    if METRIC[name].kind == "text":
        single = own.figures[name]
        given = ~np.isnan(single)
        names = [cluster for cluster, ok in zip(clusters, given, strict=True) if ok] if clusters is not None else None
        interval = bootstrap_interval(single[given], names, seed=reference.seed)
        if not math.isfinite(interval.low):
            interval = None
    return Figure(name, value, interval, human, replicates)


def _human(values: np.ndarray, widen: float) -> Human | None:
    known = values[~np.isnan(values)]
    return Human(float(known.mean()), float(known.std()) * widen, values) if len(known) >= len(values) // 2 and len(known) else None


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
