"""What happens between a model's logits and the next token: pure functions, for numpy and torch alike.

Each function takes `logits_BV` (rows are independent, the last axis is the vocabulary) as a numpy array or a torch tensor
and gives the same kind back. Only operations that both libraries spell the same way are used, and whatever decides which
tokens stay is computed in float64, so that both give the same tokens. Tokens that are taken out get −inf. Tokens tied
with the last one kept are kept as well: a tie is then broken neither by the library nor by the device.
"""

from functools import lru_cache

import numpy as np
from pydantic import Field

from timbre.config import SamplerConfig
from timbre.inference.arrays import NEVER, Logits, at, best, descending, double, largest, namespace, softmax

SHORTLIST = 1024
"""The likeliest tokens among which a nucleus is looked for first."""
_TOP_H_WIDTH = 100
"""Likeliest tokens that `top_h` weighs, as in transformers."""
_COOLEST = 1e-3
"""The lowest dynamic temperature; a certain distribution (entropy 0) would have 0."""


class Controls(SamplerConfig):
    """A sampler and what else shapes the next token; all off by default."""

    min_p: float = Field(0.0, ge=0, lt=1, description="Leave out tokens less than this times as likely as the likeliest; 0: off.")
    top_h: float = Field(0.0, ge=0, le=1, description="Keep the likeliest tokens up to this share of the entropy; 0: off.")
    dynamic_temperature: float = Field(0.0, ge=0, le=10, description="θ of the entropy-dependent temperature T·0.8^(θ/H); 0: off.")

    @property
    def plain(self) -> bool:
        """Whether nothing but the sampler is on."""
        return not (self.min_p or self.top_h or self.dynamic_temperature)


def temperature(logits_BV: Logits, value: float) -> Logits:
    """Divide by a temperature > 0. Temperature 0 is not a division: `sample` takes the argmax instead."""
    if value <= 0:
        raise ValueError(f"temperature must be above 0 to divide by, got {value}; 0 means greedy and is handled by `sample`")
    return logits_BV if value == 1.0 else logits_BV / value


def top_k(logits_BV: Logits, k: int) -> Logits:
    """Keep the k most likely tokens (and those tied with the k-th); 0 or ≥ V keeps all."""
    if k <= 0 or k >= logits_BV.shape[-1]:
        return logits_BV
    return _from(logits_BV, descending(logits_BV)[..., k - 1 : k])


def top_p(logits_BV: Logits, p: float) -> Logits:
    """Keep the smallest set of most likely tokens whose probability is ≥ p (nucleus sampling, 1904.09751 §3.1)."""
    if p >= 1.0:
        return logits_BV
    xp = namespace(logits_BV)
    sorted_BV = descending(logits_BV)
    probabilities_BV = softmax(sorted_BV)
    before_BV = xp.cumsum(probabilities_BV, -1) - probabilities_BV  # mass of the tokens ranked above
    kept_B1 = (before_BV < p).sum(-1)[..., None]
    return _from(logits_BV, at(sorted_BV, kept_B1 - 1))


def min_p(logits_BV: Logits, p: float) -> Logits:
    """Keep tokens at least p times as likely as the most likely one (2407.01082)."""
    if p <= 0.0:
        return logits_BV
    xp = namespace(logits_BV)
    best_B1 = xp.amax(double(logits_BV), -1)[..., None]
    return xp.where(double(logits_BV) >= best_B1 + float(np.log(p)), logits_BV, NEVER)


def top_h(logits_BV: Logits, share: float) -> Logits:
    """Keep the most likely tokens whose entropy terms −p·log p add up to ≤ `share` of the whole entropy (2509.02510).

    As in transformers the hundred most likely tokens stand for all, and the most likely one always stays. 0 keeps all.
    """
    if share <= 0.0:
        return logits_BV
    xp = namespace(logits_BV)
    values_BK, _ = largest(logits_BV, min(_TOP_H_WIDTH, logits_BV.shape[-1]))
    p_BK = softmax(values_BK)
    terms_BK = -p_BK * xp.log(xp.where(p_BK > 0, p_BK, 1.0))
    kept_B1 = (xp.cumsum(terms_BK, -1) <= share * terms_BK.sum(-1)[..., None]).sum(-1)[..., None]
    return _from(logits_BV, at(values_BK, xp.where(kept_B1 > 0, kept_B1 - 1, 0)))


def dynamic_temperature(logits_BV: Logits, value: float, theta: float) -> Logits:
    """Divide by T = `value` · 0.8^(θ/H), H the entropy of the row in nats: the surer the model, the cooler (EDT, 2403.14541 eq. 2).

    θ = 0 is the plain temperature. T is held at `_COOLEST` or above.
    """
    if theta == 0.0:
        return temperature(logits_BV, value)
    xp = namespace(logits_BV)
    below_BV = double(logits_BV) - double(best(logits_BV))[..., None]
    weights_BV = xp.exp(below_BV)
    total_B1 = weights_BV.sum(-1)[..., None]
    entropy_B1 = xp.log(total_B1) - (weights_BV * xp.where(weights_BV > 0, below_BV, 0.0)).sum(-1)[..., None] / total_B1
    power_B1 = theta / xp.where(entropy_B1 > 1e-9, entropy_B1, 1e-9)
    return logits_BV / xp.clip(value * xp.exp(float(np.log(0.8)) * power_B1), _COOLEST, None)


def process(logits_BV: Logits, sampler: SamplerConfig) -> Logits:
    """Temperature, top-h, top-k, top-p, min-p, as `transformers` orders them. `sampler.temperature` must be above 0."""
    if not isinstance(sampler, Controls) or sampler.plain:
        return top_p(top_k(temperature(logits_BV, sampler.temperature), sampler.top_k), sampler.top_p)
    warm_BV = dynamic_temperature(logits_BV, sampler.temperature, sampler.dynamic_temperature)
    return min_p(top_p(top_k(top_h(warm_BV, sampler.top_h), sampler.top_k), sampler.top_p), sampler.min_p)


def probabilities(logits_BV: Logits) -> Logits:
    """Softmax in float64; rows sum to 1, −inf gives 0.

    Raises:
        FloatingPointError: a row has NaN, +inf, or nothing left to choose from.
    """
    best(logits_BV)
    return softmax(logits_BV)


def draw(logits_BV: Logits, uniform_B: Logits) -> Logits:
    """The token at which the cumulative distribution passes `uniform_B` (in [0, 1)): inverse-transform sampling.

    One number a row decides, so a row's text depends on its own random stream and not on the batch it is in.
    """
    xp = namespace(logits_BV)
    cumulative_BV = xp.cumsum(probabilities(logits_BV), -1)
    target_B1 = uniform_B[..., None] * cumulative_BV[..., -1:]
    return (cumulative_BV <= target_B1).sum(-1)


def greedy(logits_BV: Logits) -> Logits:
    """The most likely token; the lowest id of those tied."""
    xp = namespace(logits_BV)
    best_B1 = best(logits_BV)[..., None]
    return (xp.cumsum(logits_BV == best_B1, -1) == 0).sum(-1)


def sample(logits_BV: Logits, uniform_B: Logits, sampler: SamplerConfig) -> Logits:
    """Next token ids: greedy at temperature 0, else drawn with `uniform_B` from the processed distribution.

    Raises:
        FloatingPointError: the logits are not numbers to draw from.
    """
    if sampler.temperature == 0:
        return greedy(logits_BV)
    controls = sampler if isinstance(sampler, Controls) else _plain(sampler)
    bounded = controls.top_p < 1.0 or controls.top_h > 0
    if not bounded or controls.top_k > 0 or logits_BV.shape[-1] <= SHORTLIST:
        return draw(process(logits_BV, sampler), uniform_B)
    warm_BV = dynamic_temperature(logits_BV, controls.temperature, controls.dynamic_temperature)
    return _from_shortlist(warm_BV, uniform_B, controls)


@lru_cache
def _plain(sampler: SamplerConfig) -> Controls:
    return Controls.model_validate(sampler.model_dump())


def _from_shortlist(logits_BV: Logits, uniform_B: Logits, controls: Controls, width: int = SHORTLIST) -> Logits:
    """The same token as of the warm logits' top-h, top-p and min-p, without sorting the vocabulary, which took half of the time of writing.

    Rows whose nucleus may reach beyond the list get one eight times as long, in the end the whole row. The mass of the whole
    row is had from float32 weights (relative error about 1e-8); what is drawn from is float64 as ever.
    """
    xp = namespace(logits_BV)
    best(logits_BV)
    values_BK, ids_BK = largest(logits_BV, width)
    peak_B1 = values_BK[..., :1]
    listed_BK = top_h(values_BK, controls.top_h)
    weights_BK = xp.exp(double(listed_BK) - double(peak_B1))
    total_B = weights_BK.sum(-1) if controls.top_h > 0 else xp.exp(logits_BV - peak_B1).sum(-1, dtype=xp.float64)  # top-h is in the list
    before_BK = xp.cumsum(weights_BK, -1) - weights_BK
    inside_BK = (before_BK < controls.top_p * total_B[..., None]) & (listed_BK != NEVER)
    threshold_B1 = at(values_BK, inside_BK.sum(-1)[..., None] - 1)
    kept_BK = values_BK >= threshold_B1
    if controls.min_p > 0:
        kept_BK = kept_BK & (double(values_BK) >= double(peak_B1) + float(np.log(controls.min_p)))
    short_B = (threshold_B1 > values_BK[..., -1:])[..., 0]  # a lower one may be tied with tokens beyond the list
    order_BK = xp.argsort(ids_BK, -1)
    cumulative_BK = xp.cumsum(at(xp.where(kept_BK, weights_BK, 0.0), order_BK), -1)
    place_B = (cumulative_BK <= uniform_B[..., None] * cumulative_BK[..., -1:]).sum(-1)
    chosen_B = at(at(ids_BK, order_BK), place_B[..., None])[..., 0]
    if not bool(short_B.all()):
        rest_B = ~short_B
        rest_BV, wider = logits_BV[rest_B], 8 * width
        if wider < logits_BV.shape[-1]:
            chosen_B[rest_B] = _from_shortlist(rest_BV, uniform_B[rest_B], controls, wider)
        else:
            chosen_B[rest_B] = draw(min_p(top_p(top_h(rest_BV, controls.top_h), controls.top_p), controls.min_p), uniform_B[rest_B])
    return chosen_B


def _from(logits_BV: Logits, threshold_B1: Logits) -> Logits:
    return namespace(logits_BV).where(logits_BV >= threshold_B1, logits_BV, NEVER)
