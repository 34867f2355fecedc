"""Bounds on a mean of differences that are zero almost everywhere and cannot exceed 1: shares of a text, told twice."""

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from timbre.statistics.clustered import clustered_bound
from timbre.statistics.interval import Interval, cluster_index, finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DRAWS, _BATCH = 20_000, 2_000


def bounded_bound(
    differences: "Sequence[float] | Floats", clusters: Sequence[Hashable] | None = None, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """One-sided bounds on the mean of paired differences of shares, each in [−1, 1], whose items come in clusters.

    A bound from the spread of the sample alone says "no loss at all" of 20 texts in which nothing happened, though one in
    eight like them may be recited from end to end. So the wider of two counts: `clustered_bound`, and Gaffke's (2005; Phan,
    Thomas & Learned-Miller, 2106.03163), the quantile of Σ w·x with w ~ Dirichlet(1, …, 1) over the clusters and one more
    at the worst value there can be. Where all differences are 0 it is 1 − (1 − confidence)^(1/clusters), about 3/clusters.

    Args:
        differences: one value an item, better positive.
        clusters: the cluster of each item; None makes each item its own.
        confidence: of each bound.
        seed: of the draws.

    Raises:
        ValueError: empty input, lengths that differ, or a value that is not in [−1, 1]; the sentence names the index.
    """
    import numpy as np

    values = finite(differences, "differences")
    if len(wide := np.flatnonzero(np.abs(values) > 1)):
        raise ValueError(f"differences[{wide[0]}] is {values[wide[0]]}; of two shares it lies in [−1, 1]")
    spread = clustered_bound(values, clusters, confidence, seed)
    index, groups = cluster_index(clusters, len(values))
    if groups < 2:
        return Interval(spread.mean, -1.0, 1.0, spread.n, groups)
    sums: Floats = np.bincount(index, values, groups).astype(np.float64)
    sizes: Floats = np.bincount(index, minlength=groups).astype(np.float64)
    low = _gaffke(sums, sizes, confidence, seed)
    high = -_gaffke(-sums, sizes, confidence, seed)
    low, high = max(-1.0, min(low, spread.low)), min(1.0, max(high, spread.high))
    return Interval(spread.mean, low, high, spread.n, groups)


def _gaffke(sums: "Floats", sizes: "Floats", confidence: float, seed: int) -> float:
    """Lower bound on Σ sums / Σ sizes over the clusters that might have been drawn; the one unseen has the mean size."""
    import numpy as np

    if not sums.any():
        return float((1 - confidence) ** (1 / len(sums)) - 1)
    mean = sizes.mean()
    ends = [
        (weight[:, :-1] @ sums - weight[:, -1] * mean) / (weight[:, :-1] @ sizes + weight[:, -1] * mean)
        for weight in _weights(len(sums), seed)
    ]
    return float(np.quantile(np.concatenate(ends), 1 - confidence))


@lru_cache(maxsize=4)
def _weights(groups: int, seed: int) -> "tuple[Floats, ...]":
    """Dirichlet weights, not yet scaled to sum to 1: [draws, clusters + 1], in batches."""
    import numpy as np

    random = np.random.default_rng(seed)
    draws = _DRAWS if groups <= 200 else _BATCH * 2
    return tuple(random.standard_exponential((_BATCH, groups + 1)) for _ in range(math.ceil(draws / _BATCH)))
