"""Writing a target store shard by shard, so that a killed build goes on where it stopped."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timbre.artifacts import canonical_json, sha256_file, write_atomically
from timbre.store.coding import encode, half
from timbre.store.format import (
    HEADER,
    PARTIAL,
    SHARDS,
    DamagedStoreError,
    Integers,
    ShardRecord,
    StoreHeader,
    TargetRow,
    WrongMassError,
    check_row,
    id_dtype,
    shard_path,
)


class TargetWriter:
    """Appends rows in order; each full shard is written to a temporary name, fsynced and renamed.

    After a kill, open it on the same folder with the same header: `rows_done` rows stand in whole shards, and the
    caller goes on with the row after them.

        with TargetWriter(folder, header) as writer:
            for row in rows[writer.rows_done:]:
                writer.append(row)

    Leaving the block without an exception writes the last shard and the header; without its header a store is not readable.
    """

    def __init__(self, folder: Path, header: StoreHeader, rows_per_shard: int = 64) -> None:
        """Open or resume a store.

        Raises:
            TooManyTokensError: K over the vocabulary.
            ValueError: the folder holds the start of a store with another header.
            DamagedStoreError: a shard that stands there cannot be read.
        """
        if rows_per_shard < 1:
            raise ValueError(f"rows_per_shard must be at least 1, got {rows_per_shard}")
        header.check()
        self._folder = folder
        self._header = header.model_copy(update={"shards": (), "digest": None})
        self._rows_per_shard = rows_per_shard
        self._pending: list[TargetRow] = []
        (folder / SHARDS).mkdir(parents=True, exist_ok=True)
        self._claim()
        self._shards = self._finished_shards()

    @property
    def rows_done(self) -> int:
        """Rows in whole shards on disk."""
        return sum(shard.rows for shard in self._shards)

    def append(self, row: TargetRow) -> None:
        """Add a row; the shard is written when it is full.

        Raises:
            ValueError: a row that does not fit the header, or is not a distribution at some position (`WrongMassError`).
        """
        check_row(row, self._header)
        self._pending.append(row)
        if len(self._pending) == self._rows_per_shard:
            self.cut()

    def cut(self) -> None:
        """End the current shard here, if it has rows: what is appended next starts another."""
        if not self._pending:
            return
        path = shard_path(self._folder, len(self._shards))
        write_atomically(path, _shard_bytes(self._pending, self._header))
        tokens = sum(len(row.token_ids_T) for row in self._pending)
        self._shards.append(ShardRecord(rows=len(self._pending), tokens=tokens, sha256=sha256_file(path)))
        self._pending = []

    def adopt(self, shard: Path) -> bool:
        """Take a shard that another writer of the same header made as the next one; False where there is none, or an unreadable one."""
        if not shard.exists():
            return False
        self.cut()
        place = shard_path(self._folder, len(self._shards))
        try:
            record = _record(shard)
        except (pa.ArrowInvalid, OSError, KeyError):
            return False
        write_atomically(place, shard.read_bytes())
        self._shards.append(record)
        return True

    def close(self) -> StoreHeader:
        """Write the last shard and the header.

        Raises:
            ValueError: no row was ever appended.
        """
        self.cut()
        if not self._shards:
            raise ValueError("a target without passages: give the corpus longer or more training documents")
        header = self._header.sealed(self._shards)
        write_atomically(self._folder / HEADER, header.to_json())
        (self._folder / PARTIAL).unlink(missing_ok=True)
        return header

    def __enter__(self) -> "TargetWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()

    def _claim(self) -> None:
        """Say whose shards these are, so that those of another target are never continued."""
        wanted = canonical_json(self._header.model_dump(mode="json", exclude_none=True) | {"rows_per_shard": self._rows_per_shard})
        partial = self._folder / PARTIAL
        if partial.exists():
            if partial.read_bytes() != wanted:
                raise ValueError(f"{self._folder} holds the start of another target: remove it, or write somewhere else")
            return
        if any((self._folder / SHARDS).iterdir()):
            raise ValueError(f"{self._folder} already holds a target: remove it, or write somewhere else")
        write_atomically(partial, wanted)

    def _finished_shards(self) -> list[ShardRecord]:
        shards: list[ShardRecord] = []
        while (path := shard_path(self._folder, len(shards))).exists():
            try:
                shards.append(_record(path))
            except (pa.ArrowInvalid, OSError, KeyError) as error:
                raise DamagedStoreError(f"{path}: not a readable shard ({error}); remove {self._folder} to begin again") from error
        return shards


def _record(path: Path) -> ShardRecord:
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
        tokens = int(pc.list_value_length(table["token_ids"]).to_numpy().sum())
        return ShardRecord(rows=table.num_rows, tokens=tokens, sha256=sha256_file(path))


def _shard_bytes(rows: Sequence[TargetRow], header: StoreHeader) -> bytes:
    integer = id_dtype(header.vocab_size)
    columns: dict[str, pa.Array] = {
        "doc_id": pa.array([row.doc_id for row in rows], pa.string()),
        "index": pa.array([row.index for row in rows], pa.int32()),
        "token_ids": _lists([row.token_ids_T.astype(integer) for row in rows]),
    }
    if header.coding == "sampled":
        columns |= _sampled(rows, header)
    else:
        columns["ids"] = _lists([row.ids_TK.astype(integer).ravel() for row in rows])
        if header.precision == "u8":
            coded = [encode(row.probs_TK) for row in rows]
            columns["codes"] = _lists([codes.ravel() for codes, _ in coded])
            columns["spans"] = _lists([spans for _, spans in coded])
        else:
            columns["codes"] = _lists([half(row.probs_TK).ravel() for row in rows])
        columns["tails"] = _lists([half(row.tail_T) for row in rows])
    if any(row.first_label != 1 for row in rows):
        columns["first"] = pa.array([row.first_label for row in rows], pa.int32())
    etas = [row.eta_T for row in rows if row.eta_T is not None]
    if etas:
        assert len(etas) == len(rows), "either every row of a target has n-gram weights, or none"
        columns["etas"] = _lists([eta.astype(np.float16) for eta in etas])
    return arrow_bytes(columns)


def _sampled(rows: Sequence[TargetRow], header: StoreHeader) -> dict[str, pa.Array]:
    """Ids, counts and sizes of rows whose probabilities are counts over the header's draws."""
    assert header.draws is not None
    ids, codes, sizes = [], [], []
    for row in rows:
        counts = row.probs_TK * np.float64(header.draws)
        whole = np.rint(counts)
        if np.abs(counts - whole).max() > 1e-3 or (whole.sum(axis=1) != header.draws).any():
            raise WrongMassError(
                f"passage {row.index} of {row.doc_id}: probabilities are no counts of {header.draws} draws; draw them again, or use topk"
            )
        drawn = whole > 0
        ids.append(row.ids_TK[drawn].astype(id_dtype(header.vocab_size)))
        codes.append(whole[drawn].astype(np.uint8))
        sizes.append(drawn.sum(axis=1).astype(np.uint8))
    return {"ids": _lists(ids), "codes": _lists(codes), "sizes": _lists(sizes)}


def arrow_bytes(columns: Mapping[str, pa.Array]) -> bytes:
    """A shard: one uncompressed Arrow IPC file with one record batch."""
    batch = pa.record_batch(dict(columns))
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _lists(arrays: Sequence[Integers] | Sequence[np.ndarray]) -> pa.Array:
    return list_column([len(array) for array in arrays], np.concatenate(arrays))


def list_column(lengths: Sequence[int] | Integers, values: np.ndarray) -> pa.Array:
    """A list column from the lengths of its rows and their values end to end.

    Raises:
        ValueError: too long for one shard.
    """
    offsets = np.cumsum([0, *lengths])
    if offsets[-1] >= 2**31:
        raise ValueError("a shard is limited to 2³¹ target tokens: lower rows_per_shard")
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
