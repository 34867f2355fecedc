"""Weights of completions, on a language where p* is known, and on the laws they keep whatever they are given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_language import LAMBDA, SEQUENCES_SL, features, humans, model

from timbre.sequence.weights import (
    by_ratio,
    by_tilt,
    cross_fitted,
    effective_share,
    expected_share,
    folds_by_document,
    resampled,
    tilt,
    uniform,
)


def test_the_tilt_reaches_human_moments_exactly_and_is_p_star() -> None:
    phi_SF, p0_S, human_S = features(SEQUENCES_SL), model(), humans()
    lambda_F = tilt(phi_SF[None], (human_S @ phi_SF)[None], prior_CN=p0_S[None])
    np.testing.assert_allclose(lambda_F, LAMBDA, atol=1e-5)
    tilted_S = p0_S * np.exp(phi_SF @ lambda_F)
    tilted_S /= tilted_S.sum()
    np.testing.assert_allclose(tilted_S @ phi_SF, human_S @ phi_SF, atol=1e-7)
    np.testing.assert_allclose(tilted_S, human_S, atol=1e-6)


def test_moments_are_reached_where_human_writers_are_no_tilt_at_all() -> None:
    """Only the moments are promised then: of all distributions that have them, the one nearest to p₀."""
    phi_SF, p0_S, rng = features(SEQUENCES_SL), model(), np.random.default_rng(3)
    human_S = rng.dirichlet(np.full(len(SEQUENCES_SL), 0.5))
    lambda_F = tilt(phi_SF[None], (human_S @ phi_SF)[None], prior_CN=p0_S[None])
    tilted_S = p0_S * np.exp(phi_SF @ lambda_F)
    np.testing.assert_allclose(tilted_S @ phi_SF / tilted_S.sum(), human_S @ phi_SF, atol=1e-6)


def test_many_prompts_share_one_tilt_and_each_keeps_its_share() -> None:
    """What a prompt is about does not move: the same λ for all, a softmax a prompt, human means over all prompts."""
    rng = np.random.default_rng(0)
    topic_C1F = rng.normal(0, 2, (300, 1, 2))
    completions_CNF = topic_C1F + rng.normal(0, 1, (300, 6, 2))
    human_CF = topic_C1F[:, 0] + rng.normal(0, 1, (300, 2)) + np.array([0.4, -0.3])
    lambda_F = tilt(completions_CNF, human_CF)
    weights_CN = np.exp(completions_CNF @ lambda_F)
    weights_CN /= weights_CN.sum(1, keepdims=True)
    np.testing.assert_allclose(np.einsum("cn,cnf->f", weights_CN, completions_CNF) / 300, human_CF.mean(0), atol=1e-6)
    assert lambda_F == pytest.approx([0.4, -0.3], abs=0.2)  # six completions a prompt, so not exactly


@pytest.mark.parametrize("fit", [by_tilt(0.02), by_ratio(0.001)])
def test_weights_prefer_what_is_like_human_text_on_documents_they_never_saw(fit: object) -> None:
    rng = np.random.default_rng(1)
    completions_CNF = rng.normal(0, 1, (200, 4, 3))
    human_CF = rng.normal(0, 1, (200, 3)) + np.array([0.5, 0, 0])
    found = cross_fitted(completions_CNF, human_CF, [f"d{n % 20}" for n in range(200)], fit, 5, 0)  # type: ignore[arg-type]
    mean_F = np.einsum("cn,cnf->f", found.weights_CN, completions_CNF) / 200
    assert mean_F[0] > 0.25 and abs(mean_F[1]) < 0.15
    assert 0.55 < found.critic_auc < 0.72  # Φ(.5/√2) = .638
    assert 0.6 < found.ess <= 1


def test_the_density_ratio_never_exceeds_its_bound() -> None:
    rng = np.random.default_rng(2)
    score = by_ratio(1e-6)(rng.normal(0, 1, (100, 4, 1)), rng.normal(8, 0.1, (100, 1)))
    assert np.exp(score(np.array([[[8.0]], [[100.0]]]))).max() <= 10 + 1e-9


def test_effective_size_says_when_model_and_humans_are_too_far_apart() -> None:
    """Scores of normal sides d′ apart: the effective share falls as exp(−d′²), which the critic's area alone foretells."""
    rng = np.random.default_rng(4)
    for distance in (0.3, 0.8, 1.5):
        completions_CNF = rng.normal(0, 1, (400, 64, 1))
        human_CF = rng.normal(distance, 1, (400, 1))
        found = cross_fitted(completions_CNF, human_CF, [f"d{n % 40}" for n in range(400)], by_tilt(0.0), 5, 0)
        assert found.expected_ess == pytest.approx(np.exp(-(distance**2)), abs=0.06)
        assert found.ess == pytest.approx(found.expected_ess, abs=0.12)
    assert expected_share(0.75) == pytest.approx(0.40, abs=0.005) and expected_share(0.85) == pytest.approx(0.12, abs=0.005)


@given(st.integers(2, 12), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_the_effective_share_lies_between_one_of_n_and_one(prompts: int, size: int, seed: int) -> None:
    weights_CN = np.random.default_rng(seed).dirichlet(np.full(size, 0.3), prompts)
    assert 1 / size - 1e-9 <= effective_share(weights_CN) <= 1 + 1e-9
    assert effective_share(uniform(prompts, size)) == pytest.approx(1)


@given(st.integers(1, 8), st.integers(2, 6), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_resampling_takes_each_completion_as_often_as_it_weighs(prompts: int, size: int, draws: int, seed: int) -> None:
    weights_CN = np.random.default_rng(seed).dirichlet(np.ones(size), prompts)
    places_CD = resampled(weights_CN, draws, seed)
    counts_CN = np.stack([np.bincount(places, minlength=size) for places in places_CD])
    assert (np.abs(counts_CN - draws * weights_CN) < 1 + 1e-9).all() and (counts_CN.sum(1) == draws).all()


def test_folds_hold_whole_documents() -> None:
    documents = [f"d{n}" for n in range(9) for _ in range(n + 1)]
    fold = folds_by_document(documents, 4, 0)
    assert all(len(set(fold[[name == one for name in documents]])) == 1 for one in set(documents))
    assert set(fold) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="add documents"):
        folds_by_document(["a", "b"], 3, 0)
