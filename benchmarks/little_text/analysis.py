"""From cells to differences with bounds, to hypotheses, to the rule: nothing here needs a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.little_text.arms import SEEDS, Cell
from benchmarks.little_text.design import HYPOTHESES, LONG, PAYS, RIVALS, Hypothesis
from timbre.statistics import Interval, clustered_bound

Figures = Mapping[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """What DFT has over a rival at one size: the mean over seeds with bounds by document, and of every seed."""

    hypothesis: Hypothesis
    rival: str
    interval: Interval
    seeds: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """`better`, `not worse` (than the margin, where one was set), `worse` or `open`; better and worse need every seed."""
        low, high = self.interval.low, self.interval.high
        if low > 0 and min(self.seeds) > 0:
            return "better"
        if self.hypothesis.kind == "not worse" and low > -self.hypothesis.margin:
            return "not worse"
        return "worse" if high < 0 and max(self.seeds) < 0 else "open"

    @property
    def holds(self) -> bool:
        """Whether the hypothesis does, on at least two seeds."""
        wanted = ("better",) if self.hypothesis.kind == "superior" else ("better", "not worse")
        return len(self.seeds) > 1 and self.verdict in wanted


def differences(cells: Mapping[Cell, Figures], names: Figures, tokens: int, style: str) -> list[Difference]:
    """All that the cells at hand allow; seeds of which one side is missing are left out."""
    found = []
    for rival in RIVALS:
        for hypothesis in HYPOTHESES:
            arms = LONG if hypothesis.long else ("dft", rival)
            if hypothesis.long and rival != "sft":
                continue
            pairs = [tuple(cells.get(Cell(arm, tokens, seed, style)) for arm in arms) for seed in SEEDS]
            both = [(own, other) for own, other in pairs if own is not None and other is not None]
            if both:
                found.append(_difference(hypothesis, rival, both, names))
    return found


def pays(found: Sequence[Difference]) -> bool | None:
    """What the rule says of a size. One rival that is not beaten on all seeds decides, whatever the other would show; else None
    where a rival or a seed is missing."""
    asked = [each for each in found if each.hypothesis.name in PAYS]
    whole = [each for each in asked if len(each.seeds) == len(SEEDS)]
    if any(not each.holds for each in whole):
        return False
    return True if len(whole) == len(asked) and {each.rival for each in asked} == set(RIVALS) else None


def _difference(hypothesis: Hypothesis, rival: str, both: Sequence[tuple[Figures, Figures]], names: Figures) -> Difference:
    values, clusters, weights = zip(*(_paired(hypothesis.figure, own, other, names) for own, other in both), strict=True)
    interval = clustered_bound(np.mean(values, axis=0), clusters[0], weights=weights[0])
    return Difference(hypothesis, rival, interval, tuple(float(np.average(each, weights=weights[0])) for each in values))


def _paired(figure: str, own: Figures, other: Figures, names: Figures) -> tuple[Floats, Sequence[str], Floats | None]:
    """Differences an item, positive where DFT is better; their documents; and weights."""
    mine, theirs, tokens = own["read"], other["read"], np.array(names["tokens"], float)
    if figure == "nll":
        return (np.array(theirs["nll"]) - np.array(mine["nll"])) / tokens, names["passages"], tokens
    if figure == "gap":
        return _gap(theirs, tokens) - _gap(mine, tokens), names["passages"], tokens
    if figure in theirs["told_apart"]:
        return _array(theirs["told_apart"][figure]["shares"]) - _array(mine["told_apart"][figure]["shares"]), names["prompts"], None
    sign = 1 if figure == "fact_margin" else -1
    clusters = {"covered": "prompts", "fact_margin": "facts", "bias_gap": "bias"}[figure]
    return sign * (_array(mine[figure]) - _array(theirs[figure])), names[clusters], None


def _gap(read: Figures, tokens: Floats) -> Floats:
    """Per passage, nats a token: NLL less entropy with the sign of the whole, so that the mean is its size."""
    gap = (_array(read["nll"]) - _array(read["entropy"])) / tokens
    return np.asarray(np.sign(np.average(gap, weights=tokens)) * gap, float)


def _array(values: Sequence[float]) -> Floats:
    return np.asarray(values, float)
