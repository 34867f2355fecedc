"""What others publish for the same job, written here in that form, to stand beside ours: losses on the LM head.

All take hidden states N×D and the head's rows V×D and return the sum over the positions.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, linear
from torch.utils.checkpoint import checkpoint

from timbre.objectives.divergences import bucketed, forward_kl


def plain_cross_entropy(hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor) -> Tensor:
    """All logits at once, as transformers does."""
    return cross_entropy(linear(hidden_ND, weight_VD), labels_N, reduction="sum")


def recomputed_cross_entropy(hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, chunk: int = 256) -> Tensor:
    """Chunks whose logits are thrown away and computed again in the backward pass (activation checkpointing)."""
    total = hidden_ND.new_zeros(())
    for start in range(0, len(labels_N), chunk):
        rows = slice(start, start + chunk)
        part = checkpoint(plain_cross_entropy, hidden_ND[rows], weight_VD, labels_N[rows], use_reentrant=False)
        assert isinstance(part, Tensor)
        total = total + part
    return total


def dense_kl(hidden_ND: Tensor, weight_VD: Tensor, log_p_NV: Tensor) -> Tensor:
    """KL(P‖Q) against distributions over the whole vocabulary, all logits at once."""
    return kl_div(linear(hidden_ND, weight_VD).log_softmax(-1), log_p_NV, reduction="sum", log_target=True)


def sparse_kl_with_full_logits(hidden_ND: Tensor, weight_VD: Tensor, ids_NK: Tensor, probs_NK: Tensor, tail_N: Tensor) -> Tensor:
    """The same K+1 events as ours, from all logits at once, its gradient by autograd."""
    log_p = torch.cat([probs_NK, tail_N.unsqueeze(-1)], -1).log()
    return forward_kl(log_p, bucketed(linear(hidden_ND, weight_VD).log_softmax(-1), ids_NK)).sum()
