"""What told texts apart: the classifier's own features, with a sentence of either side in which they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timbre.metrics.families import Family, Weights, as_pattern
from timbre.words import sentences

SHOWN = 8
"""Features a side."""
_LEAST_TEXTS = 3
_FAMILIES = ("words", "frame")
"""Families whose features people can read."""


@dataclass(frozen=True)
class Telling:
    """One feature that the classifiers went by."""

    feature: str
    side: str
    """The side that it gave away: "own" or "human"."""
    share: float
    """Its part of the gap between the mean scores of the sides, out of fold, where all parts add up to 1."""
    own_texts: int
    human_texts: int
    """Texts of either side that hold it."""
    own_sentence: str
    human_sentence: str
    """A sentence of either side in which it stands; empty where there is none."""


def telling_features(
    family: Family, folds: Sequence[tuple[Weights, np.ndarray]], labels: np.ndarray, texts: tuple[Sequence[str], Sequence[str]]
) -> tuple[Telling, ...]:
    """The features by which the sides differed most, those of `own` first; none for a family that people cannot read.

    The part of a feature is its coefficient times the difference of its mean values between the sides, on texts that the
    classifier had not seen, averaged over the folds.
    """
    if family.name not in _FAMILIES or not folds:
        return ()
    part, held = np.zeros(len(family.names)), np.zeros((2, len(family.names)), np.int64)
    for weights, test in folds:
        values = weights.values(test)
        own = labels[test] == 1
        for side, rows in enumerate((own, ~own)):
            if rows.any():
                mean = np.asarray(values[rows].mean(0)).ravel()
                part[weights.columns] += (1 - 2 * side) * weights.coefficients * mean / len(folds)
                held[side, weights.columns] += np.asarray((values[rows] > 0).sum(0)).ravel()
    total = part.sum()
    if not total > 0:
        return ()
    chosen = []
    for side in (0, 1):
        known = np.flatnonzero((held[side] > held[1 - side]) & (held[side] >= _LEAST_TEXTS) & (part > 0))
        chosen += [(side, int(column)) for column in known[np.argsort(-part[known], kind="stable")][:SHOWN]]
    return tuple(
        Telling(
            str(family.names[column]), ("own", "human")[side], float(part[column] / total), int(held[0, column]), int(held[1, column]),
            *(_sentence(str(family.names[column]), family.name, of) for of in texts),
        )
        for side, column in chosen
    )  # fmt: skip


def _sentence(feature: str, family: str, texts: Sequence[str]) -> str:
    """The shortest sentence of at least four words that holds the feature, else any that does; empty if none can be shown."""
    pattern = as_pattern(feature, family)
    if pattern is None:
        return ""
    found = [piece.strip() for text in texts if pattern.search(text) for piece in sentences(text) if pattern.search(piece)]
    whole = [piece for piece in found if 4 <= len(piece.split()) <= 30]
    return min(whole or found, key=len, default="")
