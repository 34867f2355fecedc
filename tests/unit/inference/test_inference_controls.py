"""One implementation of the sampling controls: equal to transformers' processors, and the same for numpy and torch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers.generation import logits_process as theirs

from timbre.inference import sampling
from timbre.inference.sampling import Controls

NONE: Any = None


def logits(rows: int = 12, vocabulary: int = 3000) -> Any:
    return np.random.default_rng(3).normal(0, 3, (rows, vocabulary)).astype(np.float32)


def same(ours: Any, expected: torch.Tensor) -> None:
    kept = np.isfinite(expected.numpy())
    assert (np.isfinite(np.asarray(ours)) == kept).all()
    np.testing.assert_allclose(np.asarray(ours)[kept], expected.numpy()[kept], rtol=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9, 0.99])  # at 1 their float32 sum decides whether the hundredth token stays
def test_top_h_is_that_of_transformers(share: float) -> None:
    values = logits()
    same(sampling.top_h(values, share), theirs.TopHLogitsWarper(share)(NONE, torch.tensor(values)))


@pytest.mark.parametrize("p", [0.01, 0.2, 0.9])
def test_min_p_is_that_of_transformers(p: float) -> None:
    values = logits()
    same(sampling.min_p(values, p), theirs.MinPLogitsWarper(p)(NONE, torch.tensor(values)))


@pytest.mark.parametrize(
    "controls",
    [
        Controls(temperature=0.9, top_k=300, top_p=0.9, min_p=0.02, top_h=0.8),
        Controls(temperature=1.3, top_p=0.95, min_p=0.1),
        Controls(top_h=0.3),
    ],
)
def test_all_controls_together_are_the_chain_of_transformers(controls: Controls) -> None:
    values = logits()
    chain = [theirs.TemperatureLogitsWarper(controls.temperature)] if controls.temperature != 1 else []
    chain += [theirs.TopHLogitsWarper(controls.top_h)] if controls.top_h else []
    chain += [theirs.TopKLogitsWarper(controls.top_k)] if controls.top_k else []
    chain += [theirs.TopPLogitsWarper(controls.top_p)] if controls.top_p < 1 else []
    chain += [theirs.MinPLogitsWarper(controls.min_p)] if controls.min_p else []
    expected = torch.tensor(values)
    for step in chain:
        expected = step(NONE, expected)
    same(sampling.process(values, controls), expected)


def test_numpy_and_torch_agree_under_every_control() -> None:
    values = logits()
    controls = Controls(temperature=0.8, top_p=0.97, min_p=0.01, top_h=0.9, dynamic_temperature=1.5)
    same(sampling.process(values, controls), sampling.process(torch.tensor(values), controls))
    uniform = np.random.default_rng(0).random(len(values))
    tokens = sampling.sample(values, uniform, controls)
    assert tokens.tolist() == sampling.sample(torch.tensor(values), torch.tensor(uniform), controls).tolist()


def test_a_sure_row_is_cooled_more_than_an_unsure_one() -> None:
    sure, unsure = np.array([[5.0, 0, 0, 0]]), np.array([[0.3, 0.2, 0.1, 0]])
    cooled = [float(row[0, 0] / sampling.dynamic_temperature(row, 1.0, 1.0)[0, 0]) for row in (sure, unsure)]
    entropy = [float(-(p * np.log(p)).sum()) for p in (sampling.probabilities(row) for row in (sure, unsure))]
    assert cooled == pytest.approx([0.8 ** (1 / h) for h in entropy]) and cooled[0] < cooled[1] < 1
    certain = np.array([[0.0, -np.inf, -np.inf]])
    assert sampling.greedy(sampling.dynamic_temperature(certain, 1.0, 2.0)).tolist() == [0]


@given(st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_larger_share_of_entropy_keeps_no_fewer_tokens(one: float, other: float) -> None:
    values = logits(3, 200)
    low, high = (np.isfinite(sampling.top_h(values, share)) for share in sorted((one, other)))
    assert (low <= high).all() and low.any(-1).all()


@pytest.mark.parametrize("wrong", [{"min_p": 1.0}, {"min_p": -0.1}, {"top_h": 1.1}, {"dynamic_temperature": -1}, {"min_p": float("nan")}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Controls(**wrong)
