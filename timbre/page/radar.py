"""A radar of distances from human text: the centre is human, the disc is the human band, far out is far from human.

Distances are without sign, in σ of human sets, and shrink towards the rim (logarithmically), so that a metric at 40σ leaves
one at 2σ visible. The words at the rim scale with the drawing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from timbre.page.charts import scaled

BAND = 1.64
LEAST_AXES = 3
_WIDTH, _HEIGHT, _REACH = 520, 424, 164
_RINGS = (4, 10, 25, 60, 150)


@dataclass(frozen=True)
class Shape:
    """One writer: a distance an axis (None where it has none), drawn with the class `line-<style>`."""

    name: str
    style: str
    distances: tuple[float | None, ...]


def radar(axes: Sequence[str], shapes: Sequence[Shape], title: str) -> Markup | None:
    """The drawing, or None with fewer than three axes.

    Args:
        axes: what stands at the rim, clockwise from the top.
        shapes: as many distances each as there are axes, not negative; the last one is drawn on top.
    """
    assert all(len(shape.distances) == len(axes) for shape in shapes)
    if len(axes) < LEAST_AXES:
        return None
    most = max([10.0, *(distance for shape in shapes for distance in shape.distances if distance is not None)])
    parts = [f'<circle class="disc" cx="{_WIDTH / 2}" cy="{_HEIGHT / 2}" r="{_radius(BAND, most):.1f}"/>']
    for place, axis in enumerate(axes):
        x, y = _point(place, len(axes), _REACH)
        parts.append(f'<line class="spoke" x1="{_WIDTH / 2}" y1="{_HEIGHT / 2}" x2="{x:.1f}" y2="{y:.1f}"/>')
        parts.append(_rim(axis, place, len(axes)))
    parts += [_shape(shape, most) for shape in shapes]
    for ring in (BAND, *(ring for ring in _RINGS if ring <= most)):
        radius = _radius(ring, most)
        x, y = _point(0.5, len(axes), radius)  # between two spokes, where no corner lies
        parts.append(f'<circle class="ring" cx="{_WIDTH / 2}" cy="{_HEIGHT / 2}" r="{radius:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{y + 4:.1f}">{ring:.2g}σ</text>')
    return scaled(f"{title}. {' '.join(_words(shape, axes) for shape in shapes)}", parts, _WIDTH, _HEIGHT, "radar")


def _words(shape: Shape, axes: Sequence[str]) -> str:
    known = [(distance, axis) for distance, axis in zip(shape.distances, axes, strict=True) if distance is not None]
    inside = sum(distance <= BAND for distance, _ in known)
    furthest = ", ".join(f"{axis} {distance:.1f}σ" for distance, axis in sorted(known, key=lambda pair: (-pair[0], pair[1]))[:3])
    return f"{shape.name}: {inside} of {len(known)} metrics in the human band, furthest {furthest}." if known else f"{shape.name}: none."


def _shape(shape: Shape, most: float) -> str:
    points = [
        _point(place, len(shape.distances), _radius(distance, most))
        for place, distance in enumerate(shape.distances)
        if distance is not None
    ]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle class="corner line-{shape.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
    return f'<polygon class="line-{shape.style}" points="{corners}"/>{dots}'


def _rim(axis: str, place: int, count: int) -> str:
    """A name in one or two lines, beside the end of its spoke."""
    x, y = _point(place, count, _REACH + 12)
    side = (x - _WIDTH / 2) / _REACH
    anchor = "start" if side > 0.1 else "end" if side < -0.1 else "middle"
    lines = _halves(axis)
    top = y + 4 - 7 * (len(lines) - 1) * (1 + (y - _HEIGHT / 2 < -0.8 * _REACH) - (y - _HEIGHT / 2 > 0.8 * _REACH))
    spans = "".join(f'<tspan x="{x:.1f}" y="{top + 14 * row:.1f}">{Markup.escape(line)}</tspan>' for row, line in enumerate(lines))
    return f'<text class="rim" text-anchor="{anchor}">{spans}</text>'


def _halves(axis: str) -> list[str]:
    """Cut at the space that leaves the shorter longest line."""
    words = axis.split(" ")
    cuts = [[" ".join(words[:cut]), " ".join(words[cut:])] for cut in range(1, len(words))]
    return [axis] if len(axis) <= 9 or not cuts else min(cuts, key=lambda lines: max(map(len, lines)))


def _point(place: float, count: int, radius: float) -> tuple[float, float]:
    angle = 2 * math.pi * place / count
    return _WIDTH / 2 + radius * math.sin(angle), _HEIGHT / 2 - radius * math.cos(angle)


def _radius(distance: float, most: float) -> float:
    return _REACH * math.log1p(min(distance, most) / BAND) / math.log1p(most / BAND)
