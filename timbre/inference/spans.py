"""What a text must not recite: runs of tokens that stand in the training text.

    spans = Spans(tokens)                        # int32, −1 between documents
    spans.after([5, 7, 9], run=4)                # tokens that would make a run of 4 tokens of the training text

Taking those out before a token is drawn is what transformers' `EncoderNoRepeatNGramLogitsProcessor` does with the training text as
its encoder input; here it is looked up in a sorted table, so that a corpus of millions of tokens costs microseconds a token.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from timbre.inference.arrays import NEVER, Logits

SHORTEST, LONGEST = 3, 64
"""Lengths of a run that may be asked for, in tokens."""
_MULTIPLIER = np.uint64(6364136223846793005)
_KEPT = 4


class Spans:
    """The training text's tokens, and a table for each length of run that was asked for (the last four are kept)."""

    def __init__(self, tokens_N: npt.NDArray[np.int32]) -> None:
        """Tokens of all documents, −1 after each."""
        if tokens_N.ndim != 1 or tokens_N.dtype != np.int32:
            raise ValueError(f"tokens of the training text are one row of int32, not {tokens_N.dtype} {tokens_N.shape}")
        self._tokens_N = tokens_N
        self._tables: dict[int, tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]] = {}

    def after(self, context: Sequence[int], run: int) -> npt.NDArray[np.int64]:
        """Tokens, in order, each of which would end a run of `run` tokens of the training text after this context.

        Raises:
            ValueError: a run that is shorter than 3 or longer than 64.
        """
        if not SHORTEST <= run <= LONGEST:
            raise ValueError(f"runs of {run} tokens cannot be kept out: ask for {SHORTEST} to {LONGEST}")
        if len(context) < run - 1:
            return np.zeros(0, np.int64)
        codes_N, next_N = self._table(run)
        code = _codes(np.array([context[len(context) - run + 1 :]], np.int64))[0]
        first, last = np.searchsorted(codes_N, code, "left"), np.searchsorted(codes_N, code, "right")
        return np.unique(next_N[first:last]).astype(np.int64)

    def without(self, logits_V: Logits, context: Sequence[int], run: int) -> Logits:
        """The logits [..., V] with those tokens at −inf, as a copy; as they are where nothing would be left."""
        recited = self.after(context, run)
        if not len(recited):
            return logits_V
        kept_V = logits_V.copy()
        kept_V[..., recited] = NEVER
        return kept_V if bool((kept_V != NEVER).any()) else logits_V

    def _table(self, run: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
        if run not in self._tables:
            if len(self._tables) >= _KEPT:
                self._tables.pop(next(iter(self._tables)))
            self._tables[run] = self._made(run)
        return self._tables[run]

    def _made(self, run: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
        if len(self._tokens_N) < run:
            return np.zeros(0, np.uint64), np.zeros(0, np.int32)
        windows_MR = np.lib.stride_tricks.sliding_window_view(self._tokens_N, run)
        whole = np.convolve(self._tokens_N < 0, np.ones(run, np.int64), "valid") == 0
        codes_M, next_M = _codes(windows_MR[:, :-1])[whole], np.asarray(windows_MR[whole, -1], np.int32)
        order = np.argsort(codes_M, kind="stable")
        return codes_M[order], next_M[order]


def _codes(rows_MR: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each row; of two million rows, two share one by chance once in ten million such corpora."""
    codes_M = np.full(len(rows_MR), 1, np.uint64)
    with np.errstate(over="ignore"):
        for column in range(rows_MR.shape[1]):
            codes_M = (codes_M ^ rows_MR[:, column].astype(np.uint64)) * _MULTIPLIER + np.uint64(1442695040888963407)
            codes_M ^= codes_M >> np.uint64(29)
    return codes_M
