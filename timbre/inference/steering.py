"""One distribution made of several: styles blended, how strongly they are laid on, how freely is chosen. For numpy and torch alike.

    P ∝ P_base^(1−w) · P_tuned^w

*Strength* s is w = s: 0 is the base, 1 the tuned model, above 1 what sets the two apart is exaggerated.

*Diversity* d ∈ [0, 1] is no temperature: at every token it looks for the w = s·d′, d′ ∈ [0, 1.5], at which the mixture has the
entropy (nats) that is wanted there,

    H* = H_least + d · (H_most − H_least),      most over the d′ that stay in the band, least over those of them up to 1,

so that a larger d never lowers the entropy of a token's distribution. Where several d′ reach it, the one nearest to 1 (the tuned
model at its strength) is taken; surer than the tuned model is made by mixing the base in, never by exaggeration, which is sure
too but seldom repeats itself. The band keeps texts as likely as the tuned model's own: d′ goes from 1 to either side only as long
as what the mixture writes surprises the base, on average, by no less and no more than this beside the tuned model,

    −¼ ≤ X(d′) − X(1) ≤ ½ nats,      X(d′) = −Σ P_d′ · log P_base

(human text lies above what a tuned model writes, so there is more room there).

Without it the surest mixture is what an untuned model is surest of, and half of such texts were likelier than nearly all human text.

Whatever goes beyond the two models (any diversity, a strength above 1) is clipped to the nucleus of the tuned model at its
strength, so that no token comes that it would not have written itself.

*Blending* (`blended`) makes one tuned model of several, P_tuned ∝ Π P_i^(share of i), before strength and diversity see it.

The sampler and its controls (`timbre.inference.sampling`) are applied to what comes out, as to any logits. Functions take
`tuned_BV` and `base_BV`, logits of the two models for the same texts under one tokenizer.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from pydantic import Field

from timbre.config import Frozen
from timbre.inference.arrays import NEVER, Logits, at, best, double, largest, namespace, scattered

NUCLEUS = 0.98
"""Mass of the tuned distribution's likeliest tokens, beyond which nothing is drawn; the sampler's own nucleus cuts what is left."""
FARTHEST = 1.5
"""The largest d′, and the largest strength."""
BAND = (-0.25, 0.5)
"""Nats a token by which a mixture's surprise to the base may fall below the tuned model's own, and rise above it."""
_STEP = 0.125
_GRID = tuple(_STEP * number for number in range(13))
"""Where the entropy of the mixture is looked at first; 1 is among them."""
_TUNED = 8
"""Where 1 stands in it."""
_HALVINGS = 15
"""Of the step between two of them: d′ is found to 4·10⁻⁶."""
_NOTHING = -700.0
"""A logit whose weight is 10⁻³⁰⁴: what is left out adds nothing to a sum, and is finite."""
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


def rest_of(shares: Mapping[str, float]) -> float:
    """What is left to the style itself when others, by name, have these shares.

    Raises:
        ValueError: a share is not within (0, 1], or all together are more than 1.
    """
    for name, share in shares.items():
        if not 0 < share <= 1:
            raise ValueError(f"the share of {name} is {share:g}: shares are above 0, and 1 at most")
    if (total := math.fsum(shares.values())) > 1 + 1e-9:
        raise ValueError(f"the shares of {', '.join(shares)} are {total:g} together: 1 is the most, and the style itself has the rest")
    return max(0.0, 1 - total)


def blended(logits: Sequence[Logits], shares: Sequence[float]) -> Logits:
    """Logits of Π P_i^(share_i) of models with one tokenizer; a token that one of them lacks stays out, even at share 0."""
    xp, (first_BV, *others) = namespace(logits[0]), logits
    there_BV, sum_BV = first_BV != NEVER, shares[0] * xp.where(first_BV != NEVER, first_BV, 0.0)  # NaN stays, as in `mixed`
    for share, other_BV in zip(shares[1:], others, strict=True):
        there_BV = there_BV & (other_BV != NEVER)
        sum_BV = sum_BV + share * xp.where(other_BV != NEVER, other_BV, 0.0)
    return xp.where(there_BV, sum_BV, NEVER)


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

    def figures(share_B1: Logits) -> tuple[Logits, Logits]:
        """Entropy of the mixture, and its surprise to the base but for a constant of the row; (B, 1) each, in nats."""
        mixed_BK = xp.where(kept_BK, (1 - share_B1) * base_BK + share_B1 * styled_BK, NEVER)
        mixed_BK = xp.where(kept_BK, mixed_BK - xp.amax(mixed_BK, -1)[..., None], _NOTHING)
        weights_BK = xp.exp(mixed_BK)
        total_B = weights_BK.sum(-1)
        entropy_B = xp.log(total_B) - (weights_BK * mixed_BK).sum(-1) / total_B
        return entropy_B[..., None], -((weights_BK * base_BK).sum(-1) / total_B)[..., None]

    ones_B1 = xp.ones_like(styled_BK[..., :1])
    tried = [figures(share * ones_B1) for share in _GRID]
    found_BG, inside_BG = xp.concatenate([each for each, _ in tried], -1), _in_band(xp.concatenate([each for _, each in tried], -1))
    tuned_B1, far = found_BG[..., _TUNED : _TUNED + 1], float("inf")
    least_B1 = xp.amin(xp.where(inside_BG, found_BG, far)[..., : _TUNED + 1], -1)[..., None]
    most_B1 = xp.amax(xp.where(inside_BG, found_BG, NEVER), -1)[..., None]
    wanted_B1 = xp.clip(least_B1 + diversity * (most_B1 - least_B1), least_B1, most_B1)
    above_BG = found_BG - wanted_B1
    crosses_BS = (above_BG[..., :-1] * above_BG[..., 1:] <= 0) & inside_BG[..., :-1] & inside_BG[..., 1:]
    away = [abs((low + high) / 2 - 1) for low, high in pairwise(_GRID)]
    away_BS = xp.where(crosses_BS, xp.asarray(away, dtype=found_BG.dtype, device=found_BG.device), far)
    beyond = xp.asarray([step >= _TUNED for step in range(len(away))], device=found_BG.device)
    step_B1 = xp.argmin(xp.where(beyond & (wanted_B1 < tuned_B1), far, away_BS), -1)[..., None]
    low_B1, rising_B1 = step_B1 * _STEP * ones_B1, at(found_BG, step_B1 + 1) > at(found_BG, step_B1)
    size = _STEP
    for _ in range(_HALVINGS):
        size /= 2
        short_B1 = (figures(low_B1 + size)[0] < wanted_B1) == rising_B1
        low_B1 = xp.where(short_B1, low_B1 + size, low_B1)
    flat_B1 = most_B1 - least_B1 < 1e-9  # both models agree: nothing to choose, and no rounding shall choose
    return xp.where(flat_B1, ones_B1, low_B1 + size)


def _in_band(surprise_BG: Logits) -> Logits:
    """Which d′ of the grid are reached from 1 without leaving the band; surprise in nats, but for a constant of its row."""
    xp = namespace(surprise_BG)
    beside_BG = surprise_BG - surprise_BG[..., _TUNED : _TUNED + 1]
    near_BG = xp.where((beside_BG >= BAND[0]) & (beside_BG <= BAND[1]), 1, 0)
    below_BG = xp.flip(xp.cumprod(xp.flip(near_BG[..., : _TUNED + 1], (-1,)), -1), (-1,))
    return xp.concatenate([below_BG, xp.cumprod(near_BG[..., _TUNED + 1 :], -1)], -1) > 0
