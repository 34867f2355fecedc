"""Probabilities in one byte: a logarithmic grid a position, with the tail mass stored beside it.

At each position log p runs from log p_max down over a span of s nats; code c in 1..255 stands for
log p_max − s·(255 − c)/254, and code 0 for p = 0. p_max itself is not stored: decoding scales the codes so that they sum
to 1 − tail. The span is one byte too, in steps of 1/8 nat (31.9 nats at most: what lies deeper is e⁻³¹ of the largest
and moves to the end of the grid). The tail is a float16 of its own: as 1 − Σp it would inherit a spacing of 5e-4.
"""

import numpy as np
import numpy.typing as npt

from timbre.store.format import Floats, Integers

SPAN_STEP = 1 / 8
_STEPS = 254


def encode(probs_TK: Floats) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Codes (T, K) and spans (T,) of non-negative probabilities."""
    with np.errstate(divide="ignore"):
        log_p = np.log(probs_TK.astype(np.float64))
    possible = np.isfinite(log_p)
    top = np.where(possible.any(axis=1), log_p.max(axis=1, initial=-np.inf, where=possible), 0.0)
    depth = np.where(possible, top[:, None] - log_p, 0.0)
    spans = np.clip(np.ceil(depth.max(axis=1) / SPAN_STEP), 1, 255)
    codes = 255 - np.rint(np.minimum(depth / (spans * SPAN_STEP)[:, None], 1.0) * _STEPS)
    return np.where(possible, codes, 0).astype(np.uint8), spans.astype(np.uint8)


def half(mass: Floats) -> npt.NDArray[np.float16]:
    """Mass in float16, where what is above 0 stays above 0: a tail of 1e-9 is rare, not impossible."""
    return np.where(mass > 0, np.maximum(mass, np.finfo(np.float16).smallest_subnormal), 0.0).astype(np.float16)


def decode(codes_TK: npt.NDArray[np.uint8], spans_T: npt.NDArray[np.uint8], tail_T: Floats) -> npt.NDArray[np.float32]:
    """Probabilities (T, K) in float32 that sum to 1 − tail at each position."""
    rate = spans_T.astype(np.float32) * np.float32(-SPAN_STEP / _STEPS)
    weights = np.exp(rate[:, None] * (255 - codes_TK.astype(np.int16)).astype(np.float32))
    weights[codes_TK == 0] = 0.0
    return scaled(weights, tail_T)


def scaled(weights_TK: Floats, tail_T: Floats) -> npt.NDArray[np.float32]:
    """Weights scaled to sum to 1 − tail at each position; a position without any weight stays 0."""
    total = weights_TK.sum(axis=1, dtype=np.float64)
    factor = np.divide(1.0 - tail_T.astype(np.float64), total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(weights_TK * factor[:, None], dtype=np.float32)


def tally(draws_TD: Integers) -> tuple[Integers, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Different tokens among D draws a position, ascending and end to end; how often each; how many a position (T,)."""
    ordered = np.sort(draws_TD, axis=1)
    new = np.ones(ordered.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    counts = np.diff(np.flatnonzero(new.ravel()), append=new.size)
    return ordered[new], counts.astype(np.uint8), new.sum(axis=1).astype(np.uint8)


def spread(
    ids: Integers, counts: npt.NDArray[np.uint8], sizes_T: npt.NDArray[np.uint8], *, draws: int, vocab_size: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """What `tally` gave as ids and probabilities counts/draws (T, K), K the draws (or V if that is less).

    The objective wants K different ids at every position: free places take the smallest tokens that were not drawn, with
    probability 0.
    """
    width, sizes = min(draws, vocab_size), sizes_T.astype(np.int64)
    row = np.repeat(np.arange(len(sizes)), sizes)
    column = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    drawn = np.zeros((len(sizes), min(vocab_size, 2 * width)), dtype=bool)
    small = ids < drawn.shape[1]
    drawn[row[small], ids[small]] = True
    spare = np.argsort(drawn, axis=1, kind="stable")[:, :width]
    places = np.arange(width)[None, :]
    ids_TK = np.empty((len(sizes), width), np.int32)
    probs_TK = np.zeros((len(sizes), width), np.float32)
    ids_TK[places >= sizes[:, None]] = spare[places < (width - sizes)[:, None]]
    ids_TK[row, column], probs_TK[row, column] = ids, counts / np.float32(draws)
    order = np.argsort(ids_TK, axis=1)
    return np.take_along_axis(ids_TK, order, axis=1), np.take_along_axis(probs_TK, order, axis=1)
