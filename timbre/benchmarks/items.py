"""What an item of a public test set is.

Three forms cover them: two texts of which one should not be likelier than the other (`Paired`), a question with answers to
choose from (`Choice`), and a beginning to go on from (`Opening`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paired:
    """Two texts that differ in one thing. What `first` and `second` mean is the benchmark's to say."""

    item: str
    """Unique in its file, and the same whenever the file is read."""
    cluster: str
    """What items depend on together: a template, an occupation. Statistics draw whole clusters."""
    category: str
    first: str
    second: str


@dataclass(frozen=True)
class Choice:
    """A question with answers."""

    item: str
    cluster: str
    category: str
    question: str
    """What the model reads, up to and without the space before the answer."""
    choices: tuple[str, ...]
    right: frozenset[int]
    """Places of the right answers: one (exam questions), or several (all true ones)."""
    stereotyped: int | None = None
    """Place of the answer that follows a stereotype, where the set says so."""

    def __post_init__(self) -> None:
        if len(self.choices) < 2 or not self.right or not self.right < frozenset(range(len(self.choices))):
            raise ValueError(f"{self.item}: a question needs two answers or more, of which some are right and some wrong")
        if self.stereotyped is not None and not 0 <= self.stereotyped < len(self.choices):
            raise ValueError(f"{self.item}: there is no answer {self.stereotyped}")


@dataclass(frozen=True)
class Opening:
    """A beginning that a model continues; `category` is the group it speaks of."""

    item: str
    cluster: str
    category: str
    text: str


Item = Paired | Choice | Opening


def unique(items: Sequence[Item], path: Path) -> list[Item]:
    """The items, which have names of their own.

    Raises:
        ValueError: none, or a name that comes twice.
    """
    if not items:
        raise ValueError(f"{path.name} holds no items")
    names: set[str] = set()
    for item in items:
        if item.item in names:
            raise ValueError(f"{path.name}: the item {item.item!r} is there twice")
        names.add(item.item)
    return list(items)
