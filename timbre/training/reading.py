"""Examples that are read one by one, as the steps need them: how long each is, is known before any is read."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from timbre.store import TargetReader
from timbre.training.data import Example

Group = tuple[Example, ...]
"""Examples that go together: one, or a pair."""


@dataclass(frozen=True, eq=False)
class Examples(Sequence[Example]):
    """What is trained on, in a list or in a target store; `examples[number]` reads, and nothing is kept."""

    read: Callable[[int], Example]
    read_text: Callable[[int], Example]
    """The same without its target distributions."""
    lengths_E: npt.NDArray[np.int64]
    """Tokens of each example."""
    firsts_E: npt.NDArray[np.int64]
    """The first token of each that is learnt."""
    targets: bool
    """Whether every example has target distributions."""
    digest: str
    """Of all that can be read here: a run is only gone on from where it is the same."""

    @classmethod
    def listed(cls, examples: Sequence[Example]) -> "Examples":
        """Examples that lie in memory."""
        lengths, firsts = [len(one.token_ids_T) for one in examples], [one.first_label for one in examples]
        targets = all(one.probs_TK is not None for one in examples)
        return cls(
            examples.__getitem__,
            lambda number: without_targets(examples[number]),
            _whole(lengths),
            _whole(firsts),
            targets,
            digest_of(examples),
        )

    @classmethod
    def stored(cls, reader: TargetReader) -> "Examples":
        """The rows of a store: decoded when they are read. The header's digest speaks for all shards, which the reader verified."""
        outlines = [(one.tokens, one.first_label) for one in reader.outlines()]
        lengths, firsts = _whole([tokens for tokens, _ in outlines]), _whole([first for _, first in outlines])
        digest = reader.header.digest
        assert digest is not None, "a header that was read has one"
        return cls(lambda number: Example.of_row(reader[number]), lambda number: _text(reader, number), lengths, firsts, True, digest)

    @property
    def positions(self) -> list[int]:
        """How many predictions of each example count."""
        return [int(count) for count in np.maximum(self.lengths_E - self.firsts_E, 0)]

    def __len__(self) -> int:
        return len(self.lengths_E)

    @overload
    def __getitem__(self, number: int) -> Example: ...
    @overload
    def __getitem__(self, number: slice) -> list[Example]: ...
    def __getitem__(self, number: int | slice) -> Example | list[Example]:
        if isinstance(number, slice):
            return [self.read(one) for one in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"example {number} of {len(self)}")
        return self.read(number % len(self))


@dataclass(frozen=True, eq=False)
class Groups:
    """What the indices of a run's steps point at."""

    read: Callable[[int], Group]
    positions: Sequence[int]
    """How many predictions of each group count."""
    digest: str

    @classmethod
    def singles(cls, examples: Examples) -> "Groups":
        """Each example alone."""
        return cls(lambda number: (examples[number],), examples.positions, examples.digest)

    @classmethod
    def listed(cls, groups: Sequence[Group]) -> "Groups":
        """Groups that lie in memory."""
        positions = [sum(example.positions for example in group) for group in groups]
        return cls(groups.__getitem__, positions, digest_of(one for group in groups for one in group))

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, number: int) -> Group:
        return self.read(number)

    def __iter__(self) -> Iterator[Group]:
        return (self.read(number) for number in range(len(self)))


def without_targets(example: Example) -> Example:
    """Its text alone."""
    return Example(example.token_ids_T, first_label=example.first_label)


def _text(reader: TargetReader, number: int) -> Example:
    token_ids, first = reader.text(number)
    return Example(token_ids, first_label=first)


def digest_of(examples: Iterable[Example]) -> str:
    """sha256 (hex) of the examples' tokens, of what counts in them, and of their targets."""
    text = hashlib.sha256()
    for example in examples:
        text.update(example.token_ids_T.astype("int64").tobytes() + f"|{example.first_label}|".encode())
        for part in (example.ids_TK, example.probs_TK, example.tail_T):
            text.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
    return text.hexdigest()


def _whole(values: Sequence[int]) -> npt.NDArray[Any]:
    return np.asarray(values, dtype=np.int64)
