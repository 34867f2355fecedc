"""GEM: cross-entropy that spares entropy."""

from torch import Tensor

from timbre.objectives.head import SMALL_CHUNK, Head, differentiated, dot, head_loss
from timbre.objectives.objective import Objective


def gem_sum(hidden_ND: Tensor, head: Head, labels_N: Tensor, *, beta: float = 0.7, chunk: int = SMALL_CHUNK) -> Tensor:
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
        return dot(weights_nV, log_q_nV) - log_q_nV.gather(-1, labels_N[rows].unsqueeze(-1)).squeeze(-1)

    return head_loss(hidden_ND, head, differentiated(loss), chunk=chunk)


OBJECTIVE = Objective(
    "Σ sg(w)·log q − log q_y, w = softmax(z/β)", "labels", lambda h, w, at: gem_sum(h, w, at.labels_N, beta=at.options.gem_beta)
)
