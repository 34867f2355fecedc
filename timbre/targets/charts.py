"""The admission's pictures: self-contained SVG files beside `admission.json`; the same scores give the same bytes.

calibration.svg   how often the likeliest token was right, by how sure the reference distribution was of it
support.svg       how many choices the reference distribution leaves open
documents.svg     what each validation document says: nats a token gained over the un-adapted model
"""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from timbre.corpus.passages import Passage
from timbre.targets.admission import BINS, confidence_bins
from timbre.targets.scoring import PassageScores

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 360, 64, 48, 44
_INK, _FAINT, _BLUE, _RED = "#26323b", "#d7dde2", "#2f6f9f", "#b4473a"
_SUPPORT_EDGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
_SHOWN_DOCUMENTS = 40


def pictures(passages: Sequence[Passage], base: Sequence[PassageScores], folds: Sequence[Sequence[PassageScores]]) -> dict[str, str]:
    """SVG text by file name, from what `timbre.targets.admission.judge` is given."""
    every = [scores for fold in folds for scores in fold]
    confidence = np.concatenate([scores.best_probs_N for scores in every]).astype(np.float64)
    correct = np.concatenate([scores.best_ids_N == scores.observed_N for scores in every]).astype(np.float64)
    support = np.exp(np.concatenate([scores.entropy_N for scores in every]).astype(np.float64))
    return {
        "calibration.svg": calibration(confidence, correct),
        "support.svg": support_histogram(support),
        "documents.svg": document_gains(gains_by_document(passages, base, folds)),
    }


def gains_by_document(
    passages: Sequence[Passage], base: Sequence[PassageScores], folds: Sequence[Sequence[PassageScores]]
) -> dict[str, float]:
    """Mean nats a token of each document by which the reference distribution is better than the un-adapted model, best first."""
    total: dict[str, list[float]] = {}
    for place, passage in enumerate(passages):
        gain = float(np.mean([fold[place].log_probs_N.sum(dtype=np.float64) for fold in folds])) - float(
            base[place].log_probs_N.sum(dtype=np.float64)
        )
        sums = total.setdefault(passage.doc_id, [0.0, 0.0])
        sums[0] += gain
        sums[1] += len(base[place])
    means = {name: gain / tokens for name, (gain, tokens) in total.items()}
    return dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))


def calibration(confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.float64]) -> str:
    """Accuracy over confidence in 15 bins; a dot's area is the share of positions, the diagonal is what it should be."""
    bins = confidence_bins(confidence)
    counts = np.bincount(bins, minlength=BINS)
    parts = [_line(_x(0), _y(0), _x(1), _y(1), _INK, dash=True)]
    spoken = []
    for place in np.flatnonzero(counts):
        sure, right = confidence[bins == place].mean(), correct[bins == place].mean()
        radius = 3 + 16 * float(np.sqrt(counts[place] / counts.sum()))
        title = f"sure {sure:.0%}, right {right:.0%}, {counts[place]} positions"
        parts.append(
            f'<circle cx="{_x(sure):.1f}" cy="{_y(right):.1f}" r="{radius:.1f}" fill="{_BLUE}" fill-opacity=".65">'
            f"<title>{title}</title></circle>"
        )
        spoken.append(title)
    ticks = [(value, f"{value:.0%}") for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return _picture(
        "Is the reference distribution as sure as it is right?", parts, ticks, ticks, "sure of the likeliest token", "right", spoken
    )


def support_histogram(support: npt.NDArray[np.float64]) -> str:
    """Share of positions by effective support exp(H)."""
    edges = np.array([*_SUPPORT_EDGES, np.inf])
    counts = np.histogram(np.maximum(support, 1.0), edges)[0] / len(support)
    top = max(float(counts.max()), 1e-9)
    width = 1 / len(counts)
    parts, spoken, ticks = [], [], []
    for place, share in enumerate(counts):
        name = (
            f"{_SUPPORT_EDGES[place]}–{_SUPPORT_EDGES[place + 1]}" if place + 1 < len(_SUPPORT_EDGES) else f"over {_SUPPORT_EDGES[place]}"
        )
        parts.append(
            f'<rect x="{_x((place + 0.08) * width):.1f}" y="{_y(share / top):.1f}" width="{0.84 * width * (_x(1) - _x(0)):.1f}" '
            f'height="{_y(0) - _y(share / top):.1f}" fill="{_BLUE}"><title>{name} choices: {share:.1%} of positions</title></rect>'
        )
        spoken.append(f"{name} choices {share:.1%}")
        ticks.append((place * width, str(_SUPPORT_EDGES[place])))
    levels = [(value, f"{value * top:.0%}") for value in (0.0, 0.5, 1.0)]
    return _picture(
        "How many choices are left open?", parts, ticks, levels, "effective support exp(H), tokens", "share of positions", spoken
    )


def document_gains(gains: Mapping[str, float]) -> str:
    """One bar a document, the best and the worst where there are many."""
    names = list(gains)
    if len(names) > _SHOWN_DOCUMENTS:
        names = names[: _SHOWN_DOCUMENTS // 2] + names[-_SHOWN_DOCUMENTS // 2 :]
    low, high = min([0.0, *(gains[name] for name in names)]), max([0.0, *(gains[name] for name in names)])
    span = high - low or 1e-9

    def height(value: float) -> float:
        return _y((value - low) / span)

    parts, spoken, width = [_line(_x(0), height(0), _x(1), height(0), _INK)], [], 1 / len(names)
    for place, name in enumerate(names):
        gain = gains[name]
        top, bottom = sorted((height(gain), height(0)))
        parts.append(
            f'<rect x="{_x((place + 0.1) * width):.1f}" y="{top:.1f}" width="{0.8 * width * (_x(1) - _x(0)):.1f}" '
            f'height="{max(bottom - top, 0.5):.1f}" fill="{_BLUE if gain >= 0 else _RED}"><title>{escape(name)}: {gain:+.3f}</title></rect>'
        )
        spoken.append(f"{name} {gain:+.3f}")
    marks = [0.0, *(end for end in (low, high) if abs(end) > 0.1 * span)]  # closer ones would be written over each other
    ticks = [((value - low) / span, f"{value:+.2f}") for value in marks]
    shown = "unseen documents" if len(names) == len(gains) else f"{len(names)} of {len(gains)} unseen documents, the best and the worst"
    return _picture("What does each document gain over the base model?", parts, [], ticks, shown, "nats a token", spoken)


def _picture(
    title: str, parts: Sequence[str], x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], x_name: str, y_name: str,
    spoken: Sequence[str],
) -> str:  # fmt: skip
    grid = [
        _line(_x(0), _y(value), _x(1), _y(value), _FAINT) + _text(_LEFT - 8, _y(value) + 4, label, anchor="end") for value, label in y_ticks
    ]
    grid += [_text(_x(value), _HEIGHT - _BOTTOM + 18, label, anchor="middle") for value, label in x_ticks]
    names = [
        _text(_LEFT, 24, title, size=16),
        _text(_x(1), _HEIGHT - 8, x_name, anchor="end"),
        f'<text x="14" y="{_y(0.5):.0f}" font-size="12" fill="{_INK}" text-anchor="middle" '
        f'transform="rotate(-90 14 {_y(0.5):.0f})">{escape(y_name)}</text>',
    ]
    label = escape(f"{title} {'; '.join(spoken)}.")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'font-family="Georgia, serif"><title>{label}</title><rect width="100%" height="100%" fill="#fff"/>'
        + "".join([*grid, *parts, *names])
        + "</svg>\n"
    )


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - 20)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: bool = False) -> str:
    dashes = ' stroke-dasharray="5 4"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{_INK}" text-anchor="{anchor}">{escape(text)}</text>'
