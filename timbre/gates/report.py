"""The page that people look at, `report.html`, and the model card, `report.md`: both made only from verdict and evidence.

The page needs nothing from outside, and its bytes follow from its input. What was not measured is not shown; what is
missing though a gate asked for it stands in that gate's sentence.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, IntegrityError
from timbre.gates.beside import HOLDS, differences
from timbre.gates.charts import forest, limit_row
from timbre.gates.evidence import BASE, Evidence
from timbre.gates.figures import audit_tables, category_tables, not_measured, sentences, single_figures
from timbre.gates.learning import learning_panels
from timbre.gates.made import made_facts
from timbre.gates.order import ordered
from timbre.gates.style_section import further_from_human, length_panel, overused_rows, radar_panel, rank_panels, sides, style_rows
from timbre.gates.verdict import GateResult, Judgement, shown
from timbre.metrics.apart_panel import Writer, apart_panel, in_words
from timbre.page.render import number, render

SAMPLES, FIRST = 12, 3
"""Openings that the page shows, and of them those at its head."""
_VOICE = "told_apart"
_OBJECTIVES = {"forward_kl": "DFT", "sft": "SFT"}
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
    ours: str = "candidate",
) -> None:
    """Write report.html and report.md into `folder`; without a `headline` the verdict is what they say first.

    Args:
        ours: what the candidate is called beside a rival that is not its base.
    """
    context = report_context(verdict, judgement, evidence, artifacts, headline, ours)
    for template in ("report.html", "report.md"):
        page = render(Path(__file__).parent / "templates", template, context)
        (folder / template).write_text(page, encoding="utf-8")


def report_context(
    verdict: Mapping[str, Any],
    judgement: Judgement,
    evidence: Evidence,
    artifacts: Mapping[str, Artifact],
    headline: str = "",
    ours: str = "candidate",
) -> dict[str, Any]:
    """What the templates show."""
    names = (_called(artifacts.get("baseline_adapter"), "baseline"), _called(artifacts["adapter"], "candidate"))
    baseline = _json(artifacts["baseline"], "summary.json") if "baseline" in artifacts else None
    measured = sides(evidence, baseline, names if evidence.rival == BASE else ("baseline", ours))
    in_band = radar_panel(measured)
    apart = apart_panel(
        [Writer(side.name, side.style, _part(side.summary, "told_apart"), _part(side.summary, "style")) for side in measured],
        _told_of(measured[-1].summary),
    )
    adapter, training = artifacts["adapter"], artifacts["adapter"].manifest.config
    curve, learnt = _json_lines(adapter, "curve.jsonl"), _json(adapter, "summary.json") or {}
    counts = evidence.documents.get("corpus", {}).get("counts")
    written = samples([artifacts[name] for name in ("base", "baseline", "candidate") if name in artifacts])[:SAMPLES]
    sorted_gates = ordered(judgement.gates)
    return {
        "verdict": verdict,
        "headline": headline or _HEADLINES[judgement.verdict],
        "holds": HOLDS,
        "compared": differences(judgement, evidence.rival) if evidence.rival != BASE else "",
        "rival": evidence.rival,
        "made": made_facts(verdict, artifacts),
        "nearer": _nearer(judgement, evidence.rival),
        "lost": _lost(judgement, evidence.rival),
        "further": further_from_human(measured),
        "in_words": _in_words(judgement, verdict["policy"]["name"], evidence.rival),
        "apart": apart,
        "apart_in_words": in_words(apart),
        "style_in_words": _style_in_words(in_band),
        "better": _better(judgement, verdict),
        "gates": [_row(gate) for gate in judgement.gates],
        "watched": [_row(gate) for gate in sorted_gates.watched],
        "clear": [_row(gate) for gate in sorted_gates.clear],
        "constant": [_row(gate) for gate in sorted_gates.constant],
        "forest": forest(judgement.gates, evidence.rival),
        "sides": measured,
        "style_rows": style_rows(measured),
        "radar": in_band,
        "overused": overused_rows(measured),
        "lengths": length_panel(measured),
        "ranks": rank_panels(measured),
        "figures": single_figures(measured),
        "said": sentences(measured),
        "tables": category_tables(measured),
        "audit": audit_tables(measured),
        "not_measured": not_measured(measured),
        "learning": learning_panels(curve, learnt, str(training.get("objective"))),
        "kept_untrained": learnt.get("kept_untrained") is True,
        "first": written[:FIRST],
        "samples": written if "baseline" in artifacts else written[FIRST:],
        "counts": counts,
        "dropped": _dropped(counts),
        "datasheet": _json(artifacts["corpus"], "datasheet.json"),
        "facts": _json(artifacts["bundle"], "bundle.json"),
        "latency": evidence.documents.get("bundle", {}).get("latency"),
        "training": training,
        "target": artifacts["target"].manifest.config,
        "lineage": dict(sorted({**verdict["subject"], "policy": verdict["policy"]["digest"]}.items())),
    }  # fmt: skip


def samples(written: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Continuations of the same unseen openings: prompt, human, and the texts of all writers, in the order of `written`."""
    rows = [
        {row["prompt_id"]: row for row in _json_lines(artifact, "generations.jsonl") if row.get("kind") == "style"} for artifact in written
    ]
    common = {name: row for name, row in rows[-1].items() if all(name in each for each in rows)}
    first: dict[str, str] = {}  # one opening a document
    for name, row in common.items():
        first.setdefault(row.get("doc_id", name), name)
    return [
        {"prompt": common[name]["prompt"], "human": common[name].get("human", ""), "texts": [each[name]["text"] for each in rows]}
        for name in dict.fromkeys([*first.values(), *common])
    ]


def _row(gate: GateResult) -> dict[str, Any]:
    """A gate with its chart and its figures in one line."""
    return {"result": gate, "chart": _gate_chart(gate), "figures": _gate_figures(gate)}


def _part(summary: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = summary.get(name)
    return part if isinstance(part, Mapping) else {}


def _told_of(summary: Mapping[str, Any]) -> str:
    tokens = _part(summary, "told_apart").get("length_tokens")
    return "continuations of the same openings of unseen documents" + (f", {tokens} tokens each" if tokens else "")


def _called(adapter: Artifact | None, otherwise: str) -> str:
    """What people call a model that was trained so: DFT, SFT, or the objective's name."""
    objective = "" if adapter is None else str(adapter.manifest.config.get("objective", ""))
    return _OBJECTIVES.get(objective, objective.replace("_", " ")) or otherwise


def _in_words(judgement: Judgement, policy: str, rival: str) -> str:
    failed, unclear = ([gate.title for gate in judgement.gates if gate.verdict == verdict] for verdict in ("FAIL", "INCONCLUSIVE"))
    passed = sum(gate.verdict == "PASS" for gate in judgement.gates)
    words = f"{passed} of {len(judgement.gates)} gates of the policy “{policy}” passed."
    if failed:
        words += f" Failed: {', '.join(failed)}."
    if unclear:
        words += f" Too little evidence to tell: {', '.join(unclear)}."
    if losses := [gate for gate in judgement.gates if gate.measured_loss]:
        words += f" Measurably worse than {rival}, though within the margin: {', '.join(map(_loss, losses))}."
    return words


def _style_in_words(panel: Mapping[str, Any] | None) -> str:
    """How many metrics of style lie within the human band; no gate asks for it, so it stands beside the verdict."""
    if panel is None:
        return ""
    *others, own = panel["counts"]
    beside = ", ".join(f"{count['name']} {count['inside']}" for count in others)
    return f"Style: {own['inside']} of {own['known']} metrics of {own['name']} lie within the human band ({beside})."


def _nearer(judgement: Judgement, rival: str) -> dict[str, str] | None:
    """Whether the texts are nearer to human ones than the rival's: the answer of the gate that asks it, and its sentence."""
    gate = next((gate for gate in judgement.gates if gate.metric == _VOICE), None)
    if gate is None:
        return None
    moved = gate.kind == "superiority"
    answer = {
        "PASS": f"Yes: nearer to human text than {rival}." if moved else f"Not further from human text than {rival}.",
        "FAIL": f"No: not shown to be nearer to human text than {rival}." if moved else f"Further from human text than {rival}.",
        "INCONCLUSIVE": f"These texts cannot tell whether it is nearer to human text than {rival}.",
    }[gate.verdict]
    return {"answer": answer if gate.value is not None else "Not measured.", "sentence": gate.sentence, "verdict": gate.verdict}


def _lost(judgement: Judgement, rival: str) -> dict[str, Any]:
    """What became worse, what could not be told from the rival, and what became better, of all that is measured on the same items."""
    paired = [gate for gate in judgement.gates if gate.paired and gate.value is not None]
    worse = [gate for gate in paired if gate.high is not None and gate.high < 0]
    same = [gate.title for gate in paired if gate not in worse and (gate.low is None or gate.low <= 0)]
    return {"worse": [(_loss(gate) if gate.margin is not None else gate.title) for gate in worse], "same": same, "asked": len(paired)}


def _loss(gate: GateResult) -> str:
    assert gate.value is not None and gate.margin is not None
    return f"{gate.title} ({shown(gate.value, gate)}, margin {shown(gate.margin, gate)})"


def _better(judgement: Judgement, verdict: Mapping[str, Any]) -> list[str]:
    """Titles of the gates that the verdict says the candidate may be called better in, all claims together."""
    claimed = verdict.get("better")
    names = claimed.get("gates", ()) if isinstance(claimed, Mapping) else ()
    return [gate.title for gate in judgement.gates if gate.name in names]


def _gate_chart(gate: GateResult) -> str | None:
    """Paired gates stand together in the forest plot; the others have a bar of their own."""
    return limit_row(gate) if gate.value is not None and gate.limit is not None else None


def _dropped(counts: Any) -> list[dict[str, Any]]:
    """Reasons with documents and their share of what was read, most first."""
    if not isinstance(counts, Mapping):
        return []
    rejected = sorted(counts.get("rejected", {}).items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        {"reason": reason.replace("_", " "), "documents": dropped, "share": dropped / counts["read"]}
        for reason, dropped in rejected
        if dropped
    ]


def _gate_figures(gate: GateResult) -> str:
    """Figure, interval and margin in one line."""
    if gate.value is None:
        return "no figure"

    def scaled(value: float | None) -> str:
        return "∞" if value is None else number(value * gate.scale)

    text = scaled(gate.value)
    if gate.paired or gate.low is not None or gate.high is not None:
        text = f"{text} [{scaled(gate.low)}, {scaled(gate.high)}]"
    if gate.margin is not None:
        text += f", margin {scaled(gate.margin)}"
    if gate.limit is not None:
        text += f", {'at most' if gate.kind == 'ceiling' else 'at least'} {scaled(gate.limit)}"
    counted = "" if gate.n is None else f" · {gate.n:,} items" + ("" if gate.clusters is None else f" in {gate.clusters:,} clusters")
    return f"{text} {gate.unit}".rstrip() + counted


def _json(artifact: Artifact, name: str) -> Any:
    try:
        return artifact.json(name)
    except (IntegrityError, ValueError):
        return None


def _json_lines(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    try:
        return artifact.json_lines(name)
    except (IntegrityError, ValueError):
        return []
