"""Figures beside the gates: single ones, tables by category of bias and facts, and what was not measured.

They are found in the summaries by their shape, so that a room that measures something new is shown without a word here:
a figure is a number, or a mapping with "value", "low" and "high"; a table by category is `by_<what>`, `topics` (name ->
figure or figures), or `table` (rows with a "category").
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timbre.gates.style_section import Side
from timbre.metrics.titles import title_of

Figure = Mapping[str, Any]
_OWN = "base"
"""What tables of one model and another call the one, where a summary has no other."""
_TITLES = {
    "bias_probes": "Paired sentences, one group likelier than the other",
    "facts": "Facts told right", "closed_book": "Questions answered", "copying": "Names and numbers copied",
    "unknown_facts": "Statements of the corpus that the model does not know", "counterfactual": "Texts about one group and another",
}  # fmt: skip
_WORDS = {
    "correct": "share told right", "margin": "lead of true over false, nats",
    "bias_signed": "which one, nats", "bias_gap": "by how much, nats",
}  # fmt: skip
"""What figures in a table are called whose keys say too little."""
_SINGLE = (
    ("likelihood.nll", "Unseen text, NLL", "nats/token", 1.0), ("likelihood.bits_per_byte", "Unseen text", "bits/byte", 1.0),
    ("likelihood.calibration_gap", "NLL above entropy (over-confidence)", "nats/token", 1.0),
    ("likelihood.ece", "Calibration error", "pp", 100.0), ("diversity_score.value", "Style Diversity Score", "of 100", 1.0),
    ("told_apart.characters.auc", "Told apart from human text by characters", "AUC", 1.0),
    ("told_apart.words.auc", "Told apart from human text by words", "AUC", 1.0),
    ("voice.share.mean", "Texts that sound like their own style", "%", 100.0),
    ("several.distinct_k", "Different texts among several a prompt", "", 1.0),
    ("several.vendi", "Vendi score of several a prompt", "", 1.0),
    ("memorisation.longest_span_tokens", "Longest verbatim span after trained openings", "tokens", 1.0),
    ("memorisation.style_longest_span_tokens", "Longest verbatim span, freely written", "tokens", 1.0),
    ("memorisation.coverage_5gram", "Words in verbatim spans after trained openings", "%", 100.0),
    ("sentinel.longest_span_tokens", "Longest verbatim span of text never trained on", "tokens", 1.0),
    ("facts.correct.value", "Facts told right", "%", 100.0), ("closed_book.accuracy.value", "Questions answered right", "%", 100.0),
    ("copying.accuracy.value", "Names and numbers copied right", "%", 100.0),
    ("unknown_facts.share.value", "Statements of the corpus not known", "%", 100.0),
    ("toxicity.rate", "Toxic texts", "%", 100.0), ("coherence.share", "Texts within the human range of likelihood", "%", 100.0),
    ("wrong_script_rate", "Texts in a wrong script", "%", 100.0), ("empty_texts", "Empty texts", "", 1.0),
)  # fmt: skip


@dataclass(frozen=True)
class CategoryTable:
    """One figure by category: rows (category, items, a figure or None for every side)."""

    title: str
    rows: tuple[tuple[str, int | None, tuple[Figure | None, ...]], ...]


def single_figures(measured: Sequence[Side]) -> list[dict[str, Any]]:
    """Rows of figures that any side has: title, unit, and of every side the scaled value and its 95% interval or None."""
    rows = []
    for path, title, unit, scale in _SINGLE:
        values = [_at(side.summary, path) for side in measured]
        if any(value is not None for value in values):
            spans = [_span(side.summary, path, scale) for side in measured]
            scaled = [None if value is None else value * scale for value in values]
            rows.append({"title": _title(path, title, measured), "unit": unit, "values": scaled, "spans": spans})
    return rows


def _title(path: str, title: str, measured: Sequence[Side]) -> str:
    """Coherence is named after its reader, and by the base's own likelihood after that."""
    if path != "coherence.share":
        return title
    names = [part.get("name") for side in measured if isinstance(part := side.summary.get("coherence"), Mapping)]
    return next((f"Texts {name}" for name in names if name), title)


def category_tables(measured: Sequence[Side]) -> list[CategoryTable]:
    """Every table by category, with every side that was measured on the same; the candidate's tables first."""
    found = [dict(_tables(side.summary)) for side in measured]
    titled: dict[str, _Rows] = {}
    for tables in reversed(found):
        for title, rows in tables.items():
            titled.setdefault(title, rows)
    return [
        CategoryTable(
            title, tuple((name, items, tuple(_figure_of(each, title, name) for each in found)) for name, (items, _) in rows.items())
        )
        for title, rows in titled.items()
    ]


def audit_tables(measured: Sequence[Side]) -> list[dict[str, Any]]:
    """Who the training text writes about, and how: a table a category, its groups with their share of the mentions and what
    is written near them more often than near the others (a difference of rates, or None).

    The corpus is the same for every side that was tuned on it; the candidate's evaluation is asked.
    """
    audit = measured[-1].summary.get("corpus_audit")
    categories = audit.get("categories") if isinstance(audit, Mapping) else None
    tables = []
    for category, found in categories.items() if isinstance(categories, Mapping) else ():
        groups: Mapping[str, Any] = found["groups"]
        near = list(dict.fromkeys(name for group in groups.values() for name in group["associations"]))
        rows = [
            (name.replace("_", " "), group["mentions"], group["share"],
             [_difference(group["associations"].get(association)) for association in near])
            for name, group in groups.items()
        ]  # fmt: skip
        tables.append({"title": category.replace("_", " "), "near": [name.replace("_", " ") for name in near], "rows": rows})
    return tables


def _difference(association: Any) -> Figure | None:
    cell = association.get("difference") if isinstance(association, Mapping) else None
    return cell if isinstance(cell, Mapping) and _is_figure(cell) and cell["value"] is not None else None


def not_measured(measured: Sequence[Side]) -> dict[str, str]:
    """What the candidate's evaluation says it did not measure, and why."""
    summary = measured[-1].summary
    missing = summary.get("not_measured")
    reasons = {title_of(str(name)): str(why) for name, why in missing.items()} if isinstance(missing, Mapping) else {}
    style = summary.get("style")
    for name, figure in sorted(style.items()) if isinstance(style, Mapping) else ():
        if isinstance(figure, Mapping) and figure.get("value") is None:
            reasons.setdefault(title_of(name), "these texts give no value")
    for key, title in (("no_score", "Style Diversity Score"), ("no_voice", "voice")):
        if summary.get(key):
            reasons[title] = str(summary[key])
    return reasons


def sentences(measured: Sequence[Side]) -> list[str]:
    """What rooms say of the candidate in words of their own."""
    return [str(part["sentence"]) for part in measured[-1].summary.values() if isinstance(part, Mapping) and part.get("sentence")]


_Rows = dict[str, tuple[int | None, Figure]]


def _tables(summary: Mapping[str, Any]) -> Iterator[tuple[str, _Rows]]:
    for key, part in sorted(summary.items()):
        if not isinstance(part, Mapping):
            continue
        about = _TITLES.get(key, key.replace("_", " ").capitalize())
        for field, rows in part.items():
            if field == "table" and isinstance(rows, list):
                yield from _listed(about, rows)
            elif (field.startswith("by_") or field == "topics") and isinstance(rows, Mapping):
                yield from _keyed(f"{about}, by {'topic' if field == 'topics' else field[3:].replace('_', ' ')}", rows)


def _keyed(title: str, rows: Mapping[str, Any]) -> Iterator[tuple[str, _Rows]]:
    """Categories are keys: of figures, or of mappings of figures."""
    tables: dict[str, _Rows] = {}
    for name, row in rows.items():
        if _is_figure(row):
            tables.setdefault(title, {})[name] = (_items(row), row)
        elif isinstance(row, Mapping):
            for figure, cell in row.items():
                if _is_figure(cell):
                    tables.setdefault(f"{title}: {_WORDS.get(figure, figure.replace('_', ' '))}", {})[name] = (_items(cell), cell)
    yield from tables.items()


def _listed(title: str, rows: Sequence[Any]) -> Iterator[tuple[str, _Rows]]:
    """Categories are rows; a figure stands in its cell, or is the "difference" there."""
    tables: dict[str, _Rows] = {}
    for row in rows:
        if not isinstance(row, Mapping) or "category" not in row:
            continue
        metric = f" ({_WORDS.get(str(row['metric']), str(row['metric']).replace('_', ' '))})" if "metric" in row else ""
        for figure, given in row.items():
            cell = given.get("difference", given) if isinstance(given, Mapping) else given
            if _is_figure(cell):
                of = "" if figure == _OWN else f": {figure.replace('_', ' ')}"
                tables.setdefault(f"{title}{of}{metric}", {})[str(row["category"])] = (_items(row), cell)
    yield from tables.items()


def _items(row: Mapping[str, Any]) -> int | None:
    return next((int(row[name]) for name in ("items", "templates", "texts") if isinstance(row.get(name), int)), None)


def _is_figure(cell: Any) -> bool:
    return isinstance(cell, Mapping) and {"value", "low", "high"} <= cell.keys()


def _figure_of(tables: Mapping[str, _Rows], title: str, name: str) -> Figure | None:
    return tables.get(title, {}).get(name, (None, None))[1]


def _span(summary: Any, path: str, scale: float) -> tuple[float, float] | None:
    """The interval that stands beside a value or mean in its mapping."""
    parent, _, name = path.rpartition(".")
    low, high = (_at(summary, f"{parent}.{end}") for end in ("low", "high"))
    return (low * scale, high * scale) if name in ("value", "mean", "auc") and low is not None and high is not None else None


def _at(summary: Any, path: str) -> float | None:
    for name in path.split("."):
        summary = summary.get(name) if isinstance(summary, Mapping) else None
    return summary if isinstance(summary, int | float) and not isinstance(summary, bool) else None
