"""From bounds to verdicts, and what a set of a given size can tell."""

import math
from typing import Literal

from timbre.statistics.interval import Interval

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]


def upper_bound_rate(k: int, n: int, confidence: float = 0.95) -> float:
    """Exact (Clopper–Pearson) upper bound on a rate of which k of n were seen; 0 of n gives about 3/n.

    Raises:
        ValueError: not 0 ≤ k ≤ n with n > 0.
    """
    from scipy import stats

    if n <= 0 or not 0 <= k <= n:
        raise ValueError(f"a rate needs 0 ≤ k ≤ n and n > 0, got {k} of {n}")
    return 1.0 if k == n else float(stats.beta.ppf(confidence, k + 1, n - k))


def three_way(low: float, high: float, margin: float) -> Verdict:
    """Non-inferiority: PASS if low > −margin, FAIL if high < −margin, else INCONCLUSIVE.

    Raises:
        ValueError: a bound that is NaN, bounds the wrong way round, or a margin that is not a finite number ≥ 0.
    """
    _check_bounds(low, high)
    if not math.isfinite(margin) or margin < 0:
        raise ValueError(f"a non-inferiority margin is a finite number ≥ 0, got {margin}")
    if low > -margin:
        return "PASS"
    return "FAIL" if high < -margin else "INCONCLUSIVE"


def superiority(low: float, high: float) -> Verdict:
    """PASS if low > 0, FAIL if high ≤ 0 (no difference at all is no improvement), else INCONCLUSIVE.

    Raises:
        ValueError: a bound that is NaN, or bounds the wrong way round.
    """
    _check_bounds(low, high)
    if low > 0:
        return "PASS"
    return "FAIL" if high <= 0 else "INCONCLUSIVE"


def _check_bounds(low: float, high: float) -> None:
    if math.isnan(low) or math.isnan(high) or low > high:
        raise ValueError(f"bounds must be numbers with low ≤ high, got {low} and {high}")


def certifiable_margin(interval: Interval, power: float = 0.8) -> float:
    """The margin that a set with this spread certifies with the given power if there is no true difference."""
    return (interval.mean - interval.low) * (1 + _z(power) / _z(0.95))


def items_that_would_do(interval: Interval, distance: float, power: float = 0.8) -> int | None:
    """Items, in clusters as large as these, with which such a set certifies a `distance` with the given power.

    The reach of a bound shrinks with the root of the count (the number of clusters, at the same items a cluster). `distance`
    is how far the true difference lies from what it is compared with: the margin, if there is no difference; the difference
    itself, for a superiority. None where the bounds are infinite (a single cluster) or the distance is not positive: no number
    of items helps then, or none can be told.
    """
    reach = certifiable_margin(interval, power)
    if not math.isfinite(reach) or not distance > 0:
        return None
    return max(2, math.ceil(interval.n * (reach / distance) ** 2))


def items_needed(discordance: float, margin: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Pairs needed to certify `margin` on a binary metric, if candidate and base disagree on `discordance` of them, evenly.

    Raises:
        ValueError: a discordance outside (0, 1] or a margin that is not positive.
    """
    if not 0 < discordance <= 1 or not margin > 0:
        raise ValueError(f"discordance must be in (0, 1] and the margin positive, got {discordance} and {margin}")
    return math.ceil((_z(confidence) + _z(power)) ** 2 * discordance / margin**2)


def _z(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
