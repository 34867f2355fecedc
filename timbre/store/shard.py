"""One shard, mapped into memory: its columns as flat arrays, found to fit the header before any row is read."""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timbre.store.format import DamagedStoreError, StoreHeader, id_dtype, shard_path

Array = npt.NDArray[Any]
_RELEASED = hasattr(mmap.mmap, "madvise") and hasattr(mmap, "MADV_DONTNEED")


@dataclass(frozen=True)
class Column:
    """A list column as one flat array and the offsets of its rows; both lie in the mapped file."""

    values: Array
    offsets: npt.NDArray[np.int32]

    def row(self, index: int) -> Array:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Of each row."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class Shard:
    """The columns of a shard. Bytes are read from disk as they are looked at, and may be dropped from memory again."""

    doc_ids: Any
    indices: Array
    firsts: Array
    lists: dict[str, Column]
    _mapped: mmap.mmap

    @classmethod
    def open(cls, folder: Path, number: int, header: StoreHeader) -> "Shard":
        """Map shard `number` of the store in `folder`.

        Raises:
            DamagedStoreError: it cannot be read, or holds other rows than the header says.
        """
        path = shard_path(folder, number)
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            batch = pa.ipc.open_file(pa.py_buffer(mapped)).get_batch(0)
            names = batch.schema.names
            lists = {name: _list(batch[name]) for name in ("token_ids", *_names(header), *(["etas"] if "etas" in names else []))}
            firsts = batch["first"].to_numpy() if "first" in names else np.ones(batch.num_rows, np.int32)
            shard = cls(batch["doc_id"], batch["index"].to_numpy(), firsts, lists, mapped)
        except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, AttributeError, NotImplementedError) as error:
            raise DamagedStoreError(f"{path}: not a readable shard ({error}); build the target again") from error
        shard._check(path, number, header)
        return shard

    def release(self) -> None:
        """Give the memory of what was looked at back; it is read again where it is looked at again."""
        if _RELEASED:
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def _check(self, path: Path, number: int, header: StoreHeader) -> None:
        record, tokens = header.shards[number], self.lists["token_ids"]
        if len(self.indices) != record.rows:
            raise DamagedStoreError(f"{path} has {len(self.indices)} rows, its header says {record.rows}; build the target again")
        if int(tokens.lengths.sum(dtype=np.int64)) != record.tokens:
            raise DamagedStoreError(f"{path} does not hold the {record.tokens} tokens that its header says; build the target again")
        positions = tokens.lengths - self.firsts
        if (self.firsts < 1).any() or (positions < 1).any():
            raise DamagedStoreError(f"{path} has a row of which nothing is learnt; build the target again")
        for name, wanted in _wanted_lengths(self, header, positions).items():
            if (self.lists[name].lengths != wanted).any():
                raise DamagedStoreError(
                    f"{path}: {name} has not {header.top_k} tokens, one probability for each and one tail a position, as its header says; "
                    "build the target again"
                )
        for name, dtype in _wanted_types(header).items():
            if self.lists[name].values.dtype != dtype:
                found = self.lists[name].values.dtype
                raise DamagedStoreError(f"{path} holds {name} as {found}, its header asks for {np.dtype(dtype)}; build the target again")


def _list(column: Any) -> Column:
    return Column(column.values.to_numpy(), column.offsets.to_numpy())


def _names(header: StoreHeader) -> tuple[str, ...]:
    if header.coding == "sampled":
        return ("ids", "codes", "sizes")
    return ("ids", "codes", "tails", "spans") if header.precision == "u8" else ("ids", "codes", "tails")


def _wanted_lengths(shard: Shard, header: StoreHeader, positions: Array) -> dict[str, Array]:
    """How long each row of each column is, for rows of so many positions."""
    wanted: dict[str, Array]
    if header.coding == "sampled":
        wanted = {"sizes": positions, "codes": shard.lists["ids"].lengths}
    else:
        wanted = dict.fromkeys(_names(header), positions) | dict.fromkeys(("ids", "codes"), positions * header.top_k)
    return wanted | ({"etas": positions} if "etas" in shard.lists else {})


def _wanted_types(header: StoreHeader) -> dict[str, Any]:
    ids = id_dtype(header.vocab_size)
    if header.coding == "sampled":
        return {"token_ids": ids, "ids": ids, "codes": np.uint8, "sizes": np.uint8}
    return {"token_ids": ids, "ids": ids, "codes": np.uint8 if header.precision == "u8" else np.float16, "tails": np.float16}
