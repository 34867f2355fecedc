"""Fused sparse forward KL with a tail bucket, plus weighted cross-entropy, computed chunk by chunk.

A target position stores K token ids, their probabilities p and the tail mass p̄ = 1 − Σp. The model's probabilities
q = softmax(h·Wᵀ) are compared on the same K+1 events:

    loss = Σ p·log(p/q) + p̄·log(p̄/q̄)  +  λ·(−log q_y)

    ∂/∂z_j = (1+λ)·q_j − p_j                 on the support
             (q̄ − p̄ + λ·q̄)·softmax_off(z)_j  off it            then −λ at the observed token y

`softmax_off` is over the off-support logits only, and log q̄ = logsumexp_off − logsumexp. Neither is ever had as 1 − Σ,
which cancels to −inf as soon as the support holds all but 1e-8 of the mass. The gradient by the hidden states is built
in the forward pass, in the buffer that held the logits, so that no tensor of positions × vocabulary lives longer than
one chunk; a frozen head costs no gradient at all. SCIENCE: "Fused sparse forward KL + CE".
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IGNORED_LABEL = -100
"""A label that takes no part in the cross-entropy, as in torch."""


@dataclass(frozen=True)
class _Wanted:
    """What one call computes beside the loss."""

    ce_weight: float
    chunk: int
    vocab_size: int
    hidden_gradient: bool
    weight_gradient: bool


def sparse_forward_kl(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_ids_NK: Tensor,
    target_probs_NK: Tensor,
    tail_N: Tensor,
    *,
    labels_N: Tensor | None = None,
    ce_weight: float = 0.0,
    chunk: int = 256,
    vocab_size: int | None = None,
) -> Tensor:
    """Sum over N positions of KL(P‖Q) on support and tail, plus `ce_weight` times the cross-entropy of `labels_N`.

    Args:
        hidden_ND: last hidden states of the positions that count; padding has been taken out.
        weight_VD: rows of the output embedding; rows from `vocab_size` on are padding and get no probability.
        target_ids_NK: distinct token ids a position.
        target_probs_NK: their probabilities, ≥ 0; zeros are allowed.
        tail_N: the mass of all other tokens; with the probabilities it sums to 1.
        labels_N: observed tokens for the cross-entropy; IGNORED_LABEL takes none.
        ce_weight: λ of the cross-entropy on these same positions.
        chunk: positions worked on at a time; moves memory and speed, not the value.
        vocab_size: true vocabulary size; all rows of the head when None.

    Returns:
        A scalar, in nats, at least in float32. Divide by the number of positions for a mean.

    Raises:
        ValueError: shapes that do not agree, K over the vocabulary, or a cross-entropy weight without labels.
    """
    vocab_size = weight_VD.shape[0] if vocab_size is None else vocab_size
    _check(hidden_ND, weight_VD, target_ids_NK, target_probs_NK, tail_N, labels_N, ce_weight, chunk, vocab_size)
    if labels_N is None:
        labels_N = torch.full_like(target_ids_NK[:, :1].sum(-1), IGNORED_LABEL, dtype=torch.long)
    wanted = _Wanted(
        ce_weight=ce_weight, chunk=chunk, vocab_size=vocab_size,
        hidden_gradient=torch.is_grad_enabled() and hidden_ND.requires_grad,
        weight_gradient=torch.is_grad_enabled() and weight_VD.requires_grad,
    )  # fmt: skip
    loss: Tensor = _FusedLoss.apply(hidden_ND, weight_VD, target_ids_NK, target_probs_NK, tail_N, labels_N, wanted)  # type: ignore[no-untyped-call]
    return loss


def cross_entropy_sum(hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, *, chunk: int = 256, vocab_size: int | None = None) -> Tensor:
    """Sum of −log q_y over the positions whose label is not IGNORED_LABEL, by the same kernel.

    An empty support with all mass in the tail says nothing about the model: its KL is exactly 0, so what is left is λ = 1
    times the cross-entropy.
    """
    positions = labels_N.shape[0]
    accumulated = _accumulation_dtype(hidden_ND)
    return sparse_forward_kl(
        hidden_ND, weight_VD,
        target_ids_NK=labels_N.new_empty((positions, 0), dtype=torch.long),
        target_probs_NK=hidden_ND.new_empty((positions, 0), dtype=accumulated),
        tail_N=hidden_ND.new_ones(positions, dtype=accumulated),
        labels_N=labels_N, ce_weight=1.0, chunk=chunk, vocab_size=vocab_size,
    )  # fmt: skip


class _FusedLoss(torch.autograd.Function):
    """Loss and gradients in one pass; `backward` only scales what `forward` has built."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, ids_NK: Tensor, probs_NK: Tensor, tail_N: Tensor, labels_N: Tensor, wanted: _Wanted
    ) -> Tensor:
        head_VD = weight_VD[: wanted.vocab_size].to(hidden_ND.dtype)
        accumulated = _accumulation_dtype(hidden_ND)
        losses_N = hidden_ND.new_zeros(hidden_ND.shape[0], dtype=accumulated)
        hidden_gradient = torch.empty_like(hidden_ND) if wanted.hidden_gradient else None
        weight_gradient = torch.zeros_like(weight_VD, dtype=accumulated) if wanted.weight_gradient else None
        with torch.autocast(device_type=hidden_ND.device.type, enabled=False):
            for start in range(0, hidden_ND.shape[0], wanted.chunk):
                rows = slice(start, start + wanted.chunk)
                logits_nV = (hidden_ND[rows] @ head_VD.T).to(accumulated)
                losses_N[rows] = _loss_and_gradient_(
                    logits_nV, ids_NK[rows].long(), probs_NK[rows].to(accumulated), tail_N[rows].to(accumulated),
                    labels_N[rows].long(), wanted,
                )  # fmt: skip
                gradient_nV = logits_nV.to(hidden_ND.dtype)  # the same memory, except under bf16
                if hidden_gradient is not None:
                    torch.mm(gradient_nV, head_VD, out=hidden_gradient[rows])
                if weight_gradient is not None:
                    weight_gradient[: wanted.vocab_size] += gradient_nV.T @ hidden_ND[rows]
        if weight_gradient is not None:
            weight_gradient = weight_gradient.to(weight_VD.dtype)
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return losses_N.sum()

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        scale = outputs[0]
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scaled = (None if part is None else part * scale.to(part.dtype) for part in (hidden_gradient, weight_gradient))
        return (*scaled, None, None, None, None, None)


def _loss_and_gradient_(logits_nV: Tensor, ids_nK: Tensor, probs_nK: Tensor, tail_n: Tensor, labels_n: Tensor, wanted: _Wanted) -> Tensor:
    """Loss of each position; `logits_nV` is overwritten with ∂loss/∂logits (unless no gradient is wanted)."""
    labelled_n = labels_n != IGNORED_LABEL
    ce_weight_n = wanted.ce_weight * labelled_n.to(tail_n.dtype)
    label_n1 = labels_n.where(labelled_n, 0).unsqueeze(-1)
    label_logit_n = logits_nV.gather(-1, label_n1).squeeze(-1)
    support_nK = logits_nV.gather(-1, ids_nK)

    off_nV = logits_nV.scatter_(-1, ids_nK, -torch.inf)
    peak_n1 = off_nV.amax(-1, keepdim=True)
    peak_n1 = peak_n1.where(peak_n1.isfinite(), 0.0)  # K = V: nothing is off the support
    mass_n = off_nV.sub_(peak_n1).exp_().sum(-1)
    lse_off_n = mass_n.log() + peak_n1.squeeze(-1)
    lse_n = torch.logaddexp(lse_off_n, support_nK.logsumexp(-1)) if ids_nK.shape[-1] else lse_off_n

    log_q_nK = support_nK - lse_n.unsqueeze(-1)
    log_q_tail_n = lse_off_n - lse_n
    on_support_n = (torch.xlogy(probs_nK, probs_nK) - _weighted(probs_nK, log_q_nK)).sum(-1)
    in_tail_n = torch.xlogy(tail_n, tail_n) - _weighted(tail_n, log_q_tail_n)
    losses_n = on_support_n + in_tail_n + ce_weight_n * (lse_n - label_logit_n)

    if wanted.hidden_gradient or wanted.weight_gradient:
        q_tail_n = log_q_tail_n.exp()
        factor_n = (q_tail_n * (1 + ce_weight_n) - tail_n) / mass_n.where(mass_n > 0, 1.0)
        gradient_nV = off_nV.mul_(factor_n.unsqueeze(-1))
        gradient_nV.scatter_(-1, ids_nK, log_q_nK.exp() * (1 + ce_weight_n).unsqueeze(-1) - probs_nK)
        gradient_nV.scatter_add_(-1, label_n1, -ce_weight_n.unsqueeze(-1))
    return losses_n


def _weighted(weight: Tensor, log_value: Tensor) -> Tensor:
    """weight·log_value, with 0·(−inf) = 0."""
    return torch.where(weight == 0, 0.0, weight * log_value)


def _accumulation_dtype(hidden: Tensor) -> torch.dtype:
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def _check(
    hidden: Tensor,
    weight: Tensor,
    ids: Tensor,
    probs: Tensor,
    tail: Tensor,
    labels: Tensor | None,
    ce_weight: float,
    chunk: int,
    vocab: int,
) -> None:  # fmt: skip
    positions, width = ids.shape
    if hidden.shape != (positions, weight.shape[1]) or probs.shape != ids.shape or tail.shape != (positions,):
        raise ValueError(
            f"shapes do not agree: hidden {tuple(hidden.shape)}, head {tuple(weight.shape)}, "
            f"ids {tuple(ids.shape)}, probabilities {tuple(probs.shape)}, tail {tuple(tail.shape)}"
        )
    if not 0 < vocab <= weight.shape[0]:
        raise ValueError(f"a vocabulary of {vocab} needs as many head rows; there are {weight.shape[0]}")
    if width > vocab:
        raise ValueError(f"{width} tokens a position from a vocabulary of {vocab}: lower target.top_k")
    if width == vocab and bool((tail > 1e-6).any()):
        raise ValueError(f"all {vocab} tokens are in the support, yet the tail holds mass: the loss would be infinite")
    if labels is not None and labels.shape != (positions,):
        raise ValueError(f"{positions} positions need as many labels, got {tuple(labels.shape)}")
    if ce_weight < 0 or (ce_weight and labels is None):
        raise ValueError("a cross-entropy term needs labels and a weight of 0 or more")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
