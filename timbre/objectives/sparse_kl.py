"""Fused sparse forward KL, plus weighted cross-entropy, computed chunk by chunk.

A target position stores K token ids, their probabilities p and the tail mass p̄ = 1 − Σp. With the tail in a bucket
(the default) the model's probabilities q = softmax(h·Wᵀ) are compared on the same K+1 events:

    loss = Σ p·log(p/q) + p̄·log(p̄/q̄)  +  λ·(−log q_y)

    ∂/∂z_j = (1+λ)·q_j − p_j                 on the support
             (q̄ − p̄ + λ·q̄)·softmax_off(z)_j  off it            then −λ at the observed token y

`softmax_off` is over the off-support logits only, and log q̄ = logsumexp_off − logsumexp. Neither is ever had as 1 − Σ,
which cancels to −inf as soon as the support holds all but 1e-8 of the mass. The gradient by the hidden states is built
in the forward pass, in the buffer that held the logits (`timbre.objectives.head`).

Other readings of the tail, for comparison:

    renorm    p/Σp on the support, nothing off it: KL(P'‖Q), pushes all mass off the support down
    drop      Σ p·log(p/q) as stored: not a divergence (it can be negative), pulls as renorm does, weighted with Σp
    uniform   p̄ spread evenly over the V − K tokens off the support: KL(P'‖Q) on the whole vocabulary
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from timbre.objectives.head import Head, accumulation_dtype, head_loss

IGNORED_LABEL = -100
"""A label that takes no part in the cross-entropy, as in torch."""
CHUNK = 256
"""Positions worked on at a time."""
Tail = Literal["bucket", "renorm", "drop", "uniform"]


def sparse_forward_kl(
    hidden_ND: Tensor,
    head: Head | Tensor,
    target_ids_NK: Tensor,
    target_probs_NK: Tensor,
    tail_N: Tensor,
    *,
    labels_N: Tensor | None = None,
    ce_weight: float = 0.0,
    chunk: int = CHUNK,
    vocab_size: int | None = None,
    tail_mode: Tail = "bucket",
) -> Tensor:
    """Sum over N positions of KL(P‖Q) on support and tail, plus `ce_weight` times the cross-entropy of `labels_N`.

    Args:
        hidden_ND: last hidden states of the positions that count; padding has been taken out.
        head: the LM head, or just the rows of the output embedding, V×D.
        target_ids_NK: distinct token ids a position.
        target_probs_NK: their probabilities, ≥ 0; zeros are allowed.
        tail_N: the mass of all other tokens; with the probabilities it sums to 1.
        labels_N: observed tokens for the cross-entropy; IGNORED_LABEL takes none.
        ce_weight: λ of the cross-entropy on these same positions.
        chunk: positions worked on at a time; moves memory and speed, not the value.
        vocab_size: true vocabulary size where `head` is a tensor; all its rows when None.
        tail_mode: what the tail mass means, see above.

    Returns:
        A scalar, in nats, at least in float32. Divide by the number of positions for a mean.

    Raises:
        ValueError: shapes that do not agree, K over the vocabulary, mass that is no distribution, an unknown tail mode,
            or a cross-entropy weight without labels.
    """
    if isinstance(head, Tensor):
        head = Head(head, head.shape[0] if vocab_size is None else vocab_size)
    check_target(hidden_ND, head, target_ids_NK, target_probs_NK, tail_N, tail_mode)
    _check(tail_mode, labels_N, ce_weight, len(tail_N))
    accumulated = accumulation_dtype(hidden_ND)
    if labels_N is None:
        labels_N = torch.full_like(tail_N, IGNORED_LABEL, dtype=torch.long)
    probs_NK, tail_N = target_probs_NK.to(accumulated), tail_N.to(accumulated)
    if tail_mode == "renorm":
        kept_N1 = probs_NK.sum(-1, keepdim=True)
        probs_NK, tail_N = probs_NK / kept_N1, torch.zeros_like(tail_N)
    kernel = _SparseKL(target_ids_NK, probs_NK, tail_N, labels_N, ce_weight, tail_mode)
    return head_loss(hidden_ND, head, kernel, chunk=chunk)


def cross_entropy_sum(
    hidden_ND: Tensor, head: Head | Tensor, labels_N: Tensor, *, chunk: int = CHUNK, vocab_size: int | None = None
) -> Tensor:
    """Sum of −log q_y over the positions whose label is not IGNORED_LABEL, by the same kernel.

    An empty support with all mass in the tail says nothing about the model: its KL is exactly 0, so what is left is λ = 1
    times the cross-entropy.
    """
    positions = labels_N.shape[0]
    accumulated = accumulation_dtype(hidden_ND)
    return sparse_forward_kl(
        hidden_ND, head,
        target_ids_NK=labels_N.new_empty((positions, 0), dtype=torch.long),
        target_probs_NK=hidden_ND.new_empty((positions, 0), dtype=accumulated),
        tail_N=hidden_ND.new_ones(positions, dtype=accumulated),
        labels_N=labels_N, ce_weight=1.0, chunk=chunk, vocab_size=vocab_size,
    )  # fmt: skip


def check_target(hidden: Tensor, head: Head, ids: Tensor, probs: Tensor, tail: Tensor, tail_mode: Tail = "bucket") -> None:
    """Refuse what is no sparse target for these positions and this vocabulary.

    Its values are looked at on a CPU only, since reading one back makes the host wait for the device: whoever moves a
    target to another device calls `check_ids` and `check_mass` before.

    Raises:
        ValueError: shapes that do not agree, K over the vocabulary, a token twice at a position or outside the vocabulary, mass
            that is NaN, negative or does not sum to 1.
    """
    positions, width = ids.shape
    if hidden.shape != (positions, head.weight_VD.shape[1]) or probs.shape != ids.shape or tail.shape != (positions,):
        raise ValueError(
            f"shapes do not agree: hidden {tuple(hidden.shape)}, head {tuple(head.weight_VD.shape)}, "
            f"ids {tuple(ids.shape)}, probabilities {tuple(probs.shape)}, tail {tuple(tail.shape)}"
        )
    if width > head.vocab_size:
        raise ValueError(f"{width} tokens a position from a vocabulary of {head.vocab_size}: lower target.top_k")
    if probs.device.type == "cpu":
        check_ids(ids, head.vocab_size)
        check_mass(probs, tail, head.vocab_size, tail_mode)


def check_ids(ids_NK: Tensor, vocab_size: int) -> None:
    """Refuse token ids N×K of which one stands twice at a position, or is none of the vocabulary.

    A token's logit takes part in the loss once however often it is named, so that the mass of a second mention would teach nothing.

    Raises:
        ValueError: such an id; the sentence names the position.
    """
    if not ids_NK.numel():
        return
    lowest, highest = int(ids_NK.min()), int(ids_NK.max())
    if lowest < 0 or highest >= vocab_size:
        raise ValueError(f"target ids must lie in 0..{vocab_size - 1}, found {lowest}..{highest}: build the target again")
    if bool((ids_NK[:, 1:] > ids_NK[:, :-1]).all()):  # as a store keeps them
        return
    ordered = ids_NK.sort(-1).values
    repeated_N = (ordered[:, 1:] == ordered[:, :-1]).any(-1)
    if bool(repeated_N.any()):
        position = int(repeated_N.nonzero()[0])
        raise ValueError(f"position {position} of the target names a token twice: add its probabilities up, or build the target again")


def check_mass(probs: Tensor, tail: Tensor, vocab_size: int, tail_mode: Tail = "bucket") -> None:
    """Refuse probabilities N×K and tail N that are no distribution, or one that the tail mode can do nothing with.

    Raises:
        ValueError: mass that is NaN, negative or does not sum to 1, or lies in the tail where none can be.
    """
    width = probs.shape[-1]
    if width == vocab_size and bool((tail > 1e-6).any()):
        raise ValueError(f"all {vocab_size} tokens are in the support, yet the tail holds mass: the loss would be infinite")
    if width:
        _check_sums(probs, tail)
    if tail_mode == "renorm" and not bool((probs.sum(-1) > 0).all()):
        raise ValueError("a position has all its mass in the tail, so that renorm has nothing to scale up: use the tail mode bucket")


def _check_sums(probs: Tensor, tail: Tensor) -> None:
    if bool((probs < 0).any()) or bool((tail < 0).any()):
        raise ValueError("the target holds negative mass: build it again, or clip it and scale it to sum to 1")
    total = probs.sum(-1, dtype=torch.float64) + tail
    if not bool(((total - 1).abs() <= _MASS_TOLERANCE).all()):
        raise ValueError(
            f"the target's mass must sum to 1 at each position, found {float(total.min()):.6g} to {float(total.max()):.6g} "
            "(NaN included): build it again, or scale probabilities and tail"
        )


_MASS_TOLERANCE = 5e-3
"""As wide as a float16 store needs; what is really wrong is further off."""


@dataclass(frozen=True)
class _SparseKL:
    """The closed-form kernel."""

    ids_NK: Tensor
    probs_NK: Tensor
    tail_N: Tensor
    labels_N: Tensor
    ce_weight: float
    tail_mode: Tail

    def __call__(self, logits_nV: Tensor, rows: slice, gradient: bool) -> Tensor:
        """Loss of each position; `logits_nV` is overwritten with ∂loss/∂logits (unless no gradient is wanted)."""
        ids_nK, probs_nK, tail_n = self.ids_NK[rows].long(), self.probs_NK[rows], self.tail_N[rows]
        labels_n = self.labels_N[rows].long()
        labelled_n = labels_n != IGNORED_LABEL
        ce_weight_n = self.ce_weight * labelled_n.to(tail_n.dtype)
        label_n1 = labels_n.where(labelled_n, 0).unsqueeze(-1)
        label_logit_n = logits_nV.gather(-1, label_n1).squeeze(-1)
        support_nK = logits_nV.gather(-1, ids_nK)
        off_sum_n = logits_nV.scatter_(-1, ids_nK, 0.0).sum(-1) if self.tail_mode == "uniform" else None

        off_nV = logits_nV.scatter_(-1, ids_nK, -torch.inf)
        peak_n1 = off_nV.amax(-1, keepdim=True)
        peak_n1 = peak_n1.where(peak_n1.isfinite(), 0.0)  # K = V: nothing is off the support
        mass_n = off_nV.sub_(peak_n1).exp_().sum(-1)
        lse_off_n = mass_n.log() + peak_n1.squeeze(-1)
        lse_n = torch.logaddexp(lse_off_n, support_nK.logsumexp(-1)) if ids_nK.shape[-1] else lse_off_n

        log_q_nK = support_nK - lse_n.unsqueeze(-1)
        log_q_tail_n = lse_off_n - lse_n
        on_support_n = (torch.xlogy(probs_nK, probs_nK) - _weighted(probs_nK, log_q_nK)).sum(-1)
        in_tail_n, spread = self._tail(tail_n, log_q_tail_n, lse_n, off_sum_n, logits_nV.shape[-1] - ids_nK.shape[-1])
        losses_n = on_support_n + in_tail_n + ce_weight_n * (lse_n - label_logit_n)

        if gradient:
            pulled_n = ce_weight_n + (probs_nK.sum(-1) if self.tail_mode == "drop" else 1)
            tail_pull_n = tail_n if self.tail_mode == "bucket" else 0.0
            factor_n = (log_q_tail_n.exp() * pulled_n - tail_pull_n) / mass_n.where(mass_n > 0, 1.0)
            gradient_nV = off_nV.mul_(factor_n.unsqueeze(-1))
            if spread is not None:
                gradient_nV.sub_(spread.unsqueeze(-1))
            gradient_nV.scatter_(-1, ids_nK, log_q_nK.exp() * pulled_n.unsqueeze(-1) - probs_nK)
            gradient_nV.scatter_add_(-1, label_n1, -ce_weight_n.unsqueeze(-1))
        return losses_n

    def _tail(
        self, tail_n: Tensor, log_q_tail_n: Tensor, lse_n: Tensor, off_sum_n: Tensor | None, off: int
    ) -> tuple[Tensor, Tensor | None]:
        """The tail's share of the loss, and the target probability of each token off the support where it has one."""
        if off_sum_n is not None:
            each_n = tail_n / max(off, 1)
            return torch.xlogy(tail_n, each_n) - each_n * (off_sum_n - off * lse_n), each_n
        if self.tail_mode != "bucket":
            return torch.zeros_like(tail_n), None
        return torch.xlogy(tail_n, tail_n) - _weighted(tail_n, log_q_tail_n), None


def _weighted(weight: Tensor, log_value: Tensor) -> Tensor:
    """weight·log_value, with 0·(−inf) = 0."""
    return torch.where(weight == 0, 0.0, weight * log_value)


def _check(tail_mode: str, labels: Tensor | None, ce_weight: float, positions: int) -> None:
    if tail_mode not in get_args(Tail):
        raise ValueError(f"unknown tail mode {tail_mode!r}: choose one of {', '.join(get_args(Tail))}")
    if labels is not None and labels.shape != (positions,):
        raise ValueError(f"{positions} positions need as many labels, got {tuple(labels.shape)}")
    if not ce_weight >= 0 or (ce_weight and labels is None):
        raise ValueError("a cross-entropy term needs labels and a weight of 0 or more")
