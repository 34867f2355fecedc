"""From cells to differences with bounds, to hypotheses, to the rule: nothing here needs a model."""

from collections.abc import Mapping, Sequence

from benchmarks.cells import Figures
from benchmarks.hypotheses import Difference, Paired, floats, gap_an_item, nll_an_item, over_seeds
from benchmarks.little_text.arms import SEEDS, Cell
from benchmarks.little_text.design import HYPOTHESES, LONG, PAYS, RIVALS, LittleText


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


def _difference(hypothesis: LittleText, rival: str, both: Sequence[tuple[Figures, Figures]], names: Figures) -> Difference:
    pairs = [_paired(hypothesis.figure, own["read"], other["read"], names) for own, other in both]
    return Difference(hypothesis, rival, over_seeds(pairs), tuple(pair.mean for pair in pairs))


def _paired(figure: str, mine: Figures, theirs: Figures, names: Figures) -> Paired:
    tokens = floats(names["tokens"])
    if figure in ("nll", "gap"):
        of = nll_an_item if figure == "nll" else gap_an_item
        return Paired(of(theirs, tokens) - of(mine, tokens), names["passages"], tokens)
    if figure in theirs["told_apart"]:
        return Paired(floats(theirs["told_apart"][figure]["shares"]) - floats(mine["told_apart"][figure]["shares"]), names["prompts"])
    sign = 1 if figure == "fact_margin" else -1
    clusters = {"covered": "prompts", "fact_margin": "facts", "bias_gap": "bias"}[figure]
    return Paired(sign * (floats(mine[figure]) - floats(theirs[figure])), names[clusters])
