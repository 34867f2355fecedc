"""What an objective is, and finding one by name: the name of its file in `recommended` or `experimental`.

A new objective is one file there that defines `OBJECTIVE`; configuration, trainer and report follow it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

from torch import Tensor

from timbre.config import objective_names
from timbre.objectives.head import Head
from timbre.objectives.sparse_kl import Tail

Needs = Literal["targets", "labels", "base", "pairs"]


@dataclass(frozen=True)
class Options:
    """Constants of the objectives; each uses its own and no other."""

    tail: Tail = "bucket"
    jsd_beta: float = 0.5
    smoothing: float = 0.1
    gem_beta: float = 0.7
    teacher_alpha: float = 0.5
    dpo_beta: float = 0.1


@dataclass(frozen=True)
class Pairs:
    """Which of 2·M sequences each position belongs to: human text in the even ones, the base's own in the odd ones after them."""

    sequence_N: Tensor
    count: int


@dataclass(frozen=True)
class Positions:
    """The N positions of a batch that count, and what is known of each."""

    labels_N: Tensor
    ids_NK: Tensor | None = None
    probs_NK: Tensor | None = None
    tail_N: Tensor | None = None
    base_hidden_ND: Tensor | None = None
    base: Head | None = None
    """Hidden states and head of the base model, for those that need it."""
    pairs: Pairs | None = None
    options: Options = field(default_factory=Options)

    @property
    def target(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, probabilities and tail masses, for objectives that need `targets`."""
        assert self.ids_NK is not None and self.probs_NK is not None and self.tail_N is not None, "the objective needs targets"
        return self.ids_NK, self.probs_NK, self.tail_N

    @property
    def compared(self) -> tuple[Tensor, Head]:
        """Hidden states and head of the base model, for objectives that need `base` or `pairs`."""
        assert self.base_hidden_ND is not None and self.base is not None, "the objective needs the base model"
        return self.base_hidden_ND, self.base


@dataclass(frozen=True)
class Objective:
    """One objective."""

    formula: str
    """With P the target, Q the model and y the observed token; the order of the arguments is the direction."""
    needs: Needs
    """targets: stored distributions; labels: the observed tokens; base: the base model resident too; pairs: its samples as well."""
    total: Callable[[Tensor, Head, Positions], Tensor]
    """(hidden_ND, head, positions) -> the sum over positions (over pairs for `pairs`), in nats but for wasserstein and dpo."""


def objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        ValueError: there is none; the sentence lists those there are.
    """
    for room in ("recommended", "experimental"):
        module = f"timbre.objectives.{room}.{name}"
        if name.isidentifier() and find_spec(module) is not None:
            found: Objective = import_module(module).OBJECTIVE
            return found
    raise ValueError(f"unknown objective {name!r}: choose one of {', '.join(objective_names())}")


def objectives() -> dict[str, Objective]:
    """All of them by name."""
    return {name: objective(name) for name in objective_names()}
