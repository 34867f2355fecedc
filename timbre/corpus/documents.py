"""The documents of a corpus: one row of documents.parquet each."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact

SPLITS = ("train", "validation", "test")
_AT_ONCE = 2000


class Reason(StrEnum):
    """Why a document was left out."""

    UNREADABLE = "unreadable"
    EMPTY = "empty"
    TOO_SHORT = "too_short"
    NOT_PROSE = "not_prose"
    LANGUAGE = "language"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    NOT_DRAWN = "not_drawn"


@dataclass(frozen=True)
class Document:
    """A kept document. `fold` is −1 outside train; `n_tokens` counts words and punctuation, whatever the tokenizer."""

    doc_id: str
    text: str
    author: str
    date: str | None
    source: str
    licence: str
    consent: str
    style: str
    split: str
    fold: int
    n_tokens: int


@dataclass(frozen=True)
class Rejected:
    """A document that was left out, why, and what it was compared with or judged to be."""

    doc_id: str
    text: str
    author: str
    source: str
    reason: str
    detail: str


def read_documents(corpus: Artifact, split: str | None = None) -> list[Document]:
    """The documents of a corpus artifact in stored order, all or those of one split.

    Raises:
        ValueError: `split` is not one of train, validation, test.
    """
    import pyarrow.parquet as pq

    if split is not None and split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    rows = pq.read_table(corpus.file("documents.parquet")).to_pylist()
    return [Document(**row) for row in rows if split is None or row["split"] == split]


def write_rows(rows: Iterable[Document | Rejected], row_type: type[Document] | type[Rejected], path: Path) -> None:
    """Write rows as Parquet, some hundreds at a time, with the columns of `row_type` even when there are none.

    The same rows give the same bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(field.name, pa.int32() if field.type is int else pa.string()) for field in fields(row_type)])
    waiting = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        first = True
        while (batch := list(islice(waiting, _AT_ONCE))) or first:
            dicts: list[dict[str, Any]] = [asdict(row) for row in batch]
            writer.write_table(pa.Table.from_pylist(dicts, schema=schema))
            first = False
