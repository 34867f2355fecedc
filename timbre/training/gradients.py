"""The gradients of one optimizer step: the objective, the accuracy term, the KL to base, the completions; in micro-batches, over
processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from timbre.config import TrainingConfig
from timbre.training.completions import Stretch
from timbre.training.data import Batch, Example, collate, draw_replay, pack
from timbre.training.parallel import World
from timbre.training.reading import Group, Groups
from timbre.training.student import Student


@dataclass(frozen=True)
class Means:
    """What a step's terms came to, over all processes, and on how many target positions."""

    loss: float
    replay_loss: float | None
    base_kl: float | None
    positions: int
    completions_loss: float | None = None


class Gradients:
    """Adds the gradients of a step to a student's parameters."""

    def __init__(
        self,
        student: Student,
        config: TrainingConfig,
        world: World,
        groups: Groups,
        replay: Sequence[Example],
        stretch: Stretch | None = None,
    ) -> None:
        """`groups` are what the steps' indices point at; `replay` serves the accuracy term and, its prompts, the KL to base.
        `stretch` holds the completions of a sequence-level student.

        Raises:
            ValueError: a KL to base without neutral prompts.
        """
        self.student, self.config, self.world, self.groups = student, config, world, groups
        self.positions, self.stretch = groups.positions, stretch
        self.replay = replay if config.replay_weight > 0 and config.replay_items > 0 else ()
        self.neutral = [prompt for prompt in map(_prompt, replay) if prompt.positions] if config.base_kl_weight > 0 else []
        if config.base_kl_weight > 0 and not (self.neutral and config.replay_items):
            raise ValueError("training.base_kl_weight needs neutral prompts: give a replay set and training.replay_items above 0")

    def add(self, step: int, indices: Sequence[int]) -> Means:
        """Backpropagate all terms of step 1, 2, …; each is divided by the positions of the whole step.

        Losses are added up on the device and read back once, so that the host does not wait within the step.
        """
        pairs = self.student.objective.needs == "pairs"
        positions = sum(self.positions[index] for index in indices)
        divisor = len(indices) if pairs else positions
        loss = self._term(indices, self.groups, self.positions, self.student.total, divisor, 1.0)
        others = (self._replay(step), self._base_kl(step), self._completions(step))
        sums = self.world.total(torch.stack([torch.zeros_like(loss) if term is None else term for term in (loss, *others)]).tolist())
        self.world.add_gradients(self.student.parameters())
        replay_loss, base_kl, completions = (None if term is None else sums[place] for place, term in enumerate(others, start=1))
        return Means(sums[0], replay_loss, base_kl, positions, completions)

    def _replay(self, step: int) -> Tensor | None:
        if not self.replay:
            return None
        return self._drawn(self.replay, step, "replay", self.student.cross_entropy, self.config.replay_weight)

    def _base_kl(self, step: int) -> Tensor | None:
        if not self.neutral:
            return None
        return self._drawn(self.neutral, step, "neutral", self.student.base_kl, self.config.base_kl_weight)

    def _completions(self, step: int) -> Tensor | None:
        if self.stretch is None:
            return None
        drawn = self.stretch.a_step
        return self._drawn(self.stretch.plan, step, "completions", self.student.cross_entropy, self.stretch.weight, drawn)

    def _drawn(
        self, items: Sequence[Example], step: int, stream: str, term: Callable[[Batch], Tensor], weight: float, count: int | None = None
    ) -> Tensor:
        count = self.config.replay_items if count is None else count
        drawn = draw_replay(len(items), count * self.world.size, step, self.config.seed, stream)
        groups, positions = [(item,) for item in items], [item.positions for item in items]
        return self._term(drawn, groups, positions, term, sum(positions[index] for index in drawn), weight, whole=True)

    def _term(
        self, indices: Sequence[int], groups: Groups | Sequence[Group], positions: Sequence[int], term: Callable[[Batch], Tensor],
        divisor: int, weight: float, *, whole: bool = False,
    ) -> Tensor:  # fmt: skip
        """This process' part of one term's mean, in float64 on the device; its gradient times `weight` added to the parameters."""
        total = torch.zeros((), dtype=torch.float64, device=self.student.device)
        for members in self._micro_batches(indices, positions, whole):
            chosen = [groups[index] for index in members] or [tuple(_without_positions(one) for one in groups[indices[0]])]
            batch = collate([example for group in chosen for example in group], packed=self.config.packing)
            loss = term(batch) / divisor
            (loss if weight == 1 else weight * loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _micro_batches(self, indices: Sequence[int], positions: Sequence[int], whole: bool) -> Iterator[list[int]]:
        """This process' backward passes; with sharded weights, which meet in each, empty ones up to the number of the others."""
        passes = self._passes(self.world, indices, positions, whole)
        yield from passes
        if self.world.size > 1 and self.config.sharding == "fsdp2":
            others = (self._passes(World(rank, self.world.size), indices, positions, whole) for rank in range(self.world.size))
            yield from [[]] * (max(len(other) for other in others) - len(passes))

    def _passes(self, world: World, indices: Sequence[int], positions: Sequence[int], whole: bool) -> list[list[int]]:
        share = world.share(indices, positions)
        if whole or self.config.micro_tokens is None:
            return [share] if share else []
        return pack(share, positions, self.config.micro_tokens)


def _prompt(item: Example) -> Example:
    """What stands before a replay item's answer, all of it counted."""
    return Example(item.token_ids_T[: item.first_label])


def _without_positions(example: Example) -> Example:
    """The same text with nothing that counts."""
    targets: dict[str, Any] = {
        name: None if (part := getattr(example, name)) is None else part[:0] for name in ("ids_TK", "probs_TK", "tail_T")
    }
    return replace(example, first_label=len(example.token_ids_T), **targets)
