"""The reference distribution B(·|h): everything of a target but the observed token, as dense log-probabilities a chunk of positions long.

In this order, and each only where it is asked for:

    1  temperature     P_s = softmax(z_s / T)                     each style's cross-fitted reference
    2  blend           P = Σ_s w_s·P_s
    3  n-gram          P = (1−η_t)·P + η_t·P_ngram,               η_t = η_max·N(h)/(N(h)+N1+(h))
    4  strength        P ∝ P_native^(1−s)·P^s                     native: the reference's model without adapter, T = 1
    5  principles      P ∝ P·exp(Σ_i β_i·r_i)
    6  debias          P = ½·[P(x|h) + P(σx|σh)]                  σ swaps the words of the protected attribute

Every step looks at h alone, never at the token that follows it: see `debias` for words that may go on.

The observed token comes after that (`mixture`), then the coding (`timbre.store`). The laws of each step are in the tests:
weights and masses sum to 1, s = 0 is native, s = 1 is the style, β = 0 changes nothing, P(σx|σh) = P(x|h) after 6.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from timbre.corpus.passages import Passage
from timbre.models import head_weight, logits
from timbre.targets.debias import Swap
from timbre.targets.ngram import Factored, NgramModel, NgramRows
from timbre.targets.principles import Scorer
from timbre.targets.scoring import CHUNK, Array, counted_hidden, normalised


@dataclass(frozen=True)
class Mixture:
    """The numbers of steps 1 to 3: given by the configuration, or fitted."""

    temperature: float
    weights: tuple[float, ...]
    """One a style, summing to 1."""
    ngram_weight: float
    """η_max."""

    def __post_init__(self) -> None:
        if not math.isclose(sum(self.weights), 1, abs_tol=1e-6) or min(self.weights) < 0:
            raise ValueError(f"the weights of a blend must be 0 or more and sum to 1, got {self.weights}")
        if not 0 <= self.ngram_weight <= 1 or not self.temperature > 0:
            raise ValueError(f"η must lie in 0..1 and the temperature above 0, got {self.ngram_weight} and {self.temperature}")


@dataclass(frozen=True)
class Shaping:
    """Steps 4 to 6."""

    strength: float = 1.0
    principles: tuple[tuple[float, Scorer], ...] = ()
    """β and r of each."""
    swap: Swap | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"target.strength must lie in 0..1, got {self.strength}")
        if not all(math.isfinite(beta) for beta, _ in self.principles):
            raise ValueError("the strength of a principle must be a finite number: correct target.principles")


@dataclass(frozen=True, eq=False)
class Parts:
    """What the mixture is made of at n positions."""

    logits: tuple[Tensor, ...]
    """n×V of each style's reference, before the temperature."""
    ngram: tuple[Factored, ...]
    """P_ngram and its confidence, passage after passage; empty where no n-grams are wanted."""
    native_nV: Tensor | None
    """Log-probabilities of the un-adapted model."""
    native_hidden_nD: Tensor | None
    conditioned: tuple[Tensor | None, ...]
    """Log-probabilities of the un-adapted model after each principle's prefix."""


@dataclass(frozen=True, eq=False)
class ReferenceDistribution:
    """A `NextToken`: the reference distribution of the passages of one fold.

    Args:
        network: a causal LM, under peft if it has adapters.
        adapters: name of each style's adapter for this fold; empty for the bare model.
        ngram: counts over the training documents; passages of these are scored without their own.
    """

    network: Any
    vocab_size: int
    adapters: tuple[str, ...]
    mixture: Mixture
    shaping: Shaping = field(default_factory=Shaping)
    ngram: NgramModel | None = None
    counted: frozenset[str] = frozenset()
    """Documents whose n-grams were counted."""

    @torch.inference_mode()
    def log_probs(self, passages: Sequence[Passage]) -> Iterator[Tensor]:
        """Chunks of log B, n×V."""
        yield from self._under(passages, [self.mixture])

    @torch.inference_mode()
    def observed(self, passages: Sequence[Passage], mixtures: Sequence[Mixture]) -> Array:
        """log B of the observed tokens under each of several mixtures, M×N; the networks run once."""
        observed_N = torch.from_numpy(np.concatenate([passage.token_ids[passage.first_label :] for passage in passages]).astype(np.int64))
        found: list[list[Tensor]] = [[] for _ in mixtures]
        start = [0] * len(mixtures)
        for place, log_q_nV in enumerate(self._under(passages, mixtures)):
            which = place % len(mixtures)
            observed_n = observed_N[start[which] : start[which] + len(log_q_nV)].to(log_q_nV.device)
            start[which] += len(log_q_nV)
            found[which].append(log_q_nV.gather(-1, observed_n.unsqueeze(-1))[:, 0].double().cpu())
        return np.stack([torch.cat(parts).numpy() for parts in found])

    def _under(self, passages: Sequence[Passage], mixtures: Sequence[Mixture]) -> Iterator[Tensor]:
        """Of each chunk log B under every mixture in turn, n×V."""
        with_ngrams = any(mixture.ngram_weight > 0 for mixture in mixtures)
        plain = self.parts(passages, with_ngrams=with_ngrams)
        if self.shaping.swap is None:
            yield from (combined(parts, mixture, self.shaping) for parts in plain for mixture in mixtures)
            return
        mirrored = self._mirrored(passages, self.shaping.swap, mixtures, with_ngrams=with_ngrams)
        for parts in plain:
            for mixture in mixtures:
                yield torch.logaddexp(combined(parts, mixture, self.shaping), next(mirrored)) - math.log(2)

    def _mirrored(self, passages: Sequence[Passage], swap: Swap, mixtures: Sequence[Mixture], *, with_ngrams: bool) -> Iterator[Tensor]:
        """Of each chunk log P(σx|σh) under every mixture in turn, n×V.

        Contexts that end in a word which the passage goes on with are run again, as they are known there.
        """
        swapped = [swap.passage(passage) for passage in passages]
        last_N = torch.from_numpy(np.concatenate([passage.token_ids[passage.first_label - 1 : -1] for passage in swapped]).astype(np.int64))
        anew, first = dict[int, tuple[list[Tensor], int]](), 0
        for passage in passages:
            places = swap.open_ends(passage)
            cut = [swap.as_far_as(passage, place) for place in places]
            found = (
                [[combined(parts, mixture, self.shaping) for mixture in mixtures] for parts in self.parts(cut, with_ngrams=with_ngrams)]
                if cut
                else []
            )
            rows = (list(row) for chunk in found for row in zip(*chunk, strict=True))
            for place, one, log_p_MV in zip(places, cut, rows, strict=True):
                anew[first + place - passage.first_label + 1] = log_p_MV, int(one.token_ids[-2])
            first += len(passage.token_ids) - passage.first_label
        start = 0
        for parts in self.parts(swapped, with_ngrams=with_ngrams):
            stop = start
            for which, mixture in enumerate(mixtures):
                log_p_nV = combined(parts, mixture, self.shaping)
                stop = start + len(log_p_nV)
                for row in anew.keys() & range(start, stop):
                    log_p_nV[row - start], last_N[row] = anew[row][0][which], anew[row][1]
                yield swap.permuted(log_p_nV, last_N[start:stop])
            start = stop

    @torch.inference_mode()
    def parts(self, passages: Sequence[Passage], *, with_ngrams: bool = True) -> Iterator[Parts]:
        """What `combined` takes, chunk by chunk; n-grams only where they are wanted and were counted."""
        head_VD = head_weight(self.network)[: self.vocab_size]
        sequences, firsts = [passage.token_ids for passage in passages], [passage.first_label for passage in passages]
        hidden = []
        for name in self.adapters or (None,):
            if name is not None:
                self.network.set_adapter(name)
            hidden.append(counted_hidden(self.network, sequences, firsts))
        prefixes = [scorer.prefix for _, scorer in self.shaping.principles]
        with self._unadapted():
            native_ND = counted_hidden(self.network, sequences, firsts) if self.shaping.strength < 1 or prefixes else None
            conditioned = [None if not len(prefix) else self._after(prefix, passages) for prefix in prefixes]
        rows = self._ngram_rows(passages) if with_ngrams else []
        for start in range(0, len(hidden[0]), CHUNK):
            chunk = slice(start, start + CHUNK)
            yield Parts(
                tuple(logits(states[chunk], head_VD) for states in hidden), tuple(_ngram_chunk(rows, chunk)),
                None if native_ND is None else normalised(logits(native_ND[chunk], head_VD)),
                None if native_ND is None else native_ND[chunk],
                tuple(None if states is None else normalised(logits(states[chunk], head_VD)) for states in conditioned),
            )  # fmt: skip

    def _after(self, prefix: Array, passages: Sequence[Passage]) -> Tensor:
        """The prefix stands where a text begins: behind the tokenizer's start."""
        longer = [np.concatenate([one.token_ids[: one.start], prefix, one.text_ids]) for one in passages]
        return counted_hidden(self.network, longer, [one.first_label + len(prefix) for one in passages])

    def _unadapted(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.network.disable_adapter() if self.adapters else nullcontext()
        return context

    def _ngram_rows(self, passages: Sequence[Passage]) -> list[tuple[NgramRows, int]]:
        if self.ngram is None:
            return []
        return [
            (self.ngram.rows(passage.token_ids, passage.doc_id if passage.doc_id in self.counted else None), passage.first_label - 1)
            for passage in passages
        ]

    def confidences(self, passages: Sequence[Passage]) -> list[Array]:
        """N/(N+N1+) at the positions of each passage: η_t is η_max times this; 0 without n-grams."""
        rows = self._ngram_rows(passages)
        if not rows:
            return [np.zeros(len(passage.token_ids) - passage.first_label) for passage in passages]
        return [found.confidence[first:] for found, first in rows]


def combined(parts: Parts, mixture: Mixture, shaping: Shaping) -> Tensor:
    """Steps 1 to 5: log-probabilities n×V."""
    log_p_nV = blended(parts.logits, mixture)
    if parts.ngram and mixture.ngram_weight > 0:
        log_p_nV = add_ngrams(log_p_nV.exp(), parts.ngram, mixture.ngram_weight).log_()
    if shaping.strength < 1:
        assert parts.native_nV is not None
        log_p_nV = interpolated(parts.native_nV, log_p_nV, shaping.strength)
    if shaping.principles:
        assert parts.native_nV is not None and parts.native_hidden_nD is not None
        for (beta, scorer), conditioned_nV in zip(shaping.principles, parts.conditioned, strict=True):
            log_p_nV = log_p_nV + beta * scorer.scores(parts.native_nV, conditioned_nV, parts.native_hidden_nD)
        log_p_nV = normalised(log_p_nV)
    return log_p_nV


def blended(logits: Sequence[Tensor], mixture: Mixture) -> Tensor:
    """log Σ_s w_s·softmax(z_s / T), n×V; a single style is just its softmax."""
    log_p = [normalised(logits_nV / mixture.temperature) for logits_nV in logits]
    if len(log_p) == 1:
        return log_p[0]
    return torch.stack([one + math.log(weight) for one, weight in zip(log_p, mixture.weights, strict=True) if weight > 0]).logsumexp(0)


def interpolated(native_nV: Tensor, style_nV: Tensor, strength: float) -> Tensor:
    """log of P ∝ P_native^(1−s)·P_style^s; the ends are the two themselves."""
    if strength in (0, 1):
        return style_nV if strength else native_nV
    return normalised((1 - strength) * native_nV + strength * style_nV)


def add_ngrams(probs_nV: Tensor, parts: Sequence[Factored], ngram_weight: float) -> Tensor:
    """(1−η_t)·P + η_t·P_ngram, written over P: an outer product and sparse entries, multiplied out on P's device."""
    device, start = probs_nV.device, 0

    def moved(values: Array) -> Tensor:
        return torch.from_numpy(values if values.dtype.kind == "i" else values.astype(np.float32)).to(device)

    for part in parts:
        here_nV = probs_nV[start : start + len(part)]
        start += len(part)
        eta_n = ngram_weight * part.confidence_n
        here_nV.mul_(moved(1 - eta_n).unsqueeze(-1)).addr_(moved(eta_n * part.rest_n), moved(part.unigram_V))
        for term in part.terms:
            sizes, mass, ids = moved(term.sizes), moved(term.level.mass), moved(term.level.ids)
            owner = torch.arange(len(sizes), device=device).repeat_interleave(sizes, output_size=int(term.sizes.sum()))
            first = moved(term.starts) - (sizes.cumsum(0) - sizes)
            at = first.index_select(0, owner).add_(torch.arange(len(owner), device=device))
            shares = moved(term.shares * eta_n[term.places]).index_select(0, owner)
            place = moved(term.places * here_nV.shape[1]).index_select(0, owner).add_(ids.index_select(0, at))
            here_nV.view(-1).scatter_add_(0, place, shares.mul_(mass.index_select(0, at)))  # no place twice in a term: one order of sums
    assert start == len(probs_nV), "n-grams at every position"
    return probs_nV


def _ngram_chunk(rows: Sequence[tuple[NgramRows, int]], chunk: slice) -> Iterator[Factored]:
    """What falls into a stretch of the positions of all passages, counted end to end."""
    passed = 0
    for found, first in rows:
        count = len(found) - first
        start, stop = max(chunk.start - passed, 0), min(chunk.stop - passed, count)
        if start < stop:
            yield found.factored(first + start, first + stop)
        passed += count
