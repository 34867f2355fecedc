"""The page of a comparison of texts: one file that asks the network for nothing."""

from pathlib import Path
from typing import Any

from timbre.metrics.apart_panel import Writer, apart_panel, in_words
from timbre.metrics.catalogue import GROUPS, METRIC
from timbre.metrics.comparison import Comparison
from timbre.metrics.comparison_verdict import in_sets
from timbre.metrics.measuring import Figure, figure_row
from timbre.metrics.texts import told_unread
from timbre.metrics.titles import title_of
from timbre.page.charts import band_row, steps
from timbre.page.render import number, render

_MARK = {"inside": "PASS", "outside": "FAIL", "unclear": "INCONCLUSIVE"}
_VERDICT = {"not told apart": "PASS", "told apart": "FAIL", "INCONCLUSIVE": "INCONCLUSIVE"}
_HEADLINES = {
    "not told apart": "These texts are not told apart from the human ones.",
    "told apart": "These texts are told apart from the human ones.",
}
_REASONS = {
    "few": "There is too little text to tell.",
    "short": "Too many of these texts end early to tell.",
    "documents": "There are too few documents to tell.",
    "empty": "Too many of these texts are empty to tell.",
    "shared": "The same texts stand on both sides.",
    "same": "The same texts stand on both sides, in another layout.",
}
_WORDS = {"inside": "within the human band", "outside": "{} the human band", "unclear": "perhaps {} the human band"}


def write_page(comparison: Comparison, path: Path, names: tuple[str, str]) -> None:
    """Write the page; `names` are what the texts and the human texts are called on it."""
    path.write_text(render(Path(__file__).parent / "templates", "against.html", page_context(comparison, names)), encoding="utf-8")


def place_in_words(figure: Figure) -> str:
    """Where a figure lies, and on which side where it is not within the human band; or that there is none, which counts as outside."""
    if figure.value is None:
        return "these texts give no such figure, which counts as outside"
    return _WORDS[figure.place].format(side_of_human(figure))


def side_of_human(figure: Figure) -> str:
    """The side of the human band, "above" or "below"; "outside" where the interval passes both its ends, or there is no value."""
    both = figure.interval is not None and figure.interval.low < figure.human.low and figure.interval.high > figure.human.high
    return "outside" if figure.value is None or both else "above" if figure.value > figure.human.mean else "below"


def page_context(comparison: Comparison, names: tuple[str, str]) -> dict[str, Any]:
    """What the template shows."""
    human_lengths, own_lengths = comparison.lengths
    own = comparison.read["texts"]["passages"]
    told = comparison.told.found.summary() if comparison.told.found is not None else {}
    figures = {name: figure_row(figure) for name, figure in comparison.figures.items()}
    apart = apart_panel([Writer("these texts", "candidate", told, figures)], comparison.told.of)
    return {
        "apart": apart,
        "apart_in_words": in_words(apart),
        "comparison": comparison,
        "missing": {title_of(name): why for name, why in comparison.missing.items()},
        "unread": [
            (name, told_unread(bad)) for name, side in zip(names, ("texts", "human"), strict=True) if (bad := comparison.unread.get(side))
        ],
        "names": names,
        "headline": _REASONS.get(comparison.reason) or _HEADLINES[comparison.verdict],
        "sets": in_sets(comparison.count, own, comparison.read["human"]["passages"]),
        "mark": _VERDICT[comparison.verdict],
        "groups": [(group, rows) for group in (*GROUPS, "beside") if (rows := _rows(comparison, group))],
        "lengths": steps(human_lengths, own_lengths, "Share of sentences of at most so many words", ("human", "these texts"))
        if human_lengths and own_lengths
        else None,
        "longest": max([*human_lengths, *own_lengths], default=0),
    }


def _rows(comparison: Comparison, group: str) -> list[dict[str, Any]]:
    rows = []
    for name, figure in comparison.figures.items():
        if METRIC[name].group != group:
            continue
        sigma, human, value = figure.human.sigma, figure.human, figure.value
        low, high = (None, None)
        if figure.interval is not None and sigma > 0:
            low, high = ((end - human.mean) / sigma for end in (figure.interval.low, figure.interval.high))
        title = title_of(name)
        band = f"band {number(human.low)} to {number(human.high)}"
        spoken = f"{title}: {number(value)}, human {number(human.mean)}, {band}, {place_in_words(figure)}."
        mark = _MARK[figure.place]
        part = next((metric for metric in comparison.score.metrics if metric.name == name), None) if comparison.score else None
        rows.append(
            {
                "title": title, "meaning": METRIC[name].meaning, "figure": figure, "mark": mark, "words": place_in_words(figure),
                "chart": band_row(spoken, figure.sigmas, low, high, mark), "gap": comparison.gaps.get(name),
                "score": part.score if part else None,
            }
        )  # fmt: skip
    return rows
