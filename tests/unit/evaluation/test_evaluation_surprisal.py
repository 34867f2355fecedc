"""Surprisal features: what they are of a text's NLL a token."""

import numpy as np
import pytest

from timbre.evaluation.surprisal import FEATURES, surprisal_features


def test_a_text_that_gets_less_likely_along_its_way_has_a_slope() -> None:
    mean, slope, spread = surprisal_features(np.linspace(2.0, 4.0, 50))
    assert (mean, slope) == (pytest.approx(3.0), pytest.approx(2.0)), "nats a token from the first to the last"
    assert spread == pytest.approx(np.linspace(2.0, 4.0, 50).std())
    assert surprisal_features(np.array([5.0, 1.0] * 20))[1] == pytest.approx(0.0, abs=0.4), "up and down is no slope"


@pytest.mark.parametrize("text", [None, np.zeros(0)])
def test_a_text_without_a_token_has_features_that_are_numbers(text: np.ndarray | None) -> None:
    assert surprisal_features(text) == [0.0] * len(FEATURES)
    assert surprisal_features(np.array([2.5])) == [2.5, 0.0, 0.0]
