"""Learning curves of the page: one panel a figure, all over the same steps, from step 0 where something is known of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from timbre.page.charts import Line, curves

_PANELS = (
    ("held_out_nll", "Unseen text", "NLL, nats/token", "candidate"),
    ("loss", "Training loss", "{objective}, nats/token", "train"),
    ("replay_loss", "Replay loss", "NLL of general answers, nats/token", "train"),
)
_LOSSES = {"forward_kl": "KL to the target", "sft": "NLL"}


@dataclass(frozen=True)
class Panel:
    """A curve with what stands at its corners."""

    title: str
    unit: str
    line: Line
    chart: Markup
    last: int
    low: float
    high: float


def learning_panels(curve: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], objective: str) -> list[Panel]:
    """The curves that were written.

    Args:
        curve: lines of curve.jsonl.
        summary: of the adapter: "held_out_nll_before" is the first point of what unseen text costs, before any step.
        objective: what the loss is, by its name in the configuration.
    """
    panels = []
    last = max((int(row["step"]) for row in curve), default=0)
    for field, title, unit, style in _PANELS:
        points = [(float(row["step"]), float(row[field])) for row in curve if _is_finite(row.get(field))]
        before = summary.get("held_out_nll_before")
        if field == "held_out_nll" and points and points[0][0] > 0 and _is_finite(before):
            points.insert(0, (0.0, float(before)))  # type: ignore[arg-type]
        if not points:
            continue
        line = Line(title, style, tuple(points))
        low, high = (bound(value for _, value in points) for bound in (min, max))
        words = unit.format(objective=_LOSSES.get(objective, objective.replace("_", " ")))
        chart = curves([line], f"{title} ({words}) over steps 0 to {last}", (0, last, low, high))
        panels.append(Panel(title, words, line, chart, last, low, high))
    return panels


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
