"""What the gates say of one released version beside another, in words of its own: nothing is released or refused there."""

from collections.abc import Mapping
from typing import Any

from timbre.gates.verdict import GateResult, Judgement

HOLDS = {"PASS": "holds", "FAIL": "does not hold", "INCONCLUSIVE": "cannot tell"}
"""What a gate says with another version in the place of the base, by the verdict that it would give on a release."""


def as_compared(gate: GateResult) -> dict[str, Any]:
    """A gate for programs, its verdict and those of its families in the words of a comparison."""
    row = gate.as_json()
    families: list[Mapping[str, Any]] = [
        {**family, "verdict": HOLDS.get(family["verdict"], family["verdict"])} if "verdict" in family else family
        for family in row["families"]
    ]
    return row | {"verdict": HOLDS[gate.verdict], "families": families}


def differences(judgement: Judgement, rival: str) -> str:
    """What is measurably better, worse or not told apart from another version, in sentences."""
    paired = [gate for gate in judgement.gates if gate.paired]
    better = [gate.title for gate in paired if gate.low is not None and gate.low > 0]
    worse = [gate.title for gate in paired if gate.high is not None and gate.high < 0]
    unknown = [gate.title for gate in paired if gate.value is None]
    same = [gate.title for gate in paired if gate.title not in {*better, *worse, *unknown}]
    parts = [
        f"{words}: {', '.join(titles)}."
        for words, titles in (
            (f"Measurably better than {rival}", better), (f"Measurably worse than {rival}", worse),
            (f"Not told apart from {rival}", same), ("Without valid evidence", unknown),
        )
        if titles
    ]  # fmt: skip
    return " ".join(parts) or f"Nothing was measured on the same items as {rival}."
