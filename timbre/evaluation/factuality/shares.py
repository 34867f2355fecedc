"""Means of items with an interval that also holds where every item is alike."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from timbre.statistics import bootstrap_interval, upper_bound_rate

Row = dict[str, Any]


def share(values: Sequence[float], clusters: Sequence[Hashable], seed: int = 0) -> Row:
    """Mean of figures in [0, 1] with its two-sided 95% interval by cluster: {value, low, high, items, clusters}.

    Where all items are 0, or all 1, the bootstrap sees no noise; then each cluster counts as one draw and the bound is
    Clopper and Pearson's. With one cluster nothing is known: 0 to 1.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    interval = bootstrap_interval(values, clusters, seed=seed)
    low, high = max(interval.low, 0.0), min(interval.high, 1.0)
    if interval.clusters < 2:
        low, high = 0.0, 1.0
    elif len(set(values)) == 1 and values[0] in (0, 1):
        reach = upper_bound_rate(0, interval.clusters, 0.975)
        low, high = (0.0, reach) if values[0] == 0 else (1 - reach, 1.0)
    return {"value": interval.mean, "low": low, "high": high, "items": interval.n, "clusters": interval.clusters}


def by(groups: Iterable[str], values: Sequence[float], clusters: Sequence[Hashable], seed: int = 0) -> dict[str, Row]:
    """`share` of every group, in alphabetical order."""
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    return {
        group: share([values[place] for place in places], [clusters[place] for place in places], seed)
        for group, places in sorted(members.items())
    }


def lookup(rows: Iterable[Mapping[str, Any]], metric: str) -> dict[str, tuple[str, float]]:
    """item -> (cluster, value) of one metric."""
    return {row["item"]: (row["cluster"], float(row["value"])) for row in rows if row["metric"] == metric}
