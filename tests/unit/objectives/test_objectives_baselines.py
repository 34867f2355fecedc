"""The baselines against their plain dense forms in float64, and that no chunk size moves them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from timbre.objectives import divergences
from timbre.objectives.experimental.dpo import preference_sum, token_log_probs
from timbre.objectives.experimental.emo import emo_sum
from timbre.objectives.head import Correction, Head
from timbre.objectives.objective import Pairs
from timbre.objectives.recommended.gem import gem_sum
from timbre.objectives.recommended.label_smoothing import label_smoothing_sum
from timbre.objectives.recommended.resident_teacher import teacher_kl_sum

N, D, V, PADDED = 12, 6, 23, 25
GENERATOR = torch.Generator().manual_seed(0)
HIDDEN, TEACHER_HIDDEN = (torch.randn(N, D, generator=GENERATOR, dtype=torch.float64) for _ in range(2))
WEIGHT, TEACHER_WEIGHT = (torch.randn(PADDED, D, generator=GENERATOR, dtype=torch.float64) for _ in range(2))
LABELS = torch.randint(0, V, (N,), generator=GENERATOR)
TEACHER = Head(TEACHER_WEIGHT, V)
PAIRS = Pairs(torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3]), 2)
Loss = Callable[[Tensor, Head, int], Tensor]
Plain = Callable[[Tensor, Tensor], Tensor]


def log_q(hidden: Tensor, weight: Tensor) -> Tensor:
    return (hidden @ weight[:V].T).log_softmax(-1)


def teacher(hidden: Tensor) -> tuple[Tensor, Head]:
    return TEACHER_HIDDEN.to(hidden.dtype), Head(TEACHER_WEIGHT.to(hidden.dtype), V)


def observed(log_probs: Tensor) -> Tensor:
    return log_probs.gather(-1, LABELS.unsqueeze(-1)).squeeze(-1)


def plain_gem(hidden: Tensor, weight: Tensor) -> Tensor:
    logits = hidden @ weight[:V].T
    sharpened = (logits / 0.7).softmax(-1).detach()
    return -(sharpened * (observed(log_q(hidden, weight)).unsqueeze(-1) - log_q(hidden, weight))).sum()


def plain_emo(hidden: Tensor, weight: Tensor) -> Tensor:
    one_hot = torch.nn.functional.one_hot(LABELS, V).double().log()
    ce = -observed(log_q(hidden, weight))
    unit = divergences.unit_rows(weight[:V])  # EMO (2310.04691): PᵀCQ with C = 1 − cos
    bound = 1 - ((one_hot.exp() @ unit) * (log_q(hidden, weight).exp() @ unit)).sum(-1)
    return 0.5 * (ce + (ce / bound).detach() * bound).sum()


def teacher_mixture(alpha: float) -> Tensor:
    one_hot = torch.nn.functional.one_hot(LABELS, V).double()
    return (alpha * one_hot + (1 - alpha) * log_q(TEACHER_HIDDEN, TEACHER_WEIGHT).exp()).log()


def plain_preference(hidden: Tensor, weight: Tensor) -> Tensor:
    ratio = observed(log_q(hidden, weight)) - observed(log_q(TEACHER_HIDDEN, TEACHER_WEIGHT))
    human, sampled = ratio[:3].sum() - ratio[3:5].sum(), ratio[5:9].sum() - ratio[9:].sum()
    return -logsigmoid(0.1 * human) - logsigmoid(0.1 * sampled)


CASES: dict[str, tuple[Loss, Plain]] = {
    "label smoothing": (
        lambda h, head, chunk: label_smoothing_sum(h, head, LABELS, smoothing=0.2, chunk=chunk),
        lambda h, w: cross_entropy(h @ w[:V].T, LABELS, reduction="sum", label_smoothing=0.2),
    ),
    "gem": (lambda h, head, chunk: gem_sum(h, head, LABELS, chunk=chunk), plain_gem),
    "emo": (lambda h, head, chunk: emo_sum(h, head, LABELS, chunk=chunk), plain_emo),
    "resident teacher": (
        lambda h, head, chunk: teacher_kl_sum(h, head, *teacher(h), labels_N=LABELS, alpha=0.3, chunk=chunk),
        lambda h, w: divergences.forward_kl(teacher_mixture(0.3), log_q(h, w)).sum(),
    ),
    "kl to base": (
        lambda h, head, chunk: teacher_kl_sum(h, head, *teacher(h), chunk=chunk),
        lambda h, w: divergences.forward_kl(teacher_mixture(0), log_q(h, w)).sum(),
    ),
    "dpo": (lambda h, head, chunk: preference_sum(h, head, LABELS, *teacher(h), PAIRS, chunk=chunk), plain_preference),
}


def solve(loss: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    hidden, weight = HIDDEN.to(dtype).clone().requires_grad_(), WEIGHT.to(dtype).clone().requires_grad_()
    value = loss(hidden, weight)
    return [value.detach(), *torch.autograd.grad(value, (hidden, weight))]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_value_and_gradients_agree_with_the_plain_form_whatever_the_chunk(name: str, chunk: int) -> None:
    chunked, plain = CASES[name]
    for found, wanted in zip(solve(lambda h, w: chunked(h, Head(w, V), chunk)), solve(plain), strict=True):
        assert float((found - wanted).norm() / wanted.norm()) <= 1e-6


@pytest.mark.parametrize("name", CASES)
def test_float32_agrees_with_the_plain_form_in_float64(name: str) -> None:
    chunked, plain = CASES[name]
    for found, wanted in zip(solve(lambda h, w: chunked(h, Head(w, V), 5), torch.float32), solve(plain), strict=True):
        assert found.dtype == torch.float32
        assert float((found - wanted).norm() / wanted.norm()) <= 1e-5


def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient() -> None:
    value, by_hidden, by_weight = solve(lambda h, w: teacher_kl_sum(h, Head(w, V), HIDDEN, Head(WEIGHT, V)))
    assert abs(float(value)) < 1e-12 and float(by_hidden.abs().max()) < 1e-12 and float(by_weight.abs().max()) < 1e-12


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_correction_of_the_teachers_head_counts(alpha: float) -> None:
    generator = torch.Generator().manual_seed(1)
    down, up, bias = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((3, D), (PADDED, 3), (PADDED,)))
    corrected = Head(TEACHER_WEIGHT, V, Correction(down, up, bias, 0.5))
    logits = TEACHER_HIDDEN @ (TEACHER_WEIGHT + 0.5 * up @ down)[:V].T + bias[:V]
    one_hot = torch.nn.functional.one_hot(LABELS, V).double()
    mixture = (alpha * one_hot + (1 - alpha) * logits.softmax(-1)).log()

    def loss(hidden: Tensor, weight: Tensor) -> Tensor:
        return teacher_kl_sum(hidden, Head(weight, V), TEACHER_HIDDEN, corrected, labels_N=LABELS, alpha=alpha, chunk=5)

    for found, wanted in zip(solve(loss), solve(lambda h, w: divergences.forward_kl(mixture, log_q(h, w)).sum()), strict=True):
        assert float((found - wanted).norm() / wanted.norm()) <= 1e-6
    plain, *_ = solve(lambda h, w: teacher_kl_sum(h, Head(w, V), TEACHER_HIDDEN, TEACHER, labels_N=LABELS, alpha=alpha))
    assert not torch.isclose(plain, solve(loss)[0], rtol=1e-3)


def test_gem_keeps_more_entropy_than_cross_entropy_does() -> None:
    """At the optimum of cross-entropy on one token all mass is there; GEM's gradient ends while others still have some."""
    logits = torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64).requires_grad_()
    head, label = Head(torch.eye(3, dtype=torch.float64), 3), torch.tensor([0])
    (gem,) = torch.autograd.grad(gem_sum(logits, head, label, beta=0.5), logits)
    (plain,) = torch.autograd.grad(cross_entropy(logits, label, reduction="sum"), logits)
    assert 0 < float(-gem[0, 0]) < float(-plain[0, 0])


def test_dpo_starts_at_log_two_and_prefers_human_text() -> None:
    value, by_hidden, _ = solve(lambda h, w: preference_sum(h, Head(w, V), LABELS, HIDDEN, Head(WEIGHT, V), PAIRS))
    assert float(value) == pytest.approx(2 * math.log(2))
    before, after = (token_log_probs(h, Head(WEIGHT, V), LABELS) for h in (HIDDEN, HIDDEN - by_hidden))
    assert float((after - before)[:3].sum()) > 0 > float((after - before)[3:5].sum())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda head: label_smoothing_sum(HIDDEN, head, LABELS, smoothing=1.0), "0 <= smoothing < 1"),
        (lambda head: gem_sum(HIDDEN, head, LABELS, beta=0.0), "0 < beta <= 1"),
        (lambda head: teacher_kl_sum(HIDDEN, head, TEACHER_HIDDEN, Head(TEACHER_WEIGHT, V - 1)), "same tokenizer"),
        (lambda head: teacher_kl_sum(HIDDEN, head, TEACHER_HIDDEN, TEACHER, alpha=0.5), "labels where alpha > 0"),
        (lambda head: preference_sum(HIDDEN, head, LABELS, TEACHER_HIDDEN, TEACHER, PAIRS, beta=0.0), "beta > 0"),
    ],
)
def test_what_is_out_of_range_is_a_sentence(call: Callable[[Head], Tensor], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call(Head(WEIGHT, V))
