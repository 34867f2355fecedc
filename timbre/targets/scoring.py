"""Scoring passages with a language model: at every position the K likeliest tokens, the mass of all others, and log P(y)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timbre.corpus.passages import Passage
from timbre.models import head_weight, hidden_states
from timbre.targets.mixture import SparseDistributions

_CHUNK = 256
"""Positions whose logits live at a time."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class PassageScores:
    """What a model says of a passage of T tokens; every array has T−1 positions, position t about token t+1."""

    distributions: SparseDistributions
    observed_N: Array
    """y, the token that stands there."""
    log_probs_N: Array
    """log P(y), nats."""
    entropy_N: Array
    """Of the whole distribution, nats."""
    best_ids_N: Array
    best_probs_N: Array

    def __len__(self) -> int:
        return len(self.observed_N)


def score_passages(
    network: Any, passages: Sequence[Passage], *, top_k: int, temperature: float, batch_tokens: int, vocab_size: int
) -> Iterator[tuple[int, PassageScores]]:
    """(place in `passages`, scores) of every passage, in the order of the batches: long ones first.

    The same passages always make the same batches, so that a resumed build computes the same bytes.

    Args:
        network: a causal LM of transformers, bare or under peft, in eval mode.
        passages: at least 2 tokens each.
        top_k: K.
        temperature: divides the logits.
        batch_tokens: padded tokens a batch; a longer passage makes a batch of its own.
        vocab_size: true vocabulary; further rows of the output embedding get no probability.
    """
    for batch in batches_by_length(passages, batch_tokens):
        yield from zip(batch, _score_batch(network, [passages[place] for place in batch], top_k, temperature, vocab_size), strict=True)


def batches_by_length(passages: Sequence[Passage], batch_tokens: int) -> Iterator[list[int]]:
    """Places in `passages`, longest first, as many to a batch as fit when padded to its longest."""
    order = sorted(range(len(passages)), key=lambda place: -len(passages[place].token_ids))
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * len(passages[batch[0]].token_ids) > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


@torch.inference_mode()
def _score_batch(network: Any, passages: Sequence[Passage], top_k: int, temperature: float, vocab_size: int) -> list[PassageScores]:
    lengths = [len(passage.token_ids) for passage in passages]
    head_VD = head_weight(network)[:vocab_size]
    ids_BT = np.zeros((len(passages), max(lengths)), np.int64)
    mask_BT = np.zeros_like(ids_BT)
    for row, passage in enumerate(passages):
        ids_BT[row, : lengths[row]] = passage.token_ids
        mask_BT[row, : lengths[row]] = 1
    tokens_BT, attention_BT = (torch.from_numpy(array).to(head_VD.device) for array in (ids_BT, mask_BT))
    valid_BT = attention_BT[:, 1:].bool()
    hidden_ND = hidden_states(network, tokens_BT[:, :-1], attention_BT[:, :-1])[valid_BT]
    observed_N = tokens_BT[:, 1:][valid_BT]
    chunks = [
        _score_chunk(hidden_ND[rows] @ head_VD.T, observed_N[rows], top_k, temperature)
        for rows in (slice(start, start + _CHUNK) for start in range(0, len(hidden_ND), _CHUNK))
    ]
    columns = [torch.cat(parts).cpu().numpy() for parts in zip(*chunks, strict=True)]
    bounds = np.cumsum([0, *(length - 1 for length in lengths)])
    return [_of_passage([column[start:stop] for column in columns]) for start, stop in pairwise(bounds)]


def _score_chunk(logits_nV: Tensor, observed_n: Tensor, top_k: int, temperature: float) -> tuple[Tensor, ...]:
    scaled_nV = logits_nV.float() / temperature
    # Not log_softmax: its float32 probabilities over 49k tokens were measured to sum to 1 + 2e-5, more than the store's coding loses.
    log_q_nV = scaled_nV - scaled_nV.logsumexp(-1, keepdim=True)
    observed = log_q_nV.gather(-1, observed_n.unsqueeze(-1)).squeeze(-1)
    entropy = -(log_q_nV.exp() * log_q_nV).sum(-1)
    best = log_q_nV.max(-1)
    ids_nK = log_q_nV.topk(top_k, dim=-1).indices.sort(-1).values
    probs_nK = log_q_nV.gather(-1, ids_nK).exp()
    tail_n = log_q_nV.scatter_(-1, ids_nK, -torch.inf).exp_().sum(-1)  # summed, not 1 − Σ: that would cancel
    return ids_nK.int(), probs_nK, tail_n, observed_n.int(), observed, entropy, best.indices.int(), best.values.exp()


def _of_passage(columns: list[Array]) -> PassageScores:
    ids_NK, probs_NK, tail_N, *others = columns
    return PassageScores(SparseDistributions(ids_NK, probs_NK, tail_N), *others)
