"""What distribution fine-tuning is compared with: label smoothing, GEM, EMO, a resident teacher, DPO; and KL to the base.

All take the observed tokens `labels_N` where the target is a single token, and return sums over the positions, chunk by
chunk like everything that meets the LM head.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from timbre.objectives.divergences import unit_rows
from timbre.objectives.head import Head, accumulation_dtype, differentiated, head_loss, product
from timbre.objectives.sparse_kl import CHUNK, sparse_forward_kl

_SMALL_CHUNK = 64


def label_smoothing_sum(hidden_ND: Tensor, head: Head, labels_N: Tensor, *, smoothing: float = 0.1, chunk: int = CHUNK) -> Tensor:
    """Sum of (1−ε)·(−log q_y) + ε·mean_j(−log q_j) (1512.00567, §7), as torch's own: the fused kernel with a uniform tail.

    Raises:
        ValueError: ε outside [0, 1), or a vocabulary of one token.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"label smoothing needs 0 <= smoothing < 1, got {smoothing}; 0 is plain sft")
    size = head.vocab_size
    observed, others = 1 - smoothing + smoothing / size, smoothing * (size - 1) / size
    mass_N = hidden_ND.new_ones(len(labels_N), dtype=accumulation_dtype(hidden_ND))
    kl = sparse_forward_kl(
        hidden_ND, head, labels_N.unsqueeze(-1), (observed * mass_N).unsqueeze(-1), others * mass_N, chunk=chunk, tail_mode="uniform"
    )
    entropy = -observed * math.log(observed) - (others * math.log(others / (size - 1)) if others else 0.0)
    return kl + len(labels_N) * entropy


def gem_sum(hidden_ND: Tensor, head: Head, labels_N: Tensor, *, beta: float = 0.7, chunk: int = _SMALL_CHUNK) -> Tensor:
    """Sum of Σ_j w_j·log q_j − log q_y with w = softmax(z/β) held constant (GEM, 2408.16673, with h linear).

    Its gradient by the logits is w_j − 1[j = y]: cross-entropy against a sharpened self, which spares the entropy that
    cross-entropy would take. No divergence: the value can be negative.

    Raises:
        ValueError: β outside (0, 1].
    """
    if not 0 < beta <= 1:
        raise ValueError(f"gem needs 0 < beta <= 1, got {beta}; 1 is the gradient of sft")

    def loss(log_q_nV: Tensor, rows: slice) -> Tensor:
        weights_nV = (log_q_nV.detach() / beta).softmax(-1)
        return _dot(weights_nV, log_q_nV) - log_q_nV.gather(-1, labels_N[rows].unsqueeze(-1)).squeeze(-1)

    return head_loss(hidden_ND, head, differentiated(loss), chunk=chunk)


def emo_sum(hidden_ND: Tensor, head: Head, labels_N: Tensor, *, chunk: int = _SMALL_CHUNK) -> Tensor:
    """Sum of ½·(CE + r·PᵀCQ), P the observed token, C = 1 − cos of the head's rows (EMO, 2310.04691).

    r = CE/PᵀCQ at each position, held constant, so that both terms weigh the same: the value is CE, the gradient is not. So
    composed in the authors' published code. Where the head is trained, C follows it from step to step, without a gradient;
    theirs keeps the C of the start by default. With a frozen head both are the same.
    """
    unit_VD = unit_rows(head.weight_VD[: head.vocab_size].to(accumulation_dtype(hidden_ND)))

    def loss(log_q_nV: Tensor, rows: slice) -> Tensor:
        labels_n = labels_N[rows]
        ce_n = -log_q_nV.gather(-1, labels_n.unsqueeze(-1)).squeeze(-1)
        bound_n = 1 - _dot(log_q_nV.exp() @ unit_VD, unit_VD[labels_n])
        ratio_n = ce_n.detach() / bound_n.detach().clamp_min(1e-10)
        return 0.5 * (ce_n + ratio_n * bound_n)

    return head_loss(hidden_ND, head, differentiated(loss), chunk=chunk)


def teacher_kl_sum(
    hidden_ND: Tensor, head: Head, teacher_hidden_ND: Tensor, teacher: Head, *,
    labels_N: Tensor | None = None, alpha: float = 0.0, chunk: int = CHUNK,
) -> Tensor:  # fmt: skip
    """Sum of KL(P‖Q) with P = α·δ(y) + (1−α)·P_teacher, the teacher's logits computed here, in the step.

    A correction of the teacher's head counts as its weights do.
    With α = 0 and the base model as teacher it is the KL to base. With α it is GKD's supervised term (2306.13649) with a
    resident teacher: the cost of a teacher in the step, but not the release's target, whose reference has learnt the corpus.

    Raises:
        ValueError: vocabularies that differ, α outside [0, 1], or α without labels.
    """
    if teacher.vocab_size != head.vocab_size:
        raise ValueError(f"the teacher has {teacher.vocab_size} tokens, the student {head.vocab_size}: they need the same tokenizer")
    if not 0 <= alpha <= 1 or (alpha and labels_N is None):
        raise ValueError(f"a teacher's mixture needs 0 <= alpha <= 1, and labels where alpha > 0; got {alpha}")
    teacher_VD = teacher.weight_VD[: teacher.vocab_size].detach()
    correction = None if teacher.correction is None else teacher.correction.operands(teacher_hidden_ND)

    def kernel(logits_nV: Tensor, rows: slice, gradient: bool) -> Tensor:
        teacher_nV = product(teacher_hidden_ND[rows].detach().to(teacher_VD.dtype), teacher_VD, logits_nV.dtype)
        if correction is not None:
            inner_NR, outer_VR = (part.detach().to(logits_nV.dtype) for part in correction)
            teacher_nV.addmm_(inner_NR[rows], outer_VR[: teacher.vocab_size].T)
        p_nV = teacher_nV.log_softmax(-1).exp_().mul_(1 - alpha)
        if labels_N is not None and alpha:
            observed_n1 = labels_N[rows].unsqueeze(-1)
            p_nV.scatter_add_(-1, observed_n1, torch.full_like(observed_n1, alpha, dtype=p_nV.dtype))
        log_q_nV = logits_nV.log_softmax(-1)
        losses_n = torch.xlogy(p_nV, p_nV).sum(-1) - _dot(p_nV, log_q_nV)
        if gradient:
            logits_nV.copy_(log_q_nV.exp_().sub_(p_nV))
        return losses_n

    return head_loss(hidden_ND, head, kernel, chunk=chunk)


@dataclass(frozen=True)
class Pairs:
    """Which of 2·M sequences each position belongs to: human text in the even ones, the base's own in the odd ones after them."""

    sequence_N: Tensor
    count: int


def preference_sum(
    hidden_ND: Tensor, head: Head, labels_N: Tensor, base_hidden_ND: Tensor, base: Head, pairs: Pairs, *,
    beta: float = 0.1, chunk: int = CHUNK,
) -> Tensor:  # fmt: skip
    """Sum over M pairs of −log σ(β·[(log π/π₀)(human) − (log π/π₀)(base's sample)]) (DPO, 2305.18290, eq. 7).

    The pairs' weights are had from a pass without gradient, then each position's log-probability is pulled with the weight
    of its pair: the same gradient, and no logits of whole sequences in memory.

    Raises:
        ValueError: β not above 0.
    """
    if not beta > 0:
        raise ValueError(f"dpo needs beta > 0, got {beta}")
    with torch.no_grad():
        ratio_N = token_log_probs(hidden_ND, head, labels_N, chunk=chunk) - token_log_probs(base_hidden_ND, base, labels_N, chunk=chunk)
        ratios_S = ratio_N.new_zeros(2 * pairs.count).index_add_(0, pairs.sequence_N, ratio_N)
        margins_M = beta * (ratios_S[0::2] - ratios_S[1::2])
        pull_M = beta * torch.sigmoid(-margins_M)
        pull_N = torch.stack([pull_M, -pull_M], -1).flatten()[pairs.sequence_N]
        value = -logsigmoid(margins_M).sum()

    def loss(log_q_nV: Tensor, rows: slice) -> Tensor:
        return -pull_N[rows] * log_q_nV.gather(-1, labels_N[rows].unsqueeze(-1)).squeeze(-1)

    surrogate = head_loss(hidden_ND, head, differentiated(loss), chunk=min(chunk, _SMALL_CHUNK))
    return value + (surrogate - surrogate.detach())


def token_log_probs(hidden_ND: Tensor, head: Head, labels_N: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """log q_y of each position, N, without gradient."""
    kept_N = hidden_ND.new_empty(len(labels_N), dtype=accumulation_dtype(hidden_ND))

    def kernel(logits_nV: Tensor, rows: slice, _gradient: bool) -> Tensor:
        kept_N[rows] = logits_nV.gather(-1, labels_N[rows].unsqueeze(-1)).squeeze(-1) - logits_nV.logsumexp(-1)
        return kept_N[rows]

    with torch.no_grad():
        head_loss(hidden_ND, head, kernel, chunk=chunk)
    return kept_N


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Σ over the last axis of left·right, without their product in memory."""
    product: Tensor = torch.linalg.vecdot(left, right)
    return product
