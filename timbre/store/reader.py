"""Reading a target store: mapped into memory, any row at once, verified before the first."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.artifacts import sha256_file
from timbre.store.coding import decode, scaled, spread
from timbre.store.format import (
    HEADER,
    PACKED_SUFFIX,
    DamagedStoreError,
    RepeatedTokenError,
    StoreHeader,
    TargetRow,
    WrongCorpusError,
    WrongMassError,
    WrongTokenizerError,
    shard_path,
)
from timbre.store.shard import Shard

_MAPPED, _HELD_ROWS = 256, 16
"""Shards that are mapped at once, and rows after which the memory of those that were looked at is given back."""


@dataclass(frozen=True)
class RowOutline:
    """What a row is, without its distributions."""

    doc_id: str
    index: int
    tokens: int
    first_label: int


class TargetReader:
    """The rows of a store, by number or in order.

        reader = TargetReader(target.path, tokenizer_digest=…, corpus_digest=…)
        reader[17].probs_TK

    Shards are mapped when first asked for, a row is decoded when it is read, and memory is given back as reading goes on: however
    long the store is, a few rows' worth are held.
    """

    def __init__(self, folder: Path, *, tokenizer_digest: str | None = None, corpus_digest: str | None = None, verify: bool = True) -> None:
        """Open a store and refuse it if it is not the one wanted.

        Args:
            folder: holds `header.json` and `shards/`.
            tokenizer_digest: of the tokenizer at hand; None skips the comparison.
            corpus_digest: of the corpus at hand; None skips the comparison.
            verify: hash every shard now. False where the artifact was verified a moment ago.

        Raises:
            DamagedStoreError: header or shard missing, cut or altered.
            WrongTokenizerError, WrongCorpusError: built for something else.
            TooManyTokensError: K over the vocabulary.
        """
        self.folder = folder
        self.header = StoreHeader.read(folder / HEADER)
        if tokenizer_digest is not None and tokenizer_digest != self.header.tokenizer_digest:
            raise WrongTokenizerError(
                f"{folder} holds token ids of tokenizer {self.header.tokenizer_digest[:12]}, the model at hand uses "
                f"{tokenizer_digest[:12]}: build the target again with this model"
            )
        if corpus_digest is not None and corpus_digest != self.header.corpus_digest:
            raise WrongCorpusError(
                f"{folder} was built from corpus {self.header.corpus_digest[:12]}, the corpus at hand is "
                f"{corpus_digest[:12]}: build the target again from this corpus"
            )
        self._starts = [0, *accumulate(shard.rows for shard in self.header.shards)]
        self._open: dict[int, Shard] = {}
        self._looked_at: list[int] = []
        if verify:
            self._verify()

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: int) -> TargetRow:
        """Row `number`, decoded.

        Raises:
            IndexError: no such row.
            WrongMassError, RepeatedTokenError: what is stored there is not a distribution.
        """
        return self._decode(*self._place(number))

    def text(self, number: int) -> tuple[npt.NDArray[np.int32], int]:
        """The tokens of row `number`, and which is the first that has a distribution; none is decoded.

        Raises:
            IndexError: no such row.
        """
        shard, index = self._place(number)
        return shard.lists["token_ids"].row(index).astype(np.int32), int(shard.firsts[index])

    def _place(self, number: int) -> tuple[Shard, int]:
        if not -len(self) <= number < len(self):
            raise IndexError(f"row {number} of a target with {len(self)} rows")
        number %= len(self)
        shard = bisect_right(self._starts, number) - 1
        return self._shard(shard), number - self._starts[shard]

    def rows(self) -> Iterator[TargetRow]:
        """Every row, in the order in which it was written."""
        return (self[number] for number in range(len(self)))

    __iter__ = rows

    def outlines(self) -> Iterator[RowOutline]:
        """Which passage each row is, and how long, in order; no distribution is decoded."""
        for number in range(len(self.header.shards)):
            shard = self._shard(number)
            lengths = shard.lists["token_ids"].lengths
            for doc_id, index, tokens, first in zip(shard.doc_ids.to_pylist(), shard.indices, lengths, shard.firsts, strict=True):
                yield RowOutline(doc_id, int(index), int(tokens), int(first))

    def _decode(self, shard: Shard, index: int) -> TargetRow:
        doc_id, passage = str(shard.doc_ids[index]), int(shard.indices[index])
        token_ids, first = shard.lists["token_ids"].row(index).astype(np.int32), int(shard.firsts[index])
        name = f"{self.folder}: passage {passage} of {doc_id}"
        ids, probs, tail = self._draws(shard, index, name) if self.header.coding == "sampled" else self._top(shard, index, name)
        _check_ids(token_ids, ids, self.header.vocab_size, name)
        eta = shard.lists["etas"].row(index).astype(np.float32) if "etas" in shard.lists else None
        return TargetRow(doc_id, passage, token_ids, ids, probs, tail, first, eta)

    def _top(self, shard: Shard, index: int, name: str) -> tuple[npt.NDArray[Any], ...]:
        """Ids, probabilities and tails of a row of the coding 'topk'."""
        tail = shard.lists["tails"].row(index).astype(np.float32)
        if not ((tail >= 0) & (tail <= 1)).all():
            raise WrongMassError(f"{name} has a tail mass outside 0..1; build the target again")
        ids, codes = (shard.lists[name].row(index).reshape(-1, self.header.top_k) for name in ("ids", "codes"))
        if self.header.precision == "u8":
            probs = decode(codes, shard.lists["spans"].row(index), tail)
        else:
            if not (codes >= 0).all():
                raise WrongMassError(f"{name} has a probability below 0; build the target again")
            probs = scaled(codes.astype(np.float32), tail)
        return ids.astype(np.int32), probs, tail

    def _draws(self, shard: Shard, index: int, name: str) -> tuple[npt.NDArray[Any], ...]:
        """Ids, probabilities and tails (none) of a row of the coding 'sampled'."""
        draws, sizes = self.header.draws, shard.lists["sizes"].row(index)
        assert draws is not None
        ids, counts = shard.lists["ids"].row(index), shard.lists["codes"].row(index)
        starts = np.cumsum(sizes, dtype=np.int64) - sizes
        if sizes.sum(dtype=np.int64) != len(ids) or not sizes.all():
            raise WrongMassError(f"{name} has sizes that are not those of its draws; build the target again")
        if (np.add.reduceat(counts.astype(np.int64), starts) != draws).any():
            raise WrongMassError(f"{name} has a position without {draws} draws; build the target again")
        if (np.diff(ids.astype(np.int64)) <= 0)[np.isin(np.arange(1, len(ids)), starts, invert=True)].any():
            raise RepeatedTokenError(f"{name} has a position whose draws are not distinct and ascending tokens; build the target again")
        ids_TK, probs_TK = spread(ids.astype(np.int32), counts, sizes, draws=draws, vocab_size=self.header.vocab_size)
        return ids_TK, probs_TK, np.zeros(len(sizes), np.float32)

    def _shard(self, number: int) -> Shard:
        """A shard that a row is about to be read of; those that were read before it may leave memory."""
        if number not in self._open:
            if len(self._open) == _MAPPED:
                del self._open[next(iter(self._open))]
            self._open[number] = Shard.open(self.folder, number, self.header)
        self._looked_at.append(number)
        if len(self._looked_at) == _HELD_ROWS:
            for one in set(self._looked_at):
                if one in self._open:
                    self._open[one].release()
            self._looked_at.clear()
        return self._open[number]

    def _verify(self) -> None:
        for index, shard in enumerate(self.header.shards):
            path = shard_path(self.folder, index)
            if not path.exists():
                packed = path.with_suffix(PACKED_SUFFIX)
                if packed.exists():
                    raise DamagedStoreError(f"{self.folder} is a packed target: `timbre target unpack` gives one that can be read")
                raise DamagedStoreError(f"{path} is missing; fetch or build the target again")
            if sha256_file(path) != shard.sha256:
                raise DamagedStoreError(f"{path} is cut or altered: its sha256 is not the one in {HEADER}; fetch or build the target again")
            self._shard(index)


def _check_ids(token_ids_T: npt.NDArray[Any], ids_TK: npt.NDArray[Any], vocab_size: int, name: str) -> None:
    if not (ids_TK[:, 1:] > ids_TK[:, :-1]).all():
        raise RepeatedTokenError(f"{name} has a position whose tokens are not distinct and ascending; build the target again")
    if min(token_ids_T.min(), ids_TK.min()) < 0 or max(token_ids_T.max(), ids_TK.max()) >= vocab_size:
        raise DamagedStoreError(f"{name} has tokens outside 0..{vocab_size - 1}; build the target again")
