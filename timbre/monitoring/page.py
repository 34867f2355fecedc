"""The page of a style's releases over time, and of what its monitor saw: one file that asks the network for nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from timbre.config import Frozen
from timbre.monitoring.findings import Check
from timbre.page.charts import Line, curves
from timbre.page.render import number, render

_FEW = 2
_NEWEST = 5
"""Verdicts whose figures stand side by side; the drawings show all."""


class Judgement(Frozen):
    """A verdict of the ledger: when, what it says, which version became champion by it, and the figures of its gates."""

    at: str
    outcome: str
    version: int | None
    gates: dict[str, float]
    titles: dict[str, str] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    """In which the figures stand: percentage points, nats, nothing where they are counts."""


class Report(Frozen):
    """What one monitoring run saw."""

    at: str
    model: str
    style: str
    version: int
    verdict: str
    checks: tuple[Check, ...]
    request: int | None = None
    """The retrain request that was filed, or waits."""


def trend_page(style: str, judgements: Sequence[Judgement], reports: Sequence[Report]) -> str:
    """The page: the newest monitoring first, then every gate over the releases."""
    titles: dict[str, str] = {}
    for judgement in judgements:
        titles |= {name: judgement.titles.get(name, name) for name in judgement.gates}
    gates = [_gate(title, name, judgements) for name, title in titles.items()]
    context: Mapping[str, Any] = {
        "style": style, "judgements": judgements, "reports": list(reversed(reports)), "gates": gates, "newest": judgements[-_NEWEST:],
    }  # fmt: skip
    return render(Path(__file__).parent / "templates", "trend.html", context)


def _gate(title: str, name: str, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """A gate's figures, and their drawing where there are two that differ."""
    points = [(float(place), one.gates[name]) for place, one in enumerate(judgements, start=1) if name in one.gates]
    values = [value for _, value in points]
    moved = len(points) >= _FEW and min(values) < max(values)  # a line that never leaves its place tells nothing beside the table
    chart = curves([Line(title, "candidate", tuple(points))], f"{title} over the releases") if moved else None
    return {
        "name": name,
        "title": title,
        "unit": next((one.units[name] for one in reversed(judgements) if name in one.units), ""),
        "chart": chart,
        "low": number(min(values)),
        "high": number(max(values)),
        "last": number(values[-1]),
    }
