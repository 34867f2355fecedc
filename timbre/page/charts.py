"""Drawings of pages: plain SVG that stretches with the page and takes its colours from the page's style sheet.

Horizontal places are percentages, so that a drawing fits 400 pixels and 1,200 alike without its strokes changing; words stand
beside the drawings, in HTML. Every drawing carries its text alternative.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

LEFT, RIGHT = 4.0, 96.0
_FEW = 40
_GRID = '<g class="grid">' + "".join(f'<line x1="0" x2="1000" y1="{y}" y2="{y}"/>' for y in (0, 100, 200, 300)) + "</g>"


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y), drawn with the class `line-<style>`."""

    name: str
    style: str
    points: tuple[tuple[float, float], ...]


def curves(lines: Sequence[Line], title: str, within: tuple[float, float, float, float] | None = None) -> Markup:
    """Line chart without words; `within`, or else `bounds`, gives the numbers that belong at its corners."""
    x_low, x_high, y_low, y_high = within or bounds(lines)
    width, height = x_high - x_low or 1.0, y_high - y_low or 1.0
    parts = [_GRID]
    for line in lines:
        places = [(1000 * (x - x_low) / width, 300 - 300 * (y - y_low) / height) for x, y in line.points]
        parts.append(f'<polyline class="line-{line.style}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
        if len(places) <= _FEW:  # a round cap on a line without length: a dot that stretching leaves round
            parts.append(f'<path class="dot line-{line.style}" d="{" ".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)}"/>')
    spoken = "; ".join(f"{line.name} from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}" for line in lines)
    return stretched(f"{title}: {spoken}.", parts)


def bounds(lines: Sequence[Line]) -> tuple[float, float, float, float]:
    """Smallest and largest x, then y, of all lines."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    return min(xs), max(xs), min(ys), max(ys)


def clip(percent: float) -> float:
    """Within the drawing."""
    return min(100.0, max(0.0, percent))


def svg(label: str, parts: Sequence[str], height: int) -> Markup:
    """A drawing as wide as the page, with its text alternative; `parts` are elements."""
    return _spoken(label, f'width="100%" height="{height}"', parts)


def stretched(label: str, parts: Sequence[str]) -> Markup:
    """A drawing of 1,000 by 300 that fills whatever room the style sheet gives it."""
    return _spoken(label, 'class="curves" viewBox="-8 -8 1016 316" preserveAspectRatio="none"', parts)


def scaled(label: str, parts: Sequence[str], width: int, height: int, kind: str) -> Markup:
    """A drawing that keeps its shape, words and all; `kind` is its class."""
    return _spoken(label, f'class="{kind}" viewBox="0 0 {width} {height}"', parts)


def _spoken(label: str, attributes: str, parts: Sequence[str]) -> Markup:
    words = Markup.escape(label)
    return Markup(f'<svg role="img" aria-label="{words}" {attributes}><title>{words}</title>{"".join(parts)}</svg>')  # nosec B704: escaped above, and parts of ours


def band_row(label: str, sigmas: float | None, low: float | None, high: float | None, mark: str, reach: float = 6.0) -> Markup:
    """A figure and its interval in units of human noise; the human band (±1.64) is shaded, what lies beyond `reach` stands at the edge."""
    middle = (LEFT + RIGHT) / 2

    def place(value: float) -> float:
        return clip(middle + (RIGHT - LEFT) / 2 * max(-1.0, min(1.0, value / reach)))

    left, right = place(-1.64), place(1.64)
    parts = [
        f'<rect class="human" x="{left:.2f}%" y="0" width="{right - left:.2f}%" height="22"/>',
        f'<line class="zero" x1="{place(0):.2f}%" x2="{place(0):.2f}%" y1="0" y2="22"/>',
    ]
    if low is not None and high is not None:
        parts.append(f'<line class="reach {mark}" x1="{place(low):.2f}%" x2="{place(high):.2f}%" y1="11" y2="11"/>')
    if sigmas is not None:
        parts.append(f'<circle class="point {mark}" cx="{place(sigmas):.2f}%" cy="11" r="4.5"/>')
    return svg(label, parts, 22)


def steps(first: Sequence[float], second: Sequence[float], title: str, names: tuple[str, str]) -> Markup:
    """Two cumulative distributions of whole numbers as steps, the second accented; the label speaks their quartiles."""
    most = max([*first, *second, 1])

    def path(values: Sequence[float]) -> str:
        ordered, points = sorted(values), ["0,300"]
        for rank, value in enumerate(ordered, start=1):
            if rank == len(ordered) or ordered[rank] != value:
                points.append(f"{1000 * value / most:.1f},{300 - 300 * rank / len(ordered):.1f}")
        return " ".join(points)

    parts, spoken = [_GRID], []
    for values, style, name in ((first, "train", names[0]), (second, "held-out", names[1])):
        if values:
            parts.append(f'<polyline class="line-{style}" points="{path(values)}"/>')
            ordered = sorted(values)
            quartiles = ", ".join(f"{ordered[min(len(ordered) - 1, math.floor(len(ordered) * q))]:g}" for q in (0.25, 0.5, 0.75))
            spoken.append(f"{name} quartiles {quartiles}")
    return stretched(f"{title}: {'; '.join(spoken) or 'no figures'}.", parts)
