"""DPO: the human continuation over the base's own, sampled once."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from timbre.objectives.head import SMALL_CHUNK, Head, accumulation_dtype, differentiated, head_loss
from timbre.objectives.objective import Objective, Pairs, Positions
from timbre.objectives.sparse_kl import CHUNK


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

    surrogate = head_loss(hidden_ND, head, differentiated(loss), chunk=min(chunk, SMALL_CHUNK))
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


def _total(hidden_ND: Tensor, head: Head, at: Positions) -> Tensor:
    assert at.pairs is not None, "dpo needs pairs"
    return preference_sum(hidden_ND, head, at.labels_N, *at.compared, at.pairs, beta=at.options.dpo_beta)


OBJECTIVE = Objective("−log σ(β·log-ratio of human text over the base's sample)", "pairs", _total)
