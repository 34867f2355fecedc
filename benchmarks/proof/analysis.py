"""From cells to differences against every setting of SFT, to the super-baseline and the claims: nothing here needs a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.cells import Figures
from benchmarks.hypotheses import LEAST_SEEDS, Difference, Floats, Paired, floats, gap_an_item, nll_an_item, over_seeds
from benchmarks.proof.arms import DFT, SEEDS, SFT, SFT_LARGE, Arm, Cell
from benchmarks.proof.design import HYPOTHESES, LEVEL, PRIMARY, SECONDARY, SET_FIGURES, Asked
from timbre.statistics import Interval
from timbre.statistics.claims import superiority_claims

LIKELIHOOD, PROBED = ("nll", "gap"), ("recited", "fact_margin", "bias_gap")
_CLUSTERS = {"covered": "prompts", "fact_margin": "facts", "bias_gap": "bias"}
Found = Mapping[Cell, Figures]


@dataclass(frozen=True)
class Setting:
    """An arm, and how it is read: a sampler (texts), a temperature (likelihood), or nothing (probes)."""

    arm: Arm
    how: str = ""

    @property
    def title(self) -> str:
        return f"{self.arm.name} {self.how}".strip()


def settings_for(figure: str, arms: Sequence[Arm]) -> list[Setting]:
    """All settings of some arms in which a figure is read."""
    if figure in LIKELIHOOD:
        return [Setting(arm, f"{temperature:g}") for arm in arms for temperature in arm.temperatures]
    return [Setting(arm) for arm in arms] if figure in PROBED else [Setting(arm, sampler) for arm in arms for sampler in arm.samplers]


def own_setting(figure: str, arm: Arm) -> Setting:
    """How an arm that has one fixed setting is read."""
    return Setting(arm, "1" if figure in LIKELIHOOD else "" if figure in PROBED else arm.samplers[-1])


def sweep(size: str) -> tuple[Arm, ...]:
    """The runs of SFT at a size."""
    return SFT if size == "cpu" else SFT_LARGE


def readings(found: Found, setting: Setting, style: str, size: str) -> dict[int, Figures]:
    """By seed, what there is of a setting; the base stands under every seed."""
    seeds = {seed: Cell(setting.arm.name, style, size, 0 if setting.arm.recipe is None else seed) for seed in SEEDS}
    return {seed: found[cell]["read"] for seed, cell in seeds.items() if cell in found and "read" in found[cell]}


def value(figure: str, setting: Setting, read: Figures, names: Figures) -> float | None:
    """The figure itself, for a table; None where it was not measured."""
    if figure in LIKELIHOOD:
        tokens = floats(names["tokens"])
        of = nll_an_item if figure == "nll" else gap_an_item
        return float(np.average(of(read["likelihood"][setting.how], tokens), weights=tokens))
    if figure in PROBED:
        return float(np.mean(read[figure])) if read.get(figure) else None
    texts = read["texts"][setting.how]
    if figure in texts["told_apart"]:
        return float(texts["told_apart"][figure]["auc"])
    if figure == "covered":
        return float(np.mean(texts["covered"]))
    return float(texts["style"][figure]["value"]) if figure in texts["style"] else None


def paired(figure: str, mine: tuple[Setting, Figures], other: tuple[Setting, Figures], names: Figures) -> Paired | None:
    """Differences an item, positive where mine is better; None for figures of a set, or where one was not measured."""
    if any(value(figure, *side, names) is None for side in (mine, other)):
        return None
    (how, own), (others_how, theirs) = ((setting.how, read) for setting, read in (mine, other))
    if figure in LIKELIHOOD:
        tokens = floats(names["tokens"])
        of = nll_an_item if figure == "nll" else gap_an_item
        return Paired(of(theirs["likelihood"][others_how], tokens) - of(own["likelihood"][how], tokens), names["passages"], tokens)
    if figure in PROBED:
        sign = 1 if figure == "fact_margin" else -1
        clusters = names[_CLUSTERS[figure]] if figure in _CLUSTERS else own["recited_from"]  # each seed learnt passages of its own
        return Paired(sign * (floats(own[figure]) - floats(theirs[figure])), clusters)
    texts, others = own["texts"][how], theirs["texts"][others_how]
    if figure == "covered":
        return Paired(floats(others["covered"]) - floats(texts["covered"]), names["prompts"])
    return Paired(floats(others["told_apart"][figure]["shares"]) - floats(texts["told_apart"][figure]["shares"]), names["prompts"])


@dataclass(frozen=True)
class Bounded:
    """The difference of two settings over the seeds that both have, bounded at any confidence."""

    seeds: tuple[float, ...]
    pairs: tuple[Paired, ...] = ()
    drawn: Floats | None = None
    """Of figures of sets: what other prompts could have given, less the mean."""

    def at(self, confidence: float) -> Interval:
        """One-sided bounds."""
        if self.drawn is None:
            return over_seeds(self.pairs, confidence)
        mean = float(np.mean(self.seeds))
        low, high = (mean + float(np.quantile(self.drawn, share)) for share in (1 - confidence, confidence))
        return Interval(mean, low, high, len(self.drawn), len(self.drawn))


def bounded(figure: str, mine: Setting, other: Setting, place: tuple[Found, str, str], names: Figures) -> Bounded | None:
    """None where no seed has both."""
    (found, style, size) = place
    ours, theirs = (readings(found, setting, style, size) for setting in (mine, other))
    both = [((mine, ours[seed]), (other, theirs[seed])) for seed in SEEDS if seed in ours and seed in theirs]
    if figure in SET_FIGURES:
        sets = [_of_sets(figure, own, their) for own, their in both]
        known = [each for each in sets if each is not None]
        if not known:
            return None
        drawn = np.mean([replicates for _, replicates in known], axis=0)
        drawn = drawn[np.isfinite(drawn)]
        return Bounded(tuple(point for point, _ in known), drawn=drawn - drawn.mean()) if len(drawn) > 1 else None
    pairs = tuple(pair for own, their in both if (pair := paired(figure, own, their, names)) is not None)
    return Bounded(tuple(pair.mean for pair in pairs), pairs) if pairs else None


def _of_sets(figure: str, mine: tuple[Setting, Figures], other: tuple[Setting, Figures]) -> tuple[float, Floats] | None:
    """How much nearer to the human mean mine is than the other, and in half-samples of the prompts."""
    sides = [read["texts"][setting.how]["style"].get(figure) for setting, read in (mine, other)]
    if None in sides:
        return None
    own, their = ((abs(side["value"] - side["human"]), np.abs(floats(side["replicates"]) - side["human"])) for side in sides)
    return their[0] - own[0], np.asarray(their[1] - own[1], float)


@dataclass(frozen=True)
class Against:
    """DFT against the super-baseline in one figure: every setting of SFT, of which the one that is best for SFT is shown."""

    hypothesis: Asked
    settings: Mapping[Setting, Bounded]

    @cached_property
    def best(self) -> Setting:
        return min(self.settings, key=lambda setting: float(np.mean(self.settings[setting].seeds)))

    @property
    def shown(self) -> Difference:
        """Against that setting; its lower bound is the lowest against any."""
        bound = self.settings[self.best]
        own = bound.at(1 - LEVEL)
        return Difference(
            self.hypothesis, self.best.title, Interval(own.mean, self.low(1 - LEVEL), own.high, own.n, own.clusters), bound.seeds
        )

    def low(self, confidence: float) -> float:
        """The lowest lower bound over all settings."""
        return min(bound.at(confidence).low for bound in self.settings.values())

    @property
    def every_seed(self) -> bool:
        """Whether each of three seeds points the arm's way against every setting."""
        return all(len(bound.seeds) >= LEAST_SEEDS and min(bound.seeds) > 0 for bound in self.settings.values())


def against_sft(found: Found, style: str, size: str) -> list[Against]:
    """A hypothesis each, where DFT and a setting of SFT have a seed in common."""
    names = items(found, style, size)
    if names is None:
        return []
    result = []
    for hypothesis in HYPOTHESES:
        mine = own_setting(hypothesis.figure, DFT)
        rivals = settings_for(hypothesis.figure, sweep(size))
        bounds = {rival: bounded(hypothesis.figure, mine, rival, (found, style, size), names) for rival in rivals}
        known = {rival: bound for rival, bound in bounds.items() if bound is not None}
        if known:
            result.append(Against(hypothesis, known))
    return result


def items(found: Found, style: str, size: str) -> Figures | None:
    """What the arrays of a style's cells are about; the base's cell says it."""
    base = found.get(Cell("base", style, size, 0))
    return None if base is None else base["items"]


def whole(found: Found, style: str, size: str) -> bool:
    """Whether all that claims are made of was run."""
    return all(Cell(arm.name, style, size, seed) in found for arm in (DFT, *sweep(size)) for seed in SEEDS)


def claims(against: Sequence[Against]) -> list[str]:
    """Of the secondary family, those that Holm's procedure allows: bounds against every setting, every seed."""
    by_name = {each.hypothesis.name: each for each in against}

    def bound(name: str, confidence: float) -> float:
        each = by_name.get(name)
        return each.low(confidence) if each is not None and each.every_seed else -np.inf

    family = {each.name: (lambda confidence, name=each.name: bound(name, confidence)) for each in SECONDARY}
    return superiority_claims(family, LEVEL)


def primary(against: Sequence[Against]) -> bool:
    """Whether DFT is told apart less than every setting of SFT by both families."""
    own = [each for each in against if each.hypothesis.figure in PRIMARY]
    return len(own) == len(PRIMARY) and all(each.every_seed and each.low(1 - LEVEL) > 0 for each in own)
