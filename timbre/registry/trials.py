"""A challenger's trial in serving: it answers a share of the requests, or writes beside the champion unseen, until somebody decides.

A trial is rows of the ledger, chained as moves are: `begin`, then `end`, `promote` or, for a champion that is to give way to the one
before it, `return`. A row is written before what it decides is done, with the ledger's move that was seen, so that a decision which
a killed process left is carried out by whoever looks next, and two that decide at once decide once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

TrialEvent = Literal["begin", "end", "promote", "return"]


@dataclass(frozen=True)
class Trial:
    """One row. `number` counts the rows of a model from 1; `move` is the sequence of the champion's move that was seen (0: none)."""

    model: str
    number: int
    event: TrialEvent
    version: int
    bundle: str
    """Digest of the bundle on trial; of a `return` that of the champion that gives way."""
    move: int
    share: float
    """Of the requests, in [0, 1]."""
    shadow: bool
    """Whether its texts are written beside the champion's and returned to nobody."""
    seed: int
    """Of the choice which requests it answers."""
    reason: str
    evidence: Mapping[str, Any]
    at: datetime
    """In UTC, and says so."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "at": self.at.isoformat(timespec="seconds"), "evidence": dict(self.evidence)}


def open_trial(trials: Sequence[Trial], move: int | None = None) -> Trial | None:
    """The trial that goes on, if any: the newest row is its beginning, and the champion has not moved since it began.

    Args:
        move: the sequence of the champion's latest move; None asks only for the row.
    """
    newest = trials[-1] if trials else None
    return newest if newest is not None and newest.event == "begin" and move in (None, newest.move) else None


def due(trials: Sequence[Trial], move: int) -> Trial | None:
    """The decision that stands in the ledger and is not carried out yet: the champion is still the one that it is about."""
    newest = trials[-1] if trials else None
    return newest if newest is not None and newest.event in ("promote", "return") and newest.move == move else None
