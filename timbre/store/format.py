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
| first | int32 | only where prompts are: the first token that has a distribution; then T−first positions, not T−1 |
| etas | list<f16> | only with an n-gram component: its weight η_t inside the reference distribution |

`id` is u16 for vocabularies up to 65,536 tokens and u32 above.

The other coding, `sampled`, holds tokens drawn from the target itself (RS-KD, 2503.16870): unbiased whatever K is, and no
mass is left over. `ids` are then the different tokens that were drawn, `codes` (u8) how often, `sizes` (list<u8>) how many
different ones each position has; there are neither spans nor tails. Read, it looks like the other one: as many tokens a
position as were drawn, those that are missing filled up with tokens of probability 0.

Every shard's sha256 stands in the header, and the header's own digest in its last line: one flipped bit anywhere is named.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from timbre.artifacts import IntegrityError, digest_json
from timbre.config import Frozen

FORMAT = 2
HEADER = "header.json"
PARTIAL = "partial.json"
SHARDS = "shards"
PACKED_SUFFIX = ".tza"
Precision = Literal["u8", "fp16"]
Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]


class DamagedStoreError(IntegrityError):
    """A file of the store is missing, cut or altered."""


class WrongMassError(DamagedStoreError, ValueError):
    """Probabilities or a tail that are NaN, negative, or do not sum to 1."""


class RepeatedTokenError(DamagedStoreError, ValueError):
    """A token that stands twice among those of one position: its mass would be counted twice."""


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
    """`header.json`. A writer is given it without `shards` and `digest`, and fills these in when the last shard stands."""

    format: int = FORMAT
    coding: Literal["topk", "sampled"] = "topk"
    precision: Precision = Field("u8", description="u8: log grid; fp16: exact to 11 bits. Draws are counted in u8.")
    top_k: int = Field(ge=1, description="Tokens a position, as read.")
    draws: int | None = Field(None, ge=1, le=255, description="Of the coding 'sampled': tokens drawn a position.")
    vocab_size: int = Field(ge=1, description="True vocabulary size; padded rows of an embedding are not counted.")
    tokenizer_digest: str
    corpus_digest: str
    model_digest: str = Field(description="The base model, which is the reference's too unless `reference_digest` names another.")
    reference_digest: str | None = Field(None, description="The reference's own model, where it has one.")
    folds: int = Field(ge=1)
    temperature: float = Field(gt=0)
    alpha: float = Field(ge=0, le=1)
    seed: int
    shards: tuple[ShardRecord, ...] = ()
    digest: str | None = Field(None, description="sha256 of all the above as canonical JSON.")

    @classmethod
    def read(cls, path: Path) -> "StoreHeader":
        """The header of a finished store, found to be what was written.

        Raises:
            DamagedStoreError: missing, cut, altered, without shards, or of another format.
            TooManyTokensError: K over the vocabulary.
        """
        if not path.exists():
            raise DamagedStoreError(f"{path} is missing: this is no finished target")
        try:
            written = path.read_bytes()
            header = cls.model_validate_json(written)
        except (OSError, ValueError) as error:
            raise DamagedStoreError(f"{path}: not a readable header ({error}); fetch or build the target again") from error
        header.check()
        if header.digest != header._own_digest():
            raise DamagedStoreError(f"{path} is altered: its digest does not follow from what it says; fetch or build the target again")
        if written != header.to_json():  # a field left out or named twice may come to the same values: no writer of ours did that
            raise DamagedStoreError(f"{path} is altered: it is not spelled as it was written; fetch or build the target again")
        if not header.shards:
            raise DamagedStoreError(f"{path} names no shards: a target without passages; build it again")
        return header

    def sealed(self, shards: Iterable[ShardRecord]) -> "StoreHeader":
        """The header of a finished store: with its shards and its digest."""
        whole = self.model_copy(update={"shards": tuple(shards), "digest": None})
        return whole.model_copy(update={"digest": whole._own_digest()})

    def _own_digest(self) -> str:
        return digest_json(self.model_dump(mode="json", exclude={"digest"}, exclude_none=True))

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    def to_json(self) -> bytes:
        """`header.json`; what is not there is not written, so that a plain target's header does not change with Timbre."""
        return self.model_dump_json(indent=2, exclude_none=True).encode()

    def check(self) -> None:
        """Refuse what no store can hold.

        Raises:
            TooManyTokensError: K over the vocabulary.
            DamagedStoreError: a format this version does not know.
        """
        if self.format != FORMAT:
            raise DamagedStoreError(f"target store format {self.format}, and this version reads {FORMAT}: build the target again with it")
        if (self.coding == "sampled") != (self.draws is not None):
            raise DamagedStoreError(f"a header with coding {self.coding!r} and draws = {self.draws}: build the target again")
        if self.coding == "sampled" and self.top_k != min(self.draws or 0, self.vocab_size):
            raise DamagedStoreError(f"a header with {self.draws} draws and {self.top_k} tokens a position: build the target again")
        if self.top_k > self.vocab_size:
            raise TooManyTokensError(f"{self.top_k} tokens a position from a vocabulary of {self.vocab_size}: lower target.top_k")


@dataclass(frozen=True, eq=False)
class TargetRow:
    """One passage of T tokens and its target distributions: of the tokens from `first_label` on, T−1 where that is 1."""

    doc_id: str
    index: int
    token_ids_T: Integers
    ids_TK: Integers
    probs_TK: Floats
    tail_T: Floats
    first_label: int = 1
    """The first token that is learnt; those before it are a prompt."""
    eta_T: Floats | None = None
    """Weight of the n-gram component inside the reference distribution, where there is one."""

    def __len__(self) -> int:
        """Positions with a distribution."""
        return len(self.tail_T)

    @property
    def observed(self) -> Integers:
        """The token that stands at each of these positions."""
        return self.token_ids_T[self.first_label :]


def id_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The narrowest type that holds every token id."""
    return np.uint16 if vocab_size <= 65_536 else np.uint32


def shard_path(folder: Path, index: int) -> Path:
    """Where shard `index` of the store in `folder` lies."""
    return folder / SHARDS / f"{index:05d}.arrow"


def check_row(row: TargetRow, header: StoreHeader, *, tolerance: float = 1e-3) -> None:
    """Refuse a row that is not a distribution at every position.

    Raises:
        ValueError: shapes that do not agree, ids out of the vocabulary; twice at a position: RepeatedTokenError.
        WrongMassError: NaN, negative or unnormalised mass.
    """
    name = f"passage {row.index} of {row.doc_id}"
    if len(row.token_ids_T) < 2:
        raise ValueError(f"{name} has {len(row.token_ids_T)} tokens: a target needs at least 2")
    if not 1 <= row.first_label < len(row.token_ids_T):
        raise ValueError(f"{name}: the first token that is learnt is {row.first_label} of {len(row.token_ids_T)}: leave some to learn")
    positions = len(row.token_ids_T) - row.first_label
    if row.ids_TK.shape != (positions, header.top_k) or row.probs_TK.shape != row.ids_TK.shape or row.tail_T.shape != (positions,):
        raise ValueError(
            f"{name}: {positions} positions and K = {header.top_k} need shapes {(positions, header.top_k)} and {(positions,)}, "
            f"got {row.ids_TK.shape}, {row.probs_TK.shape} and {row.tail_T.shape}"
        )
    for ids in (row.token_ids_T, row.ids_TK):
        if ids.min() < 0 or ids.max() >= header.vocab_size:
            raise ValueError(f"{name}: token ids must lie in 0..{header.vocab_size - 1}, found {ids.min()}..{ids.max()}")
    if (np.diff(row.ids_TK.astype(np.int64), axis=1) <= 0).any():
        raise RepeatedTokenError(f"{name}: the target ids of a position must be distinct and ascending")
    check_mass(row.probs_TK, row.tail_T, name, tolerance)
    if row.eta_T is not None and (row.eta_T.shape != (positions,) or not ((row.eta_T >= 0) & (row.eta_T <= 1)).all()):
        raise WrongMassError(f"{name}: the n-gram weights must be one in 0..1 a position; build the target again")


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
