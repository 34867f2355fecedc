"""How surprising each token is, as a histogram of its rank among all tokens, and how far confidence can be believed.

A writer that samples as people write takes tokens of the same ranks as human text has; one that decodes too coldly stays
among the first (GLTR, 1906.04043).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

BINS = 20
"""Rank 0 (the likeliest token), 1, 2–3, 4–7, … doubling each time."""
FIRST_RANKS = (0, *(2**n for n in range(BINS - 1)))
_CONFIDENCES = 10


def rank_counts(ranks: Iterable[int]) -> list[int]:
    """How many ranks fall into each bin."""
    places = [min(int(rank).bit_length(), BINS - 1) for rank in ranks]
    counts: list[int] = np.bincount(np.array(places, np.int64), minlength=BINS).tolist()
    return counts


def rank_summary(human: Sequence[Sequence[int]], sampled: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    """The summary's "ranks": where each bin begins, and tokens in it.

    Args:
        human: counts of bins under the model, a passage of unseen human text each.
        sampled: ranks of the tokens that the model itself wrote, a text each.
    """
    theirs = np.sum([np.zeros(BINS, np.int64), *(np.array(counts, np.int64) for counts in human)], axis=0)
    return {"from": list(FIRST_RANKS), "human": theirs.tolist(), "sampled": rank_counts(rank for text in sampled for rank in text)}


def confidence_counts(confidences_N: np.ndarray, hits_N: np.ndarray) -> list[list[float]]:
    """Per tenth of confidence (probability of the likeliest token): predictions, sum of confidences, how many were right."""
    bins_N = np.minimum((confidences_N * _CONFIDENCES).astype(np.int64), _CONFIDENCES - 1)
    counted = [np.bincount(bins_N, weights, _CONFIDENCES) for weights in (None, confidences_N, hits_N.astype(float))]
    rows: list[list[float]] = np.stack(counted, 1).astype(float).tolist()
    return rows


def calibration_error(rows: Sequence[Mapping[str, Any]]) -> float:
    """Expected calibration error over all predictions: mean distance between confidence and share of right ones, by tenths
    (Guo et al. 2017, 1706.04599, eq. 3)."""
    counted = np.sum([np.array(row["confidence"], float) for row in rows], axis=0)
    return float(np.abs(counted[:, 1] - counted[:, 2]).sum() / counted[:, 0].sum())
