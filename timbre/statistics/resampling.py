"""Two-sided intervals for figures that have no formula: bootstrap of means, half-samples of figures of whole sets."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from timbre.statistics.interval import Interval, cluster_index, finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

_DRAWS = 2000


def round_robin(clusters: Sequence[Hashable]) -> list[int]:
    """Places of items, the first of every cluster before the second of any: the first few hold as many clusters as can be."""
    seen: Counter[Hashable] = Counter()
    turns = []
    for cluster in clusters:
        turns.append(seen[cluster])
        seen[cluster] += 1
    return sorted(range(len(turns)), key=turns.__getitem__)


def bootstrap_interval(
    values: "Sequence[float] | Floats", clusters: Sequence[Hashable] | None = None, level: float = 0.95, seed: int = 0
) -> Interval:
    """Two-sided interval of a mean over texts: whole prompts (clusters) are drawn with replacement.

    Percentiles of the resampled mean, moved out by √(G/(G−1)) and Student's t over the normal quantile, G the number of
    clusters: the plain percentile interval is that much too narrow for few clusters (Hesterberg 2015, §4.1). With one
    cluster nothing can be said and the bounds are infinite.

    Raises:
        ValueError: empty input, or a value that is not finite.
    """
    import numpy as np
    from scipy.special import ndtri, stdtrit

    array = finite(values, "values")
    index, groups = cluster_index(clusters, len(array))
    mean = float(array.mean())
    if groups < 2:
        return Interval(mean, -math.inf, math.inf, len(array), groups)
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), _DRAWS)
    means = (drawn @ np.bincount(index, array, groups)) / (drawn @ np.bincount(index, minlength=groups))
    tail = (1 - level) / 2
    reach = math.sqrt(groups / (groups - 1)) * float(stdtrit(groups - 1, 1 - tail) / ndtri(1 - tail))
    low, high = (mean + reach * (float(np.quantile(means, side)) - mean) for side in (tail, 1 - tail))
    return Interval(mean, min(low, mean), max(high, mean), len(array), groups)


def half_samples(clusters: Sequence[Hashable] | int, draws: int, seed: int = 0) -> "tuple[list[Indices], float]":
    """Random halves of a set without replacement, and the factor that turns their scatter into that of the whole set.

    Drawing with replacement would put copies of one text beside each other, which self-BLEU, MMD² and compression take
    for repetition. A figure of m of n texts scatters around the whole set's by √((n−m)/m) of its standard error (Politis
    & Romano 1994; Shao & Wu 1989 for the correction without replacement); the factor √(m/(n−m)) undoes that. Whole
    clusters are drawn; with clusters of unequal size m is their number, not the texts'.

    Args:
        clusters: the cluster of each text, or how many texts there are.

    Raises:
        ValueError: fewer than two clusters.
    """
    import numpy as np

    names = None if isinstance(clusters, int) else clusters
    index, groups = cluster_index(names, clusters if isinstance(clusters, int) else len(clusters))
    if groups < 2:
        raise ValueError("a set of one cluster has no halves: give texts of two prompts or documents at least")
    size = groups // 2
    rng = np.random.default_rng(seed)
    chosen = np.zeros((draws, groups), bool)
    for row in chosen:
        row[rng.permutation(groups)[:size]] = True
    return [np.flatnonzero(row[index]) for row in chosen], math.sqrt(size / (groups - size))


def pseudo_values(value: float, halves: "Floats", factor: float) -> "Floats":
    """What the whole set could as well have given: its value, plus the halves' deviations from their own mean, rescaled.

    The halves are centred on themselves, since many figures depend on how many texts there are (self-BLEU rises, n-gram
    distances fall) and the whole set's value is not where its halves scatter.
    """
    import numpy as np

    result: Floats = value + factor * (np.asarray(halves, np.float64) - np.mean(halves))
    return result


def half_sample_interval(value: float, halves: "Floats", factor: float, n: int, clusters: int, level: float = 0.95) -> Interval:
    """Two-sided interval from figures of `half_samples`: percentiles of `pseudo_values`."""
    import numpy as np

    tail = (1 - level) / 2
    low, high = (float(np.quantile(pseudo_values(value, halves, factor), side)) for side in (tail, 1 - tail))
    return Interval(value, min(low, value), max(high, value), n, clusters)
