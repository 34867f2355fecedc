"""Bounds on a mean whose items come in clusters: CR2 with degrees of freedom from the cluster sizes, widened by bootstrap-t."""

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from timbre.statistics.interval import Interval, cluster_index, finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BOOTSTRAP_FROM, _BOOTSTRAP_TO, _BOOTSTRAP_DRAWS = 8, 300, 2000
"""Clusters between which the bootstrap-t is added: fewer give degenerate draws, more need no help with skew."""
_LEAST_ERROR = 1e-6
"""Of a draw, in that of the sample: less is rounding, where all that was drawn is alike."""


def clustered_bound(
    differences: "Sequence[float] | Floats",
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    weights: "Sequence[float] | Floats | None" = None,
) -> Interval:
    """One-sided bounds on the (weighted) mean of paired differences whose items come in clusters.

    Args:
        differences: one value an item, better positive.
        clusters: the cluster of each item; None makes each item its own.
        confidence: of each bound.
        seed: of the bootstrap.
        weights: one positive weight an item (tokens of a passage); None weighs items equally.

    Raises:
        ValueError: empty input, lengths that differ, or a value that is not finite; the sentence names the index.
    """
    import numpy as np
    from scipy import stats

    values = finite(differences, "differences")
    weight = np.ones(len(values)) if weights is None else finite(weights, "weights")
    if len(weight) != len(values) or (weight <= 0).any():
        raise ValueError("weights must be positive, one an item")
    index, groups = cluster_index(clusters, len(values))
    share = np.bincount(index, weight, groups) / weight.sum()
    mean = float(np.average(values, weights=weight))
    if groups < 2:
        return Interval(mean, -math.inf, math.inf, len(values), groups)
    scores = np.bincount(index, weight * (values - mean), groups) / weight.sum()
    error = float(np.sqrt(np.sum(scores**2 / (1 - share))))
    below = above = float(stats.t.ppf(confidence, _degrees_of_freedom(share))) * error
    if _BOOTSTRAP_FROM <= groups <= _BOOTSTRAP_TO and error > 0:
        down, up = _bootstrap_t(scores, share, confidence, seed)
        below, above = max(below, down), max(above, up)
    return Interval(mean, mean - below, mean + above, len(values), groups)


def _degrees_of_freedom(share: "Floats") -> float:
    """Satterthwaite's degrees of freedom of the CR2 variance, if the items of a cluster move together.

    The variance is Σ_g S_g²/(1−p_g) with S = (I − p1ᵀ)u and Var u_g ∝ p_g²; for its matrix M, df = tr(M)²/tr(M²), here in closed
    form. Equal clusters give G − 1; one cluster with 40% of the weight leaves about 2, however many the others are.
    """
    import numpy as np

    w, p, s = 1 / (1 - share), share, share**2
    total = float(s.sum())
    diagonal = total * p**2 - 2 * p * s
    a, b, c = float(np.sum(w * p**2)), float(np.sum(w * p * s)), float(np.sum(w * s**2))
    trace = float(np.sum(w * (s + diagonal)))
    off = total**2 * a**2 - 4 * total * a * b + 2 * a * c + 2 * b**2
    squared = off + float(np.sum(w**2 * (s**2 + 2 * s * diagonal)))
    return trace**2 / squared


@lru_cache(maxsize=16)
def _draws(groups: int, seed: int) -> "Floats":
    """How often each cluster is drawn: [draws, clusters]. The same for every metric with as many clusters."""
    import numpy as np

    counts = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), _BOOTSTRAP_DRAWS)
    return counts.astype(np.float64)


def _bootstrap_t(scores: "Floats", share: "Floats", confidence: float, seed: int) -> tuple[float, float]:
    """Distances (down, up) of the bootstrap-t bounds from the mean; whole clusters are drawn with replacement."""
    import numpy as np

    drawn = _draws(len(scores), seed)
    weight = drawn @ share
    shift = (drawn @ scores) / weight
    squares = drawn @ scores**2 - 2 * shift * (drawn @ (scores * share)) + shift**2 * (drawn @ share**2)
    error = np.sqrt(np.maximum(squares, 0)) / weight
    scale = float(np.sqrt(np.sum(scores**2)))
    t = shift / np.maximum(error, _LEAST_ERROR * scale)
    return float(np.quantile(t, confidence)) * scale, -float(np.quantile(t, 1 - confidence)) * scale
