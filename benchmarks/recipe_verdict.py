"""What the rows of `benchmarks.recipe` say: distances to human text, paired intervals against SFT, and which recipe it is to be.

*Distance* is how far samples stand from human text: |metric − human| in units of human split-half noise, at most 20, averaged
over the metrics of a group (lexical, repetition, distribution), then over the groups; 0.8 is what chance alone gives.
Bounds are one-sided, each at 95%: of NLL and calibration gap clustered by document (`clustered_bound`), of distances from
half-samples of the prompts, the same ones for every row, so that differences are paired.

The rules are fixed here, before any figure is known:

* *chosen* is, of the recipes whose validation NLL is at most .02 above SFT's, the one whose samples at temperature 1 are nearest
  to human text on validation prompts;
* SFT's best setting is chosen for each measure by itself, on validation, over its rows and temperatures: the nearest, the
  likeliest, the best calibrated;
* on test documents the chosen recipe *beats* SFT if the lower bound of what it is nearer is above 0 and its NLL, at the upper
  bound, is at most .02 higher, each against SFT's best setting for it; it *loses* if it is farther by the bound; else they *tie*.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timbre.metrics.catalogue import GROUPS, METRIC
from timbre.metrics.measuring import Figure
from timbre.statistics import Interval, clustered_bound

MARGIN, CAP, LEVEL = 0.02, 20.0, 0.95
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Distance:
    """To human text, in σ of human halves, and what other samples could have given."""

    value: float
    replicates: np.ndarray


@dataclass(frozen=True)
class Setting:
    """A recipe at one temperature, on one split."""

    recipe: str
    temperature: float
    distribution: bool
    rival: bool
    """SFT: what a recipe has to beat."""
    likelihood: Rows
    figures: Mapping[str, Figure]

    @property
    def nll(self) -> float:
        return _mean(self.likelihood, "nll")

    @property
    def entropy(self) -> float:
        return _mean(self.likelihood, "entropy")

    @property
    def gap(self) -> float:
        """Mean NLL less mean entropy: 0 for a calibrated writer."""
        return self.nll - self.entropy

    @property
    def distance(self) -> Distance:
        return distance(self.figures)


def distance(figures: Mapping[str, Figure]) -> Distance:
    """Of one set of samples; metrics whose human noise is zero, or that gave nothing, are left out.

    Raises:
        ValueError: no metric is left.
    """
    values, replicates = [], []
    for group in GROUPS:
        members = [figure for name, figure in figures.items() if METRIC[name].group == group]
        members = [figure for figure in members if figure.value is not None and figure.human.sigma > 0]
        if not members:
            continue
        values.append(np.mean([_far(np.asarray(figure.value), figure) for figure in members]))
        replicates.append(np.mean([_far(figure.replicates, figure) for figure in members if _whole(figure)], axis=0))
    if not values:
        raise ValueError("no metric of these samples can be compared with human text: write more or longer samples")
    return Distance(float(np.mean(values)), np.mean(replicates, axis=0))


def nearer(mine: Setting, other: Setting) -> Interval:
    """By how much my samples are nearer to human text than the other's, in σ; positive is better."""
    ours, theirs = mine.distance, other.distance
    point = theirs.value - ours.value
    drawn = theirs.replicates - ours.replicates
    drawn = drawn[np.isfinite(drawn)] - np.nanmean(drawn)  # centred: noise moves every |deviation| up
    if len(drawn) < 2:
        return Interval(point, -math.inf, math.inf, 0, 0)
    return Interval(point, point + float(np.quantile(drawn, 1 - LEVEL)), point + float(np.quantile(drawn, LEVEL)), len(drawn), len(drawn))


def likelier(mine: Setting, other: Setting) -> Interval:
    """Nats a token by which I find unseen human text likelier than the other; positive is better."""
    return _paired(mine.likelihood, other.likelihood, lambda row: float(row["nll"]))


def better_calibrated(mine: Setting, other: Setting) -> Interval:
    """Nats by which my calibration gap is smaller in size than the other's; positive is better."""
    ours, theirs = math.copysign(1, mine.gap), math.copysign(1, other.gap)
    return _paired(mine.likelihood, other.likelihood, lambda row: float(row["nll"]) - float(row["entropy"]), ours, theirs)


def verdict(validation: Sequence[Setting], test: Sequence[Setting], plain: str) -> dict[str, Any]:
    """The chosen recipe, SFT's best setting, how they compare on test documents, and all of that in a sentence."""
    rivals = [setting for setting in validation if setting.rival]
    recipes = [setting for setting in validation if setting.distribution]
    if not rivals or not recipes:
        return {"default": None, "beats_sft": None, "sentence": "nothing can be said: one side has no row that was not refused"}
    limit = min(setting.nll for setting in rivals) + MARGIN
    allowed = [setting for setting in recipes if setting.nll <= limit]
    chosen, rival = _nearest(allowed or recipes), _nearest(rivals)
    likeliest, calibrated_best = min(rivals, key=lambda one: one.nll), min(rivals, key=lambda one: abs(one.gap))
    mine = _same(chosen, test)
    near, likely = nearer(mine, _same(rival, test)), likelier(mine, _same(likeliest, test))
    calibrated = better_calibrated(mine, _same(calibrated_best, test))
    outcome = "ties with"
    if near.low > 0 and likely.low > -MARGIN:
        outcome = "beats"
    elif near.high < 0:
        outcome = "loses to"
    won, compared = _per_metric(mine, [setting for setting in test if setting.rival])
    excluded = "" if allowed else f" (none stays within {MARGIN} nats of SFT's NLL; this is the nearest of all)"
    kept = "it is the release's default already" if chosen.recipe == plain else f"the release's default is {plain}"
    sentence = (
        f"The default should be {chosen.recipe}{excluded}; {kept}. On unseen test documents it {outcome} SFT, each figure against the "
        f"setting that was best for it on validation: nearer to human text by {_said(near)} σ than {_name(rival)}, likelier by "
        f"{_said(likely)} nats than {_name(likeliest)}, calibration gap smaller by {_said(calibrated)} nats than "
        f"{_name(calibrated_best)}. Against the best SFT setting of every single metric it is nearer in {won} of {compared}."
    )
    return {
        "default": chosen.recipe, "default_nll_within_margin": bool(allowed), "beats_sft": outcome == "beats", "outcome": outcome,
        "sft_nearest": _name(rival), "sft_likeliest": _name(likeliest), "sft_best_calibrated": _name(calibrated_best),
        "nearer_sigma": bounds(near),
        "likelier_nats": bounds(likely), "better_calibrated_nats": bounds(calibrated), "metrics_won": won, "metrics_compared": compared,
        "sentence": sentence,
    }  # fmt: skip


def bounds(interval: Interval) -> dict[str, float | None]:
    """For JSON, which knows no infinity."""
    return {name: value if math.isfinite(value := getattr(interval, name)) else None for name in ("mean", "low", "high")}


def _per_metric(mine: Setting, rivals: Sequence[Setting]) -> tuple[int, int]:
    """In how many metrics I am nearer to human text than the best of the rivals in that metric."""
    won = compared = 0
    for name, figure in mine.figures.items():
        others = [setting.figures[name] for setting in rivals if name in setting.figures and setting.figures[name].value is not None]
        if METRIC[name].group in GROUPS and figure.value is not None and figure.human.sigma > 0 and others:
            compared += 1
            won += float(_far(np.asarray(figure.value), figure)) < min(float(_far(np.asarray(other.value), other)) for other in others)
    return won, compared


def _far(value: np.ndarray, figure: Figure) -> np.ndarray:
    return np.minimum(np.abs(value - figure.human.mean) / figure.human.sigma, CAP)


def _whole(figure: Figure) -> bool:
    return bool(np.isfinite(figure.replicates).all())


def _nearest(settings: Sequence[Setting]) -> Setting:
    return min(settings, key=lambda setting: setting.distance.value)


def _same(wanted: Setting, among: Sequence[Setting]) -> Setting:
    return next(one for one in among if (one.recipe, one.temperature) == (wanted.recipe, wanted.temperature))


def _mean(rows: Rows, name: str) -> float:
    return math.fsum(float(row[name]) for row in rows) / sum(int(row["tokens"]) for row in rows)


def _paired(mine: Rows, other: Rows, of: Callable[[Mapping[str, Any]], float], sign: float = 1.0, others_sign: float = 1.0) -> Interval:
    assert [row["item"] for row in mine] == [row["item"] for row in other], "the same passages were scored"
    differences = [(others_sign * of(theirs) - sign * of(ours)) / int(ours["tokens"]) for ours, theirs in zip(mine, other, strict=True)]
    return clustered_bound(differences, [row["cluster"] for row in mine], LEVEL, weights=[float(row["tokens"]) for row in mine])


def _name(setting: Setting) -> str:
    return f"{setting.recipe} at T = {setting.temperature:g}"


def _said(interval: Interval) -> str:
    low, high = (f"{side:+.3f}" if math.isfinite(side) else "unknown" for side in (interval.low, interval.high))
    return f"{interval.mean:+.3f} [{low}, {high}]"
