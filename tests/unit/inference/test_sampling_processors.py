import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from timbre.config import SamplerConfig
from timbre.inference import sampling as processors

LOGITS = arrays(np.float32, (3, 17), elements=st.floats(-20, 20, width=32))
SAMPLERS = st.builds(SamplerConfig, temperature=st.floats(0.3, 2.0), top_p=st.floats(0.05, 1.0, exclude_min=True), top_k=st.integers(0, 20))


@settings(max_examples=60, deadline=None)
@given(LOGITS, SAMPLERS, st.floats(0, 0.999))
def test_torch_and_numpy_draw_from_the_same_distribution(logits: np.ndarray, sampler: SamplerConfig, uniform: float) -> None:
    import torch

    here = processors.probabilities(processors.process(logits, sampler))
    there = processors.probabilities(processors.process(torch.from_numpy(logits), sampler)).numpy()
    np.testing.assert_allclose(here, there, atol=1e-5)
    uniforms = np.full(3, uniform)
    np.testing.assert_array_equal(
        processors.sample(logits, uniforms, sampler),
        processors.sample(torch.from_numpy(logits), torch.from_numpy(uniforms), sampler).numpy(),
    )


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.floats(0.05, 0.99))
def test_top_p_keeps_the_smallest_sufficient_set(logits: np.ndarray, p: float) -> None:
    whole = processors.probabilities(logits)
    kept = np.isfinite(processors.top_p(logits, p))
    for row in range(3):
        ranked = np.sort(whole[row])[::-1]
        needed = int((np.cumsum(ranked) - ranked < p).sum())
        assert whole[row][kept[row]].sum() >= p - 1e-9
        assert set(np.flatnonzero(kept[row])) == set(np.flatnonzero(logits[row] >= np.sort(logits[row])[::-1][needed - 1]))


@settings(max_examples=40, deadline=None)
@given(LOGITS, st.integers(1, 16))
def test_top_k_keeps_the_k_best_and_their_ties(logits: np.ndarray, k: int) -> None:
    kept = np.isfinite(processors.top_k(logits, k))
    for row in range(3):
        assert set(np.flatnonzero(kept[row])) == set(np.flatnonzero(logits[row] >= np.sort(logits[row])[-k]))


def test_min_p_is_relative_to_the_most_likely_token() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32))
    assert np.isfinite(processors.min_p(logits, 0.29)).tolist() == [[True, True, True, False]]
    assert np.isfinite(processors.min_p(logits, 0.5)).tolist() == [[True, True, False, False]]


def test_matches_the_processors_of_transformers() -> None:
    import torch
    from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(8, 200, generator=torch.Generator().manual_seed(0)) * 3
    ids = torch.zeros(8, 1, dtype=torch.long)
    for ours, theirs in (
        (processors.top_p(logits, 0.9), TopPLogitsWarper(0.9)(ids, logits)),
        (processors.top_k(logits, 20), TopKLogitsWarper(20)(ids, logits)),
        (processors.min_p(logits, 0.1), MinPLogitsWarper(0.1)(ids, logits)),
    ):
        torch.testing.assert_close(ours, theirs)


def test_draws_follow_the_distribution_and_never_an_excluded_token() -> None:
    probabilities = np.array([0.0, 0.5, 0.2, 0.0, 0.3, 0.0])
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities)
    uniforms = (np.arange(10_000) + 0.5) / 10_000
    tokens = processors.draw(np.tile(logits, (10_000, 1)), uniforms)
    np.testing.assert_allclose(np.bincount(tokens, minlength=6) / 10_000, probabilities, atol=1e-4)
    assert processors.draw(logits[None], np.array([0.0])).tolist() == [1]
    assert processors.draw(logits[None], np.array([1 - 1e-16])).tolist() == [4]


def test_temperature_zero_takes_the_lowest_id_of_the_best() -> None:
    import torch

    logits = np.array([[1.0, 3.0, 3.0], [2.0, 1.0, 2.0]], np.float32)
    greedy = SamplerConfig(temperature=0)
    assert processors.sample(logits, np.zeros(2), greedy).tolist() == [1, 0]
    assert processors.sample(torch.from_numpy(logits), torch.zeros(2), greedy).tolist() == [1, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_gives_nan_is_refused(bad: float, temperature: float) -> None:
    import torch

    logits = np.array([[0.0, bad, 1.0]], np.float32)
    sampler = SamplerConfig(temperature=temperature)
    with pytest.raises(FloatingPointError, match="NaN"):
        processors.sample(logits, np.zeros(1), sampler)
    with pytest.raises(FloatingPointError, match="NaN"):
        processors.sample(torch.from_numpy(logits), torch.zeros(1), sampler)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000), st.floats(0.2, 6), st.floats(0.05, 0.99), st.booleans(), st.sampled_from([0, 0.02, 0.5]),
    st.sampled_from([0, 0.4, 0.9]), st.sampled_from([0, 0.5]),
)  # fmt: skip
def test_a_nucleus_from_the_shortlist_draws_the_token_of_the_whole_row(
    seed: int, scale: float, p: float, tied: bool, min_p: float, top_h: float, theta: float
) -> None:
    """Flat rows, whose nucleus reaches beyond the list, and rows full of ties included; in both libraries."""
    import torch

    random = np.random.default_rng(seed)
    logits = (random.normal(size=(4, 9 * processors.SHORTLIST)) * scale * np.array([[1], [0.01], [1], [1]])).astype(np.float32)
    if tied:
        logits = np.round(logits)
    logits[2, : 2 * processors.SHORTLIST] = logits[3, : 6 * processors.SHORTLIST] = -np.inf
    uniform = random.random(4)
    sampler = processors.Controls(top_p=p, min_p=min_p, top_h=top_h, dynamic_temperature=theta)
    wanted = processors.draw(processors.process(logits, sampler), uniform)
    if sampler.plain:
        sampler = SamplerConfig(top_p=p)
    np.testing.assert_array_equal(processors.sample(logits, uniform, sampler), wanted)
    there = processors.sample(torch.from_numpy(logits), torch.from_numpy(uniform), sampler)
    np.testing.assert_array_equal(there.numpy(), wanted)
    alone = [processors.sample(logits[row : row + 1], uniform[row : row + 1], sampler)[0] for row in range(4)]
    np.testing.assert_array_equal(alone, wanted)  # a row of its own, most of it taken out or not, is sorted in another way
