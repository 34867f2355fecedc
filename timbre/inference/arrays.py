"""What numpy and torch spell differently, once: `Logits` is an array of either kind and each function gives the same kind back."""

from typing import Any

import numpy as np

Logits = Any
"""`numpy.ndarray` or `torch.Tensor`, floating point, shape (..., V)."""

NEVER = float("-inf")
"""The logit of a token that was taken out."""


def namespace(array: Logits) -> Any:
    """The library of an array: numpy or torch."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def best(logits_BV: Logits) -> Logits:
    """The largest logit of each row.

    Raises:
        FloatingPointError: a row has NaN, +inf, or nothing left to choose from.
    """
    xp = namespace(logits_BV)
    best_B = xp.amax(logits_BV, -1)  # NaN wins a maximum in both libraries
    if not bool(xp.isfinite(best_B).all()):
        raise FloatingPointError("the model gave NaN or infinite logits: no token can be drawn from them")
    return best_B


def largest(logits_BV: Logits, k: int) -> tuple[Logits, Logits]:
    """The k largest of each row in descending order, and where they stand."""
    if not isinstance(logits_BV, np.ndarray):
        found = logits_BV.topk(k, -1)
        return found.values, found.indices
    ids_BK = np.argpartition(logits_BV, -k, axis=-1)[..., -k:] if len(logits_BV) > 1 else _of_a_row(logits_BV[0], k)[None]
    ids_BK = np.take_along_axis(ids_BK, np.argsort(-np.take_along_axis(logits_BV, ids_BK, -1), -1), -1)
    return np.take_along_axis(logits_BV, ids_BK, -1), ids_BK


def _of_a_row(logits_V: Logits, k: int) -> Logits:
    """Where the k largest stand, in any order. Where most were taken out, only the others are sorted: ties by the thousand are slow."""
    there_V = logits_V != NEVER
    left = int(there_V.sum())
    if 2 * left > logits_V.shape[-1]:
        return np.argpartition(logits_V, -k)[-k:]
    ids_N = np.flatnonzero(there_V)
    if left > k:
        return ids_N[np.argpartition(logits_V[ids_N], -k)[-k:]]
    return np.concatenate([ids_N, np.flatnonzero(~there_V)[: k - left]])


def at(array_BK: Logits, places_BM: Logits) -> Logits:
    """Entries of each row."""
    return np.take_along_axis(array_BK, places_BM, -1) if isinstance(array_BK, np.ndarray) else array_BK.gather(-1, places_BM)


def double(array: Logits) -> Logits:
    """In float64."""
    return array.astype(np.float64) if isinstance(array, np.ndarray) else array.double()


def descending(logits_BV: Logits) -> Logits:
    """Each row sorted, the largest first."""
    return -np.sort(-logits_BV, -1) if isinstance(logits_BV, np.ndarray) else logits_BV.sort(-1, descending=True).values


def softmax(logits_BV: Logits) -> Logits:
    """In float64; rows sum to 1, −inf gives 0."""
    xp = namespace(logits_BV)
    wide_BV = double(logits_BV)
    weights_BV = xp.exp(wide_BV - xp.amax(wide_BV, -1)[..., None])
    return weights_BV / weights_BV.sum(-1)[..., None]


def log_softmax(logits_BV: Logits) -> Logits:
    """Log-probabilities in float64; −inf stays −inf."""
    xp = namespace(logits_BV)
    wide_BV = double(logits_BV)
    wide_BV = wide_BV - xp.amax(wide_BV, -1)[..., None]
    return wide_BV - xp.log(xp.exp(wide_BV).sum(-1))[..., None]


def scattered(values_BK: Logits, places_BK: Logits, like_BV: Logits) -> Logits:
    """Rows of the width of `like_BV` with these values at these places, and −inf everywhere else; float64 stays float64."""
    if isinstance(values_BK, np.ndarray):
        out_BV = np.full(like_BV.shape, NEVER, values_BK.dtype)
        np.put_along_axis(out_BV, places_BK, values_BK, -1)
        return out_BV
    return values_BK.new_full(tuple(like_BV.shape), NEVER).scatter(-1, places_BK, values_BK)
