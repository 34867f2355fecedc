"""P_t = α·δ(y_t) + (1−α)·P_ref, on sparse rows: K tokens, their probabilities, and the mass of all others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class SparseDistributions:
    """N distributions over the next token; at each, `ids` ascend, and probabilities and tail sum to 1."""

    ids_NK: Integers
    probs_NK: Floats
    tail_N: Floats

    def __len__(self) -> int:
        return len(self.tail_N)

    @property
    def entropies(self) -> Floats:
        """Of each distribution, in nats: of the K+1 events that are stored; the spread within the tail is not in it."""
        masses = np.concatenate([self.probs_NK, self.tail_N[:, None]], axis=1).astype(np.float64)
        return np.asarray(-(masses * np.log(np.where(masses > 0, masses, 1.0))).sum(axis=1))


def mix_observed(reference: SparseDistributions, observed_N: Integers, observed_probs_N: Floats, alpha: float) -> SparseDistributions:
    """The reference mixed with the observed token, which is always in the support of the result.

    Where the reference's top K left y out, it takes the place of the smallest entry: that one's mass goes into the tail, and
    y's own mass under the reference comes out of it, so that every event keeps exactly the mass the mixture gives it.

    Args:
        reference: N sparse distributions.
        observed_N: y, the tokens that were written.
        observed_probs_N: P_ref(y), also where y is not among the K.
        alpha: weight of the observed token, 0..1.

    Raises:
        ValueError: α outside 0..1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"target.alpha must lie in 0..1, got {alpha}")
    ids: Integers = reference.ids_NK.copy()
    probs: Floats = reference.probs_NK.astype(np.float64)
    tail: Floats = reference.tail_N.astype(np.float64)
    rows = np.arange(len(tail))
    found = ids == observed_N[:, None]
    absent = ~found.any(axis=1)
    place = np.where(absent, probs.argmin(axis=1), found.argmax(axis=1))
    own = np.minimum(observed_probs_N.astype(np.float64), tail)  # rounding aside, y's mass is part of the tail
    tail[absent] += (probs[rows, place] - own)[absent]
    probs[rows[absent], place[absent]] = own[absent]
    ids[rows[absent], place[absent]] = observed_N[absent]
    probs *= 1 - alpha
    tail *= 1 - alpha
    probs[rows, place] += alpha
    order = np.argsort(ids, axis=1)
    return SparseDistributions(np.take_along_axis(ids, order, axis=1), np.take_along_axis(probs, order, axis=1), tail)
