"""Reverse KL, JSD(β), total variation and debiased Wasserstein on sparse targets, chunk by chunk.

The first three act on the K+1 bucketed distributions (the support tokens, and all else as one event): they equal their
dense forms only at K = V, and are below them otherwise, since merging events never makes two distributions easier to
tell apart. Wasserstein needs a place for the bucket: the mean unit row of the model's own off-support tokens, held
constant, so that equal distributions still cost nothing; it too equals its dense form only at K = V.

The direction is in the name: P is the target, Q the model; `reverse_kl` is KL(Q‖P).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from timbre.objectives import divergences
from timbre.objectives.divergences import bucketed, unit_rows
from timbre.objectives.head import Head, accumulation_dtype, differentiated, head_loss
from timbre.objectives.sparse_kl import check_target

CHUNK = 64
"""Positions at a time: autograd keeps some copies of a chunk."""
FLOOR = 1e-8
"""What a target probability of 0 counts as in the reverse KL, which is infinite there: 18 nats for each unit of q."""

Divergence = Callable[[Tensor, Tensor], Tensor]


def sparse_reverse_kl(hidden_ND: Tensor, head: Head, ids_NK: Tensor, probs_NK: Tensor, tail_N: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Sum over N positions of KL(Q‖P) on the K+1 events; probabilities below FLOOR are raised to it and P is scaled to sum to 1.

    Raises:
        ValueError: not a sparse target for these positions and this vocabulary.
    """
    check_target(hidden_ND, head, ids_NK, probs_NK, tail_N)
    log_p_NE = _log_target(hidden_ND, probs_NK, tail_N)
    raised_NE = log_p_NE < math.log(FLOOR)
    if ids_NK.shape[-1] == head.vocab_size:
        raised_NE[:, -1] = False  # there is no tail
    floored_NE = log_p_NE.masked_fill(raised_NE, math.log(FLOOR))
    log_p_NE = torch.where(raised_NE.any(-1, keepdim=True), floored_NE.log_softmax(-1), log_p_NE)
    return _on_events(divergences.reverse_kl, hidden_ND, head, ids_NK, log_p_NE, chunk)


def sparse_jsd(
    hidden_ND: Tensor, head: Head, ids_NK: Tensor, probs_NK: Tensor, tail_N: Tensor, *, beta: float = 0.5, chunk: int = CHUNK
) -> Tensor:
    """Sum over N positions of JSD(β) = β·KL(P‖M) + (1−β)·KL(Q‖M), M = β·P + (1−β)·Q, on the K+1 events.

    Raises:
        ValueError: β outside (0, 1), or not a sparse target for these positions and this vocabulary.
    """
    check_target(hidden_ND, head, ids_NK, probs_NK, tail_N)
    if not 0 < beta < 1:
        raise ValueError(f"jsd needs 0 < beta < 1, got {beta}; for the limits use forward_kl or reverse_kl")
    log_p_NE = _log_target(hidden_ND, probs_NK, tail_N)
    return _on_events(lambda p, q: divergences.jsd(p, q, beta), hidden_ND, head, ids_NK, log_p_NE, chunk)


def sparse_total_variation(
    hidden_ND: Tensor, head: Head, ids_NK: Tensor, probs_NK: Tensor, tail_N: Tensor, *, chunk: int = CHUNK
) -> Tensor:
    """Sum over N positions of ½·Σ|p − q| on the K+1 events.

    Raises:
        ValueError: not a sparse target for these positions and this vocabulary.
    """
    check_target(hidden_ND, head, ids_NK, probs_NK, tail_N)
    return _on_events(divergences.total_variation, hidden_ND, head, ids_NK, _log_target(hidden_ND, probs_NK, tail_N), chunk)


def sparse_wasserstein(hidden_ND: Tensor, head: Head, ids_NK: Tensor, probs_NK: Tensor, tail_N: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Sum over N positions of ‖E_P u − E_Q u‖², u the unit rows of the head as they are now, held constant.

    Raises:
        ValueError: not a sparse target for these positions and this vocabulary.
    """
    check_target(hidden_ND, head, ids_NK, probs_NK, tail_N)
    accumulated = accumulation_dtype(hidden_ND)
    unit_VD = unit_rows(head.weight_VD[: head.vocab_size].to(accumulated))
    probs_NK, tail_N = probs_NK.to(accumulated), tail_N.to(accumulated)

    def loss(log_q_nV: Tensor, rows: slice) -> Tensor:
        ids_nK = ids_NK[rows].long()
        q_nK = log_q_nV.gather(-1, ids_nK).exp()
        gap_nD = torch.einsum("nk,nkd->nd", probs_NK[rows] - q_nK, unit_VD[ids_nK])
        if ids_nK.shape[-1] < head.vocab_size:
            off_nV = log_q_nV.detach().scatter(-1, ids_nK, -torch.inf)
            place_nD = off_nV.softmax(-1) @ unit_VD
            q_tail_n = log_q_nV.scatter(-1, ids_nK, -torch.inf).logsumexp(-1).exp()
            gap_nD = gap_nD + (tail_N[rows] - q_tail_n).unsqueeze(-1) * place_nD
        return gap_nD.square().sum(-1)

    return head_loss(hidden_ND, head, differentiated(loss), chunk=chunk)


def _on_events(divergence: Divergence, hidden_ND: Tensor, head: Head, ids_NK: Tensor, log_p_NE: Tensor, chunk: int) -> Tensor:
    """Sum of a plain divergence over the K+1 events of each position."""

    def loss(log_q_nV: Tensor, rows: slice) -> Tensor:
        return divergence(log_p_NE[rows], bucketed(log_q_nV, ids_NK[rows].long()))

    return head_loss(hidden_ND, head, differentiated(loss), chunk=chunk)


def _log_target(hidden_ND: Tensor, probs_NK: Tensor, tail_N: Tensor) -> Tensor:
    """Log-probabilities of the K+1 events, the tail last."""
    return torch.cat([probs_NK, tail_N.unsqueeze(-1)], -1).to(accumulation_dtype(hidden_ND)).log()
