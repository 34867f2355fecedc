"""What the page says of style: radar and table against human text, overused phrases, sentence lengths, token ranks.

Everything comes from the summaries of the evaluations; a key that a summary lacks leaves its picture out.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timbre.gates.evidence import BASE, Evidence
from timbre.metrics.catalogue import METRIC
from timbre.metrics.titles import title_of
from timbre.page.charts import Line, curves
from timbre.page.radar import BAND, Shape, radar

_BESIDE = "beside"
_LONGEST = 60


@dataclass(frozen=True)
class Side:
    """One writer that was measured: what people call it, the class it is drawn with, its summary."""

    name: str
    style: str
    summary: Mapping[str, Any]


def sides(evidence: Evidence, baseline: Mapping[str, Any] | None, names: tuple[str, str]) -> list[Side]:
    """The rival, the baseline where there is one, the candidate: in the order in which they are shown.

    Args:
        baseline: its summary.
        names: of baseline and candidate.
    """
    found = [Side(evidence.rival, "base", evidence.documents.get("base", {}).get("summary", {}))]
    if baseline:
        found.append(Side(names[0], "baseline", baseline))
    return [*found, Side(names[1], "candidate", evidence.documents.get("candidate", {}).get("summary", {}))]


def style_rows(measured: Sequence[Side]) -> list[dict[str, Any]]:
    """Per style metric: human value and band, the value of every side and where it lies, and the share of the rival's
    distance to human text that is gone in the candidate.

    The distance counts from the edge of the human band (mean ± 1.64σ of human split halves): 1 − excess/excess(base). Where
    the candidate's summary has gap_closed, which is against the base at its own sampler, and the base is the rival, its figures
    are shown and no others; else the base that the page shows is the one. `closed_against` says how that was sampled.
    """
    given, against = _gaps(measured)
    ours, theirs = (_figures(measured[place].summary, "style") for place in (-1, 0))
    rows = []
    for metric, figures in sorted(ours.items(), key=lambda pair: (pair[1].get("group") == _BESIDE, pair[0])):
        value, base = figures.get("value"), theirs.get(metric, {}).get("value")
        human, low, high = (figures.get(name) for name in ("human", "human_low", "human_high"))
        closed = given.get(metric) if given is not None else None
        if given is None and value is not None and base is not None and low is not None and high is not None:
            excess, excess_base = (max(0.0, low - one, one - high) for one in (value, base))
            closed = 1 - excess / excess_base if excess_base > 0 else None
        each = [_figures(side.summary, "style").get(metric, {}) for side in measured]
        rows.append(
            {
                "metric": title_of(metric), "meaning": METRIC[metric].meaning if metric in METRIC else "",
                "beside": figures.get("group") == _BESIDE, "human": human, "low": low, "high": high, "closed": closed,
                "closed_against": against,
                "sides": [{"value": one.get("value"), "place": _where(one)} for one in each],
                "plain": _plain(measured, metric),
            }
        )  # fmt: skip
    return rows


def _gaps(measured: Sequence[Side]) -> tuple[Mapping[str, Any] | None, str]:
    """The summary's gap closed a metric, or None where the page's own is to be counted; and how the base was sampled."""
    own, rival = measured[-1].summary, measured[0]
    gaps = own.get("gap_closed")
    if rival.name == BASE and isinstance(gaps, Mapping):
        return gaps, str(own.get("gap_closed_base", "at temperature 1, nothing cut off"))
    sampler = _mapping(rival.summary.get("sampler"))
    return None, f"as it is served ({sampler_in_words(sampler)})" if sampler else "as it is served"


def sampler_in_words(sampler: Mapping[str, Any]) -> str:
    """As a page says it: "temperature 0.8, top p 0.95"."""
    parts = [f"temperature {sampler.get('temperature', 1):g}"]
    parts += [f"top p {sampler['top_p']:g}"] if sampler.get("top_p", 1) != 1 else []
    parts += [f"top k {sampler['top_k']}"] if sampler.get("top_k") else []
    return ", ".join(parts)


def _plain(measured: Sequence[Side], metric: str) -> list[dict[str, Any]] | None:
    """The metric of every side's plain samples, where the candidate has them."""
    if not _figures(measured[-1].summary, "style_plain"):
        return None
    figures = [_figures(side.summary, "style_plain").get(metric, {}) for side in measured]
    return [{"value": one.get("value"), "place": _where(one)} for one in figures]


def radar_panel(measured: Sequence[Side]) -> dict[str, Any] | None:
    """The radar of all scored metrics that the candidate has a distance in, and how many each side has in the human band."""
    own = _figures(measured[-1].summary, "style")
    metrics = [name for name, figure in own.items() if figure.get("group") != _BESIDE and distance(figure) is not None]
    metrics.sort(key=lambda name: (str(own[name].get("group")), name))
    shapes = []
    for side in measured:
        figures = _figures(side.summary, "style")
        shapes.append(Shape(side.name, side.style, tuple(distance(figures.get(name, {})) for name in metrics)))
    chart = radar([title_of(name) for name in metrics], shapes, "Distance from human text")
    if chart is None:
        return None
    known = [[distance for distance in shape.distances if distance is not None] for shape in shapes]
    counts = [
        {"name": shape.name, "style": shape.style, "inside": sum(one <= BAND for one in own), "known": len(own)}
        for shape, own in zip(shapes, known, strict=True)
    ]
    return {"chart": chart, "counts": counts}


def distance(figure: Mapping[str, Any]) -> float | None:
    """How far from the human mean, in σ of human sets, whichever way; None where there is no value or no noise."""
    value, human, sigma = (figure.get(name) for name in ("value", "human", "sigma"))
    if value is None or human is None or not sigma:
        return None
    return float(abs(value - human) / sigma)


def further_from_human(measured: Sequence[Side]) -> list[str]:
    """Metrics in which the candidate lies outside the human band and further from it than the rival does, the furthest first."""
    theirs, ours = (_figures(measured[place].summary, "style") for place in (0, -1))
    found = []
    for name, figure in ours.items():
        own, other = distance(figure), distance(theirs.get(name, {}))
        if figure.get("group") != _BESIDE and own is not None and other is not None and own > max(other, BAND):
            found.append((other - own, title_of(name)))
    return [name for _, name in sorted(found)]


def overused_rows(measured: Sequence[Side]) -> list[dict[str, Any]]:
    """Phrases that the candidate uses too often, with an example cut around the phrase, and which other sides overuse them."""
    own = measured[-1].summary.get("overused") or ()
    others = {side.name: {row["phrase"] for row in side.summary.get("overused") or ()} for side in measured[:-1]}
    rows = []
    for row in own:
        also = [name for name, phrases in others.items() if row["phrase"] in phrases]
        rows.append({**row, "example": around(row.get("example", ""), row["phrase"]), "also": also})
    return rows


def around(example: str, phrase: str) -> tuple[str, str, str]:
    """Before, phrase and after; the whole sentence first where the phrase is not found as it is written."""
    whole = rf"(?<!\w){re.escape(phrase)}(?!\w)"  # "or" is not in "more"
    found = re.search(whole, example, re.IGNORECASE) or re.search(re.escape(phrase), example, re.IGNORECASE)  # lower() moves places
    return (example, "", "") if found is None else (example[: found.start()], found.group(), example[found.end() :])


def length_panel(measured: Sequence[Side]) -> dict[str, Any] | None:
    """Share of sentences of at most so many words: human text and all sides in one picture."""
    counted = {side.name: _mapping(side.summary.get("sentence_lengths")) for side in measured}
    human = next((found["human"] for found in counted.values() if found.get("human")), None)
    lines = [Line("human", "human", _cumulative(human))] if human else []
    lines += [Line(side.name, side.style, _cumulative(own)) for side in measured if (own := counted[side.name].get("own"))]
    lines = [line for line in lines if line.points]
    if not lines or not human:
        return None
    chart = curves(lines, f"Share of sentences of at most so many words, 0 to {_LONGEST}", (0, _LONGEST, 0, 1))
    medians = {line.name: next((int(x) for x, y in line.points if y >= 0.5), _LONGEST) for line in lines}
    return {"chart": chart, "lines": lines, "medians": medians, "longest": _LONGEST}


def rank_panels(measured: Sequence[Side]) -> list[dict[str, Any]]:
    """A picture a side: ranks of the tokens of unseen human text under the model, and of those that it writes itself."""
    panels = []
    for side in measured:
        ranks = _mapping(side.summary.get("ranks"))
        human, own, first = ranks.get("human"), ranks.get("sampled"), ranks.get("from")
        if not human or not own or not first or not sum(human) or not sum(own):
            continue
        used = max(place for place, counts in enumerate(zip(human, own, strict=True)) if any(counts)) + 1
        lines = [Line("human text", "human", _shares(human[:used])), Line("its own text", side.style, _shares(own[:used]))]
        top = max(y for line in lines for _, y in line.points)
        chart = curves(lines, f"{side.name}: share of tokens by rank, doubling from the likeliest", (0, max(used - 1, 1), 0, top))
        panels.append(
            {"name": side.name, "chart": chart, "lines": lines, "top": top, "last": first[used - 1],
             "firsts": tuple(100 * line.points[0][1] for line in lines)}
        )  # fmt: skip
    return panels


def _where(figure: Mapping[str, Any]) -> str:
    """Which side of the human band a value lies on: "above", "below", "" within it or where nothing is known."""
    value, low, high = (figure.get(name) for name in ("value", "human_low", "human_high"))
    if value is None or low is None or high is None:
        return ""
    return "above" if value > high else "below" if value < low else ""


def _cumulative(counts: Sequence[int]) -> tuple[tuple[float, float], ...]:
    total, seen, points = sum(counts), 0, []
    for length, count in enumerate(counts[: _LONGEST + 1] if total else ()):
        seen += count
        points.append((float(length), seen / total))
    return tuple(points)


def _shares(counts: Sequence[int]) -> tuple[tuple[float, float], ...]:
    total = math.fsum(counts)
    return tuple((float(place), count / total) for place, count in enumerate(counts))


def _figures(summary: Mapping[str, Any], key: str) -> Mapping[str, Mapping[str, Any]]:
    return {name: figure for name, figure in _mapping(summary.get(key)).items() if isinstance(figure, Mapping)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
