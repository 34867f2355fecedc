"""Reading a target store: mapped into memory, any row at once, verified before the first."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timbre.artifacts import sha256_file
from timbre.store.coding import decode, scaled, spread
from timbre.store.format import (
    HEADER,
    DamagedStoreError,
    StoreHeader,
    TargetRow,
    WrongCorpusError,
    WrongMassError,
    WrongTokenizerError,
    shard_path,
)


@dataclass(frozen=True)
class _Column:
    """A list column as one flat array and the offsets of its rows; both lie in the mapped file."""

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int32]

    def row(self, index: int) -> npt.NDArray[Any]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]


class TargetReader:
    """The rows of a store, by number or in order.

        reader = TargetReader(target.path, tokenizer_digest=…, corpus_digest=…)
        reader[17].probs_TK

    Shards are mapped when first asked for; a row is decoded when it is read.
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
        self._open: dict[int, dict[str, Any]] = {}
        if verify:
            self._verify()

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: int) -> TargetRow:
        """Row `number`, decoded.

        Raises:
            IndexError: no such row.
            WrongMassError: what is stored there is not a distribution.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"row {number} of a target with {len(self)} rows")
        number %= len(self)
        shard = bisect_right(self._starts, number) - 1
        return self._decode(self._columns(shard), number - self._starts[shard])

    def rows(self) -> Iterator[TargetRow]:
        """Every row, in the order in which it was written."""
        return (self[number] for number in range(len(self)))

    __iter__ = rows

    def _decode(self, columns: dict[str, Any], index: int) -> TargetRow:
        doc_id, passage = str(columns["doc_id"][index]), int(columns["index"][index])
        token_ids = columns["token_ids"].row(index).astype(np.int32)
        first = int(columns["first"][index]) if "first" in columns else 1
        name = f"{self.folder}: passage {passage} of {doc_id}"
        ids, probs, tail = self._draws(columns, index, name) if self.header.coding == "sampled" else self._top(columns, index, name)
        if len(ids) != len(token_ids) - first:
            raise WrongMassError(f"{name} has {len(ids)} distributions for {len(token_ids) - first} tokens; build the target again")
        eta = columns["etas"].row(index).astype(np.float32) if "etas" in columns else None
        return TargetRow(doc_id, passage, token_ids, ids, probs, tail, first, eta)

    def _top(self, columns: dict[str, Any], index: int, name: str) -> tuple[npt.NDArray[Any], ...]:
        """Ids, probabilities and tails of a row of the coding 'topk'."""
        tail = columns["tails"].row(index).astype(np.float32)
        if not ((tail >= 0) & (tail <= 1)).all():
            raise WrongMassError(f"{name} has a tail mass outside 0..1; build the target again")
        ids, codes = columns["ids"].row(index), columns["codes"].row(index)
        spans = columns["spans"].row(index) if self.header.precision == "u8" else tail
        if not len(ids) == len(codes) == self.header.top_k * len(tail) or len(spans) != len(tail):
            raise WrongMassError(f"{name} has not {self.header.top_k} tokens for each of its {len(tail)} tails; build the target again")
        codes = codes.reshape(-1, self.header.top_k)
        if self.header.precision == "u8":
            probs = decode(codes, spans, tail)
        else:
            if not (codes >= 0).all():
                raise WrongMassError(f"{name} has a probability below 0; build the target again")
            probs = scaled(codes.astype(np.float32), tail)
        return ids.reshape(-1, self.header.top_k).astype(np.int32), probs, tail

    def _draws(self, columns: dict[str, Any], index: int, name: str) -> tuple[npt.NDArray[Any], ...]:
        """Ids, probabilities and tails (none) of a row of the coding 'sampled'."""
        draws, sizes = self.header.draws, columns["sizes"].row(index)
        assert draws is not None
        ids, counts = columns["ids"].row(index), columns["codes"].row(index)
        starts = np.cumsum(sizes, dtype=np.int64) - sizes
        if len(ids) != len(counts) or sizes.sum(dtype=np.int64) != len(ids) or not sizes.all():
            raise WrongMassError(f"{name} has sizes that are not those of its draws; build the target again")
        if (np.add.reduceat(counts.astype(np.int64), starts) != draws).any():
            raise WrongMassError(f"{name} has a position without {draws} draws; build the target again")
        ids_TK, probs_TK = spread(ids.astype(np.int32), counts, sizes, draws=draws, vocab_size=self.header.vocab_size)
        return ids_TK, probs_TK, np.zeros(len(sizes), np.float32)

    def _columns(self, shard: int) -> dict[str, Any]:
        if shard not in self._open:
            path = shard_path(self.folder, shard)
            try:
                batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
                columns: dict[str, Any] = {"doc_id": batch["doc_id"], "index": batch["index"].to_numpy()}
                for name in ("token_ids", *self._lists(), *(["etas"] if "etas" in batch.schema.names else [])):
                    column = batch[name]
                    columns[name] = _Column(column.values.to_numpy(), column.offsets.to_numpy())
                if "first" in batch.schema.names:
                    columns["first"] = batch["first"].to_numpy()
            except (pa.ArrowException, OSError, KeyError, IndexError) as error:
                raise DamagedStoreError(f"{path}: not a readable shard ({error}); build the target again") from error
            if batch.num_rows != self.header.shards[shard].rows:
                raise DamagedStoreError(f"{path} has {batch.num_rows} rows, its header says {self.header.shards[shard].rows}")
            self._open[shard] = columns
        return self._open[shard]

    def _lists(self) -> tuple[str, ...]:
        if self.header.coding == "sampled":
            return ("ids", "codes", "sizes")
        return ("ids", "codes", "tails", "spans") if self.header.precision == "u8" else ("ids", "codes", "tails")

    def _verify(self) -> None:
        for index, shard in enumerate(self.header.shards):
            path = shard_path(self.folder, index)
            if not path.exists():
                raise DamagedStoreError(f"{path} is missing; fetch or build the target again")
            if sha256_file(path) != shard.sha256:
                raise DamagedStoreError(f"{path} is cut or altered: its sha256 is not the one in {HEADER}; fetch or build the target again")
