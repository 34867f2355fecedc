"""Counterfactual swaps: the target becomes the mean of what is written of one group and of the other.

σ exchanges words of a protected attribute (she ↔ he). At every position the reference distribution becomes ½·[P(x|h) + P(σx|σh)]: it is
then as likely to say something of the one as of the other. Since the observed token is still what this author wrote, the
target also holds each passage's swap.

Only pairs whose spellings are one token each are swapped, so that contexts keep their length and σ acts on the vocabulary;
what is skipped is counted. A spelling without a leading space is a word only where no letter stands before it ("her" in
"mother" is none): there the tokens keep their meaning, in the context and in the distribution.

A word that turns out to be the beginning of a longer one (" he" in " heave") stays, in the text and in every context that
shows what follows it. Right behind it nobody knows yet: there the context has it swapped, whatever the next token is, since
what a position is conditioned on must not depend on the token that it predicts. The swap of a whole passage that has such a
word is left out and counted, because its contexts would not be the mirror of the passage's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from timbre.corpus.passages import Passage
from timbre.targets.principles import Principle, spellings, token_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

Ids = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Swap:
    """σ for one tokenizer. Both maps are involutions on 0…V−1."""

    anywhere_V: npt.NDArray[np.int64]
    """Where no letter stands before the token."""
    after_letter_V: npt.NDArray[np.int64]
    """Where one does: only spellings that bring their own space are words."""
    ends_in_letter_V: npt.NDArray[np.bool_]
    starts_in_letter_V: npt.NDArray[np.bool_]
    """Before such a token nothing is swapped: " he" is no word in " heave"."""
    skipped: tuple[tuple[str, str], ...]
    """Pairs of spellings that are not one token each."""
    skipped_ids: tuple[tuple[int, ...], ...] = ()

    def ids(self, token_ids: Ids) -> Ids:
        """σ of a text; the same length, and σσ is the text itself."""
        swapped = self._swapped(token_ids, self._after_letter(token_ids))
        return np.where(self._before_letter(token_ids), token_ids, swapped).astype(token_ids.dtype)

    def within_words(self, token_ids: Ids) -> npt.NDArray[np.bool_]:
        """Where a word of the table is only the beginning of a longer one, and therefore stays."""
        found: npt.NDArray[np.bool_] = self._swapped(token_ids, self._after_letter(token_ids)) != token_ids
        return found & self._before_letter(token_ids)

    def open_ends(self, passage: Passage) -> list[int]:
        """Places of tokens that end a context of the passage and were swapped in it, although they stay in all later ones."""
        within = self.within_words(passage.token_ids)
        return [int(place) for place in np.flatnonzero(within) if place >= passage.first_label - 1]

    def as_far_as(self, passage: Passage, place: int) -> Passage:
        """The counterfactual passage as it is known at `place`, to predict the one token behind it."""
        known = self.ids(passage.token_ids[: place + 1])
        token_ids = np.append(known, passage.token_ids[place + 1]).astype(passage.token_ids.dtype)
        return replace(passage, token_ids=token_ids, first_label=place + 1)

    def _swapped(self, ids: Ids, after_letter: npt.NDArray[np.bool_]) -> Ids:
        return np.where(after_letter, self.after_letter_V[ids], self.anywhere_V[ids])

    def _after_letter(self, token_ids: Ids) -> npt.NDArray[np.bool_]:
        return np.concatenate([[False], self.ends_in_letter_V[token_ids[:-1]]])

    def _before_letter(self, token_ids: Ids) -> npt.NDArray[np.bool_]:
        return np.append(self.starts_in_letter_V[token_ids[1:]], False)

    def passage(self, passage: Passage) -> Passage:
        """The counterfactual passage."""
        return replace(passage, token_ids=self.ids(passage.token_ids))

    def permuted(self, log_q_nV: "Tensor", last_n: "Tensor") -> "Tensor":
        """Distributions over σ's words: q(σx) at x, given the token before each position."""
        import torch

        tables = torch.from_numpy(np.stack([self.anywhere_V, self.after_letter_V])).to(log_q_nV.device)
        letters = torch.from_numpy(self.ends_in_letter_V).to(log_q_nV.device)
        return log_q_nV.gather(-1, tables[letters[last_n.to(log_q_nV.device)].long()])

    def targets(self, ids_NK: Ids, token_ids: Ids, first_label: int) -> Ids:
        """Sparse ids under σ for the positions of a text from `first_label` on; not in order any more.

        Where the observed token stays because it only begins a longer word, it and its partner stay here too.
        """
        observed_N1, after_letter_N1, stays_N1 = (
            column[first_label:, None] for column in (token_ids, self._after_letter(token_ids), self.within_words(token_ids))
        )
        swapped_NK = self._swapped(ids_NK, after_letter_N1)
        return np.where(stays_N1 & ((ids_NK == observed_N1) | (swapped_NK == observed_N1)), ids_NK, swapped_NK)

    def changes(self, passage: Passage) -> bool:
        """Whether the passage has a word to swap, and its swap can be told in every context of it: see `within_words`."""
        token_ids = passage.token_ids
        return bool((self.ids(token_ids) != token_ids).any()) and not self.within_words(token_ids).any()

    def skipped_words(self, passages: Sequence[Passage]) -> int:
        """How many words of the table stand in the passages and cannot be swapped."""
        return sum(_occurrences(passage.token_ids, sequence) for passage in passages for sequence in self.skipped_ids)


def swap_of(table: Principle, tokenizer: "PreTrainedTokenizerBase", vocab_size: int) -> Swap:
    """σ of a table for a tokenizer.

    Raises:
        ValueError: the principle is no table, a word stands in two pairs, or no pair can be swapped.
    """
    if table.kind != "swap":
        raise ValueError(f"target.debias names {table.name!r}, which is of kind {table.kind!r}: name a principle of kind 'swap'")
    words = [word.lower() for pair in table.pairs for word in pair]
    if twice := sorted({word for word in words if words.count(word) > 1}):
        raise ValueError(f"{table.name}: {', '.join(twice)} stands in more than one pair: a swap must lead back")
    anywhere, after_letter = np.arange(vocab_size), np.arange(vocab_size)
    skipped, skipped_ids = [], []
    for pair in table.pairs:
        for one, other in dict.fromkeys(zip(*map(spellings, pair), strict=True)):
            ids = [token_of(spelling, tokenizer) for spelling in (one, other)]
            if any(len(tokens) != 1 or tokens[0] >= vocab_size for tokens in ids):
                skipped.append((one, other))
                skipped_ids += [tokens for tokens in ids if tokens]
                continue
            (a,), (b,) = ids
            if anywhere[a] != a or anywhere[b] != b:  # "I" is its own capital: its first partner keeps it
                skipped.append((one, other))
                continue
            for table_V in (anywhere, after_letter) if one.startswith(" ") else (anywhere,):
                table_V[[a, b]] = b, a
    if (anywhere == np.arange(vocab_size)).all():
        raise ValueError(f"{table.name}: this tokenizer spells no pair with one token each, so nothing can be swapped: choose other words")
    spelled = tokenizer.batch_decode([[token] for token in range(vocab_size)], skip_special_tokens=True)
    ends, starts = (np.array([bool(text) and text[place].isalnum() for text in spelled]) for place in (-1, 0))
    return Swap(anywhere, after_letter, ends, starts, tuple(skipped), tuple(tuple(ids) for ids in skipped_ids))


def _occurrences(tokens: Ids, sequence: Sequence[int]) -> int:
    if len(sequence) > len(tokens):
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(tokens, len(sequence))
    return int((windows == np.asarray(sequence)).all(axis=1).sum())
