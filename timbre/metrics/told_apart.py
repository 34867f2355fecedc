"""Told apart (a classifier two-sample test, Lopez-Paz & Oquab 1610.06545): how well can a fresh classifier tell texts from human ones?

Scores are out of fold: five folds by document, both sides of a document in one fold, so that no classifier is asked about a
document of which it saw anything; the area under the ROC curve is of the pooled scores. 1 = always told, .5 = a coin. The area
grows with the number of texts that a classifier learns from, and with their length. So both sides have equal counts, the
human–human floor is measured by the same protocol at the same count, and figures of other counts or lengths are refused by
name and never compared. Intervals draw whole documents.

Of two arms on the same prompts the difference of areas is judged pair by pair: `contributions` gives each prompt's share in the
area (the influence function of DeLong, DeLong & Clarke-Pearson 1988; clustered as in Obuchowski 1997), whose mean is the area, so
that the difference is a mean of paired differences in clusters, and `timbre.statistics.clustered_bound` bounds it.

Classifiers that had learnt from other texts would give other scores, which neither the bootstrap nor DeLong's variance sees: in
simulations areas scatter up to 1.45 times as much as either says, most where little is to be told. All intervals and bounds are
therefore wider by √(1 + K/(K−1)) = 1.5, the correction of Nadeau & Bengio (Machine Learning 52, 2003) for K = 5 folds.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from timbre.metrics.families import FAMILIES, MEANING, TEXT_FAMILIES, Family, Weights, array_family, text_family
from timbre.metrics.telling import Telling, telling_features
from timbre.statistics import Interval, round_robin
from timbre.statistics.roc import clustered_auc, count_that_would_do, null_error, placements, roc_auc
from timbre.words import words

FOLDS = 5
LEAST = 20
"""Texts a side below which no classifier is worth asking."""
FOLDS_APART = 2 * FOLDS
"""Documents a side below which sides of different documents are not compared: a classifier that loses a fifth of few documents loses
what it knew of their side, and calls the rest the other one: areas far below .5 that mean nothing."""
LONGER_MOST = 1.25
"""How much longer one side's median text may be: length alone would tell more unequal ones apart."""
WIDEN = math.sqrt(1 + FOLDS / (FOLDS - 1))
"""What the scatter of the classifiers' own learning adds to the scatter of the texts that they are asked about."""
_TOLD_Z = 1.6449 + 0.8416
"""Quantiles of one-sided 5% and of 80% power."""


@dataclass(frozen=True)
class Side:
    """Texts, the document or prompt that each belongs to, and what was measured of each: {"encoder": (N, D), "surprisal": (N, F)}."""

    texts: Sequence[str]
    documents: Sequence[str]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.documents):
            raise ValueError(f"{len(self.texts)} texts and {len(self.documents)} documents: name the document of every text")
        if wrong := [name for name, values in self.arrays.items() if len(values) != len(self.texts)]:
            raise ValueError(f"the {wrong[0]} array has {len(self.arrays[wrong[0]])} rows for {len(self.texts)} texts: give one a text")

    def __len__(self) -> int:
        return len(self.texts)

    def of(self, chosen: Sequence[int] | np.ndarray) -> "Side":
        """Some of the texts, by place."""
        return Side(
            [self.texts[index] for index in chosen], [self.documents[index] for index in chosen],
            {name: np.asarray(values)[np.asarray(chosen, np.int64)] for name, values in self.arrays.items()},
        )  # fmt: skip

    def __add__(self, other: "Side") -> "Side":
        both = self.arrays.keys() & other.arrays.keys()
        arrays = {name: np.concatenate([self.arrays[name], other.arrays[name]]) for name in both}
        return Side([*self.texts, *other.texts], [*self.documents, *other.documents], arrays)


@dataclass(frozen=True)
class Apart:
    """How well one family tells a side from human text."""

    family: str
    auc: Interval
    """Two-sided 95%, by document."""
    contributions: np.ndarray = field(repr=False)
    """Of each pair of texts (own, human) in order: their share in the area. The mean is the area; deviations from it are widened
    by `WIDEN`, so that bounds on means of them are honest."""
    floor: Interval | None
    """Human text against other human text by the same protocol at the same count; None where there is not enough of it."""
    telling: tuple[Telling, ...] = ()
    """What gave the texts away, most telling first, with sentences of both sides."""

    def row(self) -> dict[str, Any]:
        """As summaries and `--json` have it."""
        floor = self.floor
        return {
            "auc": self.auc.mean, "low": self.auc.low, "high": self.auc.high, "meaning": MEANING[self.family],
            "floor": floor.mean if floor else None, "floor_low": floor.low if floor else None, "floor_high": floor.high if floor else None,
            "count_would_do": count_that_would_do(self.auc.mean, widen=WIDEN),
        }  # fmt: skip


@dataclass(frozen=True)
class ToldApart:
    """Every family that was measured, why others were not, and what sets of this size can tell."""

    families: dict[str, Apart]
    not_measured: dict[str, str]
    texts: int
    """Texts a side."""
    documents: int
    length_words: int
    """Median length of the texts of both sides."""
    no_floor: str = ""
    """Why human text was not told from human text; empty where it was."""

    def summary(self) -> dict[str, Any]:
        """As summaries and `--json` have it; an end that is not bounded is None."""
        error = null_error(self.texts, self.texts) if self.texts else None
        rows = {name: _finite(apart.row()) for name, apart in self.families.items()}
        telling = {name: [asdict(each) for each in apart.telling] for name, apart in self.families.items() if apart.telling}
        return {
            **rows, "not_measured": self.not_measured, "texts": self.texts, "documents": self.documents, "length_words": self.length_words,
            "chance": 0.5, "null_error": error, "tells_from": None if error is None else 0.5 + _TOLD_Z * WIDEN * error,
            "telling": telling, "no_floor": self.no_floor or None,
        }  # fmt: skip


def told_apart(
    own: Side, human: Side, others: Side | None = None, *, missing: Mapping[str, str] | None = None, of_one_length: bool = False,
    seed: int = 0,
) -> ToldApart:  # fmt: skip
    """Every family of which both sides hold what it needs.

    Args:
        own: the texts that are judged.
        human: as many human texts; where both continue the same prompts, in the same order.
        others: further human texts of the same length, for the human–human floor.
        missing: why an array family is not there, by name, for those who read it.
        of_one_length: all texts were made to one length in tokens, whatever that is in words.

    Raises:
        ValueError: other counts, or texts of other lengths: neither is ever compared.
    """
    check_alike(own, human, of_one_length=of_one_length)
    reasons = _too_little(own, human)
    if reasons:
        return ToldApart({}, dict.fromkeys(FAMILIES, reasons), len(own), _documents(own, human), _length(own, human))
    pool = human if others is None else human + others
    halves, no_floor = _floor_sides(pool, len(own), shared=_shared(own, human), seed=seed)
    found: dict[str, Apart] = {}
    absent: dict[str, str] = {}
    with _one_thread():
        for name in FAMILIES:
            if name not in TEXT_FAMILIES and not all(name in side.arrays for side in (own, human)):
                absent[name] = (missing or {}).get(name, "nothing was handed in for it")
                continue
            scores, telling = _scored(name, own, human, explained=True)
            floor = None
            if halves is not None and (name in TEXT_FAMILIES or name in pool.arrays):
                floor = _area(_scored(name, *halves)[0], *halves, seed)
            found[name] = Apart(name, _area(scores, own, human, seed), _contributions(scores), floor, telling)
    return ToldApart(found, absent, len(own), _documents(own, human), _length(own, human), no_floor)


def told_by(name: str, own: Side, human: Side, seed: int = 0) -> Apart:
    """One family alone, on sides that are compared as in `told_apart`: its area and each pair's share, without a floor.

    Raises:
        ValueError: other counts, texts of other lengths, or too few to ask a classifier.
    """
    check_alike(own, human, of_one_length=True)
    if reason := _too_little(own, human):
        raise ValueError(reason)
    with _one_thread():
        scores, _ = _scored(name, own, human)
        return Apart(name, _area(scores, own, human, seed), _contributions(scores), None)


def _floor_sides(pool: Side, count: int, *, shared: bool, seed: int) -> tuple[tuple[Side, Side] | None, str]:
    """Human text on either side; or None, and why."""
    halves = human_halves(pool.documents, count, shared=shared, seed=seed)
    if halves is None:
        return None, f"human text against human text takes {2 * count} human texts: there are {len(pool)}"
    first, second = (pool.of(half) for half in halves)
    if reason := _too_little(first, second):
        return None, f"human text against human text: {reason}"
    return (first, second), ""


def _one_thread() -> AbstractContextManager[Any]:
    """Small sparse problems: threads that wait for each other cost several times what they save."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def check_alike(own: Side, human: Side, *, of_one_length: bool = False) -> None:
    """Refuse sides of other counts, or whose texts differ in length by more than a quarter where they were not made to one.

    Raises:
        ValueError: the sentence names the figures of either side.
    """
    if len(own) != len(human):
        raise ValueError(
            f"{len(own)} texts are not compared with {len(human)} human ones: the figure grows with the count, so give as many of either"
        )
    if of_one_length:
        return
    lengths = [_median_words(side.texts) for side in (own, human)]
    if min(lengths) and max(lengths) > LONGER_MOST * min(lengths):
        raise ValueError(
            f"texts of {lengths[0]} words are not compared with human ones of {lengths[1]} (medians): length alone tells them apart, so "
            "cut both to the same"
        )


def spread_over_documents(documents: Sequence[str], count: int) -> np.ndarray:
    """Places of `count` texts in order, taken from one document after the other, so that no choice is the head of a file."""
    return np.sort(np.array(round_robin(documents)[:count], dtype=np.int64))


def human_halves(documents: Sequence[str], count: int, *, shared: bool, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Two sets of `count` human texts each for the floor, or None where there are not so many; from as many documents as there are.

    Args:
        shared: whether the sides that are compared hold the same documents: then texts of a document are dealt to both halves in
            turn, else whole documents go to one or the other.
    """
    if len(documents) < 2 * count:
        return None
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(documents))
    return _dealt_by_pairs(order, documents, count) if shared else _dealt_by_documents(order, documents, count)


def _dealt_by_pairs(order: np.ndarray, documents: Sequence[str], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two texts of every document to either half, then two more of each, and last the texts that are left without a partner."""
    waiting: dict[str, int] = {}
    turns: Counter[str] = Counter()
    pairs: list[tuple[int, int, int]] = []
    for index in map(int, order):
        if (partner := waiting.pop(documents[index], None)) is None:
            waiting[documents[index]] = index
        else:
            pairs.append((turns[documents[index]], partner, index))
            turns[documents[index]] += 1
    pairs.sort(key=lambda pair: pair[0])
    dealt = np.array([index for _, *pair in pairs for index in pair] + list(waiting.values()))[: 2 * count]
    return np.sort(dealt[0::2]), np.sort(dealt[1::2])


def _dealt_by_documents(order: np.ndarray, documents: Sequence[str], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole documents, largest first, to the half that holds fewer texts; of one at most the texts that the other half lacks."""
    held: dict[str, list[int]] = {}
    for index in map(int, order):
        held.setdefault(documents[index], []).append(index)
    halves: tuple[list[int], list[int]] = ([], [])
    for texts in sorted(held.values(), key=len, reverse=True):
        min(halves, key=len).extend(texts)
    less, more = sorted(halves, key=len)
    if (lacks := max(count - len(less), 0)) > 0:
        less.extend(more[:lacks])
        del more[:lacks]
    first, second = (np.array(half)[spread_over_documents([documents[n] for n in half], count)] for half in (less, more))
    return np.sort(first), np.sort(second)


def _scored(name: str, own: Side, human: Side, *, explained: bool = False) -> tuple[tuple[np.ndarray, np.ndarray], tuple[Telling, ...]]:
    """Out-of-fold decision values of both sides, high where a text is taken for one of `own`; and what told them apart, if asked."""
    from sklearn.model_selection import GroupKFold

    family = _family(name, own, human)
    labels = np.r_[np.ones(len(own)), np.zeros(len(human))]
    scores, folds = np.zeros(len(labels)), list[tuple[Weights, np.ndarray]]()
    groups = np.array([*own.documents, *human.documents])
    for train, test in GroupKFold(FOLDS).split(labels, labels, groups):
        decide, weights = family.fit(train, labels[train])
        scores[test] = decide(test)
        if weights is not None:
            folds.append((weights, test))
    telling = telling_features(family, folds, labels, (own.texts, human.texts)) if explained else ()
    return (scores[: len(own)], scores[len(own) :]), telling


def _family(name: str, own: Side, human: Side) -> Family:
    if name in TEXT_FAMILIES:
        return text_family(name, [*own.texts, *human.texts], human.texts)
    return array_family(name, np.concatenate([own.arrays[name], human.arrays[name]]))


def _area(scores: tuple[np.ndarray, np.ndarray], first: Side, second: Side, seed: int) -> Interval:
    return clustered_auc(*scores, list(first.documents), list(second.documents), seed=seed, widen=WIDEN)


def _contributions(scores: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    area = roc_auc(*scores)
    shares = np.sum(placements(*scores), axis=0) - area
    return np.asarray(area + WIDEN * (shares - area), np.float64)


def _too_little(own: Side, human: Side) -> str:
    if len(own) < LEAST:
        return f"{len(own)} texts a side are too few to ask a classifier: {LEAST} are the least"
    shared = _shared(own, human)
    least = FOLDS if shared else FOLDS_APART
    documents = min(len(set(own.documents)), len(set(human.documents)))
    if documents < least:
        kind = "" if shared else " where the sides hold different documents"
        return f"texts of {documents} documents make no {FOLDS} folds by document: {least} a side are the least{kind}"
    return ""


def _documents(own: Side, human: Side) -> int:
    return len({*own.documents, *human.documents})


def _shared(own: Side, human: Side) -> bool:
    """Whether both sides hold the same documents, for the most part."""
    ours, theirs = Counter(own.documents), Counter(human.documents)
    return 2 * sum((ours & theirs).values()) >= len(own)


def _median_words(texts: Sequence[str]) -> int:
    return int(np.median([len(words(text)) for text in texts])) if len(texts) else 0


def _length(own: Side, human: Side) -> int:
    return _median_words([*own.texts, *human.texts])


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
