"""The verdict: every gate of the policy against the evidence, fail-closed.

All gates must pass, so the verdict is an intersection–union test and the gates need no correction for their number.
Evidence that is missing, empty, NaN, about something else, or that crashes a gate is a FAIL that says so.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from timbre.gates.evidence import BASE, Evidence
from timbre.gates.policy import PAIRED, Gate, Policy
from timbre.statistics import (
    Interval,
    Verdict,
    bounded_bound,
    certifiable_margin,
    clustered_bound,
    clustered_tango_bound,
    items_that_would_do,
    superiority,
    superiority_claims,
    three_way,
)


@dataclass(frozen=True)
class GateResult:
    """One gate's verdict. Figures are in the metric's unit and None where there is none."""

    name: str
    title: str
    kind: str
    metric: str
    verdict: Verdict
    sentence: str
    why: str
    unit: str
    scale: float
    value: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    limit: float | None = None
    n: int | None = None
    clusters: int | None = None
    families: tuple[dict[str, Any], ...] = ()
    """Of a gate by several families: {family, value, low, high, candidate, rival, verdict} of each; the figures above are the weakest's."""
    certifies: float | None = None
    """The margin this set certifies at 80% power if there is no true difference."""

    @property
    def paired(self) -> bool:
        """Whether it judges differences to another model on the same items."""
        return self.kind in PAIRED

    @property
    def measured_loss(self) -> bool:
        """Passed, and yet worse: even the upper bound of the difference lies below zero, though within the margin."""
        return self.kind == "non_inferiority" and self.verdict == "PASS" and self.high is not None and self.high < 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Judgement:
    """The verdict on a candidate, and on what it stands."""

    verdict: Verdict
    gates: tuple[GateResult, ...]
    better: tuple[str, ...] = ()
    """Paired gates in which the candidate may be called better: all together wrong in at most 5 of 100 candidates (Holm)."""
    family: tuple[str, ...] = ()
    """The gates among which these were sought: every paired gate of the policy, so that no figure decides how many there are."""


def judge(evidence: Evidence, policy: Policy) -> Judgement:
    """Every gate of `policy`, after one that no policy can leave out: that the evidence is about this candidate.

    Any FAIL is FAIL; else any INCONCLUSIVE is INCONCLUSIVE; else PASS.
    """
    compared = [beside(gate, evidence.rival) for gate in policy.gates]
    gates = (_judge_lineage(evidence), *(_judge_closed(evidence, gate) for gate in compared))
    family = tuple(gate.name for gate in policy.gates if gate.paired)
    return Judgement(overall([gate.verdict for gate in gates]), gates, _claims(evidence, policy, gates), family)


def _claims(evidence: Evidence, policy: Policy, results: Sequence[GateResult]) -> tuple[str, ...]:
    """What may be claimed beside the verdict, which needs no correction while these do.

    The family is the policy's, before any figure is seen. A gate that did not pass is claimed by nobody, but stays in it: a
    family of those that passed would be smaller the luckier the candidate was.
    """
    sound = {gate.name for gate in results if gate.verdict == "PASS"}
    bounds = {gate.name: _low_of(evidence, gate, claimable=gate.name in sound) for gate in policy.gates if gate.paired}
    return tuple(superiority_claims(bounds))


def _low_of(evidence: Evidence, gate: Gate, *, claimable: bool) -> Callable[[float], float]:
    parts = by_family(gate)
    return lambda confidence: min(_paired_interval(evidence, part, confidence).low for part in parts) if claimable else -math.inf


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that follows from those of the gates; none at all is FAIL."""
    if not verdicts or "FAIL" in verdicts:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in verdicts else "PASS"


def _judge_lineage(evidence: Evidence) -> GateResult:
    reasons = "; ".join(dict.fromkeys(evidence.refused.values()))
    sentence = f"{reasons}." if reasons else "Every artifact names the same adapter, target, corpus and base model."
    why = "Figures about another candidate, or a base model measured in another way, say nothing about this one."
    return GateResult(
        "lineage", "Evidence is about this candidate", "equality", "digests", "FAIL" if reasons else "PASS", sentence, why, "", 1.0
    )


def judge_gate(evidence: Evidence, gate: Gate) -> GateResult:
    """One gate, as it is asked beside the evidence's rival; whatever is missing or breaks it is FAIL."""
    return _judge_closed(evidence, beside(gate, evidence.rival))


def _judge_closed(evidence: Evidence, gate: Gate) -> GateResult:
    try:
        if gate.families:
            return _judge_families(evidence, gate)
        return _judge_paired(evidence, gate) if gate.paired else _judge_figure(evidence, gate)
    except ValueError as error:
        return _result(gate, "FAIL", f"No valid evidence: {error}.")
    except Exception as error:  # whatever breaks a gate must not open it
        return _result(gate, "FAIL", f"The gate crashed on its evidence: {type(error).__name__}: {error}.")


def _judge_paired(evidence: Evidence, gate: Gate) -> GateResult:
    interval = _paired_interval(evidence, gate)
    if gate.kind == "superiority":
        verdict = superiority(interval.low, interval.high)
    else:
        assert gate.margin is not None
        verdict = three_way(interval.low, interval.high, gate.margin)
    certifies = certifiable_margin(interval)
    sentence = _paired_sentence(gate, interval, verdict, certifies, evidence.rival)
    if interval.n < gate.minimum_items or interval.clusters < gate.minimum_clusters:
        verdict = "INCONCLUSIVE" if verdict == "PASS" else verdict
        needed = f"{gate.minimum_items} items in {gate.minimum_clusters} clusters"
        sentence += f" That is too few to rely on: {needed} are needed, there are {interval.n} in {interval.clusters}."
    return _result(
        gate, verdict, sentence, value=interval.mean, low=_finite(interval.low), high=_finite(interval.high), margin=gate.margin,
        n=interval.n, clusters=interval.clusters, certifies=_finite(certifies),
    )  # fmt: skip


def beside(gate: Gate, rival: str) -> Gate:
    """The gate as it is asked beside `rival`: with a champion_margin, another version is not to be beaten but not to be worse than.

    Where a title names the base, the rival stands in its place.
    """
    if rival == BASE:
        return gate
    if gate.paired:
        gate = gate.model_copy(update={"title": re.sub(rf"\b{BASE}\b", lambda _: rival, gate.title)})
    if gate.champion_margin is None:
        return gate
    return gate.model_copy(update={"kind": "non_inferiority", "margin": gate.champion_margin})


def by_family(gate: Gate) -> list[Gate]:
    """One gate a family, or the gate itself where it has none."""
    return [gate.model_copy(update={"metric": f"{gate.metric}_{family}", "families": ()}) for family in gate.families] or [gate]


def _judge_families(evidence: Evidence, gate: Gate) -> GateResult:
    """All families must agree: FAIL if any fails, else INCONCLUSIVE if any cannot tell. The figures are those of the weakest."""
    if few := _too_few(evidence, gate):
        return _result(gate, "INCONCLUSIVE", few)
    parts = [_judge_paired(evidence, part) for part in by_family(gate)]
    rows = tuple(
        {"family": family, "value": part.value, "low": part.low, "high": part.high, "verdict": part.verdict}
        | {side: _mean(evidence, side, part.metric) for side in ("candidate", "base")}
        for family, part in zip(gate.families, parts, strict=True)
    )
    order = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}
    weakest = min(parts, key=lambda part: (order[part.verdict], -math.inf if part.low is None else part.low))
    sentence = f"{_of_families(gate, rows, evidence.rival)} {_family_of(gate, weakest)}: {weakest.sentence}"
    return _result(
        gate, overall([part.verdict for part in parts]), sentence, value=weakest.value, low=weakest.low, high=weakest.high,
        margin=gate.margin, n=weakest.n, clusters=weakest.clusters, families=rows, certifies=weakest.certifies,
    )  # fmt: skip


def _of_families(gate: Gate, rows: Sequence[Mapping[str, Any]], rival: str) -> str:
    if gate.metric == "told_apart":
        areas = " and ".join(f"by {row['family']} {row['candidate']:.3f} ({rival} {row['base']:.3f})" for row in rows)
        return f"Told apart from human text {areas}; .5 would be a coin. By"
    shares = ", ".join(f"{_spaced(row['family'])} {shown(row['candidate'], gate)} ({rival} {shown(row['base'], gate)})" for row in rows)
    return f"{gate.title}: {shares}. Weakest is"


def _spaced(family: str) -> str:
    return family.replace("_", " ")


def _family_of(gate: Gate, part: GateResult) -> str:
    return _spaced(part.metric.removeprefix(f"{gate.metric}_"))


def _mean(evidence: Evidence, side: str, metric: str) -> float:
    values = [value for _, value in evidence.values(side, metric).values()]
    return math.fsum(values) / len(values)


def _too_few(evidence: Evidence, gate: Gate) -> str:
    """What to say where both sides say themselves that they held too little text for this gate; empty where they measured it, or
    where nothing says why they did not, which is missing evidence and no excuse."""
    told = [evidence.documents.get(side, {}).get("summary", {}).get(gate.metric) for side in ("candidate", "base")]
    for one in told:
        reasons = one.get("not_measured") if isinstance(one, dict) else None
        why = next((reasons[family] for family in gate.families if family in reasons), None) if isinstance(reasons, dict) else None
        if why is None or not isinstance(one, dict) or not _is_small(one, gate):
            return ""
    return (
        f"Not measured: {why}. {gate.minimum_items} texts of {gate.minimum_clusters} documents are asked."
        if not any(side in evidence.refused for side in ("candidate", "base"))
        else ""
    )


def _is_small(told: dict[str, Any], gate: Gate) -> bool:
    texts, documents = told.get("texts"), told.get("documents")
    if not isinstance(texts, int) or not isinstance(documents, int):
        return False
    return texts < gate.minimum_items or documents < gate.minimum_clusters


def _paired_interval(evidence: Evidence, gate: Gate, confidence: float = 0.95) -> Interval:
    """Differences oriented so that positive is better, per item; both sides must have measured the same items."""
    candidate, base = evidence.values("candidate", gate.metric), evidence.values("base", gate.metric)
    if odd := sorted(candidate.keys() ^ base.keys()):
        raise ValueError(f"base and candidate measured different items of {gate.metric!r}, {odd[0]!r} among {len(odd)}")
    items = sorted(candidate)
    if moved := [item for item in items if candidate[item][0] != base[item][0]]:
        raise ValueError(f"base and candidate put {moved[0]!r} into different clusters")
    for side, values in (("candidate", candidate), ("base", base)):
        if holes := [item for item in items if not math.isfinite(values[item][1])]:
            raise ValueError(f"{gate.metric!r} of {holes[0]!r} is {values[holes[0]][1]} for the {side}")
    sign = -1.0 if gate.direction == "lower" else 1.0
    differences = [sign * (candidate[item][1] - base[item][1]) for item in items]
    clusters = [candidate[item][0] for item in items]
    if gate.outcome == "binary":
        return clustered_tango_bound(differences, clusters, confidence)
    if gate.outcome == "share":
        if wild := [item for item in items if not (0 <= candidate[item][1] <= 1 and 0 <= base[item][1] <= 1)]:
            raise ValueError(f"{gate.metric!r} of {wild[0]!r} is no share between 0 and 1")
        return bounded_bound(differences, clusters, confidence)
    if gate.weight is None:
        return clustered_bound(differences, clusters, confidence)
    weights = _weights(evidence, gate.weight, items)
    return clustered_bound([d / w for d, w in zip(differences, weights, strict=True)], clusters, confidence, weights=weights)


def _weights(evidence: Evidence, metric: str, items: Sequence[str]) -> list[float]:
    candidate, base = evidence.values("candidate", metric), evidence.values("base", metric)
    for item in items:
        if item not in candidate or item not in base or candidate[item][1] != base[item][1] or not candidate[item][1] > 0:
            raise ValueError(f"{metric!r} of {item!r} must be positive and the same for base and candidate")
    return [candidate[item][1] for item in items]


def _judge_figure(evidence: Evidence, gate: Gate) -> GateResult:
    value = evidence.figure(gate.metric)
    if gate.kind == "equality":
        same = type(value) is type(gate.equals) and value == gate.equals
        sentence = f"{gate.title} is {_spoken(value)}, and must be {_spoken(gate.equals)}."
        return _result(gate, "PASS" if same else "FAIL", sentence + _detail(evidence, gate))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{gate.metric} is {value!r}, not a number")
    if gate.over_base:
        value -= evidence.figure(gate.metric.replace("candidate.", "base."))
    assert gate.limit is not None
    over = f" above that of {evidence.rival}" if gate.over_base else ""
    bound = "at most" if gate.kind == "ceiling" else "at least"
    sentence = f"{gate.title} is {shown(value, gate)}{over}; {bound} {shown(gate.limit, gate)} is asked."
    if gate.certify:
        return _judge_rate(evidence, gate, float(value), sentence)
    kept = value <= gate.limit if gate.kind == "ceiling" else value >= gate.limit
    verdict, count, few = _enough(evidence, gate, "PASS" if kept else "FAIL")
    return _result(gate, verdict, sentence + _detail(evidence, gate) + few, value=float(value), limit=gate.limit, n=count)


def _enough(evidence: Evidence, gate: Gate, verdict: Verdict) -> tuple[Verdict, int | None, str]:
    """The verdict, which cannot be PASS on fewer texts than the policy asks; how many there are; and what to say of too few."""
    if gate.count is None:
        return verdict, None, ""
    count = evidence.figure(gate.count)
    if isinstance(count, bool) or not isinstance(count, int):
        raise ValueError(f"{gate.count} is {count!r}, not a count")
    if count >= gate.minimum_items:
        return verdict, count, ""
    few = f" That is too few to rely on: {gate.minimum_items} are needed, there are {count}."
    return "INCONCLUSIVE" if verdict == "PASS" else verdict, count, few


def _judge_rate(evidence: Evidence, gate: Gate, value: float, sentence: str) -> GateResult:
    """A rate whose bound must keep the limit: PASS if it does, FAIL if the other bound breaks it, else INCONCLUSIVE."""
    assert gate.limit is not None
    place = gate.metric.rpartition(".")[0]
    low, high, texts = (evidence.figure(f"{place}.{name}") for name in ("low", "high", "texts"))
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high, texts)) or not low <= value <= high:
        raise ValueError(f"{gate.metric} is {value} between {low!r} and {high!r}, which are no bounds of it")
    ours, theirs = (gate.limit - high, gate.limit - low) if gate.kind == "ceiling" else (low - gate.limit, high - gate.limit)
    verdict: Verdict = "PASS" if ours >= 0 else "FAIL" if theirs < 0 else "INCONCLUSIVE"
    counted = "upper" if gate.kind == "ceiling" else "lower"
    sentence += f" Its one-sided 95% bounds are {shown(low, gate)} and {shown(high, gate)}, and the {counted} one counts."
    if verdict == "INCONCLUSIVE":
        distance = gate.limit - value if gate.kind == "ceiling" else value - gate.limit
        reach = distance - ours
        sentence += _would_do(
            items_that_would_do(Interval(0.0, -reach, reach, int(texts), int(texts)), distance), "the rate is what it seems"
        )
    verdict, _, few = _enough(evidence, gate, verdict)
    sentence += _detail(evidence, gate) + few
    return _result(gate, verdict, sentence, value=value, low=low, high=high, limit=gate.limit, n=int(texts))


def _detail(evidence: Evidence, gate: Gate) -> str:
    return "" if gate.detail is None else f" {evidence.figure(gate.detail)}"


def _would_do(items: int | None, provided: str) -> str:
    return " More of the same would not tell." if items is None else f" About {items:,} items would tell, if {provided}."


def _result(gate: Gate, verdict: Verdict, sentence: str, **figures: Any) -> GateResult:
    return GateResult(
        name=gate.name, title=gate.title, kind=gate.kind, metric=gate.metric, verdict=verdict, sentence=sentence, why=gate.why,
        unit=gate.unit, scale=gate.scale, **figures,
    )  # fmt: skip


def _paired_sentence(gate: Gate, interval: Interval, verdict: Verdict, certifies: float, rival: str) -> str:
    ends = "the one-sided 95% bounds are " + " and ".join(shown(end, gate, signed=True) for end in (interval.low, interval.high))
    way = "Better" if interval.mean > 0 else "Worse"
    start = f"{way} than {rival} by {shown(abs(interval.mean), gate)}"
    if interval.low <= 0 <= interval.high:
        start = f"Not told apart from {rival} ({shown(interval.mean, gate, signed=True)})"
    sentence = f"{start}; {ends}."
    if gate.kind == "superiority":
        wording = {
            "PASS": "The lower one is above zero: an improvement.",
            "FAIL": "The upper one is not above zero: no improvement.",
            "INCONCLUSIVE": "They include zero: this set cannot tell.",
        }
        more = _would_do(items_that_would_do(interval, interval.mean), "the improvement is what it seems")
        return f"{sentence} {wording[verdict]}{more if verdict == 'INCONCLUSIVE' else ''}"
    assert gate.margin is not None
    margin = shown(gate.margin, gate)
    wording = {
        "PASS": f"A measured loss, within the margin of {margin}." if interval.high < 0 else f"No worse than {rival} by {margin} or more.",
        "FAIL": f"Worse than {rival} by more than the margin of {margin}.",
        "INCONCLUSIVE": f"Cannot tell at the margin of {margin}.",
    }
    enough = items_that_would_do(interval, abs(interval.mean + gate.margin))
    more = _would_do(enough, "the difference is what it seems") if verdict == "INCONCLUSIVE" else ""
    return f"{sentence} {wording[verdict]} This set can certify ±{shown(certifies, gate)} (80% power).{more}"


def shown(value: float, gate: Gate | GateResult, *, signed: bool = False) -> str:
    """A figure of a gate as people read it: scaled, three significant digits, with its unit."""
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    scaled = value * gate.scale
    text = f"{scaled:+.3g}" if signed else f"{scaled:.3g}"
    return f"{text.replace('-', '−')} {gate.unit}".rstrip()


def _spoken(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
