"""Laws of the mixture P_t = α·δ(y) + (1−α)·P_ref on sparse rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timbre.targets.mixture import SparseDistributions, mix_observed

V = 23


def _dense(seed: int, n: int = 9, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = scale * random.standard_normal((n, V))
    probs = np.exp(logits)
    return probs / probs.sum(axis=1, keepdims=True), random.integers(0, V, n)


def _sparse(probs: np.ndarray, k: int) -> SparseDistributions:
    ids = np.sort(np.argsort(-probs, axis=1)[:, :k], axis=1).astype(np.int32)
    kept = np.take_along_axis(probs, ids, axis=1)
    rest = probs.copy()
    np.put_along_axis(rest, ids, 0.0, axis=1)
    return SparseDistributions(ids, kept, rest.sum(axis=1))


def _mixed(seed: int, alpha: float, k: int) -> tuple[np.ndarray, np.ndarray, SparseDistributions, SparseDistributions]:
    probs, observed = _dense(seed)
    reference = _sparse(probs, k)
    return probs, observed, reference, mix_observed(reference, observed, probs[np.arange(len(probs)), observed], alpha)


@settings(deadline=None)
@given(seed=st.integers(0, 9999), alpha=st.floats(0, 1), k=st.integers(1, V))
def test_every_stored_event_has_exactly_the_mass_of_the_dense_mixture(seed: int, alpha: float, k: int) -> None:
    probs, observed, _, mixed = _mixed(seed, alpha, k)
    dense = (1 - alpha) * probs
    dense[np.arange(len(dense)), observed] += alpha
    np.testing.assert_allclose(mixed.probs_NK, np.take_along_axis(dense, mixed.ids_NK, axis=1), atol=1e-12)
    np.put_along_axis(dense, mixed.ids_NK, 0.0, axis=1)
    np.testing.assert_allclose(mixed.tail_N, dense.sum(axis=1), atol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 9999), alpha=st.floats(0, 1), k=st.integers(1, V))
def test_the_result_is_a_distribution_whose_support_holds_the_observed_token(seed: int, alpha: float, k: int) -> None:
    _, observed, reference, mixed = _mixed(seed, alpha, k)
    np.testing.assert_allclose(mixed.probs_NK.sum(axis=1) + mixed.tail_N, 1)
    assert (mixed.probs_NK >= 0).all() and (mixed.tail_N >= 0).all()
    assert (np.diff(mixed.ids_NK, axis=1) > 0).all() and mixed.ids_NK.shape == reference.ids_NK.shape
    assert (mixed.ids_NK == observed[:, None]).any(axis=1).all()


@settings(deadline=None)
@given(seed=st.integers(0, 9999), k=st.integers(1, V))
def test_only_the_smallest_entry_makes_room(seed: int, k: int) -> None:
    _, observed, reference, mixed = _mixed(seed, 0.3, k)
    for row in range(len(observed)):
        before, after = set(reference.ids_NK[row]), set(mixed.ids_NK[row])
        smallest = reference.ids_NK[row, reference.probs_NK[row].argmin()]
        assert before - after == (set() if observed[row] in before else {smallest})


def test_the_ends_of_alpha_are_the_reference_and_the_observed_token() -> None:
    _, observed, reference, mixed = _mixed(1, 0.0, V)
    np.testing.assert_allclose(mixed.probs_NK, reference.probs_NK)
    certain = mix_observed(reference, observed, np.zeros(len(observed)), 1.0)
    assert certain.probs_NK[np.arange(len(observed)), observed].tolist() == [1.0] * len(observed)
    assert certain.tail_N.max() < 1e-12 and np.abs(certain.entropies).max() < 1e-12


def test_the_reference_is_left_as_it_was() -> None:
    probs, observed = _dense(2)
    reference = _sparse(probs, 3)
    ids, kept, tail = reference.ids_NK.copy(), reference.probs_NK.copy(), reference.tail_N.copy()
    mix_observed(reference, observed, probs[np.arange(len(probs)), observed], 0.5)
    assert np.array_equal(ids, reference.ids_NK) and np.array_equal(kept, reference.probs_NK) and np.array_equal(tail, reference.tail_N)


def test_entropy_counts_the_tail_as_one_event() -> None:
    distributions = SparseDistributions(np.array([[0, 1], [0, 1]]), np.array([[0.25, 0.25], [0.5, 0.5]]), np.array([0.5, 0.0]))
    np.testing.assert_allclose(distributions.entropies, [1.5 * np.log(2), np.log(2)])


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        _mixed(0, alpha, 3)
