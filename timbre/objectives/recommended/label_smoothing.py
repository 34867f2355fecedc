"""Label smoothing: the observed token, and a little of everything."""

import math

from torch import Tensor

from timbre.objectives.head import Head, accumulation_dtype
from timbre.objectives.objective import Objective
from timbre.objectives.sparse_kl import CHUNK, sparse_forward_kl


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


OBJECTIVE = Objective(
    "(1−ε)·(−log q_y) + ε·mean(−log q)", "labels",
    lambda h, w, at: label_smoothing_sum(h, w, at.labels_N, smoothing=at.options.smoothing),
)  # fmt: skip
