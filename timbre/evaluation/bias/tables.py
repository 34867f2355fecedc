"""Base and candidate beside each other, a category a row: means, their difference, and 95% intervals clustered as told.

For the paired probes of an evaluation, and for the items of public sets alike.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from timbre.statistics import clustered_bound

ALL = "all"
Row = Mapping[str, Any]


def category_table(base: Sequence[Row], candidate: Sequence[Row] | None, category: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for every metric, of all items and then of each category.

    Args:
        base, candidate: item rows {metric, item, cluster, value} of the two models; no candidate leaves its columns None.
        category: of each item.

    Returns:
        {metric, category, items, clusters, base, candidate, difference}, the last three {value, low, high} or None;
        difference = candidate − base. Bounds are None where a category has a single cluster.

    Raises:
        ValueError: the two were not measured on the same items, or an item has no category.
    """
    ours = {(row["metric"], row["item"]): row for row in base}
    theirs = None if candidate is None else {(row["metric"], row["item"]): row for row in candidate}
    if theirs is not None and ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())[0]
        raise ValueError(f"base and candidate were measured on different items, such as {odd[1]} ({odd[0]}): measure them alike")
    if unknown := [item for _, item in ours if item not in category]:
        raise ValueError(f"the item {unknown[0]} has no category: these are not the probes it was measured on")
    table = []
    for metric in dict.fromkeys(name for name, _ in ours):
        keys = sorted(key for key in ours if key[0] == metric)
        for name in (ALL, *sorted({category[item] for _, item in keys})):
            chosen = [key for key in keys if name == ALL or category[key[1]] == name]
            clusters = [str(ours[key]["cluster"]) for key in chosen]
            values = [float(ours[key]["value"]) for key in chosen]
            row: dict[str, Any] = {
                "metric": metric, "category": name, "items": len(chosen), "clusters": len(set(clusters)), "base": mean(values, clusters),
                "candidate": None, "difference": None,
            }  # fmt: skip
            if theirs is not None:
                moved = [float(theirs[key]["value"]) for key in chosen]
                row["candidate"] = mean(moved, clusters)
                row["difference"] = mean([after - before for before, after in zip(values, moved, strict=True)], clusters)
            table.append(row)
    return table


def mean(values: Sequence[float], clusters: Sequence[str]) -> dict[str, float | None]:
    """Mean with a two-sided 95% interval; bounds that are not finite are None."""
    found = clustered_bound(values, clusters, confidence=0.975)
    low, high = (bound if math.isfinite(bound) else None for bound in (found.low, found.high))
    return {"value": found.mean, "low": low, "high": high}
