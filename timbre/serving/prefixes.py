"""Beginnings of prompts that were read before: their keys and values are kept, so that a prompt which begins alike reads only the rest.

A prompt is always read in pieces that end at multiples of one length, whatever is kept. What is kept is whole pieces, each under all
tokens up to its end. So a text has the same bytes with and without: the same numbers were computed in the same calls.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from timbre.export.session import Cache, Decoder

_Piece = list[NDArray[np.float32]]
"""Keys and values of every layer, each [kv_heads, piece, head_dim]."""


class Prefixes:
    """The pieces of one decoder; the longest unused go first. Not for several threads."""

    def __init__(self, decoder: "Decoder", piece: int, limit: int) -> None:
        """Nothing kept yet.

        Args:
            piece: tokens of a piece.
            limit: bytes that pieces may hold together; 0 keeps nothing.
        """
        self._decoder, self._piece, self._limit = decoder, piece, limit
        self._kept: OrderedDict[bytes, _Piece] = OrderedDict()
        self._size = 0
        self.reused = 0
        """Tokens that were not read again."""

    @property
    def nbytes(self) -> int:
        return self._size

    def longest(self, ids: Sequence[int]) -> "Cache | None":
        """The kept beginning of a prompt, never all of it: its last token is always read, for what follows. None where nothing is kept."""
        found: list[_Piece] = []
        for end in range(self._piece, len(ids), self._piece):
            name = _name(ids, end)
            if name not in self._kept:
                break
            self._kept.move_to_end(name)
            found.append(self._kept[name])
        if not found:
            return None
        self.reused += len(found) * self._piece
        return self._decoder.cache_of([np.concatenate(part, 1)[None] for part in zip(*found, strict=True)])

    def keep(self, ids: Sequence[int], cache: "Cache") -> None:
        """Keep the last piece of what was read of a prompt, if it is a whole one and has room."""
        end = cache.length
        size = self._piece * self._decoder.token_bytes
        if end % self._piece or size > self._limit or (name := _name(ids, end)) in self._kept:
            return
        while self._size + size > self._limit:
            self._kept.popitem(last=False)
            self._size -= size
        self._kept[name] = [value.numpy()[0, :, end - self._piece : end].copy() for value in cache.values]
        self._size += size


def _name(ids: Sequence[int], end: int) -> bytes:
    return np.array(ids[:end], np.int32).tobytes()
