"""How well scores tell two sets apart: the area under the ROC curve, with intervals by cluster."""

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from timbre.statistics.interval import Interval, cluster_index, finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DRAWS = 1000


def placements(first: "Sequence[float] | Floats", second: "Sequence[float] | Floats") -> "tuple[Floats, Floats]":
    """Of every score of the first set the share of the second below it, and of every score of the second the share of the first
    above it; ties count half. The mean of either is the area (DeLong, DeLong & Clarke-Pearson 1988).

    Raises:
        ValueError: an empty set, or a score that is not finite.
    """
    import numpy as np

    high, low = finite(first, "scores of the first set"), finite(second, "scores of the second set")
    ordered_high, ordered_low = np.sort(high), np.sort(low)

    def below(values: "Floats", ordered: "Floats") -> "Floats":
        both: Floats = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(ordered))
        return both

    return below(high, ordered_low), 1 - below(low, ordered_high)


def roc_auc(first: "Sequence[float] | Floats", second: "Sequence[float] | Floats") -> float:
    """The chance that a score of the first set is above one of the second, ties counting half; .5 = not told apart."""
    return float(placements(first, second)[0].mean())


def clustered_auc(
    first: "Sequence[float] | Floats", second: "Sequence[float] | Floats",
    first_clusters: Sequence[Hashable] | None = None, second_clusters: Sequence[Hashable] | None = None,
    level: float = 0.95, seed: int = 0, widen: float = 1.0,
) -> Interval:  # fmt: skip
    """The area with a two-sided interval: whole clusters are drawn with replacement, both sets of a cluster together.

    Percentiles of the drawn areas, moved out by √(G/(G−1)) and Student's t over the normal quantile, as for means
    (`bootstrap_interval`), and kept within 0 and 1. With one cluster the bounds are infinite.

    Args:
        widen: times the distance of the bounds from the area, for scatter that the scores do not show.

    Raises:
        ValueError: an empty set, a score that is not finite, or clusters of another count than the scores.
    """
    import numpy as np
    from scipy.special import ndtri, stdtrit

    high, low = finite(first, "scores of the first set"), finite(second, "scores of the second set")
    names = [
        *(first_clusters if first_clusters is not None else [("first", n) for n in range(len(high))]),
        *(second_clusters if second_clusters is not None else [("second", n) for n in range(len(low))]),
    ]
    index, groups = cluster_index(names, len(high) + len(low))
    area = roc_auc(high, low)
    if groups < 2:
        return Interval(area, -math.inf, math.inf, len(names), groups)
    drawn_BG = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), _DRAWS).astype(np.float64)
    weight_BN = drawn_BG[:, index]
    areas = _weighted_areas(high, low, weight_BN[:, : len(high)], weight_BN[:, len(high) :])
    areas = areas[np.isfinite(areas)]
    if not len(areas):
        return Interval(area, -math.inf, math.inf, len(names), groups)
    tail = (1 - level) / 2
    reach = widen * math.sqrt(groups / (groups - 1)) * float(stdtrit(groups - 1, 1 - tail) / ndtri(1 - tail))
    ends = [area + reach * (float(np.quantile(areas, side)) - area) for side in (tail, 1 - tail)]
    return Interval(area, max(0.0, min(ends[0], area)), min(1.0, max(ends[1], area)), len(names), groups)


def _weighted_areas(high_N: "Floats", low_M: "Floats", high_BN: "Floats", low_BM: "Floats") -> "Floats":
    """The area in every draw, its scores weighted; NaN where a draw left a set empty."""
    import numpy as np

    order = np.argsort(low_M, kind="stable")
    cumulated_BM = np.concatenate([np.zeros((len(low_BM), 1)), np.cumsum(low_BM[:, order], axis=1)], axis=1)
    sides = [np.searchsorted(low_M[order], high_N, side) for side in ("left", "right")]
    below_BN = (cumulated_BM[:, sides[0]] + cumulated_BM[:, sides[1]]) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        areas: Floats = (high_BN * below_BN).sum(1) / (high_BN.sum(1) * cumulated_BM[:, -1])
    return areas


def null_error(first: int, second: int) -> float:
    """Standard error of the area where there is nothing to tell: √((n + m + 1)/(12nm)) (Hanley & McNeil 1982), .028 at 216 a side.

    Raises:
        ValueError: an empty set.
    """
    if min(first, second) < 1:
        raise ValueError(f"an area needs a score on either side, got {first} and {second}")
    return math.sqrt((first + second + 1) / (12 * first * second))


def count_that_would_do(area: float, power: float = 0.8, widen: float = 1.0) -> int | None:
    """Scores a side, each on its own, with which this area is told from .5 at one-sided 5% with the given power; None at .5 or below.

    Args:
        widen: how many times as large as `null_error` the standard error is.
    """
    from statistics import NormalDist

    if not area > 0.5:
        return None
    z = NormalDist().inv_cdf(0.95) + NormalDist().inv_cdf(power)
    return max(2, math.ceil((widen * z / (area - 0.5)) ** 2 / 6))
