"""Drawings of pages: plain SVG that stretches with the page and takes its colours from the page's style sheet.

Horizontal places are percentages, so that a drawing fits 400 pixels and 1,200 alike without its strokes changing; words stand
beside the drawings, in HTML. Every drawing carries its text alternative.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

LEFT, RIGHT = 4.0, 96.0


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y), drawn with the class `line-<style>`."""

    name: str
    style: str
    points: tuple[tuple[float, float], ...]


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


def clip(percent: float) -> float:
    """Within the drawing."""
    return min(100.0, max(0.0, percent))


def svg(label: str, parts: Sequence[str], height: int) -> Markup:
    """A drawing as wide as the page, with its text alternative; `parts` are elements."""
    return Markup(f'<svg role="img" aria-label="{Markup.escape(label)}" width="100%" height="{height}">{"".join(parts)}</svg>')


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

    parts = ['<g class="grid">' + "".join(f'<line x1="0" x2="1000" y1="{y}" y2="{y}"/>' for y in (0, 100, 200, 300)) + "</g>"]
    spoken = []
    for values, style, name in ((first, "train", names[0]), (second, "held-out", names[1])):
        if values:
            parts.append(f'<polyline class="line-{style}" points="{path(values)}"/>')
            ordered = sorted(values)
            quartiles = ", ".join(f"{ordered[min(len(ordered) - 1, math.floor(len(ordered) * q))]:g}" for q in (0.25, 0.5, 0.75))
            spoken.append(f"{name} quartiles {quartiles}")
    label = Markup.escape(f"{title}: {'; '.join(spoken) or 'no figures'}.")
    return Markup(
        f'<svg role="img" aria-label="{label}" class="curves" viewBox="-4 -6 1008 312" preserveAspectRatio="none">{"".join(parts)}</svg>'
    )
