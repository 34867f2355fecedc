"""How far served texts are from human ones, without a model: the style features of `timbre.metrics.style_features`.

A text is cut to the longest of a few lengths that it reaches, and measured by a ruler made of human passages cut to the same length
(the human continuations of the version's own release), so that short and long answers can be put together. The distance of a set
of texts is the mean over the features of the squared mean deviation, in human spreads:

    D = Σ_{i≠j} z_i·z_j / (F · pairs),   z the features of a text in units of the human spread, i and j of different clients

an MMD² with a linear kernel (Gretton et al. 2012), unbiased but for the ruler's own scatter: for human text it is about 0. Its
standard error is the jackknife's over clients, since texts of one are alike.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timbre.metrics.style_features import StyleRuler
from timbre.words import pieces

CUTS = (160, 80, 40, 20)
"""Words to which texts are cut; shorter ones are not measured."""
LEAST_HUMAN = 20
"""Human passages of a length without which there is no ruler for it."""
_ONE_SIDED = 3.0902
"""99.9%: a server looks at the same figures again and again, and 95% would be passed sooner or later."""
LEAST_CLIENTS = 10
Features = NDArray[np.float16]


@dataclass(frozen=True)
class Distance:
    """A distance with its standard error, of so many texts of so many clients."""

    value: float
    error: float
    texts: int
    clients: int

    @property
    def low(self) -> float:
        """One-sided 99.9% bound from below, of a t with as many degrees of freedom as there are clients but one."""
        return self.value - _quantile(self.clients - 1) * self.error

    @property
    def high(self) -> float:
        """The same from above."""
        return self.value + _quantile(self.clients - 1) * self.error

    def over(self, other: "Distance") -> "Distance":
        """How much larger than another one; the two are taken as independent."""
        error = math.hypot(self.error, other.error)
        return Distance(self.value - other.value, error, min(self.texts, other.texts), min(self.clients, other.clients))


class HumanStyle:
    """Rulers of human text, one a length."""

    def __init__(self, human: Iterable[str]) -> None:
        """Learn from human texts.

        Raises:
            ValueError: too few of them are 20 words long.
        """
        texts = list(human)
        self._rulers: dict[int, StyleRuler] = {}
        for cut in CUTS:
            passages = [passage for text in texts if (passage := _cut(text, cut)) is not None]
            if len(passages) >= LEAST_HUMAN:
                self._rulers[cut] = StyleRuler.of(passages)
        if not self._rulers:
            raise ValueError(f"fewer than {LEAST_HUMAN} human texts of {CUTS[-1]} words: no style is measured")

    def features(self, text: str) -> Features | None:
        """Of one text, in human spreads; None where it is too short."""
        for cut, ruler in self._rulers.items():
            if (passage := _cut(text, cut)) is not None:
                features: Features = ruler([passage])[0].astype(np.float16)
                return features
        return None


def style_distance(features: Sequence[Features], clients: Sequence[Hashable]) -> Distance | None:
    """The distance of texts from human ones; None where they are of fewer than ten clients."""
    named = list(dict.fromkeys(clients))
    if len(named) < LEAST_CLIENTS:
        return None
    place = {client: number for number, client in enumerate(named)}
    index_N = np.array([place[client] for client in clients])
    values_NF = np.array(features, np.float64)
    sums_CF = np.zeros((len(named), values_NF.shape[1]))
    np.add.at(sums_CF, index_N, values_NF)
    size_C = np.bincount(index_N, minlength=len(named)).astype(np.float64)
    squares_C = np.einsum("cf,cf->c", sums_CF, sums_CF)
    whole = _pairs(sums_CF.sum(0), squares_C.sum(), size_C.sum(), (size_C**2).sum())
    without = np.array([
        _pairs(sums_CF.sum(0) - sums_CF[c], squares_C.sum() - squares_C[c], size_C.sum() - size_C[c], (size_C**2).sum() - size_C[c] ** 2)
        for c in range(len(named))
    ])  # fmt: skip
    count = len(named)
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    return Distance(whole, error, len(values_NF), count)


def _pairs(sum_F: NDArray[np.float64], squares: float, size: float, size_squares: float) -> float:
    pairs = size**2 - size_squares
    return float((sum_F @ sum_F - squares) / (pairs * len(sum_F))) if pairs > 0 else 0.0


def _cut(text: str, words: int) -> str | None:
    return next(pieces(text, words), None)


def _quantile(freedom: int) -> float:
    """The 99.9% quantile of t, by Cornish and Fisher's expansion: within 1% from nine degrees of freedom on."""
    z, n = _ONE_SIDED, max(freedom, 1)
    return (
        z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2) + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )
