"""Divergences between next-token distributions in their plain, dense form: what the fused kernels are tested against.

Every function takes log-probabilities `log_p` (target P) and `log_q` (model Q) of shape (…, V), normalised over the
last axis, and returns one value a position, of shape (…), in nats. A probability of zero is written as -inf.
The direction is in the name: `forward_kl` is D(P‖Q) and covers modes, `reverse_kl` is D(Q‖P) and sharpens.
"""

import math

import torch
from torch import Tensor


def forward_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(P‖Q) = Σ p·(log p − log q); terms with p = 0 are 0, q = 0 < p gives +inf."""
    return _expectation(log_p, log_p, log_q)


def reverse_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(Q‖P) = Σ q·(log q − log p)."""
    return _expectation(log_q, log_q, log_p)


def jsd(log_p: Tensor, log_q: Tensor, beta: float = 0.5) -> Tensor:
    """Generalised Jensen-Shannon divergence β·KL(P‖M) + (1−β)·KL(Q‖M) with M = β·P + (1−β)·Q (GKD, 2306.13649, eq. 1).

    Raises:
        ValueError: β outside (0, 1), where it degenerates to 0.
    """
    if not 0 < beta < 1:
        raise ValueError(f"jsd needs 0 < beta < 1, got {beta}; for the limits use forward_kl or reverse_kl")
    log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    return beta * _expectation(log_p, log_p, log_m) + (1 - beta) * _expectation(log_q, log_q, log_m)


_ROUNDING = 64
"""In units of the dtype's precision: exp(log q) keeps |log q| units of it at best."""


def total_variation(log_p: Tensor, log_q: Tensor) -> Tensor:
    """½·Σ |p − q|, between 0 and 1.

    Where p and q differ by no more than rounding they count as equal: at that kink the sign of a rounding error would be a
    gradient of full size.
    """
    p, q = log_p.exp(), log_q.exp()
    gap = p - q
    apart = gap.detach().abs() > _ROUNDING * torch.finfo(q.dtype).eps * (p + q).detach()
    return 0.5 * gap.where(apart, 0.0).abs().sum(-1)


def wasserstein(log_p: Tensor, log_q: Tensor, unit_VD: Tensor) -> Tensor:
    """Debiased transport cost 2·PᵀCQ − PᵀCP − QᵀCQ = ‖E_P u − E_Q u‖² with C = 1 − cos, between 0 and 4; symmetric.

    It is 0 also for unequal P and Q whose mean vectors agree: it says where the mass lies, not all of its shape.

    Args:
        unit_VD: rows u of unit length, see `unit_rows`.
    """
    return (log_p.exp() @ unit_VD - log_q.exp() @ unit_VD).square().sum(-1)


def unit_rows(weight_VD: Tensor) -> Tensor:
    """Rows of the output embedding scaled to unit length, as a constant: the cost is not what is trained."""
    return torch.nn.functional.normalize(weight_VD.detach(), dim=-1)


def bucketed(log_p: Tensor, support_ids: Tensor) -> Tensor:
    """The K+1 distribution that a sparse target sees: its K support tokens, and everything else as one tail bucket.

    Args:
        log_p: (…, V) log-probabilities.
        support_ids: (…, K) distinct token ids.

    Returns:
        (…, K+1) log-probabilities, the tail last. The tail is a logsumexp over the tokens off the support: 1 − Σ
        would cancel where the support holds nearly everything.
    """
    on_support = log_p.gather(-1, support_ids)
    if support_ids.shape[-1] == log_p.shape[-1]:  # nothing is off the support; the gradient of an empty logsumexp is NaN
        return torch.cat([on_support, torch.full_like(on_support[..., :1], -math.inf)], dim=-1)
    tail = log_p.scatter(-1, support_ids, -math.inf).logsumexp(-1, keepdim=True)
    return torch.cat([on_support, tail], dim=-1)


def _expectation(log_weight: Tensor, log_a: Tensor, log_b: Tensor) -> Tensor:
    """Σ w·(log a − log b) with 0·anything = 0, also in the gradient: hence the inner `where`."""
    impossible = log_weight == -math.inf
    difference = torch.where(impossible, 0.0, log_a) - torch.where(impossible, 0.0, log_b)
    return (torch.where(impossible, 0.0, log_weight.exp()) * difference).sum(-1)
