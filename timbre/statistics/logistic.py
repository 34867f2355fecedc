"""Multinomial logistic regression with a ridge: what tells human voices apart, and texts that keep a principle from others."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def fit_logistic(
    features_NF: "np.ndarray", label_N: "np.ndarray", weight_N: "np.ndarray", classes: int, *, ridge: float, steps: int
) -> "np.ndarray":
    """Weights (F + 1, classes) that minimise −Σ weight·log p(label) + ridge/2·|W|², the intercepts (row 0) free.

    Args:
        label_N: 0 … classes − 1.
        steps: L-BFGS iterations at most.
    """
    import numpy as np
    from scipy.optimize import minimize

    rows_NF, target_NC = _with_one(features_NF), np.eye(classes)[label_N]
    shape = (rows_NF.shape[1], classes)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights_FC = flat.reshape(shape)
        probability_NC = _softmax(rows_NF @ weights_FC)
        fit = -float(weight_N @ np.log(np.maximum((probability_NC * target_NC).sum(1), 1e-300)))
        shrunk_FC = weights_FC * np.r_[0.0, np.ones(shape[0] - 1)][:, None]
        gradient_FC = rows_NF.T @ ((probability_NC - target_NC) * weight_N[:, None]) + ridge * shrunk_FC
        return fit + ridge / 2 * float((shrunk_FC**2).sum()), gradient_FC.ravel()

    found = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    weights: np.ndarray = found.x.reshape(shape)
    return weights


def logistic_probabilities(features_NF: "np.ndarray", weights_FC: "np.ndarray") -> "np.ndarray":
    """Probability of each class, N × classes, by weights of `fit_logistic`."""
    return _softmax(_with_one(features_NF) @ weights_FC)


def _with_one(features_NF: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.concatenate([np.ones((len(features_NF), 1)), features_NF], 1)


def _softmax(logits_NC: "np.ndarray") -> "np.ndarray":
    import numpy as np

    shifted_NC = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
    result: np.ndarray = shifted_NC / shifted_NC.sum(1, keepdims=True)
    return result
