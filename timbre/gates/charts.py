"""Drawings of gates: all paired differences against their margins in one picture, and a figure against its limit."""

import math
import textwrap
from collections.abc import Sequence

from markupsafe import Markup

from timbre.gates.evidence import BASE
from timbre.gates.verdict import GateResult, shown
from timbre.page.charts import LEFT, RIGHT, clip, svg

_ROW, _AXIS, _LINE = 46, 26, 17
_LETTERS = 42
"""That stand beside one another on 340 pixels."""
_REACH = 2.0
"""Margins on either side of zero; what lies beyond stands at the edge."""
_APART = 2.0
"""Percent of the width. Ends nearer to the point than this would close it to the square that means a failure."""


def forest(gates: Sequence[GateResult], rival: str) -> Markup | None:
    """Mean and one-sided 95% bounds of every paired gate in units of its margin, right is better; None without such a gate.

    A gate that asks for an improvement has no margin: its row is scaled to itself, and closes left of zero.
    """
    drawn = sorted((gate for gate in gates if gate.paired and gate.value is not None), key=lambda gate: gate.margin is not None)
    if not drawn:
        return None
    parts: list[str] = []
    height = 0
    for gate in drawn:
        title, beside = _heading(gate)
        parts += _row(gate, height, title, beside)
        height += _ROW + _LINE * (len(title) - beside)
    for value, words in ((-1, "−1 margin"), (0, f"like {rival}"), (1, "+1 margin")):
        parts.append(f'<text class="tick" text-anchor="middle" x="{_place(value):.2f}%" y="{height + 17}">{Markup.escape(words)}</text>')
    verdicts = rival == BASE  # beside another version nothing is released or refused
    spoken = " ".join(f"{gate.title}{f', {gate.verdict}' if verdicts else ''}: {gate.sentence}" for gate in drawn)
    return svg(f"Differences to {rival} in units of their margins. {spoken}", parts, height + _AXIS)


def limit_row(gate: GateResult) -> Markup:
    """A figure against its ceiling or floor: a bar from zero, its bounds where it has any, and the limit as a line."""
    assert gate.value is not None and gate.limit is not None
    values = [gate.value, gate.limit, *(end for end in (gate.low, gate.high) if end is not None)]
    smallest = min(0.0, *values)
    span = max(0.0, *values) * 1.25 - smallest or max(*map(abs, values), 1e-12) * 1.25

    def place(value: float) -> float:
        return clip(LEFT + (RIGHT - LEFT) * (value - smallest) / span)

    start, stop = sorted((place(0.0), place(gate.value)))
    ceiling = gate.kind == "ceiling"
    edge = place(gate.limit)
    parts = [
        f'<rect class="beyond" x="{edge if ceiling else 0:.2f}%" y="0" width="{100 - edge if ceiling else edge:.2f}%" height="26"/>',
        f'<rect class="bar {gate.verdict}" x="{start:.2f}%" y="8" width="{max(stop - start, 0.6):.2f}%" height="10"/>',
        f'<line class="margin" x1="{edge:.2f}%" x2="{edge:.2f}%" y1="0" y2="26"/>',
    ]
    if gate.low is not None and gate.high is not None:
        parts.append(f'<line class="zero" x1="{place(gate.low):.2f}%" x2="{place(gate.high):.2f}%" y1="13" y2="13"/>')
    return svg(f"{gate.title}: {gate.sentence}", parts, 26)


def _heading(gate: GateResult) -> tuple[list[str], bool]:
    """The title in lines that fit a telephone, and whether the figure stands beside the last of them, not below it."""
    lines = textwrap.wrap(gate.title, _LETTERS) or [""]
    return lines, len(lines[-1]) + len(shown(gate.value or 0.0, gate, signed=True)) + 2 <= _LETTERS


def _row(gate: GateResult, top: int, title: Sequence[str], beside: bool) -> list[str]:
    """Name and figure above, interval and point below, and the side where the gate closes shaded."""
    assert gate.value is not None
    unit = gate.margin or _own_unit(gate)
    low, high = (end if end is not None else math.copysign(math.inf, sign) for end, sign in ((gate.low, -1), (gate.high, 1)))
    mark = "LOSS" if gate.measured_loss else gate.verdict
    edge = _place(-1 if gate.margin is not None else 0)
    words = top + _LINE * (len(title) - beside)
    middle, figure = words + 31, Markup.escape(shown(gate.value, gate, signed=True))
    parts = [
        f'<rect class="beyond" x="0" y="{top}" width="{edge:.2f}%" height="{words + _ROW - top}"/>',
        *(f'<text class="name" x="0.6%" y="{top + 15 + _LINE * row}">{Markup.escape(line)}</text>' for row, line in enumerate(title)),
        f'<text class="figure" x="99.4%" y="{words + 15}" text-anchor="end">{figure}</text>',
        f'<line class="reach {mark}" x1="{_place(low / unit):.2f}%" x2="{_place(high / unit):.2f}%" y1="{middle}" y2="{middle}"/>',
    ]
    for value in (low, high):
        if abs(value / unit) <= _REACH and abs(_place(value / unit) - _place(gate.value / unit)) >= _APART:
            x = f"{_place(value / unit):.2f}%"
            parts.append(f'<line class="reach {mark}" x1="{x}" x2="{x}" y1="{middle - 5}" y2="{middle + 5}"/>')
    for style, at in (("zero", _place(0)), *([("margin", edge)] if gate.margin is not None else [])):  # short of the name
        parts.insert(1, f'<line class="{style}" x1="{at:.2f}%" x2="{at:.2f}%" y1="{words + 20}" y2="{words + _ROW}"/>')
    return [*parts, _point(mark, _place(gate.value / unit), middle)]


def _point(mark: str, x: float, y: int) -> str:
    """Each verdict has a shape of its own, so that nobody needs the colours."""
    if mark == "FAIL":
        return f'<rect class="point {mark}" x="{x:.2f}%" y="{y - 5}" width="10" height="10" transform="translate(-5 0)"/>'
    if mark == "LOSS":
        return f'<text class="point {mark}" x="{x:.2f}%" y="{y + 6}" text-anchor="middle">▼</text>'
    return f'<circle class="point {mark}" cx="{x:.2f}%" cy="{y}" r="5"/>'


def _place(margins: float) -> float:
    return clip(LEFT + (RIGHT - LEFT) * (max(-_REACH, min(_REACH, margins)) / _REACH + 1) / 2)


def _own_unit(gate: GateResult) -> float:
    reach = max((abs(value) for value in (gate.value, gate.low, gate.high) if value is not None), default=0.0)
    return reach / 1.8 or 1.0
