"""One distribution made of two: how strongly a style is laid on, and how freely it chooses. For numpy and torch alike.

    P ∝ P_base^(1−w) · P_tuned^w

*Strength* s is w = s: 0 is the base, 1 the tuned model, above 1 what sets the two apart is exaggerated.

*Diversity* d ∈ [0, 1] is no temperature: at every token it looks for the w = s·d′, d′ ∈ [0, 1.5], at which the mixture has the
entropy (nats) that is wanted there,

    H* = H_least + d · (H_most − H_least),      least and most over d′,

so that a larger d never lowers the entropy of a token's distribution. Where several d′ reach it, the one nearest to 1 (the tuned
model at its strength) is taken.

Whatever goes beyond the two models (any diversity, a strength above 1) is clipped to the nucleus of the tuned model at its
strength, so that no token comes that it would not have written itself.

The sampler and its controls (`timbre.inference.sampling`) are applied to what comes out, as to any logits. Functions take
`tuned_BV` and `base_BV`, logits of the two models for the same texts under one tokenizer.
"""

from itertools import pairwise

from pydantic import Field

from timbre.config import Frozen
from timbre.inference.arrays import NEVER, Logits, at, best, double, largest, namespace, scattered, softmax

NUCLEUS = 0.95
"""Mass of the tuned distribution's likeliest tokens, beyond which nothing is drawn."""
FARTHEST = 1.5
"""The largest d′, and the largest strength."""
_GRID = tuple(number / 20 for number in range(31))
"""Where the entropy of the mixture is looked at first; 1 is among them."""
_HALVINGS = 16
"""Of the step between two of them: d′ is found to 10⁻⁶."""
_SHORTLIST = 1024


class Steering(Frozen):
    """How a base and a tuned model are mixed; as it stands, the tuned model alone."""

    strength: float = Field(1.0, ge=0, le=FARTHEST, description="Of the style: 0 is the base model, 1 the tuned one, above 1 exaggerates.")
    diversity: float | None = Field(
        None, ge=0, le=1, description="0: the surest mixture of base and style at every token, 1: the freest; not a temperature."
    )

    @property
    def idle(self) -> bool:
        """Whether the tuned model alone is meant, so that no second one has to run."""
        return self.strength == 1.0 and self.diversity is None


def steer(tuned_BV: Logits, base_BV: Logits, steering: Steering) -> Logits:
    """Logits of the mixture, −inf where a token is taken out.

    Raises:
        FloatingPointError: the logits are not numbers to draw from.
    """
    if steering.idle:
        return tuned_BV
    styled_BV = mixed(tuned_BV, base_BV, steering.strength)
    if steering.diversity is None and steering.strength <= 1:
        return styled_BV
    return _clipped(tuned_BV, base_BV, styled_BV, steering, min(_SHORTLIST, tuned_BV.shape[-1]))


def mixed(tuned_BV: Logits, base_BV: Logits, weight: float) -> Logits:
    """Logits of P_base^(1−weight) · P_tuned^weight, over the whole vocabulary; a token that either model lacks stays out."""
    xp = namespace(tuned_BV)
    there_BV = (tuned_BV != NEVER) & (base_BV != NEVER)  # NaN stays, and is refused when a token is drawn
    tuned_BV, base_BV = xp.where(there_BV, tuned_BV, 0.0), xp.where(there_BV, base_BV, 0.0)
    return xp.where(there_BV, (1 - weight) * base_BV + weight * tuned_BV, NEVER)


def _clipped(tuned_BV: Logits, base_BV: Logits, styled_BV: Logits, steering: Steering, width: int) -> Logits:
    """The mixture on the nucleus of the tuned model at its strength, looked for among its `width` likeliest tokens first.

    Above strength 1 the nucleus is that of the tuned model itself: an exaggerated style would vouch for its own excess.
    """
    xp, voucher_BV = namespace(tuned_BV), styled_BV if steering.strength <= 1 else tuned_BV
    best(voucher_BV)
    values_BK, ids_BK = largest(voucher_BV, width)
    peak_B1 = values_BK[..., :1]
    weights_BK = xp.exp(double(values_BK) - double(peak_B1))
    total_B1 = xp.exp(voucher_BV - peak_B1).sum(-1, dtype=xp.float64)[..., None]
    before_BK = xp.cumsum(weights_BK, -1) - weights_BK
    threshold_B1 = at(values_BK, (before_BK < NUCLEUS * total_B1).sum(-1)[..., None] - 1)
    if width < voucher_BV.shape[-1] and not bool((threshold_B1 > values_BK[..., -1:]).all()):
        return _clipped(tuned_BV, base_BV, styled_BV, steering, min(8 * width, voucher_BV.shape[-1]))
    kept_BK = values_BK >= threshold_B1
    widest = int(kept_BK.sum(-1).max())
    ids_BK, kept_BK = ids_BK[..., :widest], kept_BK[..., :widest]
    styled_BK, base_BK = double(at(styled_BV, ids_BK)), double(at(base_BV, ids_BK))
    kept_BK = kept_BK & (styled_BK != NEVER) & (base_BK != NEVER)
    styled_BK, base_BK = xp.where(kept_BK, styled_BK, 0.0), xp.where(kept_BK, base_BK, 0.0)
    if steering.diversity is None:
        out_BK = styled_BK
    else:
        share_B1 = _share(styled_BK, base_BK, kept_BK, steering.diversity)
        out_BK = (1 - share_B1) * base_BK + share_B1 * styled_BK
    return scattered(xp.where(kept_BK, out_BK, NEVER), ids_BK, voucher_BV)


def _share(styled_BK: Logits, base_BK: Logits, kept_BK: Logits, diversity: float) -> Logits:
    """d′ for each row, shape (B, 1)."""
    xp = namespace(styled_BK)

    def entropy(share_B1: Logits) -> Logits:
        p_BK = softmax(xp.where(kept_BK, (1 - share_B1) * base_BK + share_B1 * styled_BK, NEVER))
        return -(p_BK * xp.log(xp.where(p_BK > 0, p_BK, 1.0))).sum(-1)[..., None]

    ones_B1 = xp.ones_like(styled_BK[..., :1])
    found_BG = xp.concatenate([entropy(share * ones_B1) for share in _GRID], -1)
    least_B1, most_B1 = xp.amin(found_BG, -1)[..., None], xp.amax(found_BG, -1)[..., None]
    wanted_B1 = xp.clip(least_B1 + diversity * (most_B1 - least_B1), least_B1, most_B1)
    above_BG = found_BG - wanted_B1
    crosses_BS = above_BG[..., :-1] * above_BG[..., 1:] <= 0
    steps = [abs((low + high) / 2 - 1) for low, high in pairwise(_GRID)]
    far_BS = xp.where(crosses_BS, xp.asarray(steps, dtype=found_BG.dtype, device=found_BG.device), FARTHEST)
    step_B1 = xp.argmin(far_BS, -1)[..., None]
    low_B1, rising_B1 = step_B1 / 20.0 * ones_B1, at(found_BG, step_B1 + 1) > at(found_BG, step_B1)
    size = 0.05
    for _ in range(_HALVINGS):
        size /= 2
        short_B1 = (entropy(low_B1 + size) < wanted_B1) == rising_B1
        low_B1 = xp.where(short_B1, low_B1 + size, low_B1)
    flat_B1 = most_B1 - least_B1 < 1e-9  # both models agree: nothing to choose, and no rounding shall choose
    return xp.where(flat_B1, ones_B1, low_B1 + size)
