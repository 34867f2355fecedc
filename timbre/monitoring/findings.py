"""What a check found, and what it comes to: a figure with its interval beside the bound that the policy names."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from timbre.config import Frozen, read_toml
from timbre.statistics import Verdict


class MonitorPolicy(Frozen):
    """`data/monitor.toml`."""

    texts: int = Field(100, ge=4)
    probes: int = Field(60, ge=4)
    apart: float = Field(0.6, gt=0.5, lt=1)
    facts_margin: float = Field(0.1, ge=0, le=1)
    safety_margin: float = Field(0.05, ge=0, le=1)
    latency_factor: float = Field(2.0, gt=1)
    automatic: bool = False


class Check(Frozen):
    """One check of a monitoring run."""

    name: str
    verdict: Verdict
    """FAIL: it moved. INCONCLUSIVE: too little was seen to tell, or nothing could be measured."""
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None


def read_policy(path: Path) -> MonitorPolicy:
    """The policy of a project.

    Raises:
        ValueError: not TOML, an unknown field, or a value out of range.
    """
    return read_toml(path, MonitorPolicy)


def failed(checks: Sequence[Check]) -> list[Check]:
    """The checks that say that something moved."""
    return [check for check in checks if check.verdict == "FAIL"]


def not_measured(name: str, why: str) -> Check:
    """A check without a figure."""
    return Check(name=name, verdict="INCONCLUSIVE", sentence=f"Not measured: {why}.")
