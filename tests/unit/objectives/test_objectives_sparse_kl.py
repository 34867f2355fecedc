"""The fused sparse objective against dense float64 autograd, and the identities every divergence must pass."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from timbre.objectives import divergences
from timbre.objectives.sparse_kl import IGNORED_LABEL, cross_entropy_sum, sparse_forward_kl

N, D, V, PADDED, K = 13, 8, 37, 41, 5


def _problem(seed: int, dtype: torch.dtype = torch.float64, scale: float = 1.0, k: int = K) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target_logits = 3 * torch.randn(N, V, generator=generator, dtype=torch.float64)
    probs = target_logits.softmax(-1)
    ids = probs.topk(k, dim=-1).indices.sort(-1).values
    on_support = probs.gather(-1, ids)
    tail = probs.scatter(-1, ids, 0.0).sum(-1)
    return {
        "hidden": (scale * torch.randn(N, D, generator=generator, dtype=torch.float64)).to(dtype),
        "weight": torch.randn(PADDED, D, generator=generator, dtype=torch.float64).to(dtype),
        "ids": ids,
        "probs": on_support.to(dtype),
        "tail": tail.to(dtype),
        "labels": torch.randint(0, V, (N,), generator=generator),
    }


def _dense(p: dict[str, Tensor], ce_weight: float = 0.0) -> Tensor:
    """The same loss from the plain forms: float64 whatever the problem's dtype."""
    log_q = (p["hidden"].double() @ p["weight"].double()[:V].T).log_softmax(-1)
    log_p = torch.cat([p["probs"].double(), p["tail"].double().unsqueeze(-1)], -1).log()
    loss = divergences.forward_kl(log_p, divergences.bucketed(log_q, p["ids"])).sum()
    if ce_weight:
        loss = loss + ce_weight * torch.nn.functional.nll_loss(log_q, p["labels"], reduction="sum", ignore_index=IGNORED_LABEL)
    return loss


def _fused(p: dict[str, Tensor], ce_weight: float = 0.0, chunk: int = 4) -> Tensor:
    return sparse_forward_kl(
        p["hidden"], p["weight"], p["ids"], p["probs"], p["tail"], labels_N=p["labels"], ce_weight=ce_weight, chunk=chunk, vocab_size=V
    )


def _gradients(p: dict[str, Tensor], loss: object, **kwargs: float) -> tuple[Tensor, Tensor, Tensor]:
    hidden = p["hidden"].clone().requires_grad_()
    weight = p["weight"].clone().requires_grad_()
    value = loss({**p, "hidden": hidden, "weight": weight}, **kwargs)  # type: ignore[operator]
    value.backward()
    assert hidden.grad is not None and weight.grad is not None
    return value.detach(), hidden.grad, weight.grad


def _error(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), ce_weight=st.sampled_from([0.0, 0.1, 2.0]), scale=st.sampled_from([0.1, 1.0, 4.0]))
def test_value_and_both_gradients_agree_with_dense_autograd_in_float64(seed: int, ce_weight: float, scale: float) -> None:
    problem = _problem(seed, scale=scale)
    problem["labels"][::3] = IGNORED_LABEL
    fused = _gradients(problem, _fused, ce_weight=ce_weight)
    dense = _gradients(problem, _dense, ce_weight=ce_weight)
    for found, wanted in zip(fused, dense, strict=True):
        assert _error(found, wanted) <= 1e-6


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ce_weight", [0.0, 0.3])
def test_float32_agrees_with_dense_float64(seed: int, ce_weight: float) -> None:
    problem = _problem(seed, torch.float32)
    fused = _gradients(problem, _fused, ce_weight=ce_weight)
    double = {name: value.double() if value.is_floating_point() else value for name, value in problem.items()}
    dense = _gradients(double, _dense, ce_weight=ce_weight)
    for found, wanted in zip(fused, dense, strict=True):
        assert _error(found, wanted) <= 1e-5
    worst_row = ((fused[1].double() - dense[1]).norm(dim=-1) / dense[1].norm(dim=-1)).max()
    assert worst_row <= 1e-4


@pytest.mark.parametrize("direction", range(4))
def test_finite_differences_agree(direction: int) -> None:
    """Not autograd against autograd: the slope of the value itself. Central differences of 1e-5 err by 1e-10 and rounding of 1e-10."""
    problem, generator = _problem(3), torch.Generator().manual_seed(direction)
    _, by_hidden, by_weight = _gradients(problem, _fused, ce_weight=0.5)
    step = {name: torch.randn(problem[name].shape, generator=generator, dtype=torch.float64) for name in ("hidden", "weight")}
    ahead, behind = (
        float(_fused({**problem, **{name: problem[name] + sign * 1e-5 * step[name] for name in step}}, ce_weight=0.5)) for sign in (1, -1)
    )
    slope = float((by_hidden * step["hidden"]).sum() + (by_weight * step["weight"]).sum())
    assert (ahead - behind) / 2e-5 == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("k", [1, K, V])
def test_a_model_equal_to_its_target_has_no_loss_and_no_gradient(k: int) -> None:
    problem = _problem(1, k=k)
    q = (problem["hidden"] @ problem["weight"][:V].T).softmax(-1)
    problem["ids"] = q.topk(k, dim=-1).indices
    problem["probs"] = q.gather(-1, problem["ids"])
    problem["tail"] = q.scatter(-1, problem["ids"], 0.0).sum(-1)
    value, by_hidden, by_weight = _gradients(problem, _fused)
    assert abs(float(value)) < 1e-12
    assert float(by_hidden.abs().max()) < 1e-12 and float(by_weight.abs().max()) < 1e-12


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.01, 1.0, 30.0]))
def test_the_divergence_is_never_negative(seed: int, scale: float) -> None:
    assert float(_fused(_problem(seed, scale=scale))) >= 0


def test_the_tail_counts_and_its_sign_is_right() -> None:
    """Moving the model's mass off a support that holds everything must cost; without the tail term it would not."""
    hidden = torch.zeros(1, 2, dtype=torch.float64)
    weight = torch.zeros(4, 2, dtype=torch.float64)
    ids, tail = torch.tensor([[0, 1]]), torch.tensor([0.9], dtype=torch.float64)
    probs = torch.full((1, 2), 0.05, dtype=torch.float64)
    loss = sparse_forward_kl(hidden, weight, ids, probs, tail)
    assert float(loss) == pytest.approx(0.1 * math.log(0.05 / 0.25) + 0.9 * math.log(0.9 / 0.5), rel=1e-12)


def test_following_the_gradient_lowers_the_loss() -> None:
    problem = _problem(5)
    value, by_hidden, _ = _gradients(problem, _fused)
    moved = _fused({**problem, "hidden": problem["hidden"] - 1e-3 * by_hidden})
    assert float(moved) < float(value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_probabilities_and_an_empty_tail_stay_finite(dtype: torch.dtype) -> None:
    problem = _problem(2, dtype)
    problem["probs"] = torch.zeros_like(problem["probs"])
    problem["probs"][:, 0] = 1.0
    problem["tail"] = torch.zeros_like(problem["tail"])
    value, by_hidden, by_weight = _gradients(problem, _fused)
    assert value.isfinite() and by_hidden.isfinite().all() and by_weight.isfinite().all()
    log_q = (problem["hidden"] @ problem["weight"][:V].T).log_softmax(-1)
    expected = -log_q.gather(-1, problem["ids"][:, :1]).sum()  # all mass on one token: plain cross-entropy
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_a_tail_far_below_one_in_1e8_is_not_lost_to_cancellation() -> None:
    """True log q̄ = −40: 1 − Σq is exactly 0 there, and its logarithm −inf."""
    hidden = torch.tensor([[1.0]])
    weight = torch.tensor([[0.0], [-40.0], [-41.0]])
    arguments = (torch.tensor([[0]]), torch.tensor([[0.5]]), torch.tensor([0.5]))
    hidden.requires_grad_()
    loss = sparse_forward_kl(hidden, weight, *arguments)
    tail = math.log(math.exp(-40) + math.exp(-41))
    assert loss.item() == pytest.approx(math.log(0.5) - 0.5 * tail, rel=1e-6)
    loss.backward()
    assert hidden.grad is not None and hidden.grad.isfinite().all() and hidden.grad.abs().sum() > 1


@pytest.mark.parametrize("chunk", [1, 3, N, 1000])
def test_the_chunk_size_moves_neither_value_nor_gradient(chunk: int) -> None:
    problem = _problem(7)
    whole = _gradients(problem, _fused, chunk=N)
    for found, wanted in zip(_gradients(problem, _fused, chunk=chunk), whole, strict=True):
        assert _error(found, wanted) < 1e-12


def test_gradients_accumulate_over_micro_batches() -> None:
    problem = _problem(8)
    _, whole, whole_weight = _gradients(problem, _fused, ce_weight=0.2)
    hidden, weight = problem["hidden"].clone().requires_grad_(), problem["weight"].clone().requires_grad_()
    for rows in (slice(0, 6), slice(6, N)):
        part = {name: value if name == "weight" else value[rows] for name, value in problem.items()}
        (_fused({**part, "hidden": hidden[rows], "weight": weight}, ce_weight=0.2) / 2).backward()
    assert hidden.grad is not None and weight.grad is not None
    assert _error(2 * hidden.grad, whole) < 1e-12
    assert _error(2 * weight.grad, whole_weight) < 1e-12


def test_padded_head_rows_take_no_probability_and_no_gradient() -> None:
    problem = _problem(9)
    changed = {**problem, "weight": problem["weight"].clone()}
    changed["weight"][V:] = 50.0
    value, by_hidden, by_weight = _gradients(changed, _fused)
    plain = _gradients(problem, _fused)
    assert float(value) == float(plain[0]) and torch.equal(by_hidden, plain[1])
    assert not by_weight[V:].any()


def test_a_frozen_head_gets_no_gradient_and_no_grad_mode_builds_none() -> None:
    problem = _problem(10)
    problem["hidden"].requires_grad_()
    _fused(problem).backward()
    assert problem["weight"].grad is None and problem["hidden"].grad is not None
    with torch.no_grad():
        assert not _fused(problem).requires_grad


def test_cross_entropy_sum_is_torchs_own() -> None:
    problem = _problem(11, torch.float32)
    problem["labels"][2] = IGNORED_LABEL
    hidden = problem["hidden"].clone().requires_grad_()
    loss = cross_entropy_sum(hidden, problem["weight"], problem["labels"], chunk=4, vocab_size=V)
    loss.backward()
    reference = problem["hidden"].double().requires_grad_()
    wanted = torch.nn.functional.cross_entropy(reference @ problem["weight"].double()[:V].T, problem["labels"], reduction="sum")
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert hidden.grad is not None and reference.grad is not None and _error(hidden.grad, reference.grad) < 1e-5
    assert not hidden.grad[2].any()


def test_bfloat16_hidden_states_are_summed_in_float32() -> None:
    problem = _problem(12, torch.bfloat16)
    problem["probs"], problem["tail"] = _problem(12)["probs"], _problem(12)["tail"]
    loss = _fused(problem)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(_dense(problem)), rel=2e-2)  # bf16 logits carry 8 bits


def test_no_positions_cost_nothing() -> None:
    problem = {name: value if name == "weight" else value[:0] for name, value in _problem(0).items()}
    problem["hidden"] = problem["hidden"].clone().requires_grad_()
    loss = _fused(problem)
    loss.backward()
    assert float(loss.detach()) == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tail": torch.zeros(2)}, "shapes do not agree"),
        ({"vocab_size": 3}, "lower target.top_k"),
        ({"vocab_size": 99}, "head rows"),
        ({"ce_weight": 0.5}, "needs labels"),
        ({"chunk": 0}, "at least 1"),
    ],
)
def test_bad_input_is_a_sentence(change: dict[str, object], sentence: str) -> None:
    p = _problem(0)
    arguments: dict[str, object] = {"tail": p["tail"], "vocab_size": V, "ce_weight": 0.0, "chunk": 4, **change}
    tail = arguments.pop("tail")
    with pytest.raises(ValueError, match=sentence):
        sparse_forward_kl(p["hidden"], p["weight"], p["ids"], p["probs"], tail, **arguments)  # type: ignore[arg-type]


def test_mass_in_the_tail_of_a_full_support_is_refused() -> None:
    problem = _problem(0, k=V)
    problem["tail"] = problem["tail"] + 0.1
    with pytest.raises(ValueError, match="infinite"):
        _fused(problem)


def test_a_token_named_twice_is_refused_wherever_it_stands() -> None:
    """Two mentions of one token share one logit: their mass would be counted twice by the value and once by the gradient."""
    problem = _problem(0)
    assert torch.equal(_fused({**problem, "ids": problem["ids"].flip(-1), "probs": problem["probs"].flip(-1)}), _fused(problem)), (
        "any order"
    )
    for first, second in ((0, 1), (0, K - 1), (K - 1, 0)):
        twice = problem["ids"].clone()
        twice[3, second] = twice[3, first]
        with pytest.raises(ValueError, match="position 3 of the target names a token twice"):
            _fused({**problem, "ids": twice})


@pytest.mark.parametrize("wrong", [-1, V])
def test_an_id_outside_the_vocabulary_is_refused(wrong: int) -> None:
    """V is a padded row of the head, which no text can contain."""
    problem = _problem(0)
    problem["ids"][2, 0 if wrong < 0 else K - 1] = wrong
    with pytest.raises(ValueError, match=rf"must lie in 0\.\.{V - 1}, found"):
        _fused(problem)


def test_a_second_backward_pass_is_refused_rather_than_wrong() -> None:
    """Gradients are scaled where they lie, so they serve once."""
    problem = _problem(14)
    loss = _fused({**problem, "hidden": problem["hidden"].requires_grad_()}) / N
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
