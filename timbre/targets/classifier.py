"""A principle learnt from examples: r(token, context) = log P(kept | context, token), a classifier beside the reference.

Two linear probes say how likely it is that a text keeps the principle: one reads the reference's hidden state before a
token, one the token's row of the output embedding. Each is a ridge logistic regression on the tokens of the examples,
either side weighing half; their log-odds are added, as if context and token were independent evidence (naive Bayes). The
reweighting P·exp(β·r) is FUDGE's (Yang & Klein, 2104.05218), with probes small enough for two dozen examples.

A probe that does not tell its own examples apart when it has not seen them (one pair left out at a time) is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from timbre.models import head_weight
from timbre.statistics import fit_logistic
from timbre.targets.scoring import counted_hidden

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
RIDGE = 1e-2
"""Of features that are standardised and divided by √D, so that a row's length is about 1 whatever the model's width."""
_STEPS = 1000
LEAST_RIGHT = 0.6
"""Share of unseen examples that must be told apart; chance is .5."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Log-odds that are linear in standardised features."""

    weights_D: Array
    bias: float

    def __call__(self, rows_ND: Array) -> Array:
        """Log-odds of N rows."""
        return np.asarray(rows_ND @ self.weights_D + self.bias)


@dataclass(frozen=True, eq=False)
class Classifier:
    """The scorer of a principle of kind `classifier`."""

    token_odds_V: Array
    context: Probe
    limit: float
    accuracy: float
    """Share of the examples that were told apart without having been seen."""

    @property
    def prefix(self) -> npt.NDArray[np.int64]:
        return np.zeros(0, np.int64)

    def scores(self, native_nV: "Tensor", conditioned_nV: "Tensor | None", hidden_nD: "Tensor") -> "Tensor":
        import torch

        odds_V = torch.from_numpy(self.token_odds_V.astype(np.float32)).to(hidden_nD.device)
        weights_D = torch.from_numpy(self.context.weights_D.astype(np.float32)).to(hidden_nD.device)
        odds_n = hidden_nD.float() @ weights_D + self.context.bias
        return torch.nn.functional.logsigmoid(odds_n.unsqueeze(-1) + odds_V).clamp_min(-self.limit)


def fit_classifier(follows: Sequence[Array], breaks: Sequence[Array], network: Any, vocab_size: int, limit: float) -> Classifier:
    """Fit both probes on examples that keep a principle and examples that break it, each as token ids.

    Args:
        network: the un-adapted reference, in eval mode.
        limit: r stays above −limit.

    Raises:
        ValueError: an example of fewer than two tokens, or examples that the probes cannot tell apart.
    """
    import torch

    examples, kept = [*follows, *breaks], np.arange(len(follows) + len(breaks)) < len(follows)
    if min(map(len, examples)) < 2:
        raise ValueError("an example of a classifier must have at least two tokens: write whole sentences")
    rows_VD = head_weight(network)[:vocab_size].detach().double().cpu().numpy()
    with torch.inference_mode():
        contexts = [counted_hidden(network, [ids], [1]).double().cpu().numpy() for ids in examples]
    tokens = [rows_VD[ids[1:]] for ids in examples]
    right = _told_apart(contexts, tokens, kept)
    if right < LEAST_RIGHT:
        raise ValueError(
            f"the classifier tells {right:.0%} of its own examples apart when it has not seen them, and {LEAST_RIGHT:.0%} is the least: "
            "give more examples, or ones that differ in nothing but the principle"
        )
    context, token = _fit(contexts, kept), _fit(tokens, kept)
    return Classifier(token(rows_VD), context, limit, right)


def _told_apart(contexts: Sequence[Array], tokens: Sequence[Array], kept: Array) -> float:
    """Share of examples on the right side of 0 by probes that saw neither them nor their opposite number."""
    follows, breaks = np.flatnonzero(kept), np.flatnonzero(~kept)
    right: list[bool] = []
    for turn in range(max(len(follows), len(breaks))):
        out = {int(side[turn]) for side in (follows, breaks) if turn < len(side)}
        seen = [at for at in range(len(kept)) if at not in out]
        odds = dict.fromkeys(out, 0.0)
        for side in (contexts, tokens):
            probe = _fit([side[at] for at in seen], kept[seen])
            for at in out:
                odds[at] += float(probe(side[at]).mean())
        right += [bool(odds[at] > 0) if kept[at] else bool(odds[at] < 0) for at in sorted(out)]
    return float(np.mean(right))


def _fit(examples: Sequence[Array], kept: Array) -> Probe:
    """A probe on all rows of some examples; either side weighs half, each example of a side the same."""
    lengths = [len(rows) for rows in examples]
    rows_ND, label_N = np.concatenate(examples), np.repeat(kept.astype(int), lengths)
    weight_N = np.repeat(0.5 / np.where(kept, kept.sum(), (~kept).sum()) / lengths, lengths)
    mean_D, spread_D = rows_ND.mean(0), rows_ND.std(0)
    scale_D = 1 / np.where(spread_D > 0, spread_D, 1.0) / np.sqrt(rows_ND.shape[1])
    scaled_ND = (rows_ND - mean_D) * scale_D
    weights_F2 = fit_logistic(scaled_ND, label_N, weight_N, 2, ridge=2 * RIDGE, steps=_STEPS)  # a ridge on both sides' weights
    bias, *odds = weights_F2[:, 1] - weights_F2[:, 0]
    weights_D = np.array(odds) * scale_D
    return Probe(weights_D, float(bias - mean_D @ weights_D))
