"""What judges' answers come to: who is preferred, whether the order or the length decided, and whether judges agree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from timbre.judging.queries import Judged, Verdicts
from timbre.judging.question import Choice
from timbre.statistics import Interval, clustered_proportion, krippendorff_alpha

NOTE = (
    "Never a sole gate: judges prefer machine text to human text (2 × win rate 1.8–1.96 where 1.0 would be even), "
    "and may decide by order or length."
)
_FEW_ANSWERS = 0.9


@dataclass(frozen=True)
class Figure:
    """A figure with its 95% interval over `clusters` of `n` items; no bounds where there is one cluster only."""

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int

    @classmethod
    def of(cls, interval: Interval, factor: float = 1.0) -> "Figure":
        low, high = (factor * bound if math.isfinite(bound) else None for bound in (interval.low, interval.high))
        return cls(factor * interval.mean, low, high, interval.n, interval.clusters)


@dataclass(frozen=True)
class JudgeReport:
    """Figures of one judge over the pairs that it answered in both orders.

    `win_rate` is A's, a tie counting half. `order_decided` is the share of pairs where the two orders named different
    texts: the same place won twice, `first_place` or `second_place`. `longer_preferred` is the share of pairs in which the
    longer text won, the pairs where A is longer weighing as much as those where B is, so that a judge who always prefers A
    gets ½; None where only one side is ever longer.
    """

    judge: str
    pairs: int
    answered: int
    no_answer: dict[str, int]
    wins: int
    ties: int
    losses: int
    win_rate: Figure | None
    twice_win_rate: Figure | None
    order_decided: Figure | None
    first_place: float
    second_place: float
    longer_preferred: Figure | None
    models: dict[str, int]
    warnings: list[str]


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha (ordinal: A, tie, B) between judges over pairs; None where nothing can be said."""

    alpha: Figure | None
    same: float | None
    """Share of pairs, among those that all answered, about which all say the same."""


def preference(answered: Judged) -> float:
    """A's score of a pair over both orders: 1 preferred twice, ½ even, 0 never.

    Raises:
        ValueError: an order without an answer.
    """
    if answered.ab is None or answered.ba is None:
        raise ValueError(f"pair {answered.pair.pair_id} was not answered in both orders")
    worth: dict[Choice, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}
    return (worth[answered.ab] + 1 - worth[answered.ba]) / 2


def judge_report(verdicts: Verdicts) -> JudgeReport:
    """The figures of one judge."""
    answered = [one for one in verdicts.judged if one.ab is not None and one.ba is not None]
    scores = [preference(one) for one in answered]
    clusters = [one.pair.cluster for one in answered]
    rate = clustered_proportion(scores, clusters) if scores else None
    by_place = [one.ab == one.ba and one.ab != "tie" for one in answered]
    return JudgeReport(
        judge=verdicts.judge,
        pairs=len(verdicts.judged),
        answered=len(answered),
        no_answer=dict(verdicts.reasons),
        wins=sum(score > 0.5 for score in scores),
        ties=sum(score == 0.5 for score in scores),
        losses=sum(score < 0.5 for score in scores),
        win_rate=Figure.of(rate) if rate else None,
        twice_win_rate=Figure.of(rate, 2) if rate else None,
        order_decided=Figure.of(clustered_proportion([float(decided) for decided in by_place], clusters)) if answered else None,
        first_place=_share(one.ab == one.ba == "first" for one in answered),
        second_place=_share(one.ab == one.ba == "second" for one in answered),
        longer_preferred=_longer(answered, scores),
        models=dict(verdicts.models),
        warnings=_warnings(verdicts, len(answered)),
    )


def agreement(verdicts: Sequence[Verdicts]) -> Agreement | None:
    """How far several judges agree about the same pairs; None for a single judge."""
    if len(verdicts) < 2:
        return None
    rows = list(zip(*(map(_side, one.judged) for one in verdicts), strict=True))
    clusters = [one.pair.cluster for one in verdicts[0].judged]
    alpha = krippendorff_alpha(rows, "ordinal", clusters)
    complete = [row for row in rows if None not in row]
    return Agreement(Figure.of(alpha) if alpha else None, _share(len(set(row)) == 1 for row in complete) if complete else None)


def _side(one: Judged) -> float | None:
    """1 for A, 0 for a tie, −1 for B, None without both answers."""
    if one.ab is None or one.ba is None:
        return None
    score = preference(one)
    return float(score > 0.5) - float(score < 0.5)


def _longer(answered: Sequence[Judged], scores: Sequence[float]) -> Figure | None:
    import numpy as np

    ahead = np.array([np.sign(np.subtract(*one.pair.words())) for one in answered])
    if not ((ahead > 0).any() and (ahead < 0).any()):
        return None
    uneven = np.flatnonzero(ahead)
    values = np.where(ahead > 0, scores, 1 - np.asarray(scores))[uneven]
    weights = np.where(ahead > 0, 0.5 / (ahead > 0).sum(), 0.5 / (ahead < 0).sum())[uneven]
    return Figure.of(clustered_proportion(values, [answered[index].pair.cluster for index in uneven.tolist()], weights=weights))


def _warnings(verdicts: Verdicts, answered: int) -> list[str]:
    found = []
    if answered < _FEW_ANSWERS * len(verdicts.judged):
        found.append(f"only {answered} of {len(verdicts.judged)} pairs were answered in both orders: the rest may differ from them")
    if len(verdicts.models) > 1:
        found.append(f"the server answered with several models ({', '.join(verdicts.models)}): their answers are mixed here")
    return found


def _share(flags: Any) -> float:
    marks = list(flags)
    return sum(marks) / len(marks) if marks else 0.0
