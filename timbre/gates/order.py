"""Which gates a reader looks at first: what did not pass and what nearly did not, then the others, then what is always so."""

from collections.abc import Sequence
from dataclasses import dataclass

from timbre.gates.verdict import GateResult

_NEAR = 0.75
"""A pass that has used so much of its margin or limit is a near miss."""


@dataclass(frozen=True)
class Ordered:
    """The gates of one verdict by what a reader wants of them; together they are all of them, each once."""

    watched: tuple[GateResult, ...]
    """FAIL, INCONCLUSIVE, measured losses and near misses, the worst first."""
    clear: tuple[GateResult, ...]
    """Passed with room."""
    constant: tuple[GateResult, ...]
    """Yes-or-no, none where none may be, exactly as many as asked: the same in every sound run."""


def ordered(gates: Sequence[GateResult]) -> Ordered:
    """Sort gates for reading; within a group they keep the policy's order."""
    rank = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}
    watched = [gate for gate in gates if gate.verdict != "PASS" or gate.measured_loss or is_near(gate)]
    rest = [gate for gate in gates if gate not in watched]
    constant = [gate for gate in rest if _is_constant(gate)]
    watched.sort(key=lambda gate: (rank[gate.verdict], not gate.measured_loss))
    return Ordered(tuple(watched), tuple(gate for gate in rest if gate not in constant), tuple(constant))


def is_near(gate: GateResult) -> bool:
    """A pass that a little less luck would have lost: three quarters of what its bound allows are used up."""
    if gate.verdict != "PASS" or gate.value is None or _is_constant(gate):
        return False
    if gate.kind == "superiority":
        return gate.low is not None and gate.low < (1 - _NEAR) * gate.value
    if gate.margin is not None:
        return gate.low is not None and gate.low <= -_NEAR * gate.margin
    if gate.limit is None:
        return False
    if gate.kind == "ceiling":
        counts = gate.value if gate.high is None else gate.high
        return gate.limit > 0 and counts >= _NEAR * gate.limit
    counts = gate.value if gate.low is None else gate.low
    return gate.limit > 0 and counts * _NEAR <= gate.limit


def _is_constant(gate: GateResult) -> bool:
    return gate.verdict == "PASS" and (gate.value is None or (gate.limit is not None and gate.value in (0, gate.limit) and not gate.high))
