"""Sparse next-token target distributions on disk: `TargetWriter` puts them there, `TargetReader` gives them back."""

from timbre.store.format import (
    DamagedStoreError,
    RepeatedTokenError,
    StoreHeader,
    TargetRow,
    TooManyTokensError,
    WrongCorpusError,
    WrongMassError,
    WrongTokenizerError,
)
from timbre.store.reader import RowOutline, TargetReader
from timbre.store.writer import TargetWriter

__all__ = [
    "DamagedStoreError",
    "RepeatedTokenError",
    "RowOutline",
    "StoreHeader",
    "TargetReader",
    "TargetRow",
    "TargetWriter",
    "TooManyTokensError",
    "WrongCorpusError",
    "WrongMassError",
    "WrongTokenizerError",
]
