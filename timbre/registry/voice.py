"""Whether a candidate writes further from human text than the champion it would replace, by the evidence of both."""

from collections.abc import Mapping, Sequence
from typing import Any

from timbre.artifacts import ArtifactStore, IntegrityError
from timbre.gates.evidence import Evidence, items_of, measured_differently
from timbre.gates.policy import Gate
from timbre.gates.verdict import GateResult, judge_gate
from timbre.registry.ledger import Transition
from timbre.registry.strictness import policy_in_force


def why_further(verdict: Mapping[str, Any], transitions: Sequence[Transition], store: ArtifactStore) -> str:
    """What to say where a family of a gate with `champion_margin` finds the candidate further from human text than the best champion
    so far, by more than that margin; empty where none does, and where no champion's evidence is here and was measured alike.

    The best, of all that the ledger names, and not the latest: each may be a little further than the one before it.
    """
    policy = policy_in_force(verdict["policy"])
    gates = [gate for gate in policy.gates if gate.champion_margin is not None] if policy is not None else []
    if not gates:
        return ""
    champions = {transition.version: transition for transition in transitions}
    known = [evidence for transition in champions.values() if (evidence := _evidence(verdict, transition, store)) is not None]
    for gate in gates:
        results = [(found, evidence.rival) for evidence in known if (found := judge_gate(evidence, gate)).families]
        if not results:
            continue
        found, rival = min(results, key=lambda result: sum(row["base"] for row in result[0].families))
        if any(_beyond(row, gate) for row in found.families):
            return _sentence(found, gate, rival)
    return ""


def _beyond(row: Mapping[str, Any], gate: Gate) -> bool:
    return row["value"] is not None and row["value"] < -(gate.champion_margin or 0.0)


def _sentence(found: GateResult, gate: Gate, rival: str) -> str:
    by = " and ".join(f"by {row['family']} {row['candidate']:.3f} ({rival} {row['base']:.3f})" for row in found.families)
    return (
        f"its texts are told apart from human ones more than those of the best champion, {rival}, {by}; {gate.champion_margin:g} more is "
        "allowed: train it longer or on more text, or keep the champion"
    )


def _evidence(verdict: Mapping[str, Any], champion: Transition, store: ArtifactStore) -> Evidence | None:
    """What the evaluations of candidate and champion measured, if both are here and measured alike."""
    rival = f"v{champion.version}"
    try:
        certified = store.open("verdict", champion.verdict).json("verdict.json")
        ours, theirs = (store.open("evaluation", each["subject"]["candidate"]) for each in (verdict, certified))
        if measured_differently(ours, theirs, rival) is not None:
            return None
        return Evidence({"candidate": items_of(ours), "base": items_of(theirs)}, rival=rival)
    except (ValueError, KeyError, IntegrityError):
        return None
