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
        max_abs_logit_difference: against the merged and the unmerged model, the larger one.
        greedy_equal: prompts with the same greedy text.
        greedy_total: prompts tried.
        provider: what ran the ONNX side.
    """

    max_abs_logit_difference: float
    against_merged: float
    against_adapter: float | None
    greedy_equal: int
    greedy_total: int
    greedy_tokens: int
    provider: str
    tolerance: float = TOLERANCE


def parity_prompts(documents: "Sequence[Document]", tokenizer: "Tokenizer", count: int, longest: int = LONGEST) -> list[list[int]]:
    """Token rows of unequal length: the opening of each document first, later stretches only where documents are few.

    Raises:
        ValueError: no text at all.
    """
    longest = min(LONGEST, longest)
    shortest = min(SHORTEST, longest)
    tokens = [tokenizer.encode(document.text, add_special_tokens=False).ids for document in sorted(documents, key=lambda one: one.doc_id)]
    rows: list[list[int]] = []
    for start in range(0, max((len(row) for row in tokens), default=0), LONGEST):
        for row in tokens:
            length = shortest + (5 * len(rows)) % (longest - shortest + 1)
            if len(rows) < count and len(row) >= start + length:
                rows.append(row[start : start + length])
    if not rows:
        raise ValueError("the corpus has no test text to compare torch and ONNX on: add documents to it")
    return rows


def torch_greedy(model: Any, rows: Sequence[Sequence[int]], new_tokens: int, vocab_size: int) -> Ids:
    """`timbre.export.session.greedy` computed by torch: [batch, new_tokens]."""
    ids, mask = (torch.from_numpy(array) for array in left_padded(rows))
    chosen: list[torch.Tensor] = []
    cache = None
    with torch.inference_mode():
        while len(chosen) < new_tokens:
            positions = _positions(mask)[:, -ids.shape[1] :]
            output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            ids = output.logits[:, -1, :vocab_size].argmax(-1, keepdim=True)
            chosen.append(ids)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    return torch.cat(chosen, dim=1).numpy()


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
    equal: int
    tokens: int


def run_trial(merged: Any, decoder: Decoder, prompts: list[list[int]], new_tokens: int, vocab_size: int) -> Trial:
    """Continue the prompts on both sides, and score prompt and continuation in ONNX Runtime."""
    written = torch_greedy(merged, prompts, new_tokens, vocab_size)
    equal = int((greedy(decoder, prompts, new_tokens, vocab_size) == written).all(axis=1).sum())
    rows = [prompt + continuation.tolist() for prompt, continuation in zip(prompts, written, strict=True)]
    return Trial(rows, onnx_logits(decoder, rows, new_tokens), equal, new_tokens)


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)
