"""The page that people look at, `report.html`, and the model card, `report.md`: both made only from verdict and evidence.

The page needs nothing from outside, and its bytes follow from its input. What was not measured is not shown; what is
missing though a gate asked for it stands in that gate's sentence.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, IntegrityError
from timbre.gates.charts import forest_row, limit_row
from timbre.gates.evidence import Evidence
from timbre.gates.verdict import GateResult, Judgement
from timbre.page.charts import Line, bounds, curves
from timbre.page.render import number, render

SAMPLES = 12
_CURVES = (
    ("held_out_nll", "Held-out NLL", "held-out"),
    ("loss", "Training loss", "train"),
    ("replay_loss", "Replay loss", "train"),
)
_HEADLINES = {
    "PASS": "This candidate may be released.",
    "FAIL": "This candidate is not released.",
    "INCONCLUSIVE": "The evidence does not suffice: this candidate is not released.",
}


def write_report(
    folder: Path,
    verdict: Mapping[str, Any],
    judgement: Judgement,
    evidence: Evidence,
    artifacts: Mapping[str, Artifact],
    headline: str = "",
) -> None:
    """Write report.html and report.md into `folder`; without a `headline` the verdict is what they say first."""
    context = report_context(verdict, judgement, evidence, artifacts, headline)
    for template in ("report.html", "report.md"):
        page = render(Path(__file__).parent / "templates", template, context)
        (folder / template).write_text(page, encoding="utf-8")


def report_context(
    verdict: Mapping[str, Any], judgement: Judgement, evidence: Evidence, artifacts: Mapping[str, Artifact], headline: str = ""
) -> dict[str, Any]:
    """What the templates show."""
    return {
        "verdict": verdict,
        "headline": headline or _HEADLINES[judgement.verdict],
        "rival": evidence.rival,
        "in_words": _in_words(judgement, verdict["policy"]["name"]),
        "gates": [{"result": gate, "chart": _gate_chart(gate), "figures": _gate_figures(gate)} for gate in judgement.gates],
        "style_rows": style_rows(evidence),
        "learning": _learning(artifacts["adapter"]),
        "samples": samples(artifacts["candidate"], artifacts["base"])[:SAMPLES],
        "counts": evidence.documents.get("corpus", {}).get("counts"),
        "datasheet": _json(artifacts["corpus"], "datasheet.json"),
        "facts": _json(artifacts["bundle"], "bundle.json"),
        "latency": evidence.documents.get("bundle", {}).get("latency"),
        "training": artifacts["adapter"].manifest.config,
        "target": artifacts["target"].manifest.config,
        "lineage": dict(sorted({**verdict["subject"], "policy": verdict["policy"]["digest"]}.items())),
    }


def style_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """Per style metric: human, base, candidate, and the share of the base's distance to human text that is gone.

    The distance counts from the edge of the human band (mean ± 1.64σ of human split halves): 1 − excess/excess(base).
    """
    ours, theirs = (evidence.documents.get(side, {}).get("summary", {}).get("style", {}) for side in ("candidate", "base"))
    rows = []
    for metric, figures in sorted(ours.items()):
        value, base = figures.get("value"), theirs.get(metric, {}).get("value")
        human, low, high = (figures.get(name) for name in ("human", "human_low", "human_high"))
        closed = None
        if None not in (value, base, low, high):
            excess, excess_base = (max(0.0, low - one, one - high) for one in (value, base))
            closed = 1 - excess / excess_base if excess_base > 0 else None
        row = {
            "metric": metric.replace("_", " "),
            "human": human,
            "low": low,
            "high": high,
            "base": base,
            "candidate": value,
            "closed": closed,
        }
        rows.append(row)
    return rows


def samples(candidate: Artifact, base: Artifact) -> list[dict[str, str]]:
    """Continuations of the same unseen openings: prompt, human, base, candidate."""
    ours, theirs = (
        {row["prompt_id"]: row for row in _json_lines(side, "generations.jsonl") if row.get("kind") == "style"}
        for side in (candidate, base)
    )
    return [
        {"prompt": row["prompt"], "human": row["human"], "base": theirs[name]["text"], "candidate": row["text"]}
        for name, row in ours.items()
        if name in theirs
    ]


def _in_words(judgement: Judgement, policy: str) -> str:
    failed, unclear = ([gate.title for gate in judgement.gates if gate.verdict == verdict] for verdict in ("FAIL", "INCONCLUSIVE"))
    passed = sum(gate.verdict == "PASS" for gate in judgement.gates)
    words = f"{passed} of {len(judgement.gates)} gates of the policy “{policy}” passed."
    if failed:
        words += f" Failed: {', '.join(failed)}."
    if unclear:
        words += f" Too little evidence to tell: {', '.join(unclear)}."
    return words


def _gate_chart(gate: GateResult) -> str | None:
    if gate.value is None:
        return None
    return forest_row(gate) if gate.kind in ("superiority", "non_inferiority") else limit_row(gate)


def _gate_figures(gate: GateResult) -> str:
    """Figure, interval and margin in one line."""
    if gate.value is None:
        return "no figure"

    def scaled(value: float | None) -> str:
        return "∞" if value is None else number(value * gate.scale)

    text = scaled(gate.value)
    if gate.kind in ("superiority", "non_inferiority"):
        text = f"{text} [{scaled(gate.low)}, {scaled(gate.high)}]"
    if gate.margin is not None:
        text += f", margin {scaled(gate.margin)}"
    if gate.limit is not None:
        text += f", {'at most' if gate.kind == 'ceiling' else 'at least'} {scaled(gate.limit)}"
    counted = f" · {gate.n:,} items in {gate.clusters:,} clusters" if gate.n is not None and gate.clusters is not None else ""
    return f"{text} {gate.unit}".rstrip() + counted


def _learning(adapter: Artifact) -> list[dict[str, Any]]:
    """One panel a figure of the learning curve, over optimizer steps: their scales have nothing in common."""
    rows = _json_lines(adapter, "curve.jsonl")
    panels = []
    for field, title, style in _CURVES:
        points = tuple((float(row["step"]), float(row[field])) for row in rows if _is_finite(row.get(field)))
        if points:
            line = Line(title, style, points)
            panels.append({"chart": curves([line], f"{title} over optimizer steps"), "bounds": bounds([line]), "line": line})
    return panels


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _json(artifact: Artifact, name: str) -> Any:
    try:
        return artifact.json(name)
    except (IntegrityError, ValueError):
        return None


def _json_lines(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    try:
        lines = artifact.file(name).read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line]
    except (IntegrityError, ValueError):
        return []
