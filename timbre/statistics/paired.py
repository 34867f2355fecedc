"""Bounds on the difference of two proportions measured on the same items: Tango's score bound and its exact form."""

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from timbre.statistics.interval import Interval, cluster_index, finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EXACT_BELOW = 60
"""Discordant pairs below which the exact bound is used."""
_NUISANCE_LEVEL = 0.001
"""Berger & Boos (1994): the nuisance parameter is searched in its 99.9% interval, and .001 is paid for that."""


def tango_bound(only_candidate_right: float, only_base_right: float, n: float, confidence: float = 0.95) -> Interval:
    """Bounds on the paired difference of two proportions, (only candidate right − only base right)/n.

    Tango's score bound (Statistics in Medicine 17, 1998); with fewer than 60 discordant pairs and whole counts the exact
    unconditional bound on the same statistic. Fractional counts (after a design effect) are rounded against the candidate
    where the exact form is used.

    Raises:
        ValueError: counts that are negative, not finite, or more than n.
    """
    wins, losses = float(only_candidate_right), float(only_base_right)
    if not all(math.isfinite(value) for value in (wins, losses, n)) or min(wins, losses) < 0 or n <= 0 or wins + losses > n:
        raise ValueError(f"paired counts must satisfy 0 ≤ wins + losses ≤ n and n > 0, got {wins}, {losses}, {n}")
    mean = (wins - losses) / n
    if wins + losses < EXACT_BELOW:
        whole = max(1, math.floor(n))
        kept_wins, kept_losses = math.floor(wins), min(math.ceil(losses), whole)
        low = _exact_low(min(kept_wins, whole - kept_losses), kept_losses, whole, confidence)
        high = -_exact_low(min(math.floor(losses), whole - min(math.ceil(wins), whole)), min(math.ceil(wins), whole), whole, confidence)
    else:
        low, high = _tango_low(wins, losses, n, confidence), -_tango_low(losses, wins, n, confidence)
    return Interval(mean, min(low, mean), max(high, mean), round(n), round(n))


def clustered_tango_bound(differences: Sequence[float], clusters: Sequence[Hashable], confidence: float = 0.95) -> Interval:
    """Bounds on the paired difference of proportions when items come in clusters (several wordings of one fact).

    `tango_bound` on counts divided by the design effect: cluster-robust variance over independent variance, at least 1. With
    fewer than two discordant clusters the design effect cannot be seen, and each cluster counts as one item.

    Args:
        differences: −1, 0 or 1 an item: candidate right minus base right.
        clusters: the cluster of each item.

    Raises:
        ValueError: a difference that is not −1, 0 or 1, or empty or unequal input.
    """
    import numpy as np

    values = finite(differences, "differences")
    if len(odd := np.flatnonzero(~np.isin(values, (-1.0, 0.0, 1.0)))):
        raise ValueError(f"differences[{odd[0]}] is {values[odd[0]]}; paired binary outcomes differ by −1, 0 or 1")
    index, groups = cluster_index(clusters, len(values))
    n, mean = len(values), float(values.mean())
    share = np.bincount(index, minlength=groups) / n
    together = n * float(np.sum(share**2))
    discordant = np.bincount(index, np.abs(values), groups) > 0
    if groups < 2:
        return Interval(mean, -math.inf, math.inf, n, groups)
    if discordant.sum() < 2:
        effect = together
    else:
        scores = np.bincount(index, values - mean, groups) / n
        independent = float(np.sum((values - mean) ** 2)) / n**2
        effect = max(1.0, float(np.sum(scores**2 / (1 - share))) / independent) if independent > 0 else together
    wins, losses = float(np.sum(values > 0)), float(np.sum(values < 0))
    bound = tango_bound(wins / effect, losses / effect, n / effect, confidence)
    return Interval(mean, min(bound.low, mean), max(bound.high, mean), n, groups)


def _score(wins: "Floats | float", losses: "Floats | float", n: float, delta: float) -> "Floats":
    """Tango's statistic for H0: p(only candidate) − p(only base) = delta; large values favour the candidate."""
    import numpy as np

    linear = -np.asarray(wins) - losses + (2 * n - wins + losses) * delta
    constant = -np.asarray(losses) * delta * (1 - delta)
    nuisance = (np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0)) - linear) / (4 * n)
    variance = np.maximum(n * (2 * nuisance + delta * (1 - delta)), 0)
    gap = np.asarray(wins, dtype=np.float64) - losses - n * delta
    scored = gap / np.sqrt(np.maximum(variance, 1e-300))
    result: Floats = np.where(np.abs(gap) < 1e-12, 0.0, scored)
    return result


def _tango_low(wins: float, losses: float, n: float, confidence: float) -> float:
    from scipy import optimize, stats

    z = float(stats.norm.ppf(confidence))

    def excess(delta: float) -> float:
        return float(_score(wins, losses, n, delta)) - z

    floor, mean = -1 + 1e-9, (wins - losses) / n
    return -1.0 if excess(floor) <= 0 else float(optimize.brentq(excess, floor, mean))


@lru_cache(maxsize=4096)
def _exact_low(wins: int, losses: int, n: int, confidence: float) -> float:
    """Smallest difference that the exact one-sided test does not refuse, by bisection to 1e-5."""
    import numpy as np
    from scipy import stats

    discordant, alpha = wins + losses, 1 - confidence
    most = 1.0 if discordant == n else float(stats.beta.ppf(1 - _NUISANCE_LEVEL / 2, discordant + 1, n - discordant))
    least = 0.0 if discordant == 0 else float(stats.beta.ppf(_NUISANCE_LEVEL / 2, discordant, n - discordant + 1))
    reach = min(n, int(stats.binom.ppf(1 - 1e-7, n, most)) + 1)
    a, b = np.meshgrid(np.arange(reach + 1.0), np.arange(reach + 1.0), indexing="ij")
    inside = a + b <= reach
    table = _Outcomes(a[inside], b[inside], n)

    def refused(delta: float) -> bool:
        extreme = table.at_least_as_extreme(delta, float(_score(wins, losses, n, delta)))
        first = max(abs(delta), least)
        if first > most:
            return True
        rates = np.linspace(first, most, 25)
        return float(table.probability(extreme, delta, rates).max()) + _NUISANCE_LEVEL <= alpha

    start, mean = _tango_low(wins, losses, n, confidence), (wins - losses) / n
    step = max((mean - start) / 8, 1e-5)  # the exact bound lies close to the score bound: search from there
    low = min(start, mean - 1e-9)
    while low > -1.0 and not refused(low):
        low, step = max(-1.0, low - step), 2 * step
    high = min(mean, low + step)
    while high < mean and refused(high):
        low, high = high, min(mean, high + step)
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if refused(middle) else (low, middle)
    return low


class _Outcomes:
    """All outcomes (wins, losses) of n pairs that have any weight, for the exact test."""

    def __init__(self, wins: "Floats", losses: "Floats", n: int) -> None:
        from scipy.special import gammaln

        self._wins, self._losses, self._rest, self._n = wins, losses, n - wins - losses, n
        self._ways = gammaln(n + 1) - gammaln(wins + 1) - gammaln(losses + 1) - gammaln(self._rest + 1)

    def at_least_as_extreme(self, delta: float, observed: float) -> "NDArray[np.bool_]":
        result: NDArray[np.bool_] = _score(self._wins, self._losses, self._n, delta) >= observed - 1e-9
        return result

    def probability(self, chosen: "NDArray[np.bool_]", delta: float, discordances: "Floats") -> "Floats":
        """Trinomial probability of the chosen outcomes, one a discordance, where the rates of wins and losses differ by `delta`."""
        import numpy as np
        from scipy.special import xlogy

        win, loss = (np.maximum(0.0, (discordances + sign * delta) / 2)[:, None] for sign in (1, -1))
        wins, losses, rest = (counts[chosen][None, :] for counts in (self._wins, self._losses, self._rest))
        log = self._ways[chosen] + xlogy(wins, win) + xlogy(losses, loss) + xlogy(rest, np.maximum(0.0, 1 - win - loss))
        result: Floats = np.exp(log).sum(axis=1)
        return result
