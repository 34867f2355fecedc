"""Does the exported decoder compute what the trained model computes? Measured, on human text and on its own.

Prompts are openings of test documents, of unequal length, so that every batch has left padding. torch continues them
greedily; ONNX Runtime must choose the same tokens. Then both score prompt and continuation: torch in one pass with the
mask of transformers, ONNX Runtime in three (prefill, several cached tokens, one cached token).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from timbre.export.session import Decoder, Ids, greedy, left_padded
from timbre.models.tokens import backend_text_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from timbre.corpus.documents import Document

TOLERANCE = 1e-3
"""Largest accepted |Δlogit|: fp32 kernels differ by ~1e-5 through 30 layers, a wrong mask or weight by more than 1e-1."""
SHORTEST, LONGEST = 8, 24
"""Tokens of a prompt."""


@dataclass(frozen=True)
class Parity:
    """What torch and ONNX Runtime agree on.

    Attributes:
        max_abs_logit_difference: the largest of the three that follow.
        against_merged, against_adapter: of the exported decoder to the merged and the unmerged model in torch.
        against_serving: of the exported decoder to the one with its cache in place; None where there is none.
        greedy_equal: prompts with the same greedy text.
        greedy_tied: prompts whose texts part where torch's own lead of its token over ONNX Runtime's is within twice the
            largest logit difference, so that rounding decides on either side.
        greedy_total: prompts tried.
        provider: what ran the ONNX side.
    """

    max_abs_logit_difference: float
    against_merged: float
    against_adapter: float | None
    greedy_equal: int
    greedy_tied: int
    greedy_agreed: int
    greedy_total: int
    greedy_tokens: int
    provider: str
    against_serving: float | None = None
    tolerance: float = TOLERANCE


def parity_prompts(
    documents: "Sequence[Document]", tokenizer: "Tokenizer", count: int, longest: int = LONGEST, start: Sequence[int] = ()
) -> list[list[int]]:
    """Token rows of unequal length: the opening of each document first, later stretches only where documents are few.

    Args:
        longest: tokens of a row, with the tokenizer's own `start` before each.

    Raises:
        ValueError: no text at all.
    """
    longest = min(LONGEST, longest - len(start))
    shortest = min(SHORTEST, longest)
    tokens = [backend_text_ids(document.text, tokenizer) for document in sorted(documents, key=lambda one: one.doc_id)]
    rows: list[list[int]] = []
    for place in range(0, max((len(row) for row in tokens), default=0), LONGEST):
        for row in tokens:
            length = shortest + (5 * len(rows)) % (longest - shortest + 1)
            if len(rows) < count and len(row) >= place + length:
                rows.append([*start, *row[place : place + length]])
    if not rows:
        raise ValueError("the corpus has no test text to compare torch and ONNX on: add documents to it")
    return rows


@dataclass(frozen=True)
class Written:
    """Greedy text by torch: its tokens, the second best ones, and the lead in logits of the best over the second."""

    best: Ids
    second: Ids
    lead: NDArray[np.float32]

    def leads_where_parted(self, other: Ids) -> list[float]:
        """For each row that differs from `other`, torch's lead at the first difference; infinite if not over its second."""
        leads = []
        for row, parted in enumerate(self.best != other):
            if parted.any():
                place = int(parted.argmax())
                second = self.second[row, place] == other[row, place]
                leads.append(float(self.lead[row, place]) if second else float("inf"))
        return leads


def torch_greedy(model: Any, rows: Sequence[Sequence[int]], new_tokens: int, vocab_size: int) -> Written:
    """`timbre.export.session.greedy` computed by torch; every array is [batch, new_tokens]."""
    ids, mask = (torch.from_numpy(array) for array in left_padded(rows))
    chosen: list[torch.Tensor] = []
    leads: list[torch.Tensor] = []
    cache = None
    with torch.inference_mode():
        while len(chosen) < new_tokens:
            positions = _positions(mask)[:, -ids.shape[1] :]
            output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            values, places = output.logits[:, -1, :vocab_size].topk(2, dim=-1)
            ids = places[:, :1]
            chosen.append(places)
            leads.append(values[:, 0] - values[:, 1])
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    both = torch.stack(chosen, dim=1).numpy()
    return Written(both[..., 0], both[..., 1], torch.stack(leads, dim=1).numpy())


def onnx_logits(decoder: Decoder, rows: Sequence[Sequence[int]], new_tokens: int) -> NDArray[np.float32]:
    """Logits [batch, sequence, vocabulary] in three calls, so that the cache is tried with several tokens and with one."""
    ids, mask = left_padded(rows)
    cuts = sorted({0, max(1, ids.shape[1] - max(new_tokens, 2)), ids.shape[1] - 1, ids.shape[1]})
    cache, parts = decoder.empty_cache(len(rows)), []
    for first, last in pairwise(cuts):
        logits, cache = decoder.step(ids[:, first:last], cache, mask[:, first:last])
        parts.append(logits)
    return np.concatenate(parts, axis=1)


def largest_difference(model: Any, rows: Sequence[Sequence[int]], logits: NDArray[np.float32], vocab_size: int) -> float:
    """max |Δlogit| over real tokens between torch's one pass and `logits`; infinite if either side has a NaN."""
    ids, mask = (torch.from_numpy(array) for array in left_padded(rows))
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=mask, position_ids=_positions(mask), use_cache=False).logits
        difference = (expected[..., :vocab_size] - torch.from_numpy(logits)[..., :vocab_size])[mask.bool()].abs().max()
    return float(difference) if bool(torch.isfinite(difference)) else float("inf")


@dataclass(frozen=True)
class Trial:
    """The ONNX side and torch's greedy text, kept so that merged and unmerged models can be compared one after the other."""

    rows: list[list[int]]
    logits: NDArray[np.float32]
    leads: list[float]
    """torch's lead at the first difference, for each prompt whose texts differ."""
    tokens: int

    @property
    def equal(self) -> int:
        return len(self.rows) - len(self.leads)

    def tied(self, difference: float) -> int:
        """Differing prompts that logits as far apart as `difference` on both sides explain."""
        return sum(lead <= 2 * difference for lead in self.leads)


def run_trial(merged: Any, decoder: Decoder, prompts: list[list[int]], new_tokens: int, vocab_size: int) -> Trial:
    """Continue the prompts on both sides, and score prompt and continuation in ONNX Runtime."""
    written = torch_greedy(merged, prompts, new_tokens, vocab_size)
    leads = written.leads_where_parted(greedy(decoder, prompts, new_tokens, vocab_size))
    rows = [prompt + continuation.tolist() for prompt, continuation in zip(prompts, written.best, strict=True)]
    return Trial(rows, onnx_logits(decoder, rows, new_tokens), leads, new_tokens)


def difference_in_place(served: Decoder, trial: Trial, vocab_size: int) -> float:
    """max |Δlogit| between the exported decoder and the one with its cache in place: half of each row is read, with all logits
    and with the last alone, and half is written token by token."""
    largest = 0.0
    for row, logits in zip(trial.rows, trial.logits, strict=True):
        expected, half = logits[-len(row) :, :vocab_size], max(1, len(row) // 2)
        ids = np.array([row[:half]], np.int64)
        found, _ = served.step(ids, served.empty_cache(1))
        last, cache = served.read(ids, served.empty_cache(1))  # what a server computes of a prompt
        parts, slots = [found[0], last], served.rows()
        slots.join(cache)
        parts += [slots.step(np.array([token], np.int64)).copy() for token in row[half:]]
        wanted = np.concatenate([expected[:half], expected[half - 1 :]])
        difference = np.abs(np.concatenate(parts)[:, :vocab_size] - wanted).max()
        largest = max(largest, float(difference) if np.isfinite(difference) else float("inf"))
    return largest


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)
