"""Drawings of the report: plain SVG that stretches with the page and takes its colours from the page's style sheet.

Horizontal places are percentages, so that a drawing fits 400 pixels and 1,200 alike without its strokes changing; words stand
beside the drawings, in HTML. Every drawing carries its text alternative.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from timbre.gates.verdict import GateResult

_LEFT, _RIGHT = 4.0, 96.0


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y), drawn with the class `line-<style>`."""

    name: str
    style: str
    points: tuple[tuple[float, float], ...]


def forest_row(gate: GateResult) -> Markup:
    """Mean and one-sided bounds of a paired gate on an axis of margins: zero and −margin stand at the same place in every row."""
    assert gate.value is not None
    unit = gate.margin or _own_unit(gate)
    low, high = (end if end is not None else math.copysign(math.inf, sign) for end, sign in ((gate.low, -1), (gate.high, 1)))

    def place(value: float) -> float:
        return _clip(_LEFT + (_RIGHT - _LEFT) * (value / unit + 2) / 4)

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
    return _svg(f"{gate.title}: {gate.sentence}", parts, 34)


def limit_row(gate: GateResult) -> Markup:
    """A figure against its ceiling or floor: a bar from zero, and the limit as a line."""
    assert gate.value is not None and gate.limit is not None
    span = max(abs(gate.value), abs(gate.limit), 1e-12) * 1.25
    smallest = min(0.0, gate.value, gate.limit)
    span = max(gate.value, gate.limit, 0.0) * 1.25 - smallest or span

    def place(value: float) -> float:
        return _clip(_LEFT + (_RIGHT - _LEFT) * (value - smallest) / span)

    start, stop = sorted((place(0.0), place(gate.value)))
    ceiling = gate.kind == "ceiling"
    edge = place(gate.limit)
    shade = f'<rect class="beyond" x="{edge if ceiling else 0:.2f}%" y="0" width="{100 - edge if ceiling else edge:.2f}%" height="34"/>'
    bar = f'<rect class="bar {gate.verdict}" x="{start:.2f}%" y="12" width="{max(stop - start, 0.6):.2f}%" height="10"/>'
    line = f'<line class="margin" x1="{edge:.2f}%" x2="{edge:.2f}%" y1="0" y2="34"/>'
    return _svg(f"{gate.title}: {gate.sentence}", [shade, bar, line], 34)


def curves(lines: Sequence[Line], title: str) -> Markup:
    """Line chart without words; `bounds` gives the numbers that belong at its corners."""
    x_low, x_high, y_low, y_high = bounds(lines)
    width, height = x_high - x_low or 1.0, y_high - y_low or 1.0
    parts = ['<g class="grid">' + "".join(f'<line x1="0" x2="1000" y1="{y}" y2="{y}"/>' for y in (0, 100, 200, 300)) + "</g>"]
    for line in lines:
        path = " ".join(f"{1000 * (x - x_low) / width:.1f},{300 - 300 * (y - y_low) / height:.1f}" for x, y in line.points)
        parts.append(f'<polyline class="line-{line.style}" points="{path}"/>')
    spoken = "; ".join(f"{line.name} from {line.points[0][1]:.3f} to {line.points[-1][1]:.3f}" for line in lines)
    label = Markup.escape(f"{title}: {spoken}.")
    return Markup(
        f'<svg role="img" aria-label="{label}" class="curves" viewBox="-4 -6 1008 312" preserveAspectRatio="none">{"".join(parts)}</svg>'
    )


def bounds(lines: Sequence[Line]) -> tuple[float, float, float, float]:
    """Smallest and largest x, then y, of all lines."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    return min(xs), max(xs), min(ys), max(ys)


def _own_unit(gate: GateResult) -> float:
    reach = max((abs(value) for value in (gate.value, gate.low, gate.high) if value is not None), default=0.0)
    return reach / 1.8 or 1.0


def _clip(percent: float) -> float:
    return min(100.0, max(0.0, percent))


def _svg(label: str, parts: Sequence[str], height: int) -> Markup:
    return Markup(f'<svg role="img" aria-label="{Markup.escape(label)}" width="100%" height="{height}">{"".join(parts)}</svg>')
