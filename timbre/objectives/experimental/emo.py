"""EMO: cross-entropy and an earth mover's bound in equal parts."""

from torch import Tensor

from timbre.objectives.divergences import unit_rows
from timbre.objectives.head import SMALL_CHUNK, Head, accumulation_dtype, differentiated, dot, head_loss
from timbre.objectives.objective import Objective


def emo_sum(hidden_ND: Tensor, head: Head, labels_N: Tensor, *, chunk: int = SMALL_CHUNK) -> Tensor:
    """Sum of ½·(CE + r·PᵀCQ), P the observed token, C = 1 − cos of the head's rows (EMO, 2310.04691).

    r = CE/PᵀCQ at each position, held constant, so that both terms weigh the same: the value is CE, the gradient is not. So
    composed in the authors' published code. Where the head is trained, C follows it from step to step, without a gradient;
    theirs keeps the C of the start by default. With a frozen head both are the same.
    """
    unit_VD = unit_rows(head.weight_VD[: head.vocab_size].to(accumulation_dtype(hidden_ND)))

    def loss(log_q_nV: Tensor, rows: slice) -> Tensor:
        labels_n = labels_N[rows]
        ce_n = -log_q_nV.gather(-1, labels_n.unsqueeze(-1)).squeeze(-1)
        bound_n = 1 - dot(log_q_nV.exp() @ unit_VD, unit_VD[labels_n])
        ratio_n = ce_n.detach() / bound_n.detach().clamp_min(1e-10)
        return 0.5 * (ce_n + ratio_n * bound_n)

    return head_loss(hidden_ND, head, differentiated(loss), chunk=chunk)


OBJECTIVE = Objective("½·(CE + sg(CE/δᵀCQ)·δᵀCQ)", "labels", lambda h, w, at: emo_sum(h, w, at.labels_N))
