"""Does the Style Diversity Score measure what it says? Six questions to it, on writers and prompts it was not built from.

If an answer is wrong the score is not printed. Then the definition has to change, never the bars below.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from timbre.metrics.encoder import Encoder
from timbre.metrics.measuring import SPLITS, Reference, measure
from timbre.metrics.style_diversity import DEFINITIONS, GREEDY, HOT, Definition, StyleScore, anchor_values, style_diversity

LENGTHS = (0.75, 1.0, 1.25)
HUMAN_LEAST, GREEDY_MOST, BROKEN_MOST, LENGTH_MOST = 95.0, 5.0, 50.0, 3.0


@dataclass(frozen=True)
class TextSets:
    """All texts at one length, without a text in two places.

    `reference` (with the document of each) and the anchors are what the score is made of; human, greedy, hot and base are
    other writers' or other prompts': unseen human text, and the untuned base greedy, at temperature 2 and at 1.
    """

    reference: Sequence[str]
    documents: Sequence[str]
    greedy_anchor: Sequence[str]
    hot_anchor: Sequence[str]
    human: Sequence[str]
    greedy: Sequence[str]
    hot: Sequence[str]
    base: Sequence[str]

    @property
    def count(self) -> int:
        """Texts of each set that are used: the same of all."""
        sets = (self.greedy_anchor, self.hot_anchor, self.human, self.greedy, self.hot, self.base)
        return min(*map(len, sets), len(self.reference) // 2)


@dataclass(frozen=True)
class Check:
    """One question to the score. `passed` is False too where there is no score."""

    name: str
    required: str
    value: float | None
    passed: bool


@dataclass(frozen=True)
class Calibration:
    """The answers, and the scores that they come from, under the first definition that passes (or else the last)."""

    definition: Definition
    checks: tuple[Check, ...]
    scores: dict[str, float | None]
    count: int
    refused: dict[str, list[str]]
    """Definitions that were tried before, and what failed there."""

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    def failures(self) -> list[str]:
        """What failed, in words."""
        return [f"{check.name}: required {check.required}, got {_spoken(check.value)}" for check in self.checks if not check.passed]

    def summary(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"passed": self.passed} | asdict(self)


def calibrate(
    sets: Mapping[float, TextSets], *, seed: int = 0, encoder: Encoder | None = None, splits: int = SPLITS
) -> Calibration:  # fmt: skip
    """Run all checks.

    Args:
        sets: the same texts cut at .75, 1 and 1.25 of the length.

    Raises:
        ValueError: a length is missing, or a set has fewer than four texts.
    """
    if missing := [length for length in LENGTHS if length not in sets]:
        raise ValueError(f"calibration needs the texts at {', '.join(map(str, LENGTHS))} of their length; {missing[0]} is missing")
    if (fewest := min(each.count for each in sets.values())) < 4:
        raise ValueError(f"calibration has sets of {fewest} texts and 4 are the least: generate more, or give more human text")
    by_length = {length: trial_scores(sets[length], seed, encoder, splits, full=length == 1.0) for length in LENGTHS}
    refused: dict[str, list[str]] = {}
    for definition in DEFINITIONS:
        scores = {length: {name: score.value for name, score in by_length[length][definition].items()} for length in LENGTHS}
        found = Calibration(definition, tuple(_checks(scores[1.0], _shifts(scores))), scores[1.0], sets[1.0].count, dict(refused))
        if found.passed:
            break
        refused[definition] = found.failures()
    return found


def trial_scores(
    sets: TextSets, seed: int, encoder: Encoder | None, splits: int = SPLITS, *, full: bool
) -> dict[Definition, dict[str, StyleScore]]:  # fmt: skip
    """Scores of the texts that are not in the score itself; without `full` only those that the length check needs."""
    count = sets.count
    reference = Reference.of(sets.reference, count, clusters=sets.documents, seed=seed, encoder=encoder, splits=splits)
    measured = {name: measure(texts[:count], reference) for name, texts in ((GREEDY, sets.greedy_anchor), (HOT, sets.hot_anchor))}
    anchors = anchor_values(measured)
    trials = {"human": sets.human, "base": sets.base}
    if full:
        trials |= {"greedy": sets.greedy, "hot": sets.hot, "shuffled": [shuffled(text, seed) for text in sets.human]}
    figures = {name: measure(texts[:count], reference) for name, texts in trials.items()}
    return {definition: {name: style_diversity(each, anchors, definition) for name, each in figures.items()} for definition in DEFINITIONS}


def _shifts(scores: Mapping[float, Mapping[str, float | None]]) -> list[float | None]:
    """How far the score of human and base text moves when there is a quarter less or more of it."""
    shifts: list[float | None] = []
    for name in ("human", "base"):
        for length in (0.75, 1.25):
            one, other = scores[length][name], scores[1.0][name]
            shifts.append(abs(one - other) if one is not None and other is not None else None)
    return shifts


def shuffled(text: str, seed: int) -> str:
    """The same words in random order, punctuation left hanging on them."""
    pieces = text.split()
    random.Random(f"{seed} {len(pieces)} {text[:40]}").shuffle(pieces)
    return " ".join(pieces)


def _checks(scores: Mapping[str, float | None], moved: Sequence[float | None]) -> Iterator[Check]:
    human, base, greedy = scores["human"], scores["base"], scores["greedy"]
    yield Check("unseen human text", f"at least {HUMAN_LEAST:g}", human, human is not None and human >= HUMAN_LEAST)
    yield Check("base, greedy", f"at most {GREEDY_MOST:g}", greedy, greedy is not None and greedy <= GREEDY_MOST)
    for name, spoken in (("shuffled", "human text with its words shuffled"), ("hot", "base at temperature 2")):
        value = scores[name]
        yield Check(spoken, f"below {BROKEN_MOST:g}", value, value is not None and value < BROKEN_MOST)
    ordered = human is not None and base is not None and greedy is not None and human > base > greedy
    yield Check("base at temperature 1", "between its greedy text and human text", base, ordered)
    most = max((value for value in moved if value is not None), default=None)
    steady = None not in moved and most is not None and most < LENGTH_MOST
    yield Check("a quarter more or less text", f"moves it less than {LENGTH_MOST:g}", most, steady)


def _spoken(value: float | None) -> str:
    return "no score" if value is None else f"{value:.1f}"
