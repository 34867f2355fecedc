"""The axis from "always told apart" to "a coin": where writers stand between a base model and human text."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from timbre.page.charts import LEFT, RIGHT, clip, svg

CHANCE = 0.5
_ALWAYS, _BEYOND = 1.0, 0.4
_ROW, _STEP, _AXIS = 24, 17, 34
_TICKS = (1.0, 0.9, 0.8, 0.7, 0.6, CHANCE)


@dataclass(frozen=True)
class Mark:
    """One writer in one row: what people call it, the class it is drawn with, its area and interval."""

    name: str
    style: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One family: its name, its writers from top to bottom, and the human floor with its interval."""

    name: str
    marks: Sequence[Mark]
    floor: Mark | None = None


def axis(rows: Sequence[Row], title: str) -> Markup | None:
    """The drawing, human text to the right, or None without a row. Each writer has a line of its own, so that none covers another."""
    if not rows:
        return None
    parts: list[str] = []
    top = 0
    for row in rows:
        marks = [*row.marks, *([row.floor] if row.floor is not None else [])]
        height = _ROW + _STEP * len(marks)
        parts.append(f'<text class="name" x="0.6%" y="{top + 15}">{Markup.escape(row.name)}</text>')
        for place, mark in enumerate(marks):
            parts += _mark(mark, top + _ROW + _STEP * place + 6)
        top += height
    edge = _place(CHANCE)
    lines = [f'<line class="tickline" x1="{_place(at):.2f}%" x2="{_place(at):.2f}%" y1="0" y2="{top}"/>' for at in _TICKS[:-1]]
    lines.append(f'<rect class="human" x="{edge:.2f}%" y="0" width="{100 - edge:.2f}%" height="{top}"/>')
    lines.append(f'<line class="zero" x1="{edge:.2f}%" x2="{edge:.2f}%" y1="0" y2="{top}"/>')
    ticks = [f'<text class="tick" text-anchor="middle" x="{_place(at):.2f}%" y="{top + 14}">{_short(at)}</text>' for at in _TICKS]
    ends = [
        f'<text class="tick" x="0.6%" y="{top + 29}">always told apart</text>',
        f'<text class="tick" text-anchor="end" x="99.4%" y="{top + 29}">chance: like human text</text>',
    ]
    return svg(f"{title}. {' '.join(_spoken(row) for row in rows)}", [*lines, *parts, *ticks, *ends], top + _AXIS)


def _mark(mark: Mark, y: int) -> list[str]:
    """Interval and point; hollow for what is not the candidate, so that nobody needs the colours."""
    x = _place(mark.value)
    parts = []
    if mark.low is not None and mark.high is not None:
        parts.append(
            f'<line class="line-{mark.style} solid" x1="{_place(mark.low):.2f}%" x2="{_place(mark.high):.2f}%" y1="{y}" y2="{y}"/>'
        )
    parts.append(f'<circle class="spot line-{mark.style}" cx="{x:.2f}%" cy="{y}" r="4.5"/>')
    words = f"{mark.name} {_short(mark.value)}"
    end = min(_place(value) for value in (mark.value, mark.low, mark.high) if value is not None)
    far = max(_place(value) for value in (mark.value, mark.low, mark.high) if value is not None)
    if far < 62:  # there is room to the right
        parts.append(f'<text class="figure" x="{far:.2f}%" dx="9" y="{y + 4}">{Markup.escape(words)}</text>')
    else:
        parts.append(f'<text class="figure" text-anchor="end" x="{end:.2f}%" dx="-9" y="{y + 4}">{Markup.escape(words)}</text>')
    return parts


def _place(value: float) -> float:
    return clip(LEFT + (RIGHT - LEFT) * (_ALWAYS - max(_BEYOND, min(_ALWAYS, value))) / (_ALWAYS - _BEYOND))


def _short(value: float) -> str:
    """Two digits, three where they are close to 1: .87, .986, 1."""
    text = f"{value:.3f}" if 0.95 <= value < 0.9995 else f"{value:.2f}"
    return "1" if value >= 0.9995 else text.lstrip("0")


def _spoken(row: Row) -> str:
    words = [f"{mark.name} {mark.value:.3f}" for mark in (*row.marks, *([row.floor] if row.floor is not None else []))]
    return f"{row.name}: {', '.join(words)}."
