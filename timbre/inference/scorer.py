"""One loaded model, ready to score and to continue tokens: what likelihood, probes and generation share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from timbre.models import head_bias, head_weight, logits

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
_POSITIONS = 256


@dataclass(frozen=True)
class Predictions:
    """Of N positions, on the CPU: log-probability of the token that came and entropy (nats, float64), how many tokens were
    likelier, and the probability of the likeliest (float64)."""

    log_probs_N: "torch.Tensor"
    entropies_N: "torch.Tensor"
    ranks_N: "torch.Tensor"
    confidences_N: "torch.Tensor"


@dataclass(frozen=True)
class Scorer:
    """A causal language model in eval mode, and how many rows of its head are real tokens."""

    model: Any
    vocab_size: int
    """The largest token id and one: rows of the head beyond it are padding and take no part in any softmax."""

    @property
    def device(self) -> "torch.device":
        return self.head.device

    @cached_property
    def head(self) -> "torch.Tensor":
        """The real tokens' rows of the output embedding, (V, D)."""
        return head_weight(self.model)[: self.vocab_size]

    def hidden(
        self, ids_BT: "torch.Tensor", mask_BS: "torch.Tensor", cache: Any = None, positions_BT: "torch.Tensor | None" = None
    ) -> "torch.Tensor":
        """Last hidden states (B, T, D). `mask_BS` covers what the cache holds as well; the cache is extended in place.

        Positions are left to the model unless they are given, as padding on the left needs.
        """
        given = {} if positions_BT is None else {"position_ids": positions_BT}
        states_BTD: torch.Tensor = self.model.base_model(
            input_ids=ids_BT, attention_mask=mask_BS, past_key_values=cache, use_cache=cache is not None, **given
        ).last_hidden_state
        return states_BTD

    def logits(self, hidden_ND: "torch.Tensor") -> "torch.Tensor":
        """fp32 logits (N, V) over the real tokens, never rounded to the precision of the weights on the way."""
        logits_NV = logits(hidden_ND, self.head)
        if (bias_V := head_bias(self.model)) is not None:
            logits_NV += bias_V[: self.vocab_size]
        return logits_NV.float()  # narrower only where weights are in fp64

    def scores(self, hidden_ND: "torch.Tensor", ids_N: "torch.Tensor", *, entropy: bool) -> "tuple[torch.Tensor, torch.Tensor]":
        """Log-probability of each id, and entropy of each prediction (empty unless asked for), in nats, float64 on the CPU.

        Raises:
            FloatingPointError: a logit is NaN or infinite.
        """
        import torch

        log_probs, entropies = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.float64)]
        for log_p_CV, ids_C in self._predicted(hidden_ND, ids_N):
            log_probs.append(_at(log_p_CV, ids_C))
            if entropy:
                entropies.append(_entropies(log_p_CV))
        return torch.cat(log_probs), torch.cat(entropies)

    def predictions(self, hidden_ND: "torch.Tensor", ids_N: "torch.Tensor") -> Predictions:
        """The same, and what else there is to know of each prediction.

        Raises:
            FloatingPointError: a logit is NaN or infinite.
        """
        import torch

        parts = []
        for log_p_CV, ids_C in self._predicted(hidden_ND, ids_N):
            rank_C = (log_p_CV > log_p_CV.gather(-1, ids_C[:, None])).sum(-1)
            highest_C = log_p_CV.amax(-1).double()
            parts.append((_at(log_p_CV, ids_C), _entropies(log_p_CV), rank_C.cpu(), highest_C.exp().cpu()))
        return Predictions(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _predicted(self, hidden_ND: "torch.Tensor", ids_N: "torch.Tensor") -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
        """Log-probabilities (C, V) and ids (C,), chunk by chunk: no array of all positions × vocabulary ever lives."""
        import torch

        for hidden_CD, ids_C in zip(torch.split(hidden_ND, _POSITIONS), torch.split(ids_N, _POSITIONS), strict=True):
            z_CV = self.logits(hidden_CD)
            lse_C = z_CV.logsumexp(-1)
            if not bool(torch.isfinite(lse_C).all()):
                raise FloatingPointError("the model gave NaN or infinite logits for human text: no likelihood can be reported for it")
            z_CV -= lse_C[:, None]
            yield z_CV, ids_C


def _at(log_p_CV: "torch.Tensor", ids_C: "torch.Tensor") -> "torch.Tensor":
    return log_p_CV.gather(-1, ids_C[:, None])[:, 0].double().cpu()


def _entropies(log_p_CV: "torch.Tensor") -> "torch.Tensor":
    import torch

    entropy_C: torch.Tensor = -torch.linalg.vecdot(log_p_CV.exp(), log_p_CV)
    return entropy_C.double().cpu()


def right_padded(rows: Sequence[Sequence[int]], device: "torch.device") -> "tuple[torch.Tensor, torch.Tensor]":
    """Ids (B, T), padded with 0 at the end, and their 0/1 mask; what stands in the padding is never attended to."""
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.long, device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], dtype=torch.long, device=device)
    return ids, mask


def batches(items: Iterable[Item], length: Callable[[Item], int], limit: int) -> list[list[Item]]:
    """Items in order of length, in batches of at most `limit` tokens counted with padding (one item may exceed it alone)."""
    result: list[list[Item]] = []
    for item in sorted(items, key=length):
        if result and (len(result[-1]) + 1) * length(item) <= limit:
            result[-1].append(item)
        else:
            result.append([item])
    return result
