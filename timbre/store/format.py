"""What a target store holds: its header, one row, its errors, and the layout of a shard.

A folder with `header.json` and `shards/NNNNN.arrow`. A shard is one uncompressed Arrow IPC file with one record batch,
so that a reader maps it and copies nothing; one row is one passage of T tokens, whose T−1 positions each hold K tokens.
Row position t is the distribution of token t+1 after the tokens up to t.

| column | type | |
|---|---|---|
| doc_id, index | string, int32 | the passage |
| token_ids | list<id> | the T observed tokens |
| ids | list<id> | (T−1)·K target tokens, ascending at each position |
| codes | list<u8> or list<f16> | their probabilities, see `coding` |
| spans | list<u8> | u8 only: the width of each position's log grid |
| tails | list<f16> | the mass of all other tokens |

`id` is u16 for vocabularies up to 65,536 tokens and u32 above.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from timbre.artifacts import IntegrityError
from timbre.config import Frozen

FORMAT = 1
HEADER = "header.json"
PARTIAL = "partial.json"
SHARDS = "shards"
Precision = Literal["u8", "fp16"]
Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]


class DamagedStoreError(IntegrityError):
    """A file of the store is missing, cut or altered."""


class WrongMassError(DamagedStoreError, ValueError):
    """Probabilities or a tail that are NaN, negative, or do not sum to 1."""


class WrongTokenizerError(ValueError):
    """The store's token ids belong to another tokenizer than the one at hand."""


class WrongCorpusError(ValueError):
    """The store was built from another corpus than the one at hand."""


class TooManyTokensError(ValueError):
    """More tokens a position than the vocabulary has."""


class ShardRecord(Frozen):
    """What the header says of one shard."""

    rows: int
    tokens: int
    sha256: str


class StoreHeader(Frozen):
    """`header.json`. A writer is given it without `shards`, and fills these in when the last one stands."""

    format: int = FORMAT
    coding: Literal["topk"] = "topk"
    precision: Precision = Field("u8", description="u8: log grid; fp16: exact to 11 bits.")
    top_k: int = Field(ge=1)
    vocab_size: int = Field(ge=1, description="True vocabulary size; padded rows of an embedding are not counted.")
    tokenizer_digest: str
    corpus_digest: str
    model_digest: str = Field(description="The reference's base model.")
    folds: int = Field(ge=1)
    temperature: float = Field(gt=0)
    alpha: float = Field(ge=0, le=1)
    seed: int
    shards: tuple[ShardRecord, ...] = ()

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    def check(self) -> None:
        """Refuse what no store can hold.

        Raises:
            TooManyTokensError: K over the vocabulary.
            DamagedStoreError: a format this version does not know.
        """
        if self.format != FORMAT:
            raise DamagedStoreError(f"target store format {self.format} is not known here (this version reads {FORMAT}); upgrade Timbre")
        if self.top_k > self.vocab_size:
            raise TooManyTokensError(f"{self.top_k} tokens a position from a vocabulary of {self.vocab_size}: lower target.top_k")


@dataclass(frozen=True, eq=False)
class TargetRow:
    """One passage of T tokens and its T−1 target distributions."""

    doc_id: str
    index: int
    token_ids_T: Integers
    ids_TK: Integers
    probs_TK: Floats
    tail_T: Floats

    def __len__(self) -> int:
        """Positions with a distribution: T−1."""
        return len(self.tail_T)


def id_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The narrowest type that holds every token id."""
    return np.uint16 if vocab_size <= 65_536 else np.uint32


def shard_path(folder: Path, index: int) -> Path:
    """Where shard `index` of the store in `folder` lies."""
    return folder / SHARDS / f"{index:05d}.arrow"


def check_row(row: TargetRow, header: StoreHeader, *, tolerance: float = 1e-3) -> None:
    """Refuse a row that is not a distribution at every position.

    Raises:
        ValueError: shapes that do not agree, ids out of the vocabulary or twice at a position.
        WrongMassError: NaN, negative or unnormalised mass.
    """
    name = f"passage {row.index} of {row.doc_id}"
    positions = len(row.token_ids_T) - 1
    if positions < 1:
        raise ValueError(f"{name} has {positions + 1} tokens: a target needs at least 2")
    if row.ids_TK.shape != (positions, header.top_k) or row.probs_TK.shape != row.ids_TK.shape or row.tail_T.shape != (positions,):
        raise ValueError(
            f"{name}: {positions + 1} tokens and K = {header.top_k} need shapes {(positions, header.top_k)} and {(positions,)}, "
            f"got {row.ids_TK.shape}, {row.probs_TK.shape} and {row.tail_T.shape}"
        )
    for ids in (row.token_ids_T, row.ids_TK):
        if ids.min() < 0 or ids.max() >= header.vocab_size:
            raise ValueError(f"{name}: token ids must lie in 0..{header.vocab_size - 1}, found {ids.min()}..{ids.max()}")
    if (np.diff(row.ids_TK.astype(np.int64), axis=1) <= 0).any():
        raise ValueError(f"{name}: the target ids of a position must be distinct and ascending")
    check_mass(row.probs_TK, row.tail_T, name, tolerance)


def check_mass(probs_TK: Floats, tail_T: Floats, name: str, tolerance: float) -> None:
    """Refuse probabilities and tails that are not distributions.

    Raises:
        WrongMassError: NaN, negative or unnormalised mass, with the position.
    """
    total = probs_TK.astype(np.float64).sum(axis=1) + tail_T
    wrong = {
        "is not finite": ~np.isfinite(total),
        "is negative": (probs_TK < 0).any(axis=1) | (tail_T < 0),
        "does not sum to 1": ~(np.abs(total - 1) <= tolerance),
    }
    for complaint, positions in wrong.items():
        if positions.any():
            position = int(positions.argmax())
            raise WrongMassError(f"{name}: the mass at position {position} {complaint} (sum {total[position]:.6g}); build the target again")
