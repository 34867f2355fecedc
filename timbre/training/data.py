"""From passages with targets to padded batches; which passages form which step is a function of the seed alone.

Convention: a passage of T tokens has T−1 positions. Position t sees the tokens up to t and predicts token t+1, so the
model is fed the first T−1 tokens, and labels and targets are those of the tokens 1…T−1.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timbre.corpus.passages import Passage
from timbre.store import TargetRow


@dataclass(frozen=True, eq=False)
class Example:
    """T tokens, and which of their T−1 positions count: those that predict the tokens from `first_label` on."""

    token_ids_T: npt.NDArray[Any]
    ids_TK: npt.NDArray[Any] | None = None
    probs_TK: npt.NDArray[Any] | None = None
    tail_T: npt.NDArray[Any] | None = None
    first_label: int = 1

    @property
    def positions(self) -> int:
        """How many predictions count."""
        return max(0, len(self.token_ids_T) - self.first_label)

    @classmethod
    def of_row(cls, row: TargetRow) -> "Example":
        """A row of a target store."""
        return cls(row.token_ids_T, row.ids_TK, row.probs_TK, row.tail_T, row.first_label)

    @classmethod
    def of_passage(cls, passage: Passage) -> "Example":
        """Plain text, without a target distribution."""
        return cls(passage.token_ids, first_label=passage.first_label)


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples in B rows of T, and the N positions that count, in one line.

    Padding is known by the mask alone: its token id means something in many vocabularies.
    """

    input_ids_BT: Tensor
    attention_mask_BT: Tensor
    """B×T, 0 for padding; or B×1×T×T booleans where examples share a row: who sees whom."""
    counted_BT: Tensor
    labels_N: Tensor
    sequence_N: Tensor
    """Which example each position belongs to."""
    ids_NK: Tensor | None
    probs_NK: Tensor | None
    tail_N: Tensor | None
    position_ids_BT: Tensor | None = None

    @property
    def positions(self) -> int:
        return len(self.labels_N)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        moved: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            moved[part.name] = value if value is None else value.to(device)
        return Batch(**moved)


def collate(examples: Sequence[Example], *, packed: bool = False) -> Batch:
    """One batch, a row an example, padded on the right; targets are taken along only if every example has them.

    Args:
        packed: several examples a row, first fit by length, rows as long as the longest example. Each sees only itself,
            and its positions begin at 0.
    """
    length = max(len(example.token_ids_T) for example in examples) - 1
    rows = _first_fit(examples, length) if packed else [[number] for number in range(len(examples))]
    order = [number for row in rows for number in row]
    shape = (len(rows), length)
    input_ids, places, counted = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
    owners = np.zeros(shape, np.int64)  # 0 for padding, else which example of the row
    for row, members in enumerate(rows):
        start = 0
        for owner, example in enumerate((examples[number] for number in members), start=1):
            fed = len(example.token_ids_T) - 1
            input_ids[row, start : start + fed] = example.token_ids_T[:-1]
            places[row, start : start + fed] = np.arange(fed)
            owners[row, start : start + fed] = owner
            counted[row, start + example.first_label - 1 : start + fed] = True
            start += fed
    ordered = [examples[number] for number in order]
    labels = np.concatenate([example.token_ids_T[example.first_label :] for example in ordered]).astype(np.int64)
    return Batch(
        torch.from_numpy(input_ids), _block_diagonal(owners) if packed else torch.from_numpy((owners > 0).astype(np.int64)),
        torch.from_numpy(counted), torch.from_numpy(labels),
        torch.from_numpy(np.repeat(order, [example.positions for example in ordered])),
        _joined([example.ids_TK for example in ordered], np.int64),
        _joined([example.probs_TK for example in ordered], np.float32),
        _joined([example.tail_T for example in ordered], np.float32),
        torch.from_numpy(places) if packed else None,
    )  # fmt: skip


def _first_fit(examples: Sequence[Example], length: int) -> list[list[int]]:
    """Which examples share a row of `length`: the longest first, each into the first row with room."""
    rows: list[list[int]] = []
    room: list[int] = []
    for number in sorted(range(len(examples)), key=lambda number: -len(examples[number].token_ids_T)):
        fed = len(examples[number].token_ids_T) - 1
        row = next((row for row, left in enumerate(room) if left >= fed), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(length)
        rows[row].append(number)
        room[row] -= fed
    return rows


def _block_diagonal(owners_BT: npt.NDArray[np.int64]) -> Tensor:
    """B×1×T×T: a position sees itself and what came before it in its own example; padding sees itself, so that no row is empty."""
    owners = torch.from_numpy(owners_BT)
    same = owners.unsqueeze(-1) == owners.unsqueeze(-2)
    causal = torch.ones(owners.shape[-1], owners.shape[-1], dtype=torch.bool).tril()
    return (same & causal).unsqueeze(1)


def _joined(parts: Sequence[npt.NDArray[Any] | None], dtype: type[np.generic]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.from_numpy(np.concatenate(present).astype(dtype)) if len(present) == len(parts) else None


def plan_steps(positions: Sequence[int], *, epochs: int, batch_tokens: int, seed: int) -> list[list[int]]:
    """Which examples form which optimizer step: every example once an epoch, in an order drawn by (seed, epoch).

    A step holds as many examples as fit `batch_tokens` positions, and at least one.
    """
    steps: list[list[int]] = []
    for epoch in range(epochs):
        order = [index for index, count in enumerate(positions) if count > 0]
        random.Random(f"passages {seed} {epoch}").shuffle(order)
        steps.extend(pack(order, positions, batch_tokens))
    return steps


def pack(order: Sequence[int], positions: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Cut `order` into consecutive groups of at most `batch_tokens` positions, and at least one example."""
    groups: list[list[int]] = []
    room = 0
    for index in order:
        if not groups or positions[index] > room:
            groups.append([])
            room = batch_tokens
        groups[-1].append(index)
        room -= positions[index]
    return groups


def draw_replay(items: int, count: int, step: int, seed: int, stream: str = "replay") -> list[int]:
    """The replay items of step 1, 2, …: every item once before any comes again, in orders drawn by (stream, seed, round)."""
    if not items:
        return []
    drawn = []
    for place in range((step - 1) * count, step * count):
        order = list(range(items))
        random.Random(f"{stream} {seed} {place // items}").shuffle(order)
        drawn.append(order[place % items])
    return drawn
