"""The model in training, from a batch to a loss: hidden states of the positions that count, then the objective on the head.

Body and head are used within one `forward`, as sharded weights need it, and under autocast where that is on. The base
model, for the objectives and the term that compare with it, is the same network with its adapter off; where all weights
are trained it is a copy.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from timbre.config import TrainingConfig
from timbre.models import hidden_states
from timbre.objectives.head import Head
from timbre.objectives.objective import Options, Pairs, Positions, objective
from timbre.objectives.recommended.resident_teacher import teacher_kl_sum
from timbre.objectives.sparse_kl import Tail, check_ids, check_mass, cross_entropy_sum
from timbre.training.adapters import head_of, kind_of
from timbre.training.data import Batch, Example, collate

Loss = Callable[[Tensor, Head], Tensor]


class Student(nn.Module):
    """The network that is trained, its base, and the objective between them."""

    def __init__(self, network: Any, config: TrainingConfig, vocab_size: int) -> None:
        super().__init__()
        self.network, self.vocab_size = network, vocab_size
        self.objective = objective(config.objective)
        self.options = Options(
            tail=config.tail, jsd_beta=config.jsd_beta, smoothing=config.smoothing, gem_beta=config.gem_beta,
            teacher_alpha=config.teacher_alpha, dpo_beta=config.dpo_beta,
        )  # fmt: skip
        self.packing, self.shared_looks = config.packing, config.sharding == "replicate"
        self._autocast = config.autocast == "bf16"
        self._tail: Tail = config.tail if config.objective == "forward_kl" else "bucket"
        self._kind = kind_of(network)
        compared = self.objective.needs in ("base", "pairs") or config.base_kl_weight > 0
        # In a list, so that it is no submodule: it is neither trained nor sharded.
        self._copy = [copy.deepcopy(network).requires_grad_(False)] if compared and self._kind == "full" else []
        if config.packing:
            _check_packing(network)

    def forward(self, batch: Batch, loss: Loss) -> Tensor:
        """The loss of a batch's positions."""
        return loss(self._hidden(self.network, batch), head_of(self.network, self.vocab_size))

    def total(self, batch: Batch) -> Tensor:
        """The objective, summed over the batch's positions (over its pairs for dpo).

        Raises:
            ValueError: targets that are no distributions; seen before they leave the CPU, where looking costs no waiting.
        """
        if self.device.type != "cpu" and batch.ids_NK is not None and batch.probs_NK is not None and batch.tail_N is not None:
            check_ids(batch.ids_NK, self.vocab_size)
            check_mass(batch.probs_NK, batch.tail_N, self.vocab_size, self._tail)
        batch = batch.to(self.device)
        base_hidden = self._base_hidden(batch) if self.objective.needs in ("base", "pairs") else None
        pairs = Pairs(batch.sequence_N, self.count(batch)) if self.objective.needs == "pairs" else None

        def loss(hidden_ND: Tensor, head: Head) -> Tensor:
            base = self._base_head() if base_hidden is not None else None
            at = Positions(batch.labels_N, batch.ids_NK, batch.probs_NK, batch.tail_N, base_hidden, base, pairs, self.options)
            return self.objective.total(hidden_ND, head, at)

        return self._run(batch, loss)

    def cross_entropy(self, batch: Batch) -> Tensor:
        """Σ −log q of the observed tokens."""
        batch = batch.to(self.device)
        return self._run(batch, lambda hidden_ND, head: cross_entropy_sum(hidden_ND, head, batch.labels_N))

    def base_kl(self, batch: Batch) -> Tensor:
        """Σ KL(P_base‖P_θ) over the batch's positions."""
        batch = batch.to(self.device)
        base_hidden = self._base_hidden(batch)
        return self._run(batch, lambda hidden_ND, head: teacher_kl_sum(hidden_ND, head, base_hidden, self._base_head()))

    def count(self, batch: Batch) -> int:
        """What the objective is a mean over: positions, or pairs."""
        if self.objective.needs != "pairs":
            return batch.positions
        return (int(batch.sequence_N.max()) + 1) // 2 if batch.positions else 0

    def settle(self) -> None:
        """Put the copy of the base, which is not sharded, where the network is now."""
        for base in self._copy:
            base.to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        weight: Tensor = next(self.network.parameters())
        return weight.device

    def _run(self, batch: Batch, loss: Loss) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            value: Tensor = self(batch, loss)
        return value

    def _hidden(self, network: Any, batch: Batch) -> Tensor:
        return _hidden_states(network, batch, torch.bfloat16 if self._autocast else next(network.parameters()).dtype)

    def _base_hidden(self, batch: Batch) -> Tensor:
        """The base's hidden states of the same positions, without gradient."""
        found: list[Tensor] = []

        def keep(hidden_ND: Tensor, _head: Head) -> Tensor:
            found.append(hidden_ND)
            return hidden_ND.new_zeros(())

        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            if self._copy:
                return self._hidden(self._copy[0], batch)
            if self._kind == "lora":
                with self.network.disable_adapter():
                    self(batch, keep)
            else:
                self(batch, keep)
        return found[0]

    def _base_head(self) -> Head:
        return head_of(self._copy[0] if self._copy else self.network, self.vocab_size, base=True)


def _check_packing(network: Any) -> None:
    """Refuse a network in which texts that share a row see each other, or that takes no mask of who sees whom.

    Layers that are named as anything but full attention are refused by that name. What a configuration does not tell shows when
    made-up texts are read in rows of their own and in one row.
    """
    config, unfit = network.config.get_text_config(), "training.packing and {} do not go together: set training.packing to false"
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if kinds or getattr(config, "sliding_window", None):
        raise ValueError(unfit.format(f"layers of the kind {min(kinds) if kinds else 'sliding_attention'}"))
    texts = [Example(np.arange(first, first + length) % config.vocab_size) for first, length in ((5, 15), (40, 7), (20, 8))]
    weight = next(network.parameters())
    apart, together = (collate(texts, packed=packed).to(weight.device) for packed in (False, True))
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            found = [_hidden_states(network, batch, weight.dtype) for batch in (apart, together)]
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ValueError(unfit.format(f"a model of the type {config.model_type}")) from error
    finally:
        network.train(training)
    rows = torch.argsort(together.sequence_N, stable=True)
    difference = float((found[0] - found[1][rows]).abs().max() / found[0].abs().max())
    if not difference < (1e-3 if weight.dtype in (torch.float32, torch.float64) else 5e-2):
        raise ValueError(unfit.format(f"a model of the type {config.model_type}, where texts in one row see each other,"))


def _hidden_states(network: Any, batch: Batch, dtype: torch.dtype) -> Tensor:
    """Last hidden states N×D of the positions that count."""
    mask = batch.attention_mask_BT
    if mask.dtype == torch.bool:  # added to the scores, so that every kind of attention takes it
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
    return hidden_states(network, batch.input_ids_BT, mask, batch.position_ids_BT)[batch.counted_BT]
