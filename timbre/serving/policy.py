"""What is asked of a version in serving (`data/serving.toml`), and whether what was seen of it holds to that.

Every bound is one-sided at 99.9%, since a server looks again and again. FAIL: even the favourable bound passes the limit. PASS: even
the unfavourable one does not. INCONCLUSIVE: too little was seen to tell.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from timbre.config import Frozen
from timbre.config.base import read_toml
from timbre.serving.observations import Seen
from timbre.serving.style import Distance, style_distance
from timbre.statistics import Verdict, clopper_pearson

POLICY = "data/serving.toml"
LEVEL = 0.999
_LEAST_BROKEN = 3
"""Broken texts below which nothing is concluded from them."""


class ServingPolicy(Frozen):
    """`data/serving.toml`."""

    challenger: Literal["off", "canary", "shadow"] = Field(
        "off", description="What a release does with a version that it does not promote."
    )
    share: float = Field(0.1, gt=0, le=1, description="Of the requests that a challenger answers, or writes for unseen.")
    least: int = Field(50, ge=4, description="Texts of a version before style and speed are judged.")
    window: int = Field(1000, ge=20, description="Newest texts of a version that are judged.")
    errors: float = Field(0.02, gt=0, lt=1, description="Share of texts that break off for a fault of ours.")
    style: float = Field(0.5, gt=0, description="Distance from human text.")
    style_margin: float = Field(0.05, gt=0, description="How much further than the champion's texts, or than those of the one before it.")
    latency_factor: float = Field(1.5, gt=1, description="Times the champion's milliseconds a token.")
    watermark: Literal["request", "long", "always"] = Field(
        "request",
        description="Which texts are marked: that ask, also those that may pass 200 tokens, or all; a release is then measured marked.",
    )
    automatic_promotion: bool = Field(False, description="A challenger that passes everything becomes champion.")
    automatic_return: bool = Field(True, description="A champion that fails errors or style gives way to the one before it.")


@dataclass(frozen=True)
class Finding:
    """One figure of a version beside its limit."""

    name: str
    verdict: Verdict
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_policy(path: Path) -> ServingPolicy:
    """The policy of a project.

    Raises:
        ValueError: not TOML, an unknown field, or a value out of range.
    """
    return read_toml(path, ServingPolicy)


def project_policy() -> ServingPolicy:
    """That of this project. Raises: as `read_policy`."""
    from timbre.settings import settings

    return read_policy(settings().file(POLICY))


def judge(own: Sequence[Seen], other: Sequence[Seen], policy: ServingPolicy, beside: str, *, speed: bool) -> list[Finding]:
    """What was seen of a version, held to the policy.

    Args:
        own: of the version that is judged.
        other: of the version it is held to; empty where there is none.
        beside: how a sentence names that one.
        speed: whether milliseconds a token are judged.
    """
    mine = distance_of(own)
    findings = [_errors(own, policy), _style(mine, policy)]
    if other:
        findings.append(_beside(mine, distance_of(other), own, other, policy, beside))
        if speed:
            findings.append(_speed(own, other, policy, beside))
    return findings


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """FAIL if one fails, PASS if all pass."""
    verdicts = {finding.verdict for finding in findings}
    return "FAIL" if "FAIL" in verdicts else "PASS" if verdicts == {"PASS"} else "INCONCLUSIVE"


def summary(seen: Sequence[Seen]) -> dict[str, Any]:
    """Figures of a version for `timbre status` and `/metrics`; None where there are too few texts."""
    broken, distance = sum(not one.ok for one in seen), distance_of(seen)
    return {
        "texts": len(seen), "broken": broken, "error_rate": broken / len(seen) if seen else None,
        "style_distance": None if distance is None else distance.value, "style_error": None if distance is None else distance.error,
        "style_texts": 0 if distance is None else distance.texts,
        "first_ms": _median([one.first_ms for one in seen]), "token_ms": _median([one.token_ms for one in seen]),
    }  # fmt: skip


def distance_of(seen: Sequence[Seen]) -> Distance | None:
    """The distance from human text, of those texts that were long enough, by the ruler of the newest one."""
    measured = [one for one in seen if one.style is not None]
    measured = [one for one in measured if one.ruler == measured[-1].ruler]
    return style_distance([one.style for one in measured if one.style is not None], [one.client for one in measured])


def _errors(own: Sequence[Seen], policy: ServingPolicy) -> Finding:
    broken, texts = sum(not one.ok for one in own), len(own)
    if not texts:
        return Finding("errors", "INCONCLUSIVE", "Nothing was written yet.", limit=policy.errors)
    low, high = clopper_pearson(broken, texts, 2 * LEVEL - 1)
    failed = broken >= _LEAST_BROKEN and low > policy.errors
    verdict: Verdict = "FAIL" if failed else "PASS" if high <= policy.errors else "INCONCLUSIVE"
    sentence = f"{broken} of {texts} texts broke off, bounds {low:.1%} and {high:.1%}, limit {policy.errors:.1%}."
    return Finding("errors", verdict, sentence, broken / texts, low, high, policy.errors)


def _style(mine: Distance | None, policy: ServingPolicy) -> Finding:
    if mine is None or mine.texts < policy.least:
        return Finding("style", "INCONCLUSIVE", _too_few(mine, policy), limit=policy.style)
    sentence = f"Distance from human text {_shown(mine)}, limit {policy.style:g} ({mine.texts} texts)."
    return Finding("style", _within(mine.low, mine.high, policy.style), sentence, mine.value, mine.low, mine.high, policy.style)


def _beside(
    mine: Distance | None, theirs: Distance | None, own: Sequence[Seen], other: Sequence[Seen], policy: ServingPolicy, beside: str
) -> Finding:
    name, limit = "style beside", policy.style_margin
    if mine is None or theirs is None or min(mine.texts, theirs.texts) < policy.least:
        return Finding(name, "INCONCLUSIVE", f"Not yet compared with {beside}: {_too_few(mine, policy)}", limit=limit)
    if _ruler(own) != _ruler(other):
        return Finding(name, "INCONCLUSIVE", f"Not compared with {beside}: it was measured against other human texts.", limit=limit)
    more = mine.over(theirs)
    sentence = f"{more.value:+.3f} [{more.low:+.3f}, {more.high:+.3f}] further from human text than {beside}, limit {limit:g}."
    return Finding(name, _within(more.low, more.high, limit), sentence, more.value, more.low, more.high, limit)


def _speed(own: Sequence[Seen], other: Sequence[Seen], policy: ServingPolicy, beside: str) -> Finding:
    mine, theirs = (np.sort([one.token_ms for one in side if one.token_ms is not None]) for side in (own, other))
    if min(len(mine), len(theirs)) < policy.least:
        return Finding("speed", "INCONCLUSIVE", f"Fewer than {policy.least} texts were timed on a side.", limit=policy.latency_factor)
    (mine_low, mine_high), (their_low, their_high) = _median_bounds(mine), _median_bounds(theirs)
    value, low, high = float(np.median(mine) / np.median(theirs)), mine_low / their_high, mine_high / their_low
    sentence = (
        f"{np.median(mine):.1f} ms a token, {value:.2f} [{low:.2f}, {high:.2f}] times as long as {beside}, limit {policy.latency_factor:g}."
    )
    return Finding("speed", _within(low, high, policy.latency_factor), sentence, value, low, high, policy.latency_factor)


def _within(low: float, high: float, limit: float) -> Verdict:
    return "FAIL" if low > limit else "PASS" if high <= limit else "INCONCLUSIVE"


def _median_bounds(values: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, float]:
    """Order statistics between which the median lies, each with 99.9% (normal approximation of the binomial)."""
    n = len(values)
    reach = 3.09 * math.sqrt(n) / 2
    return float(values[max(0, math.floor(n / 2 - reach))]), float(values[min(n - 1, math.ceil(n / 2 + reach))])


def _too_few(mine: Distance | None, policy: ServingPolicy) -> str:
    return f"{0 if mine is None else mine.texts} texts were long enough and of enough clients, {policy.least} are needed."


def _ruler(seen: Sequence[Seen]) -> str:
    return next((one.ruler for one in reversed(seen) if one.style is not None), "")


def _shown(distance: Distance) -> str:
    return f"{distance.value:.3f} [{distance.low:.3f}, {distance.high:.3f}]"


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
