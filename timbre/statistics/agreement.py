"""Do several raters say the same? Krippendorff's alpha, any number of raters and of missing answers, with an interval."""

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Literal

from timbre.statistics.interval import Interval, cluster_index

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Scale = Literal["nominal", "ordinal", "interval"]
_DRAWS = 2000
_LEAST_DEFINED = 0.95
"""Share of resamples that must hold two different answers: below it no interval is given."""


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]],
    scale: Scale,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Agreement beyond chance: 1 = always the same, 0 = as by chance, below 0 = systematic disagreement.

    α = 1 − D_o/D_e over the coincidences of answers to one item (Krippendorff 2011, "Computing Krippendorff's
    alpha-reliability"). The interval resamples whole clusters of items with replacement, widened for few clusters as
    `bootstrap_interval` is.

    Args:
        ratings: one row an item, one entry a rater, None where that rater gave none.
        scale: how far apart two answers are; "ordinal" needs answers in their order as numbers.
        clusters: the cluster of each item; None makes each item its own.

    Returns:
        None where nothing can be said: no item has two answers, or all answers are alike. Infinite bounds where there is
        too little variety to resample.

    Raises:
        ValueError: no items, or rows of different lengths.
    """
    import numpy as np
    from scipy.special import ndtri, stdtrit

    if not ratings or len({len(row) for row in ratings}) != 1:
        raise ValueError("ratings: expected one row an item, one entry a rater")
    answers = sorted({value for row in ratings for value in row if value is not None})
    coincidences_ICC = _coincidences(ratings, answers)
    paired = coincidences_ICC.sum((1, 2)) > 0
    if not paired.any():
        return None
    alpha = float(_alpha(coincidences_ICC.sum(0)[None], answers, scale)[0])
    if math.isnan(alpha):
        return None
    index, groups = cluster_index(clusters, len(ratings))
    per_cluster = np.zeros((groups, len(answers) ** 2))
    np.add.at(per_cluster, index, coincidences_ICC.reshape(len(ratings), -1))
    used = per_cluster[per_cluster.sum(1) > 0]
    n, groups = int(paired.sum()), len(used)
    if groups < 2:
        return Interval(alpha, -math.inf, math.inf, n, groups)
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), _DRAWS)
    resampled = _alpha((drawn @ used).reshape(-1, len(answers), len(answers)), answers, scale)
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < _LEAST_DEFINED * _DRAWS:
        return Interval(alpha, -math.inf, math.inf, n, groups)
    tail = (1 - level) / 2
    reach = math.sqrt(groups / (groups - 1)) * float(stdtrit(groups - 1, 1 - tail) / ndtri(1 - tail))
    low, high = (alpha + reach * (float(np.quantile(defined, side)) - alpha) for side in (tail, 1 - tail))
    return Interval(alpha, min(low, alpha), min(1.0, max(high, alpha)), n, groups)


def _coincidences(ratings: Sequence[Sequence[float | None]], answers: Sequence[float]) -> "Floats":
    """Ordered pairs of answers by different raters, each item's divided by (its answers − 1): [items, answers, answers]."""
    import numpy as np

    column = {value: number for number, value in enumerate(answers)}
    counts = np.zeros((len(ratings), len(answers)))
    for row, given in enumerate(ratings):
        for value in given:
            if value is not None:
                counts[row, column[value]] += 1
    pairs = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(len(answers))
    pairs[:, diagonal, diagonal] -= counts
    result: Floats = pairs / np.maximum(counts.sum(1) - 1, 1)[:, None, None]
    return result


def _alpha(coincidences_SCC: "Floats", answers: Sequence[float], scale: Scale) -> "Floats":
    """Alpha of each of S coincidence matrices; NaN where all answers are alike."""
    import numpy as np

    totals_SC = coincidences_SCC.sum(2)
    n_S = totals_SC.sum(1)
    distance_SCC = _distances(totals_SC, answers, scale)
    observed = (coincidences_SCC * distance_SCC).sum((1, 2))
    expected = (totals_SC[:, :, None] * totals_SC[:, None, :] * distance_SCC).sum((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.where(expected > 0, 1 - (n_S - 1) * observed / expected, np.nan)
    return result


def _distances(totals_SC: "Floats", answers: Sequence[float], scale: Scale) -> "Floats":
    """Squared distances δ² between answers; ordinal ones count how many answers lie between two."""
    import numpy as np

    if scale == "ordinal":
        middle_SC = np.cumsum(totals_SC, 1) - totals_SC / 2
        result: Floats = (middle_SC[:, :, None] - middle_SC[:, None, :]) ** 2
        return result
    values = np.asarray(answers, np.float64)
    apart = values[:, None] - values[None, :]
    squared = (apart != 0).astype(np.float64) if scale == "nominal" else apart**2
    return np.broadcast_to(squared, (len(totals_SC), *squared.shape))
