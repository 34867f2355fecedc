"""Rows of one batch that come and go while the others write on, and whose numbers do not depend on who is beside them.

Keys and values lie in static buffers, one array a layer and part: [rows, kv_heads, slots, head_dim]. A row's tokens fill its
slots from the left; what lies behind them is never read. A decoder whose cache is in place (`timbre.export.inplace`) writes each
new token into its slot itself. The exported graph puts it behind the last slot of arrays of its own, and it is copied from there.

The number of slots is a multiple of `STRIDE`. ONNX Runtime's kernels sum over slots in vectors and blocks that divide it, and
a masked slot adds exactly zero, so that more slots or more rows change no bit of a row's logits
(tests/unit/export/test_export_slots.py holds this for the machine it runs on).
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from timbre.export.session import Cache, Decoder, Logits

STRIDE = 64
"""Slots are counted in steps of this."""

Floats = NDArray[np.float32]

_NOTHING = np.zeros(0, np.float32)


def stride(tokens: int) -> int:
    """The least multiple of `STRIDE` that holds `tokens`."""
    return max(1, -(-tokens // STRIDE)) * STRIDE


class Slots:
    """The batch of one decoder. Not for several threads."""

    def __init__(self, decoder: "Decoder") -> None:
        self._decoder = decoder
        self._lengths: list[int] = []
        self._past: list[Floats] = []
        self._present: list[Floats] = []
        """Where the exported graph puts the grown cache; of a cache in place there is none."""
        self._bound: _Bound | _BoundInPlace | None = None

    @property
    def rows(self) -> int:
        return len(self._lengths)

    @property
    def nbytes(self) -> int:
        """Memory of the buffers: what goes into a step, and what comes out."""
        return sum(buffer.nbytes for buffer in (*self._past, *self._present))

    def join(self, cache: "Cache") -> None:
        """Add a row behind the others, whose tokens so far are those of `cache` (a batch of one without padding)."""
        row = self.rows
        self._fetch()
        self._lengths.append(cache.length)
        self._fit(row)
        for buffer, value in zip(self._past, cache.values, strict=True):
            buffer[row, :, : cache.length] = value.numpy()[0, :, : cache.length]

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its number."""
        self._fetch()
        last = self.rows - 1
        for buffer in self._past:
            buffer[row, :, : self._lengths[last]] = buffer[last, :, : self._lengths[last]]
        self._lengths[row] = self._lengths[last]
        self._lengths.pop()
        self._fit(self.rows)

    def step(self, tokens: NDArray[np.int64]) -> "Logits":
        """Feed one token a row.

        Args:
            tokens: [rows].

        Returns:
            Logits of what follows, [rows, vocabulary]; they stay as they are until the next step.
        """
        assert tokens.shape == (self.rows,)
        self._fit(self.rows)
        if self._bound is None:
            past, present = ([part[: self.rows] for part in side] for side in (self._past, self._present))
            self._bound = _BoundInPlace(self._decoder, past) if self._decoder.in_place else _Bound(self._decoder, past, present)
        logits = self._bound.run(tokens, np.array(self._lengths, np.int64))
        self._lengths = [length + 1 for length in self._lengths]
        return logits

    def _fetch(self) -> None:
        """Before rows change: what was written on another device comes back to the buffers here."""
        if self._bound is not None:
            self._bound.fetch()
            self._bound = None

    def _fit(self, kept: int) -> None:
        """Buffers that hold the rows there are and one more token each; the values of the first `kept` rows stay.

        New ones come when the old are too small or more than four times too large.
        """
        if self._bound is not None and self._bound.rows != self.rows:
            self._fetch()
        if not self.rows:
            self._past, self._present = [], []
            return
        slots = stride(max(self._lengths) + 1)
        if self._past:
            had_rows, _, had_slots, _ = self._past[0].shape
            if self.rows <= had_rows <= 4 * self.rows and slots <= had_slots <= 4 * slots:
                return
            if self.rows <= had_rows and slots > had_slots:  # a batch that writes on grows by its length alone
                slots = stride(slots + slots // 4)
        self._fetch()
        heads, size = self._decoder.kv_shape
        rows = 1 << (self.rows - 1).bit_length()
        before, filled, parts = self._past, max(self._lengths[:kept], default=0), self._decoder.cache_parts
        self._past, self._present = [], []
        if not self._decoder.in_place:
            self._present = [np.empty((rows, heads, slots + 1, size), np.float32) for _ in range(parts)]
        for part in range(parts):
            buffer = np.zeros((rows, heads, slots, size), np.float32)
            if kept:
                buffer[:kept, :, :filled] = before[part][:kept, :, :filled]
                before[part] = _NOTHING  # each goes as soon as it was copied
            self._past.append(buffer)


class _BoundInPlace:
    """One binding of the buffers of a cache in place; on another device they lie there until rows or slots change."""

    def __init__(self, decoder: "Decoder", cache: list[Floats]) -> None:
        self.rows = len(cache[0])
        self._decoder, self._here = decoder, cache
        self._there = [decoder.placed(part) for part in cache]
        self._ids = np.zeros((self.rows, 1), np.int64)
        self._lengths, self._longest = np.zeros(self.rows, np.int32), np.zeros((), np.int32)
        self._logits = np.zeros((self.rows, 1, decoder.logits_width), np.float32)
        self._placed = decoder.bind_in_place(self._ids, self._lengths, self._longest, self._there, self._logits)

    def run(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Logits":
        """Logits [rows, vocabulary]."""
        self._ids[:, 0] = tokens
        self._lengths[:] = lengths
        self._longest[...] = lengths.max() + 1
        self._decoder.run_in_place(self._placed)
        return self._logits[:, 0]

    def fetch(self) -> None:
        if self._decoder.on_device:
            for part, value in zip(self._here, self._there, strict=True):
                part[:] = value.numpy()


class _Bound:
    """One binding of the exported graph's buffers, used for every step until rows or slots change."""

    def __init__(self, decoder: "Decoder", past: list[Floats], present: list[Floats]) -> None:
        self.rows, _, self._slots, _ = past[0].shape
        self._decoder = decoder
        self._ids = np.zeros((self.rows, 1), np.int64)
        self._positions = np.zeros((self.rows, 1), np.int64)
        self._mask = np.zeros((self.rows, self._slots + 1), np.int64)
        self._logits = np.zeros((self.rows, 1, decoder.logits_width), np.float32)
        self._past, self._present = past, present
        self._binding = decoder.bind(self._ids, self._mask, self._positions, past, self._logits, present)

    def run(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Logits":
        """Logits [rows, vocabulary]; each row's new keys and values go from behind the last slot into its own."""
        self._ids[:, 0] = tokens
        self._positions[:, 0] = lengths
        self._mask[:, :-1] = np.arange(self._slots) < lengths[:, None]
        self._mask[:, -1] = 1
        self._decoder.run(self._binding)
        rows = np.arange(self.rows)
        for past, present in zip(self._past, self._present, strict=True):
            past[rows, :, lengths] = present[:, :, -1]
        return self._logits[:, 0]

    def fetch(self) -> None:
        """Nothing: the buffers are here."""
