"""Laws of the plain divergences."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from timbre.objectives.divergences import bucketed, forward_kl, jsd, reverse_kl, total_variation

Divergence = Callable[[Tensor, Tensor], Tensor]
ALL = [forward_kl, reverse_kl, jsd, lambda p, q: jsd(p, q, 0.1), total_variation]
SYMMETRIC = [jsd, total_variation]


def _log_probs(seed: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(6, 19, generator=generator, dtype=torch.float64)).log_softmax(-1)


@pytest.mark.parametrize("divergence", ALL)
@hypothesis_settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 9999))
def test_never_negative_and_zero_with_zero_gradient_at_equality(divergence: Divergence, seed: int) -> None:
    log_p, log_q = _log_probs(seed), _log_probs(seed + 1)
    assert (divergence(log_p, log_q) > 0).all()
    logits = log_p.clone().requires_grad_()
    model = logits.log_softmax(-1)
    value = divergence(model.detach(), model).sum()  # the very same numbers: total variation has a kink at equality
    (gradient,) = torch.autograd.grad(value, logits)
    assert abs(float(value.detach())) < 1e-12
    assert float(gradient.abs().max()) < 1e-12


@pytest.mark.parametrize("divergence", SYMMETRIC)
def test_symmetric_ones_are_symmetric(divergence: Divergence) -> None:
    log_p, log_q = _log_probs(1), _log_probs(2)
    torch.testing.assert_close(divergence(log_p, log_q), divergence(log_q, log_p))


def test_directions_are_what_they_say() -> None:
    p, q = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.5, 0.5]).log()
    assert float(forward_kl(p, q)) == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2), rel=1e-5)
    assert float(reverse_kl(p, q)) == pytest.approx(float(forward_kl(q, p)), rel=1e-5)
    assert float(forward_kl(p, q)) != pytest.approx(float(reverse_kl(p, q)), rel=1e-2)


def test_bounds_of_jsd_and_total_variation_are_reached_by_disjoint_supports() -> None:
    p, q = torch.tensor([1.0, 0.0]).log(), torch.tensor([0.0, 1.0]).log()
    assert float(jsd(p, q)) == pytest.approx(math.log(2), rel=1e-6)
    assert float(total_variation(p, q)) == 1.0


def test_zero_target_probability_is_finite_with_finite_gradient() -> None:
    log_p = torch.tensor([[1.0, 0.0, 0.0]]).log()
    logits = torch.zeros(1, 3, requires_grad=True)
    value = forward_kl(log_p, logits.log_softmax(-1)).sum()
    value.backward()
    assert float(value.detach()) == pytest.approx(math.log(3), rel=1e-6)
    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("beta", [0.0, 1.0, -1.0])
def test_jsd_refuses_degenerate_weights(beta: float) -> None:
    with pytest.raises(ValueError, match="0 < beta < 1"):
        jsd(_log_probs(1), _log_probs(2), beta)


def test_a_bucket_never_raises_the_divergence() -> None:
    """Data processing: merging events cannot make two distributions easier to tell apart."""
    log_p, log_q = _log_probs(3), _log_probs(4)
    ids = log_p.topk(4, dim=-1).indices
    p, q = bucketed(log_p, ids), bucketed(log_q, ids)
    torch.testing.assert_close(p.exp().sum(-1), torch.ones(6, dtype=torch.float64))
    assert (forward_kl(p, q) <= forward_kl(log_p, log_q) + 1e-12).all()
