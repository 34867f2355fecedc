"""Laws of the plain divergences."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from timbre.objectives.divergences import bucketed, forward_kl, jsd, reverse_kl, total_variation, unit_rows, wasserstein

Divergence = Callable[[Tensor, Tensor], Tensor]
UNIT = unit_rows(torch.randn(19, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64))


def transport(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Wasserstein between places of a fixed head, whose first rows serve smaller vocabularies."""
    return wasserstein(log_p, log_q, UNIT[: log_p.shape[-1]].to(log_p.dtype))


ALL = [forward_kl, reverse_kl, jsd, lambda p, q: jsd(p, q, 0.1), total_variation, transport]
SYMMETRIC = [jsd, total_variation, transport]


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


@pytest.mark.parametrize("divergence", [one for one in ALL if one is not reverse_kl])
def test_zero_target_probability_is_finite_with_finite_gradient(divergence: Divergence) -> None:
    """Not so the reverse KL, which is infinite there: its sparse form has a floor."""
    log_p = torch.tensor([[1.0, 0.0, 0.0]]).log()
    logits = torch.zeros(1, 3, requires_grad=True)
    value = divergence(log_p, logits.log_softmax(-1)).sum()
    value.backward()
    assert value.detach().isfinite() and float(value.detach()) > 0
    assert logits.grad is not None and logits.grad.isfinite().all() and bool((logits.grad != 0).any())


def test_forward_kl_to_the_uniform_model_is_log_of_the_vocabulary() -> None:
    log_p = torch.tensor([[1.0, 0.0, 0.0]]).log()
    assert float(forward_kl(log_p, torch.zeros(1, 3).log_softmax(-1))) == pytest.approx(math.log(3), rel=1e-6)


@pytest.mark.parametrize("divergence", ALL)
def test_the_gradient_is_the_slope_in_float64(divergence: Divergence) -> None:
    """Central differences: a step of 1e-5 errs by about 1e-10."""
    log_p, step = _log_probs(5), _log_probs(7)
    logits = _log_probs(6).requires_grad_()
    (gradient,) = torch.autograd.grad(divergence(log_p, logits.log_softmax(-1)).sum(), logits)
    with torch.no_grad():
        ahead, behind = (float(divergence(log_p, (logits + sign * 1e-5 * step).log_softmax(-1)).sum()) for sign in (1, -1))
    assert float((gradient * step).sum()) == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)


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
