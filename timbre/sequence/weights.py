"""Weights of completions, a softmax a prompt, under which they have the features of human text.

The target is p*(x|c) ∝ p₀(x|c)·exp(λ·φ(x)), the distribution nearest to p₀ in KL(p*‖p₀) whose mean features, over all prompts c, are
those of human text (Khalifa et al. 2012.11635). Over N completions of each of C prompts, λ minimises the convex

    mean_c [ log Σ_i b_ci·exp(λ·φ_ci) − λ·φ_c^human ] + ridge/2·|λ|²        b the prior weight of a completion, 1/N for draws from p₀

whose gradient is the mean weighted φ less the human mean (plus ridge·λ). Because each prompt's weights sum to 1, every prompt keeps
its share: what is written about does not move, how it is written does.

Array suffixes: C prompts, N completions each, F features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.statistics.logistic import fit_logistic, logistic_probabilities
from timbre.statistics.roc import roc_auc

Floats = npt.NDArray[np.float64]
Fit = Callable[[Floats, Floats], Callable[[Floats], Floats]]
"""(features C×N×F of completions, C×F of the human ones) → a function from features …×F to log-weights …"""
CEILING = 10.0
"""Largest relative density ratio: p / (p/10 + 9q/10)."""
_STEPS = 1000


def tilt(features_CNF: Floats, human_CF: Floats, *, ridge: float = 0.0, prior_CN: Floats | None = None) -> Floats:
    """λ, whose tilt gives the completions the mean features of human text: exactly at ridge 0 where that is possible.

    Where it is not, because human means lie outside of what the completions can be mixed to, λ grows until the steps are over, and the
    effective sample size says so.

    Args:
        features_CNF: of the completions, best standardised, since the ridge weighs all alike.
        prior_CN: base weight of each completion; None where they are draws from p₀. Each prompt's sum to 1.

    Raises:
        ValueError: other counts of prompts or features on the two sides, or a value that is not finite.
    """
    from scipy.optimize import minimize

    _check(features_CNF, human_CF)
    wanted_F, size = human_CF.mean(0), features_CNF.shape[1]
    log_prior_CN = np.full(features_CNF.shape[:2], -np.log(size)) if prior_CN is None else np.log(np.maximum(prior_CN, 1e-300))

    def dual(lambda_F: Floats) -> tuple[float, Floats]:
        scores_CN = features_CNF @ lambda_F + log_prior_CN
        weights_CN, log_sums_C = _softmax(scores_CN)
        mean_F = np.einsum("cn,cnf->f", weights_CN, features_CNF) / len(features_CNF)
        value = float(log_sums_C.mean() - lambda_F @ wanted_F + ridge / 2 * lambda_F @ lambda_F)
        return value, mean_F - wanted_F + ridge * lambda_F

    start_F, exact = np.zeros(features_CNF.shape[2]), {"maxiter": _STEPS, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(dual, start_F, jac=True, method="L-BFGS-B", options=exact)  # type: ignore[call-overload]
    return np.asarray(found.x, np.float64)


def by_tilt(ridge: float) -> Fit:
    """Fit λ; the log-weight of a completion is λ·φ."""

    def fit(features_CNF: Floats, human_CF: Floats) -> Callable[[Floats], Floats]:
        lambda_F = tilt(features_CNF, human_CF, ridge=ridge)
        return lambda features: np.asarray(features @ lambda_F, np.float64)

    return fit


def by_ratio(ridge: float) -> Fit:
    """Fit a logistic regression; the weight of a completion is the relative density ratio p/(.1·p + .9·q) of human (p) over model (q).

    Bounded by 10, so that no completion ever stands for more than that (Yamada et al. 2013, α = .1).
    """

    def fit(features_CNF: Floats, human_CF: Floats) -> Callable[[Floats], Floats]:
        _check(features_CNF, human_CF)
        model_MF = features_CNF.reshape(-1, features_CNF.shape[2])
        rows_NF = np.concatenate([model_MF, human_CF])
        label_N = np.r_[np.zeros(len(model_MF), int), np.ones(len(human_CF), int)]
        weight_N = np.r_[np.full(len(model_MF), 0.5 / len(model_MF)), np.full(len(human_CF), 0.5 / len(human_CF))]
        weights = fit_logistic(rows_NF, label_N, weight_N, 2, ridge=ridge, steps=_STEPS)

        def log_weights(features: Floats) -> Floats:
            human = logistic_probabilities(features.reshape(-1, features.shape[-1]), weights)[:, 1]
            ratio = human / (human / CEILING + (1 - 1 / CEILING) * (1 - human))
            return np.asarray(np.log(np.maximum(ratio, 1e-300)).reshape(features.shape[:-1]), np.float64)

        return log_weights

    return fit


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weights of completions by critics that had not seen their document, and how well those critics tell human text apart."""

    weights_CN: Floats
    """Each prompt's sum to 1."""
    log_weights_CN: Floats
    critic_auc: float
    """The chance that the critic ranks a human text above a completion, out of fold."""

    @property
    def ess(self) -> float:
        return effective_share(self.weights_CN)

    @property
    def expected_ess(self) -> float:
        """What the critic's area says beforehand: exp(−d′²), d′ = √2·Φ⁻¹(AUC), for scores that are normal on either side."""
        return expected_share(self.critic_auc)


def cross_fitted(features_CNF: Floats, human_CF: Floats, documents: Sequence[str], fit: Fit, folds: int, seed: int) -> Weighted:
    """Weights of every prompt's completions by what was fitted to the prompts of other documents.

    Raises:
        ValueError: fewer documents than folds.
    """
    fold_C = folds_by_document(documents, folds, seed)
    scores_CN, human_C = np.zeros(features_CNF.shape[:2]), np.zeros(len(human_CF))
    for fold in range(folds):
        out = fold_C == fold
        score = fit(features_CNF[~out], human_CF[~out])
        scores_CN[out], human_C[out] = score(features_CNF[out]), score(human_CF[out])
    auc = roc_auc(human_C, scores_CN.ravel()) if len(human_C) else 0.5
    return Weighted(_softmax(scores_CN)[0], scores_CN, auc)


def folds_by_document(documents: Sequence[str], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """The fold of each prompt: whole documents, largest first, to the fold that holds least."""
    names, counts = np.unique(np.asarray(documents), return_counts=True)
    if len(names) < folds:
        raise ValueError(f"weights are cross-fitted over {folds} folds by document, and the prompts come from {len(names)}: add documents")
    order = np.random.default_rng(seed).permutation(len(names))
    held, fold_of = np.zeros(folds, np.int64), dict[Any, int]()
    for place in sorted(order, key=lambda place: -counts[place]):
        fold = int(held.argmin())
        fold_of[names[place]] = fold
        held[fold] += counts[place]
    return np.array([fold_of[name] for name in np.asarray(documents)], np.int64)


def uniform(prompts: int, completions: int) -> Floats:
    """Weights of the control arm."""
    return np.full((prompts, completions), 1 / completions)


def effective_share(weights_CN: Floats) -> float:
    """Effective sample size over the number of completions (Kong 1992): 1 where all weigh the same, 1/N where one of N has all."""
    return float(len(weights_CN) / (weights_CN.shape[1] * np.square(weights_CN).sum()))


def expected_share(auc: float) -> float:
    """exp(−2·Φ⁻¹(AUC)²): what is left of a sample that a critic of this area re-weights fully; .75 → .40, .85 → .12."""
    from scipy.special import ndtri

    return float(np.exp(-2 * ndtri(np.clip(auc, 1e-9, 1 - 1e-9)) ** 2))


def resampled(weights_CN: Floats, draws: int, seed: int) -> npt.NDArray[np.int64]:
    """Places C×draws of completions, each as often as its weight asks, up to the nearest whole number (systematic resampling)."""
    rng = np.random.default_rng(seed)
    ends_CN = np.cumsum(weights_CN, axis=1)
    points_CD = (rng.random((len(weights_CN), 1)) + np.arange(draws)) / draws
    places = np.stack([np.searchsorted(ends / ends[-1], points) for ends, points in zip(ends_CN, points_CD, strict=True)])
    return np.asarray(rng.permuted(np.minimum(places, weights_CN.shape[1] - 1), axis=1), np.int64)


def _softmax(scores_CN: Floats) -> tuple[Floats, Floats]:
    """Softmax over the completions of each prompt, and its log-sum."""
    top_C1 = scores_CN.max(1, keepdims=True)
    shifted_CN = np.exp(scores_CN - top_C1)
    sums_C1 = shifted_CN.sum(1, keepdims=True)
    return shifted_CN / sums_C1, (top_C1 + np.log(sums_C1))[:, 0]


def _check(features_CNF: Floats, human_CF: Floats) -> None:
    if features_CNF.ndim != 3 or human_CF.shape != (features_CNF.shape[0], features_CNF.shape[2]):
        raise ValueError(
            f"features of completions {features_CNF.shape} and of human text {human_CF.shape} do not fit: (C, N, F) and (C, F)"
        )
    if not (np.isfinite(features_CNF).all() and np.isfinite(human_CF).all()):
        raise ValueError("a feature of a completion or of a human text is not a finite number")
