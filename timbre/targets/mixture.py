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
    return _mix_rows(reference, observed_N, observed_probs_N, alpha)


def _mix_rows(reference: SparseDistributions, observed_N: Integers, observed_probs_N: Floats, alpha: Floats | float) -> SparseDistributions:
    """`mix_observed` with a weight for each row, or one for all."""
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
    probs *= (1 - alpha) if isinstance(alpha, float | int) else (1 - alpha)[:, None]
    tail *= 1 - alpha
    probs[rows, place] += alpha
    order = np.argsort(ids, axis=1)
    return SparseDistributions(np.take_along_axis(ids, order, axis=1), np.take_along_axis(probs, order, axis=1), tail)


def mix_pooled(reference: SparseDistributions, ids_NM: Integers, shares_NM: Floats, probs_NM: Floats, alpha: float) -> SparseDistributions:
    """The reference mixed with an empirical distribution: several tokens that people wrote in exactly this context.

    α·Σ_m f_m·δ(y_m) + (1−α)·P_ref is built token by token (the last one with weight α·f_m, the one before with the share that
    makes it α·f after that, …), so that each step is `mix_observed`. A place with share 0 changes nothing.

    Args:
        ids_NM: the tokens; filled up with any of them where a position has fewer.
        shares_NM: f, their relative frequencies; each row sums to 1.
        probs_NM: P_ref of these tokens.
    """
    mixed, kept = reference, np.ones(len(reference))  # kept: what later steps leave of an earlier one
    weights_NM = np.zeros(shares_NM.shape)
    for place in reversed(range(shares_NM.shape[1])):
        weights_NM[:, place] = np.divide(alpha * shares_NM[:, place], kept, out=np.zeros(len(kept)), where=kept > 0)
        kept = kept - alpha * shares_NM[:, place]
    reference_left = np.ones(len(reference))
    for place in range(shares_NM.shape[1]):
        active = np.flatnonzero(shares_NM[:, place] > 0)
        part = SparseDistributions(mixed.ids_NK[active], mixed.probs_NK[active], mixed.tail_N[active])
        own = probs_NM[active, place] * reference_left[active]
        weight = np.clip(weights_NM[active, place], 0.0, 1.0)
        stepped = _mix_rows(part, ids_NM[active, place], own, weight)
        ids, probs, tail = mixed.ids_NK.copy(), mixed.probs_NK.astype(np.float64), mixed.tail_N.astype(np.float64)
        ids[active], probs[active], tail[active] = stepped.ids_NK, stepped.probs_NK, stepped.tail_N
        mixed = SparseDistributions(ids, probs, tail)
        reference_left[active] *= 1 - weight
    return mixed


def draws_of_target(
    drawn_ND: Integers, ids_NM: Integers, shares_NM: Floats, alpha: float, uniforms_ND: Floats, choice_ND: Floats
) -> Integers:
    """Draws from α·Σ f·δ(y) + (1−α)·P_ref out of draws from P_ref: each is replaced with probability α.

    Args:
        drawn_ND: D tokens a position drawn from the reference distribution.
        ids_NM, shares_NM: the observed tokens and their shares (M = 1 where there is one).
        uniforms_ND, choice_ND: numbers in 0..1: whether a draw is replaced, and by which of the observed tokens.
    """
    which = (choice_ND[:, :, None] >= np.cumsum(shares_NM, axis=1)[:, None, :-1]).sum(axis=-1)
    return np.where(uniforms_ND < alpha, np.take_along_axis(ids_NM, which, axis=1), drawn_ND)
