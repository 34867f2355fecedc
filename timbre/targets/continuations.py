"""Several human continuations of exactly the same context: their relative frequencies instead of one observed token.

Contexts are the same where documents begin with the same tokens, or where the same prompt was answered more than once
(2503.17126). The middle of one document is never the same context as the middle of another.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.corpus.passages import Passage


@dataclass(frozen=True, eq=False)
class Continuations:
    """What people wrote at the N positions of a passage: M tokens each, the passage's own first."""

    ids_NM: npt.NDArray[np.int64]
    shares_NM: npt.NDArray[np.float64]
    """Relative frequencies; 0 where a position has fewer than M."""


def pooled(passages: Sequence[Passage]) -> dict[int, Continuations]:
    """Continuations of the passages that share a context with another and go on differently, by place in `passages`."""
    found: dict[int, dict[int, Counter[int]]] = {}
    waiting = [([place for place, passage in enumerate(passages) if _from_the_same(passage)], 0)]
    while waiting:
        members, depth = waiting.pop()
        following: dict[int, list[int]] = {}
        for place in members:
            if depth < len(passages[place].token_ids):
                following.setdefault(int(passages[place].token_ids[depth]), []).append(place)
        answered = [place for branch in following.values() for place in branch if depth >= passages[place].first_label]
        counts = Counter(int(passages[place].token_ids[depth]) for place in answered)
        if len(counts) > 1:
            for place in answered:
                found.setdefault(place, {})[depth - passages[place].first_label] = counts
        waiting += [(branch, depth + 1) for branch in following.values() if len(branch) > 1]
    return {place: _table(passages[place], positions) for place, positions in sorted(found.items())}


def _from_the_same(passage: Passage) -> bool:
    """Whether others may begin with exactly the same: the beginning of a document, or a prompt. A cut is no beginning."""
    return passage.index == 0 or passage.first_label > passage.start + 1


def single(passage: Passage) -> Continuations:
    """The observed tokens alone."""
    observed = passage.token_ids[passage.first_label :].astype(np.int64)
    return Continuations(observed[:, None], np.ones((len(observed), 1)))


def _table(passage: Passage, positions: dict[int, "Counter[int]"]) -> Continuations:
    plain, width = single(passage), max(len(counts) for counts in positions.values())
    ids = np.repeat(plain.ids_NM, width, axis=1)
    shares: npt.NDArray[Any] = np.zeros(ids.shape)
    shares[:, 0] = 1.0
    for position, counts in positions.items():
        own = int(plain.ids_NM[position, 0])
        ordered = [own, *sorted(token for token in counts if token != own)]
        ids[position, : len(ordered)] = ordered
        shares[position, : len(ordered)] = [counts[token] / counts.total() for token in ordered]
    return Continuations(ids, shares)
