"""Intervals of proportions: exact for independent answers, and in clusters; two-sided, and one-sided for gates."""

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from timbre.statistics.interval import Interval, cluster_index, finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def clopper_pearson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval (Clopper & Pearson 1934) of k successes in n; both may be fractions, as in an effective count.

    Raises:
        ValueError: not 0 ≤ k ≤ n with n > 0.
    """
    from scipy.special import betaincinv

    if not (n > 0 and 0 <= k <= n):
        raise ValueError(f"a proportion needs 0 ≤ k ≤ n and n > 0, got {k} of {n}")
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def clustered_proportion(
    values: "Sequence[float] | Floats",
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    weights: "Sequence[float] | Floats | None" = None,
) -> Interval:
    """Two-sided interval of the (weighted) mean of values in [0, 1] that come in clusters: a tie is ½.

    Clopper–Pearson on the effective number of answers p(1−p)/Var(p̂), Var cluster-robust, corrected for its few degrees of
    freedom (Korn & Graubard 1998). Unlike the bootstrap it stays honest where all answers are alike: then every cluster
    counts as one answer. Independent 0/1 answers give exactly Clopper–Pearson; one cluster gives no bounds.

    Raises:
        ValueError: empty input, a value outside [0, 1], or weights that are not positive.
    """
    import numpy as np
    from scipy.special import stdtrit

    array = finite(values, "values")
    if array.min() < 0 or array.max() > 1:
        raise ValueError("a proportion is taken of values in [0, 1]")
    weight = np.ones(len(array)) if weights is None else finite(weights, "weights")
    if len(weight) != len(array) or (weight <= 0).any():
        raise ValueError("weights must be positive, one a value")
    index, groups = cluster_index(clusters, len(array))
    n, mean = len(array), float(np.clip(np.average(array, weights=weight), 0, 1))
    if groups < 2:
        return Interval(mean, -math.inf, math.inf, n, groups)
    binary = bool(np.isin(array, (0.0, 1.0)).all())
    if groups == n and binary and np.ptp(weight) == 0:
        return Interval(mean, *clopper_pearson(float(array.sum()), n, level), n, groups)
    share = np.bincount(index, weight, groups) / weight.sum()
    scores = np.bincount(index, weight * (array - mean), groups) / weight.sum()
    variance = float(np.sum(scores**2 / (1 - share)))
    spread = mean * (1 - mean)
    effective = float(groups) if variance <= 0 or spread <= 0 else min(float(n), spread / variance)
    tail = (1 - level) / 2
    if n > groups:
        effective *= float(stdtrit(n - 1, tail) / stdtrit(groups - 1, tail)) ** 2
    low, high = clopper_pearson(mean * effective, effective, level)
    return Interval(mean, low, high, n, groups)


def rate_bound(hits: "Sequence[float] | Floats", clusters: Sequence[Hashable] | None = None, confidence: float = 0.95) -> Interval:
    """One-sided bounds on the share of hits, each at `confidence`: 0 of n gives an upper bound of about 3/n.

    The ends of `clustered_proportion` at level 2·confidence − 1, and 0 and 1 where a single cluster tells nothing.

    Args:
        hits: 0 or 1 a text.
        clusters: the document or prompt of each text; None makes each its own.

    Raises:
        ValueError: empty input, unequal lengths, or a hit that is neither 0 nor 1.
    """
    import numpy as np

    values = finite(hits, "hits")
    if len(odd := np.flatnonzero(~np.isin(values, (0.0, 1.0)))):
        raise ValueError(f"hits[{odd[0]}] is {values[odd[0]]}; a text is a hit (1) or none (0)")
    found = clustered_proportion(values, clusters, 2 * confidence - 1)
    return Interval(found.mean, max(0.0, min(found.low, found.mean)), min(1.0, max(found.high, found.mean)), found.n, found.clusters)
