"""A second model that some rows of a batch mix in: it takes their tokens in a batch of its own, a step behind none of theirs."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.export.session import Logits

if TYPE_CHECKING:
    from timbre.serving.runtimes import Runtime


class Beside:
    """The rows of one second decoder, known by whatever names them in the first. Not for several threads."""

    def __init__(self, decoder: "Runtime") -> None:
        self._slots = decoder.rows()
        self._rows: list[Hashable] = []

    @property
    def rows(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes

    def join(self, row: Hashable, cache: Any) -> None:
        """Add a row, whose tokens so far are those of `cache`."""
        self._slots.join(cache)
        self._rows.append(row)

    def leave(self, row: Hashable) -> None:
        """Remove a row; the last one takes its place."""
        place = self._rows.index(row)
        self._slots.leave(place)
        self._rows[place] = self._rows[-1]
        self._rows.pop()

    def step(self, tokens: dict[Hashable, int]) -> dict[Hashable, Logits]:
        """Feed each row its token; the logits of what follows, [vocabulary] a row, which stay until the next step."""
        logits_BV = self._slots.step(np.array([tokens[row] for row in self._rows], np.int64))
        return dict(zip(self._rows, logits_BV, strict=True))
