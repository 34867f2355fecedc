"""Every divergence on sparse targets against plain float64 forms, and the identities that each must pass."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from timbre.config import TrainingConfig, objective_names
from timbre.objectives import divergences
from timbre.objectives import head as head_of_chunks
from timbre.objectives.divergences import bucketed, unit_rows
from timbre.objectives.head import Correction, Head
from timbre.objectives.objective import Objective, Options, Positions, objective, objectives
from timbre.objectives.sparse_divergences import FLOOR, sparse_jsd, sparse_reverse_kl, sparse_total_variation, sparse_wasserstein
from timbre.objectives.sparse_kl import Tail, check_mass, sparse_forward_kl

N, D, V, PADDED, K = 11, 8, 29, 31, 5
TARGETED = [name for name, kind in objectives().items() if kind.needs == "targets"]
Dense = Callable[[Tensor, Tensor, Tensor], Tensor]
DENSE: dict[str, Dense] = {
    "forward_kl": lambda p, q, _: divergences.forward_kl(p, q),
    "reverse_kl": lambda p, q, _: divergences.reverse_kl(p, q),
    "jsd": lambda p, q, _: divergences.jsd(p, q, 0.3),
    "total_variation": lambda p, q, _: divergences.total_variation(p, q),
    "wasserstein": divergences.wasserstein,
}


class Problem:
    """A random head, hidden states and a target of full rank, cut to K tokens."""

    def __init__(self, seed: int, k: int = K, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.log_p = (2 * torch.randn(N, V, generator=generator, dtype=torch.float64)).log_softmax(-1)
        self.hidden = torch.randn(N, D, generator=generator, dtype=torch.float64).to(dtype)
        self.weight = torch.randn(PADDED, D, generator=generator, dtype=torch.float64).to(dtype)
        self.labels = torch.randint(0, V, (N,), generator=generator)
        self.aim(self.log_p, k)

    def aim(self, log_p: Tensor, k: int) -> None:
        self.ids = log_p.topk(k, dim=-1).indices.sort(-1).values
        self.probs = log_p.gather(-1, self.ids).exp()
        self.tail = log_p.exp().scatter(-1, self.ids, 0.0).sum(-1)

    def log_q(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return (hidden.double() @ weight.double()[:V].T).log_softmax(-1)

    def positions(self) -> Positions:
        kind = self.hidden.dtype
        return Positions(self.labels, self.ids, self.probs.to(kind), self.tail.to(kind), options=Options(jsd_beta=0.3))

    def solve(self, kind: Objective, hidden: Tensor | None = None, weight: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Value, and gradients by hidden states and head."""
        hidden = (self.hidden if hidden is None else hidden).clone().requires_grad_()
        weight = (self.weight if weight is None else weight).clone().requires_grad_()
        value = kind.total(hidden, Head(weight, V), self.positions())
        value.backward()
        assert hidden.grad is not None and weight.grad is not None
        return value.detach(), hidden.grad, weight.grad


def events(problem: Problem, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Target and model on the K+1 events."""
    target = torch.cat([problem.probs, problem.tail.unsqueeze(-1)], -1).log()
    return target, bucketed(log_q, problem.ids)


def plain(name: str, problem: Problem, hidden: Tensor, weight: Tensor) -> Tensor:
    """The same sum in plain float64 forms; for Wasserstein the places of tokens and bucket are constants."""
    log_q, unit = problem.log_q(hidden, weight), unit_rows(weight.double()[:V])
    log_p, log_q_events = events(problem, log_q)
    if name != "wasserstein":
        return DENSE[name](log_p, log_q_events, unit).sum()
    off = log_q.detach().scatter(-1, problem.ids, -math.inf)
    places = torch.cat([unit[problem.ids], (off.softmax(-1) @ unit).unsqueeze(1)], 1) if problem.ids.shape[1] < V else None
    if places is None:
        return divergences.wasserstein(problem.log_p, log_q, unit).sum()
    return torch.einsum("ne,ned->nd", log_p.exp() - log_q_events.exp(), places).square().sum()


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


@pytest.mark.parametrize("name", TARGETED)
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 9999), k=st.sampled_from([1, K, V - 1]))
def test_value_and_gradients_agree_with_plain_float64(name: str, seed: int, k: int) -> None:
    problem = Problem(seed, k)
    hidden, weight = problem.hidden.clone().requires_grad_(), problem.weight.clone().requires_grad_()
    wanted = plain(name, problem, hidden, weight)
    by = torch.autograd.grad(wanted, (hidden, weight))
    for found, expected in zip(problem.solve(objective(name)), (wanted.detach(), *by), strict=True):
        assert error(found, expected) <= 1e-6


@pytest.mark.parametrize("name", TARGETED)
@pytest.mark.parametrize("seed", range(3))
def test_float32_agrees_with_plain_float64(name: str, seed: int) -> None:
    problem = Problem(seed, dtype=torch.float32)
    hidden, weight = problem.hidden.double().requires_grad_(), problem.weight.double().requires_grad_()
    wanted = plain(name, problem, hidden, weight)
    by = torch.autograd.grad(wanted, (hidden, weight))
    for found, expected in zip(problem.solve(objective(name)), (wanted.detach(), *by), strict=True):
        assert error(found, expected) <= 1e-5


@pytest.mark.parametrize("name", TARGETED)
def test_with_the_whole_vocabulary_in_the_support_it_is_the_dense_form_and_else_not(name: str) -> None:
    whole, cut = Problem(3, V), Problem(3, K)
    log_q, unit = whole.log_q(whole.hidden, whole.weight), unit_rows(whole.weight[:V])
    dense = float(DENSE[name](whole.log_p, log_q, unit).sum())
    assert float(whole.solve(objective(name))[0]) == pytest.approx(dense, rel=1e-9)
    assert abs(float(cut.solve(objective(name))[0]) - dense) > 1e-3 * dense


@pytest.mark.parametrize("name", TARGETED)
@pytest.mark.parametrize("k", [1, K, V])
def test_a_model_equal_to_its_target_has_no_loss_and_no_gradient(name: str, k: int) -> None:
    problem = Problem(4)
    problem.aim(problem.log_q(problem.hidden, problem.weight), k)
    value, by_hidden, by_weight = problem.solve(objective(name))
    assert abs(float(value)) < 1e-12
    assert float(by_hidden.abs().max()) < 1e-12 and float(by_weight.abs().max()) < 1e-12


@pytest.mark.parametrize("name", TARGETED)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 9999), scale=st.sampled_from([0.01, 1.0, 20.0]))
def test_it_is_never_negative(name: str, seed: int, scale: float) -> None:
    problem = Problem(seed)
    assert float(problem.solve(objective(name), hidden=scale * problem.hidden)[0]) >= -1e-12


@pytest.mark.parametrize("name", TARGETED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_probabilities_and_an_empty_tail_stay_finite(name: str, dtype: torch.dtype) -> None:
    problem = Problem(5, dtype=dtype)
    problem.probs, problem.tail = torch.zeros_like(problem.probs), torch.zeros_like(problem.tail)
    problem.probs[:, 0] = 1.0
    value, by_hidden, by_weight = problem.solve(objective(name))
    assert float(value) > 0 and value.isfinite() and by_hidden.isfinite().all() and by_weight.isfinite().all()


def test_reverse_kl_charges_a_zero_what_the_floor_says() -> None:
    """All of q on a token that the target calls impossible costs −log FLOOR."""
    head = Head(torch.tensor([[0.0], [60.0]], dtype=torch.float64), 2)
    at = Positions(torch.zeros(1, dtype=torch.long), torch.tensor([[0]]), torch.ones(1, 1).double(), torch.zeros(1).double())
    assert float(objective("reverse_kl").total(torch.ones(1, 1).double(), head, at)) == pytest.approx(-math.log(FLOOR), rel=1e-6)


@pytest.mark.parametrize("name", TARGETED)
def test_following_the_gradient_lowers_it(name: str) -> None:
    problem = Problem(6)
    value, by_hidden, _ = problem.solve(objective(name))
    assert float(problem.solve(objective(name), hidden=problem.hidden - 1e-4 * by_hidden)[0]) < float(value)


@pytest.mark.parametrize("total", [sparse_reverse_kl, sparse_jsd, sparse_total_variation, sparse_wasserstein])
@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_the_chunk_size_moves_neither_value_nor_gradient(total: Callable[..., Tensor], chunk: int) -> None:
    problem = Problem(15)

    def solved(size: int) -> tuple[Tensor, ...]:
        hidden, weight = problem.hidden.clone().requires_grad_(), problem.weight.clone().requires_grad_()
        value = total(hidden, Head(weight, V), problem.ids, problem.probs, problem.tail, chunk=size)
        return value.detach(), *torch.autograd.grad(value, (hidden, weight))

    for found, wanted in zip(solved(chunk), solved(N), strict=True):
        assert error(found, wanted) < 1e-12


@pytest.mark.parametrize("name", TARGETED)
@pytest.mark.parametrize("tail_mode", ["bucket", "renorm"])
def test_nothing_is_read_back_from_the_device_within_an_objective(name: str, tail_mode: Tail, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device there are no values to read, so reading one raises. Autocast does not know that device."""
    monkeypatch.setattr(head_of_chunks, "_compute_dtype", lambda hidden: hidden.dtype)
    monkeypatch.setattr(torch, "autocast", lambda **_: nullcontext())
    problem = Problem(16)
    for part in ("hidden", "weight", "labels", "ids", "probs", "tail"):
        setattr(problem, part, getattr(problem, part).to("meta"))
    hidden, head = problem.hidden.requires_grad_(), Head(problem.weight, V)
    at = Positions(problem.labels, problem.ids, problem.probs, problem.tail, options=Options(tail=tail_mode))
    objective(name).total(hidden, head, at).backward()
    assert hidden.grad is not None and hidden.grad.is_meta


def test_a_target_without_mass_on_its_support_is_refused_by_renorm_alone() -> None:
    nothing, tail = torch.zeros(2, 3), torch.ones(2)
    check_mass(nothing, tail, V)
    with pytest.raises(ValueError, match="use the tail mode bucket"):
        check_mass(nothing, tail, V, "renorm")


def test_a_correction_in_float32_keeps_its_precision_beside_bf16_hidden_states() -> None:
    """Products of two bf16 numbers are exact in float32: what is left is the rounding of sums, 6e-8 each."""
    generator = torch.Generator().manual_seed(2)
    down, up, bias, hidden = (torch.randn(*shape, generator=generator) for shape in ((3, D), (V, 3), (V,), (N, D)))
    inner, outer = Correction(down, up, bias, 0.5).operands(hidden.bfloat16())
    wanted = 0.5 * (hidden.bfloat16().double() @ down.double().T) @ up.double().T + bias
    assert inner.dtype == outer.dtype == torch.float32
    assert error(inner @ outer.T, wanted) < 1e-6


def test_directions_are_told_apart() -> None:
    problem = Problem(7)
    forward, reverse = (float(problem.solve(objective(name))[0]) for name in ("forward_kl", "reverse_kl"))
    swapped = Problem(7)
    p, q = events(problem, problem.log_q(problem.hidden, problem.weight))
    assert reverse == pytest.approx(float(divergences.forward_kl(q, p).sum()), rel=1e-9)
    assert forward != pytest.approx(reverse, rel=1e-2) and float(swapped.solve(objective("forward_kl"))[0]) == forward


def test_wasserstein_is_its_definition() -> None:
    problem = Problem(8)
    p, unit = problem.log_p, unit_rows(problem.weight[:V])
    q = problem.log_q(problem.hidden, problem.weight)
    cost = 1 - unit @ unit.T
    quadratic = 2 * ((p.exp() @ cost) * q.exp()).sum(-1)
    quadratic -= ((p.exp() @ cost) * p.exp()).sum(-1) + ((q.exp() @ cost) * q.exp()).sum(-1)
    torch.testing.assert_close(divergences.wasserstein(p, q, unit), quadratic)
    torch.testing.assert_close(divergences.wasserstein(p, q, unit), divergences.wasserstein(q, p, unit))


@pytest.mark.parametrize("tail_mode", get_args(Tail))
@pytest.mark.parametrize("k", [1, K, V])
def test_each_tail_mode_is_what_it_says(tail_mode: Tail, k: int) -> None:
    problem = Problem(9, k)
    hidden, weight = problem.hidden.clone().requires_grad_(), problem.weight.clone().requires_grad_()
    log_q = problem.log_q(hidden, weight)
    on_support = log_q.gather(-1, problem.ids)
    spread = torch.full((N, V), 0.0, dtype=torch.float64) + (problem.tail / max(V - k, 1)).unsqueeze(-1)
    wanted = {
        "bucket": lambda: divergences.forward_kl(*events(problem, log_q)),
        "renorm": lambda: divergences.forward_kl((problem.probs / problem.probs.sum(-1, keepdim=True)).log(), on_support),
        "drop": lambda: (problem.probs * (problem.probs.log() - on_support)).sum(-1),
        "uniform": lambda: divergences.forward_kl(spread.scatter(-1, problem.ids, problem.probs).log(), log_q),
    }[tail_mode]().sum()
    by = torch.autograd.grad(wanted, (hidden, weight))
    ours = hidden.detach().clone().requires_grad_(), weight.detach().clone().requires_grad_()
    value = sparse_forward_kl(ours[0], Head(ours[1], V), problem.ids, problem.probs, problem.tail, chunk=4, tail_mode=tail_mode)
    for found, expected in zip((value.detach(), *torch.autograd.grad(value, ours)), (wanted.detach(), *by), strict=True):
        assert error(found, expected) <= 1e-6


def test_a_correction_is_part_of_the_logits_and_gets_its_gradient() -> None:
    problem = Problem(10)
    generator = torch.Generator().manual_seed(1)
    down, up, bias = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((3, D), (PADDED, 3), (PADDED,)))
    parts = [part.requires_grad_() for part in (problem.hidden, down, up, bias)]
    head = Head(problem.weight, V, Correction(down, up, bias, 0.5))
    for name in ("forward_kl", "jsd"):
        value = objective(name).total(problem.hidden, head, problem.positions())
        logits = (problem.hidden @ (problem.weight + 0.5 * up @ down).T + bias)[:, :V]
        wanted = DENSE[name](*events(problem, logits.log_softmax(-1)), torch.zeros(())).sum()
        assert value.item() == pytest.approx(wanted.item(), rel=1e-12)
        for found, expected in zip(torch.autograd.grad(value, parts), torch.autograd.grad(wanted, parts), strict=True):
            assert error(found, expected) <= 1e-6


@pytest.mark.parametrize("name", TARGETED)
def test_bfloat16_autocast_is_summed_in_float32(name: str) -> None:
    """Products keep 8 bits: 2 % of the value and 5 % of the gradient's norm is what such logits allow; sums lose no more."""
    problem = Problem(11, dtype=torch.float32)
    exact = problem.solve(objective(name))
    with torch.autocast("cpu", torch.bfloat16):
        value, by_hidden, by_weight = problem.solve(objective(name))
    assert value.dtype == by_hidden.dtype == by_weight.dtype == torch.float32
    assert float(value) != float(exact[0]), "autocast was not on"
    assert error(value, exact[0]) < 2e-2 and error(by_hidden, exact[1]) < 5e-2 and error(by_weight, exact[2]) < 5e-2


def test_many_positions_under_autocast_do_not_lose_the_small_ones() -> None:
    """4,096 equal losses: a bf16 sum would stand still after 256 of them."""
    hidden, weight = torch.zeros(4096, 2), torch.zeros(4, 2)
    ids, probs, tail = torch.zeros(4096, 1, dtype=torch.long), torch.full((4096, 1), 0.5), torch.full((4096,), 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sparse_forward_kl(hidden, weight, ids, probs, tail)
    assert float(loss) == pytest.approx(4096 * (math.log(0.5) - 0.5 * math.log(0.25) - 0.5 * math.log(0.75)), rel=1e-5)


def test_an_objective_is_known_by_the_name_of_its_file_and_others_are_refused_with_the_list() -> None:
    assert {"forward_kl", "sft", "dpo"} <= set(objective_names()) == set(objectives())
    with pytest.raises(ValueError, match=r"unknown objective 'kl': choose one of forward_kl, .*reverse_kl"):
        objective("kl")
    with pytest.raises(ValueError, match=r"unknown objective '\.\./sft'"):
        TrainingConfig(objective="../sft")


@pytest.mark.parametrize("name", TARGETED)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"probs": lambda p: p * math.nan}, "must sum to 1"),
        ({"probs": lambda p: -p}, "negative mass"),
        ({"tail": lambda t: t + 0.1}, "must sum to 1"),
        ({"tail": lambda t: t[:2]}, "shapes do not agree"),
    ],
)
def test_wrong_mass_is_a_sentence(name: str, change: dict[str, Callable[[Tensor], Tensor]], sentence: str) -> None:
    problem = Problem(12)
    for part, how in change.items():
        setattr(problem, part, how(getattr(problem, part)))
    with pytest.raises(ValueError, match=sentence):
        problem.solve(objective(name))


def test_more_tokens_than_the_vocabulary_and_unknown_tail_modes_are_sentences() -> None:
    problem = Problem(13)
    head = Head(problem.weight, 3)
    for name in TARGETED:
        with pytest.raises(ValueError, match=r"lower target\.top_k"):
            objective(name).total(problem.hidden, head, problem.positions())
    with pytest.raises(ValueError, match="choose one of bucket, renorm, drop, uniform"):
        sparse_forward_kl(problem.hidden, Head(problem.weight, V), problem.ids, problem.probs, problem.tail, tail_mode="cut")  # type: ignore[arg-type]
