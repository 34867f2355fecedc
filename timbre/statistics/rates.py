"""Bounds on a share of texts: exact where texts are independent, with a design effect where they come in clusters."""

from collections.abc import Hashable, Sequence

from timbre.statistics.interval import Interval, cluster_index, finite


def rate_bound(hits: Sequence[float], clusters: Sequence[Hashable] | None = None, confidence: float = 0.95) -> Interval:
    """One-sided bounds on the share of hits, each at `confidence`.

    Clopper & Pearson (1934), the exact form: 0 of n gives an upper bound of about 3/n. In clusters the counts are divided by
    the design effect (cluster-robust over binomial variance, at least 1; Korn & Graubard 1998). Where all texts agree, or
    only one cluster differs, the effect cannot be seen, and each cluster counts as one text.

    Args:
        hits: 0 or 1 a text.
        clusters: the document or prompt of each text; None makes each its own.

    Raises:
        ValueError: empty input, unequal lengths, or a hit that is neither 0 nor 1.
    """
    import numpy as np
    from scipy import stats

    values = finite(hits, "hits")
    if len(odd := np.flatnonzero(~np.isin(values, (0.0, 1.0)))):
        raise ValueError(f"hits[{odd[0]}] is {values[odd[0]]}; a text is a hit (1) or none (0)")
    index, groups = cluster_index(clusters, len(values))
    n, mean = len(values), float(values.mean())
    if groups < 2:
        return Interval(mean, 0.0, 1.0, n, groups)
    share = np.bincount(index, minlength=groups) / n
    rare = values if mean <= 0.5 else 1 - values
    if (np.bincount(index, rare, groups) > 0).sum() < 2:
        effect = n * float(np.sum(share**2))
    else:
        scores = np.bincount(index, values - mean, groups) / n
        effect = max(1.0, float(np.sum(scores**2 / (1 - share))) / (mean * (1 - mean) / n))
    k, size = mean * n / effect, n / effect
    low = 0.0 if mean == 0 else float(stats.beta.ppf(1 - confidence, k, size - k + 1))
    high = 1.0 if mean == 1 else float(stats.beta.ppf(confidence, k + 1, size - k))
    return Interval(mean, min(low, mean), max(high, mean), n, groups)
