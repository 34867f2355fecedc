"""When texts part, rounding is an excuse only where torch itself hardly preferred its token."""

import numpy as np

from timbre.export.parity import Trial, Written

BEST = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
SECOND = np.array([[9, 9, 9], [9, 9, 9], [9, 9, 9]])
LEAD = np.array([[1.0, 1.0, 1.0], [1.0, 1e-4, 1.0], [1.0, 0.5, 1.0]], np.float32)


def _trial(other: np.ndarray) -> Trial:
    leads = Written(BEST, SECOND, LEAD).leads_where_parted(other)
    return Trial([[0]] * 3, np.zeros((3, 1, 1), np.float32), leads, 3)


def test_the_same_text_needs_no_excuse() -> None:
    trial = _trial(BEST.copy())
    assert (trial.equal, trial.tied(1e-3)) == (3, 0)


def test_a_tie_within_the_measured_difference_is_told_apart_from_a_wrong_token() -> None:
    other = BEST.copy()
    other[1, 1:] = [9, 3]  # parts at a lead of 1e-4
    other[2, 1] = 9  # parts at a lead of .5
    trial = _trial(other)
    assert (trial.equal, trial.tied(1e-4), trial.tied(1e-5)) == (1, 1, 0)


def test_a_token_that_torch_did_not_even_have_second_is_no_tie() -> None:
    other = BEST.copy()
    other[1, 1] = 2
    assert _trial(other).tied(1.0) == 0
