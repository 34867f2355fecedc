"""Drawings of gates: a paired difference against its margin, a figure against its limit."""

import math

from markupsafe import Markup

from timbre.gates.verdict import GateResult
from timbre.page.charts import LEFT, RIGHT, clip, svg


def forest_row(gate: GateResult) -> Markup:
    """Mean and one-sided bounds of a paired gate on an axis of margins: zero and −margin stand at the same place in every row."""
    assert gate.value is not None
    unit = gate.margin or _own_unit(gate)
    low, high = (end if end is not None else math.copysign(math.inf, sign) for end, sign in ((gate.low, -1), (gate.high, 1)))

    def place(value: float) -> float:
        return clip(LEFT + (RIGHT - LEFT) * (value / unit + 2) / 4)

    parts = [f'<line class="zero" x1="{place(0):.2f}%" x2="{place(0):.2f}%" y1="0" y2="34"/>']
    if gate.margin is not None:
        edge = place(-gate.margin)
        parts.insert(0, f'<rect class="beyond" x="0" y="0" width="{edge:.2f}%" height="34"/>')
        parts.append(f'<line class="margin" x1="{edge:.2f}%" x2="{edge:.2f}%" y1="0" y2="34"/>')
    parts.append(f'<line class="reach {gate.verdict}" x1="{place(low):.2f}%" x2="{place(high):.2f}%" y1="17" y2="17"/>')
    for end, value in (("low", low), ("high", high)):
        if abs(value / unit) <= 2:
            x = f"{place(value):.2f}%"
            parts.append(f'<line class="reach {gate.verdict} {end}" x1="{x}" x2="{x}" y1="11" y2="23"/>')
    parts.append(f'<circle class="point {gate.verdict}" cx="{place(gate.value):.2f}%" cy="17" r="5"/>')
    return svg(f"{gate.title}: {gate.sentence}", parts, 34)


def limit_row(gate: GateResult) -> Markup:
    """A figure against its ceiling or floor: a bar from zero, and the limit as a line."""
    assert gate.value is not None and gate.limit is not None
    span = max(abs(gate.value), abs(gate.limit), 1e-12) * 1.25
    smallest = min(0.0, gate.value, gate.limit)
    span = max(gate.value, gate.limit, 0.0) * 1.25 - smallest or span

    def place(value: float) -> float:
        return clip(LEFT + (RIGHT - LEFT) * (value - smallest) / span)

    start, stop = sorted((place(0.0), place(gate.value)))
    ceiling = gate.kind == "ceiling"
    edge = place(gate.limit)
    shade = f'<rect class="beyond" x="{edge if ceiling else 0:.2f}%" y="0" width="{100 - edge if ceiling else edge:.2f}%" height="34"/>'
    bar = f'<rect class="bar {gate.verdict}" x="{start:.2f}%" y="12" width="{max(stop - start, 0.6):.2f}%" height="10"/>'
    line = f'<line class="margin" x1="{edge:.2f}%" x2="{edge:.2f}%" y1="0" y2="34"/>'
    return svg(f"{gate.title}: {gate.sentence}", [shade, bar, line], 34)


def _own_unit(gate: GateResult) -> float:
    reach = max((abs(value) for value in (gate.value, gate.low, gate.high) if value is not None), default=0.0)
    return reach / 1.8 or 1.0
