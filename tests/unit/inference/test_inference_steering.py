"""Strength and diversity: one distribution of two, the same for numpy and torch, ordered as the words promise."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from timbre.inference import sampling
from timbre.inference.steering import BAND, NUCLEUS, Steering, blended, rest_of, steer

EVERY = [Steering(strength=0), Steering(strength=0.4), Steering(strength=1.5), Steering(diversity=0), Steering(diversity=0.7)]
EVERY += [Steering(diversity=1), Steering(strength=0.5, diversity=0.3), Steering(strength=1.2, diversity=0.6)]


def pair(rows: int = 8, vocabulary: int = 3000, sharp: float = 3.0, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    tuned = random.normal(0, sharp, (rows, vocabulary)).astype(np.float32)
    return tuned, (tuned + random.normal(0, 1, tuned.shape)).astype(np.float32)


def entropy(logits: Any) -> Any:
    p = sampling.probabilities(logits)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)


@pytest.mark.parametrize("steering", EVERY)
@pytest.mark.parametrize("sharp", [0.3, 3.0])  # a flat row's nucleus reaches beyond the shortlist
def test_numpy_and_torch_steer_alike(steering: Steering, sharp: float) -> None:
    tuned, base = pair(sharp=sharp)
    ours, theirs = steer(tuned, base, steering), steer(torch.tensor(tuned), torch.tensor(base), steering)
    assert np.abs(sampling.probabilities(ours) - sampling.probabilities(theirs).numpy()).max() < 1e-5
    assert (np.isfinite(ours) == np.isfinite(theirs.numpy())).all()


def test_strength_is_the_geometric_mean_of_base_and_style() -> None:
    tuned, base = pair(vocabulary=50)
    assert steer(tuned, base, Steering()) is tuned
    np.testing.assert_allclose(sampling.probabilities(steer(tuned, base, Steering(strength=0))), sampling.probabilities(base), rtol=1e-6)
    mean = sampling.probabilities(base) ** 0.7 * sampling.probabilities(tuned) ** 0.3
    np.testing.assert_allclose(
        sampling.probabilities(steer(tuned, base, Steering(strength=0.3))), mean / mean.sum(-1, keepdims=True), rtol=1e-5
    )


@pytest.mark.parametrize("steering", [one for one in EVERY if one.diversity is not None or one.strength > 1])
def test_nothing_is_drawn_that_the_style_would_not_have_written(steering: Steering) -> None:
    tuned, base = pair()
    styled = steer(tuned, base, Steering(strength=min(1, steering.strength)))
    assert (np.isfinite(steer(tuned, base, steering)) == np.isfinite(sampling.top_p(styled, NUCLEUS))).all()


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5), st.sampled_from([0.4, 1.0, 1.3]))
def test_a_larger_diversity_never_lowers_the_entropy_of_a_token(one: float, other: float, seed: int, strength: float) -> None:
    tuned, base = pair(4, 300, seed=seed)
    low, high = (entropy(steer(tuned, base, Steering(strength=strength, diversity=value))) for value in sorted((one, other)))
    assert (high >= low - 1e-4).all()


def test_diversity_covers_the_whole_range_that_the_two_models_allow() -> None:
    tuned, base = pair(4, 300)
    least, most = (entropy(steer(tuned, base, Steering(diversity=value))) for value in (0, 1))
    halfway = entropy(steer(tuned, base, Steering(diversity=0.5)))
    np.testing.assert_allclose(halfway, (least + most) / 2, atol=1e-4)
    kept = np.where(np.isfinite(sampling.top_p(tuned, NUCLEUS)), tuned, -np.inf)
    assert (least <= entropy(kept) + 1e-4).all() and (entropy(kept) <= most + 1e-4).all() and (most - least > 0.02).all()


@given(st.floats(0, 1), st.integers(0, 5))
def test_no_diversity_leaves_the_tuned_models_own_likelihood_under_the_base(diversity: float, seed: int) -> None:
    tuned, base = pair(4, 300, seed=seed)
    kept = np.where(np.isfinite(sampling.top_p(tuned, NUCLEUS)), tuned, -np.inf)
    log_base = np.log(sampling.probabilities(base))
    surprise = [-(sampling.probabilities(found) * log_base).sum(-1) for found in (steer(tuned, base, Steering(diversity=diversity)), kept)]
    beside = surprise[0] - surprise[1]
    assert beside.min() >= BAND[0] - 0.02 and beside.max() <= BAND[1] + 0.02  # held on a grid of d′


def test_less_diversity_than_the_tuned_model_has_leans_towards_the_base() -> None:
    tuned, base = pair(6, 300)
    base = tuned + 0.2 * (base - tuned)  # near enough for the band to leave room
    kept = np.where(np.isfinite(sampling.top_p(tuned, NUCLEUS)), tuned, -np.inf)
    log_ratio = np.log(sampling.probabilities(tuned)) - np.log(sampling.probabilities(base))
    styled = [(sampling.probabilities(found) * log_ratio).sum(-1) for found in (steer(tuned, base, Steering(diversity=0)), kept)]
    assert (styled[0] <= styled[1] + 1e-6).all() and (styled[1] - styled[0]).max() > 1e-3


def test_a_blend_is_the_geometric_mean_of_the_styles_and_the_same_for_torch() -> None:
    (one, other), (third, _) = pair(vocabulary=50), pair(vocabulary=50, seed=1)
    other[:, 3] = -np.inf
    shares = [0.5, 0.3, 0.2]
    ours = sampling.probabilities(blended([one, other, third], shares))
    mean = np.prod([sampling.probabilities(each) ** share for each, share in zip((one, other, third), shares, strict=True)], axis=0)
    np.testing.assert_allclose(ours, mean / mean.sum(-1, keepdims=True), atol=1e-6)
    theirs = sampling.probabilities(blended([torch.tensor(each) for each in (one, other, third)], shares)).numpy()
    assert np.abs(ours - theirs).max() < 1e-5 and (ours[:, 3] == 0).all()
    assert np.array_equal(blended([one], [1.0]), one)


def test_shares_of_a_blend_are_within_one() -> None:
    assert rest_of({"b": 0.4}) == pytest.approx(0.6) and rest_of({"b": 0.7, "c": 0.3}) == pytest.approx(0)
    for wrong in ({"b": 0.0}, {"b": 1.2}, {"b": -0.1}, {"b": float("nan")}, {"b": 0.7, "c": 0.4}):
        with pytest.raises(ValueError, match="share"):
            rest_of(wrong)


def test_where_both_models_agree_there_is_nothing_to_choose() -> None:
    tuned, _ = pair()
    for value in (0.0, 0.5, 1.0):
        np.testing.assert_allclose(steer(tuned, tuned, Steering(diversity=value)), sampling.top_p(tuned, NUCLEUS), rtol=1e-6)


def test_ids_that_stand_for_no_token_stay_out_at_every_strength() -> None:
    tuned, base = pair()
    tuned[:, 7] = -np.inf
    for steering in EVERY:
        assert not np.isfinite(steer(tuned, base, steering)[:, 7]).any()


def test_nan_is_refused_and_not_drawn_from() -> None:
    tuned, base = pair()
    base[0, 5] = np.nan
    with pytest.raises(FloatingPointError):
        sampling.sample(steer(tuned, base, Steering(diversity=0.5)), np.full(len(tuned), 0.5), sampling.Controls())
    with pytest.raises(FloatingPointError):
        sampling.sample(steer(tuned, base, Steering(strength=0.5)), np.full(len(tuned), 0.5), sampling.Controls())


@pytest.mark.parametrize(
    "wrong", [{"strength": -0.1}, {"strength": 1.6}, {"diversity": 1.1}, {"diversity": -1}, {"diversity": float("nan")}]
)
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Steering(**wrong)
