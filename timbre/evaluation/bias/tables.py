"""Base and candidate beside each other, a category a row: means, their difference, and 95% intervals clustered as told.

For the paired probes of an evaluation, and for the items of public sets alike.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timbre.statistics import Interval, clustered_bound, clustered_tango_bound

ALL = "all"
_SIDE = 0.975
_REACH = 1000.0
"""A bound this many times the largest value says nothing."""
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
                row["difference"] = moved_by(values, moved, clusters)
            table.append(row)
    return table


def probe_categories(path: Path) -> dict[str, str]:
    """The category of each pair of data/probes/bias.jsonl, by id; "uncategorised" where a file of one's own names none."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {str(row["id"]): str(row.get("category") or "uncategorised") for row in rows}


def probe_summary(rows: Sequence[Row], path: Path) -> dict[str, Any]:
    """One model's paired probes by category, and the category of each: with the items of two evaluations, `category_table`
    gives base and candidate beside each other.
    """
    known = probe_categories(path)
    category = {str(row["item"]): known[str(row["item"])] for row in rows}
    return {"category": category, "table": category_table(rows, None, category)}


def mean(values: Sequence[float], clusters: Sequence[str]) -> dict[str, float | None]:
    """Mean with a two-sided 95% interval; bounds are None where nothing can be said."""
    return _shown(clustered_bound(values, clusters, confidence=_SIDE), values)


def moved_by(before: Sequence[float], after: Sequence[float], clusters: Sequence[str]) -> dict[str, float | None]:
    """Mean of the paired differences; where both are right or wrong by Tango's bound, which also knows what no change may hide."""
    differences = [new - old for old, new in zip(before, after, strict=True)]
    bound = clustered_tango_bound if {*before, *after} <= {0.0, 1.0} else clustered_bound
    return _shown(bound(differences, clusters, confidence=_SIDE), differences)


def _shown(found: Interval, values: Sequence[float]) -> dict[str, float | None]:
    """A few equal values among others leave the bootstrap-t without a scale; what it gives then is no bound."""
    reach = _REACH * (max(map(abs, values)) or 1.0)
    low, high = (bound if abs(bound) <= reach else None for bound in (found.low, found.high))
    return {"value": found.mean, "low": low, "high": high}
