"""A language of which everything is known: five letters of three, written by a chain; and its human writers, who are a tilt of it."""

from itertools import product

import numpy as np

LETTERS, LENGTH = 3, 5
SEQUENCES_SL = np.array(list(product(range(LETTERS), repeat=LENGTH)))
LAMBDA = np.array([0.9, -0.7])
"""Human writers like the first letter more than the model does, and repeat themselves less."""


def features(sequences_NL: np.ndarray) -> np.ndarray:
    """How often the first letter stands there, and how often a letter comes twice in a row."""
    return np.stack([(sequences_NL == 0).sum(1), (sequences_NL[:, 1:] == sequences_NL[:, :-1]).sum(1)], 1).astype(float)


def model() -> np.ndarray:
    """p₀ of every sequence."""
    start, step = np.array([0.2, 0.3, 0.5]), np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]])
    p_S = start[SEQUENCES_SL[:, 0]]
    for place in range(1, LENGTH):
        p_S = p_S * step[SEQUENCES_SL[:, place - 1], SEQUENCES_SL[:, place]]
    return p_S


def humans() -> np.ndarray:
    """p* of every sequence: p₀·exp(λ·φ), normalised."""
    p_S = model() * np.exp(features(SEQUENCES_SL) @ LAMBDA)
    return p_S / p_S.sum()


def kl(p_S: np.ndarray, q_S: np.ndarray) -> float:
    return float((p_S * np.log(p_S / q_S)).sum())
