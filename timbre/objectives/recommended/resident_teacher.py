"""A teacher in the step: KL to the base model's own distribution, mixed with the observed token."""

import torch
from torch import Tensor

from timbre.objectives.head import Head, dot, head_loss, product
from timbre.objectives.objective import Objective
from timbre.objectives.sparse_kl import CHUNK


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
        losses_n = torch.xlogy(p_nV, p_nV).sum(-1) - dot(p_nV, log_q_nV)
        if gradient:
            logits_nV.copy_(log_q_nV.exp_().sub_(p_nV))
        return losses_n

    return head_loss(hidden_ND, head, kernel, chunk=chunk)


OBJECTIVE = Objective(
    "KL(α·δ_y + (1−α)·P_base‖Q), P_base computed in the step", "base",
    lambda h, w, at: teacher_kl_sum(h, w, *at.compared, labels_N=at.labels_N, alpha=at.options.teacher_alpha),
)  # fmt: skip
