"""Fitting the mixture: temperature, blend weights and η_max by the log score of the whole reference distribution.

The score is that of everything but the observed token (α = 0) on validation documents, the mean over the fold adapters; α is
never fitted by it, since it only rises with α. Where nothing comes after the mixture, the score is concave in the weights and
in η at a temperature, so that expectation–maximisation and bisection find the best; temperatures are tried on a grid of .05.
Strength, principles and swaps reshape what the mixture gives, over the whole vocabulary: where they are on, candidates are
scored as the target would store them, number by number on a grid, then on a finer one (`fit_shaped`).

Validation documents are dealt to at most ten groups, and everything is fitted again without each group: that gives the
intervals (delete-group jackknife, clustered by construction), and numbers for each group's documents that these had no part
in. Admission judges with those.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.config import Frozen, TargetConfig
from timbre.statistics import clustered_bound
from timbre.targets.reference_distribution import Mixture

Floats = npt.NDArray[np.floating[Any]]

GROUPS = 10
_GRID = tuple(round(0.7 + 0.05 * step, 2) for step in range(15))
_ROUNDS, _WEIGHT_STEPS, _BISECTIONS = 12, 40, 40
_SEARCHES = 6
_TINY = 1e-300


class Gain(Frozen):
    """Nats a token by which one log score is better than another; bounds are None where nothing can be said."""

    mean: float
    low: float | None
    high: float | None
    documents: int
    tokens: int


class Fitted(Frozen):
    """A fitted number with one-sided 95% bounds; None with a single group of documents."""

    value: float
    low: float | None
    high: float | None


class Fit(Frozen):
    """What was fitted, and what it is worth on documents that it was not fitted on."""

    temperature: Fitted | None
    ngram_weight: Fitted | None
    blend: dict[str, Fitted]
    gain: Gain
    """Against the mixture as the configuration gives it."""
    groups: int


Scores = Callable[[Sequence[Mixture]], Sequence[Sequence[Floats]]]
"""Mixtures -> for each fold and passage log P of the observed tokens under each of them, M×N, shaping included."""


@dataclass(frozen=True, eq=False)
class Components:
    """Probabilities that each part gives to the observed tokens of one passage: G temperatures, S styles, N positions."""

    refs_GSN: Floats
    ngram_N: Floats
    confidence_N: Floats


@dataclass(frozen=True)
class FittedMixture:
    """The mixture from all validation documents, and for each document the one fitted without its group."""

    mixture: Mixture
    without: dict[str, Mixture]
    fit: Fit


def temperatures(config: TargetConfig) -> tuple[float, ...]:
    """Those that are tried; the configured one is among them."""
    return tuple(sorted({*_GRID, config.temperature})) if "temperature" in config.fit else (config.temperature,)


def fit_mixture(folds: Sequence[Sequence[Components]], documents: Sequence[str], config: TargetConfig, given: Mixture) -> FittedMixture:
    """Fit where nothing comes after the mixture.

    Args:
        folds: components of the validation passages under each fold's adapters.
        documents: document of each passage.
        given: the configured mixture: where fitting starts, and what is kept of what is not fitted.
    """
    grid = temperatures(config)
    names = sorted(set(documents))
    group_of = {name: place % min(GROUPS, len(names)) for place, name in enumerate(names)}
    groups = len(set(group_of.values()))
    positions = _joined(folds)
    group_N = np.concatenate(
        [np.full(len(one.ngram_N), group_of[name]) for fold in folds for one, name in zip(fold, documents, strict=True)]
    )
    whole = _best(positions, grid, config, given)
    without = [_best(_chosen(positions, group_N != group), grid, config, given) for group in range(groups)] if groups > 1 else [whole]
    fitted = {name: without[group_of[name]] for name in names}
    return FittedMixture(whole, fitted, _fit(config, whole, without, _gain(folds, documents, grid, given, fitted), groups))


def fit_shaped(score: Scores, documents: Sequence[str], config: TargetConfig, given: Mixture) -> FittedMixture:
    """Fit where strength, principles or swaps come after the mixture: each candidate's score is that of the whole distribution.

    One number after the other is moved to its best place on a grid until none moves any more, then on a finer grid around it; and
    so again without each group of documents.

    Args:
        score: what `Scores` says.
        documents: document of each passage.
        given: the configured mixture: where the search starts.
    """
    names = sorted(set(documents))
    group_of = {name: place % min(GROUPS, len(names)) for place, name in enumerate(names)}
    group_P = np.array([group_of[name] for name in documents])
    groups = len(set(group_of.values()))
    search = _Search(score, config)
    whole = search.best(given, np.ones(len(documents), bool))
    without = [search.best(given, group_P != group) for group in range(groups)] if groups > 1 else [whole]
    fitted = {name: without[group_of[name]] for name in names}
    gains = [search.mean(fitted[name], place) - search.mean(given, place) for place, name in enumerate(documents)]
    bound = clustered_bound(gains, list(documents), weights=[int(count) for count in search.counts_P])
    gain = Gain(
        mean=bound.mean, low=known(bound.low), high=known(bound.high), documents=bound.clusters, tokens=int(search.counts_P.sum())
    )  # fmt: skip
    return FittedMixture(whole, fitted, _fit(config, whole, without, gain, groups))


class _Search:
    """Candidates and their scores, each computed once whatever documents are left out."""

    def __init__(self, score: Scores, config: TargetConfig) -> None:
        self._score, self._config = score, config
        self._sums: dict[Mixture, Floats] = {}
        """Σ log P of each passage, the mean over the folds."""
        self.counts_P: Floats = np.zeros(0)

    def best(self, start: Mixture, mask_P: npt.NDArray[np.bool_]) -> Mixture:
        """The best mixture by the passages of the mask."""
        self._learn([start])
        best = start
        for fine in (False, True):
            for _ in range(_SEARCHES):
                before = best
                for line in self._lines(best, fine=fine):
                    self._learn(line)
                    best = max([best, *line], key=lambda mixture: float(self._sums[mixture][mask_P].sum()))
                if best == before:
                    break
        return best

    def mean(self, mixture: Mixture, place: int) -> float:
        """Nats a token of a passage."""
        return float(self._sums[mixture][place] / self.counts_P[place])

    def _learn(self, mixtures: Sequence[Mixture]) -> None:
        fresh = [mixture for mixture in dict.fromkeys(mixtures) if mixture not in self._sums]
        if not fresh:
            return
        folds = self._score(fresh)
        self.counts_P = np.array([log_p_MN.shape[1] for log_p_MN in folds[0]], float)
        sums_FPM = np.array([[log_p_MN.sum(axis=1) for log_p_MN in fold] for fold in folds])
        self._sums |= {mixture: sums_FPM[:, :, place].mean(axis=0) for place, mixture in enumerate(fresh)}

    def _lines(self, at: Mixture, *, fine: bool) -> list[list[Mixture]]:
        """Candidates that differ from `at` in one number each."""
        lines = []
        if "temperature" in self._config.fit:
            lines.append([replace(at, temperature=value) for value in temperatures(self._config)])
        if "ngram" in self._config.fit:
            lines.append([replace(at, ngram_weight=value) for value in _values(at.ngram_weight, fine=fine)])
        if "blend" in self._config.fit:
            lines += [[_reweighted(at, place, value) for value in _values(weight, fine=fine)] for place, weight in enumerate(at.weights)]
        return lines


def _values(around: float, *, fine: bool) -> list[float]:
    """0 to 1 in twentieths, or in hundredths around a value."""
    if not fine:
        return [step / 20 for step in range(21)]
    return sorted({min(1.0, max(0.0, round(around + step / 100, 4))) for step in range(-4, 5)})


def _reweighted(at: Mixture, place: int, value: float) -> Mixture:
    """One style's weight set; the others keep their shares of the rest."""
    others = 1 - at.weights[place]
    rest = [
        value if index == place else (1 - value) * (weight / others if others > 1e-9 else 1 / (len(at.weights) - 1))
        for index, weight in enumerate(at.weights)
    ]
    return replace(at, weights=tuple(weight / sum(rest) for weight in rest))


def _fit(config: TargetConfig, whole: Mixture, without: Sequence[Mixture], gain: Gain, groups: int) -> Fit:
    return Fit(
        temperature=_fitted(whole, without, lambda m: m.temperature, (0.0, np.inf)) if "temperature" in config.fit else None,
        ngram_weight=_fitted(whole, without, lambda m: m.ngram_weight, (0.0, 1.0)) if "ngram" in config.fit else None,
        blend={
            part.style: _fitted(whole, without, lambda m, place=place: m.weights[place], (0.0, 1.0))
            for place, part in enumerate(config.blend) if "blend" in config.fit
        },
        gain=gain, groups=groups,
    )  # fmt: skip


def log_scores(parts: Components, place: int, mixture: Mixture) -> Floats:
    """log of the reference distribution's probability of each observed token, at the temperature number `place`."""
    return np.asarray(np.log(np.maximum(_probabilities(parts, place, np.array(mixture.weights), mixture.ngram_weight), _TINY)))


def _probabilities(parts: Components, place: int, weights_S: Floats, eta: float) -> Floats:
    share_N = eta * parts.confidence_N
    return np.asarray((1 - share_N) * (weights_S @ parts.refs_GSN[place]) + share_N * parts.ngram_N)


def _best(parts: Components, grid: Sequence[float], config: TargetConfig, given: Mixture) -> Mixture:
    """The mixture with the highest score; the lowest temperature among equals."""
    found = []
    for place, temperature in enumerate(grid):
        weights, eta = np.array(given.weights), given.ngram_weight
        for _ in range(_ROUNDS if "blend" in config.fit else 1):
            if "blend" in config.fit:
                weights = _best_weights(parts, place, weights, eta)
            if "ngram" in config.fit:
                eta = _best_eta(parts, place, weights)
        mixture = Mixture(temperature, tuple(float(weight) for weight in weights / weights.sum()), eta)
        found.append((float(log_scores(parts, place, mixture).mean()), -place, mixture))
    return max(found, key=lambda item: item[:2])[2]


def _best_eta(parts: Components, place: int, weights_S: Floats) -> float:
    """η in 0..1 where the derivative Σ c·(P_ngram − P_ref)/P vanishes; it falls with η."""
    difference_N = parts.confidence_N * (parts.ngram_N - weights_S @ parts.refs_GSN[place])

    def slope(eta: float) -> float:
        return float((difference_N / np.maximum(_probabilities(parts, place, weights_S, eta), _TINY)).sum())

    if slope(0.0) <= 0:
        return 0.0
    if slope(1.0) >= 0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2


def _best_weights(parts: Components, place: int, weights_S: Floats, eta: float) -> Floats:
    """Expectation–maximisation: each style's weight becomes the share of the reference's part that it answers for."""
    for _ in range(_WEIGHT_STEPS):
        whole_N = np.maximum(_probabilities(parts, place, weights_S, eta), _TINY)
        share_SN = weights_S[:, None] * (1 - eta * parts.confidence_N) * parts.refs_GSN[place] / whole_N
        total = share_SN.sum()
        weights_S = share_SN.sum(axis=1) / total if total > 0 else weights_S
    return weights_S


def _fitted(whole: Mixture, without: Sequence[Mixture], value_of: Any, limits: tuple[float, float]) -> Fitted:
    from scipy import stats

    value, values = float(value_of(whole)), np.array([value_of(mixture) for mixture in without])
    if len(values) < 2:
        return Fitted(value=value, low=None, high=None)
    error = float(np.sqrt((len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2)))
    reach = float(stats.t.ppf(0.95, len(values) - 1)) * error
    return Fitted(value=value, low=max(limits[0], value - reach), high=min(limits[1], value + reach))


def _gain(
    folds: Sequence[Sequence[Components]], documents: Sequence[str], grid: Sequence[float], given: Mixture, without: Mapping[str, Mixture]
) -> Gain:
    differences, weights = [], []
    for place, name in enumerate(documents):
        fitted = without[name]
        parts = [fold[place] for fold in folds]
        before = [log_scores(part, grid.index(given.temperature), given).mean() for part in parts]
        after = [log_scores(part, grid.index(fitted.temperature), fitted).mean() for part in parts]
        differences.append(float(np.mean(after) - np.mean(before)))
        weights.append(len(parts[0].ngram_N))
    bound = clustered_bound(differences, list(documents), weights=weights)
    return Gain(mean=bound.mean, low=known(bound.low), high=known(bound.high), documents=bound.clusters, tokens=sum(weights))


def known(bound: float) -> float | None:
    """A bound as JSON can hold it: None where it is infinite."""
    return bound if np.isfinite(bound) else None


def _joined(folds: Sequence[Sequence[Components]]) -> Components:
    every = [one for fold in folds for one in fold]
    return Components(
        np.concatenate([one.refs_GSN for one in every], axis=-1),
        np.concatenate([one.ngram_N for one in every]), np.concatenate([one.confidence_N for one in every]),
    )  # fmt: skip


def _chosen(parts: Components, mask_N: npt.NDArray[np.bool_]) -> Components:
    return Components(parts.refs_GSN[..., mask_N], parts.ngram_N[mask_N], parts.confidence_N[mask_N])
