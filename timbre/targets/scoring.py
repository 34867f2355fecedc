"""Scoring passages: at every position the K likeliest tokens, the mass of all others, and log P(y).

What gives the distributions is a `NextToken`: a plain language model here, all of a target but the observed token in
`reference_distribution`.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timbre.corpus.passages import Passage
from timbre.models import head_weight, hidden_states, logits
from timbre.targets.mixture import SparseDistributions

CHUNK = 256
"""Positions whose logits live at a time."""

Array = npt.NDArray[Any]


class NextToken(Protocol):
    """Distributions over the next token at every position that counts, passage after passage."""

    def log_probs(self, passages: Sequence[Passage]) -> Iterator[Tensor]:
        """Chunks of log-probabilities n×V, which the receiver may overwrite."""
        ...


@dataclass(frozen=True)
class Draws:
    """How many tokens are drawn at each position, and by which seed."""

    count: int
    seed: int

    def uniforms(self, passage: Passage, positions: int, what: str) -> Array:
        """Numbers in 0..1 of a passage, the same in whatever batch it comes: positions × count."""
        name = zlib.crc32(f"{what} {passage.doc_id}".encode())
        return np.random.default_rng([self.seed, name, passage.index]).random((positions, self.count))


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is kept of each distribution."""

    top_k: int
    draws: Draws | None = None
    also: Mapping[int, Array] = field(default_factory=dict)
    """Tokens (positions × M) whose log-probabilities are wanted too, by place of the passage."""


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
    drawn_ND: Array | None = None
    """Tokens drawn from the distribution, where draws were asked for."""
    also_NM: Array | None = None
    """log P of the further tokens that were asked for, nats."""

    def __len__(self) -> int:
        return len(self.observed_N)


def score_passages(
    network: Any, passages: Sequence[Passage], *, top_k: int, temperature: float, batch_tokens: int, vocab_size: int
) -> Iterator[tuple[int, PassageScores]]:
    """(place in `passages`, scores) of every passage under a language model; see `score_with`.

    Args:
        network: a causal LM of transformers, bare or under peft, in eval mode.
        passages: at least 2 tokens each.
        top_k: K.
        temperature: divides the logits.
        batch_tokens: padded tokens a batch; a longer passage makes a batch of its own.
        vocab_size: true vocabulary; further rows of the output embedding get no probability.
    """
    yield from score_with(PlainModel(network, temperature, vocab_size), passages, Wanted(top_k), batch_tokens)


def score_with(source: NextToken, passages: Sequence[Passage], wanted: Wanted, batch_tokens: int) -> Iterator[tuple[int, PassageScores]]:
    """(place in `passages`, scores) of every passage, in the order of the batches: long ones first.

    The same passages always make the same batches, so that a resumed build computes the same bytes.
    """
    for batch in batches_by_length(passages, batch_tokens):
        yield from zip(batch, _score_batch(source, passages, batch, wanted), strict=True)


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


@dataclass(frozen=True, eq=False)
class PlainModel:
    """A language model at a temperature."""

    network: Any
    temperature: float
    vocab_size: int

    @torch.inference_mode()
    def log_probs(self, passages: Sequence[Passage]) -> Iterator[Tensor]:
        head_VD = head_weight(self.network)[: self.vocab_size]
        hidden_ND = counted_hidden(self.network, [passage.token_ids for passage in passages], [passage.first_label for passage in passages])
        for start in range(0, len(hidden_ND), CHUNK):
            scaled_nV = logits(hidden_ND[start : start + CHUNK], head_VD) / self.temperature
            yield normalised(scaled_nV)


def counted_hidden(network: Any, sequences: Sequence[Array], first_labels: Sequence[int]) -> Tensor:
    """Last hidden states (N×D) at the positions that predict the tokens from `first_label` on, sequence after sequence."""
    lengths = [len(sequence) for sequence in sequences]
    ids_BT = np.zeros((len(sequences), max(lengths)), np.int64)
    mask_BT, counted_BT = np.zeros_like(ids_BT), np.zeros(ids_BT.shape, bool)
    for row, (sequence, first) in enumerate(zip(sequences, first_labels, strict=True)):
        ids_BT[row, : lengths[row]] = sequence
        mask_BT[row, : lengths[row]] = 1
        counted_BT[row, first : lengths[row]] = True
    device = head_weight(network).device
    tokens_BT, attention_BT = (torch.from_numpy(array).to(device) for array in (ids_BT, mask_BT))
    return hidden_states(network, tokens_BT[:, :-1], attention_BT[:, :-1])[torch.from_numpy(counted_BT[:, 1:]).to(device)]


def normalised(scores_nV: Tensor) -> Tensor:
    """Log-probabilities from unnormalised ones.

    Not log_softmax: its float32 probabilities over 49k tokens were measured to sum to 1 + 2e-5, more than the store's coding
    loses.
    """
    return scores_nV - scores_nV.logsumexp(-1, keepdim=True)


@torch.inference_mode()
def _score_batch(source: NextToken, passages: Sequence[Passage], batch: Sequence[int], wanted: Wanted) -> list[PassageScores]:
    chosen = [passages[place] for place in batch]
    observed = [torch.from_numpy(passage.token_ids[passage.first_label :].astype(np.int64)) for passage in chosen]
    lengths = [len(tokens) for tokens in observed]
    observed_N = torch.cat(observed)
    uniforms_ND = _joined_uniforms(chosen, lengths, wanted.draws)
    also_NM = _joined_also(batch, observed, wanted.also)
    chunks, start = [], 0
    for log_q_nV in source.log_probs(chosen):
        rows = slice(start, start + len(log_q_nV))
        further = [None if given is None else given[rows].to(log_q_nV.device) for given in (uniforms_ND, also_NM)]
        chunks.append(_score_chunk(log_q_nV, observed_N[rows].to(log_q_nV.device), wanted.top_k, *further))
        start = rows.stop
    assert start == len(observed_N), "a source gives one distribution for every position that counts"
    columns = [torch.cat(parts).cpu().numpy() for parts in zip(*chunks, strict=True)]
    names = [*(["drawn_ND"] if uniforms_ND is not None else []), *(["also_NM"] if also_NM is not None else [])]
    bounds = np.cumsum([0, *lengths])
    return [_of_passage([column[start:stop] for column in columns], names) for start, stop in pairwise(bounds)]


def _score_chunk(
    log_q_nV: Tensor, observed_n: Tensor, top_k: int, uniforms_nD: Tensor | None, also_nM: Tensor | None
) -> tuple[Tensor, ...]:
    observed = log_q_nV.gather(-1, observed_n.unsqueeze(-1)).squeeze(-1)
    entropy = -torch.where(log_q_nV == -torch.inf, 0.0, log_q_nV.exp() * log_q_nV).sum(-1)
    best = log_q_nV.max(-1)
    further = []
    if uniforms_nD is not None:
        cumulated = log_q_nV.double().exp().cumsum(-1)
        drawn = torch.searchsorted(cumulated, uniforms_nD * cumulated[:, -1:], right=True)
        further.append(drawn.clamp_(max=log_q_nV.shape[-1] - 1).int())
    if also_nM is not None:
        further.append(log_q_nV.gather(-1, also_nM))
    ids_nK = log_q_nV.topk(top_k, dim=-1).indices.sort(-1).values
    probs_nK = log_q_nV.gather(-1, ids_nK).exp()
    tail_n = log_q_nV.scatter_(-1, ids_nK, -torch.inf).exp_().sum(-1)  # summed, not 1 − Σ: that would cancel
    return ids_nK.int(), probs_nK, tail_n, observed_n.int(), observed, entropy, best.indices.int(), best.values.exp(), *further


def _joined_uniforms(passages: Sequence[Passage], lengths: Sequence[int], draws: Draws | None) -> Tensor | None:
    if draws is None:
        return None
    parts = [draws.uniforms(passage, length, "bracket") for passage, length in zip(passages, lengths, strict=True)]
    return torch.from_numpy(np.concatenate(parts))


def _joined_also(batch: Sequence[int], observed: Sequence[Tensor], also: Mapping[int, Array]) -> Tensor | None:
    """Further tokens of a batch, filled up with the observed ones: N×M."""
    width = max((also[place].shape[1] for place in batch if place in also), default=0)
    if not width:
        return None
    parts = []
    for place, tokens in zip(batch, observed, strict=True):
        part = tokens.unsqueeze(-1).repeat(1, width)
        if place in also:
            part[:, : also[place].shape[1]] = torch.from_numpy(also[place].astype(np.int64))
        parts.append(part)
    return torch.cat(parts)


def _of_passage(columns: list[Array], names: Sequence[str]) -> PassageScores:
    ids_NK, probs_NK, tail_N, *others = columns
    plain = len(others) - len(names)
    further = dict(zip(names, others[plain:], strict=True))
    return PassageScores(SparseDistributions(ids_NK, probs_NK, tail_N), *others[:plain], **further)
