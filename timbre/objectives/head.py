"""The LM head and a loss on it, chunk by chunk: no tensor of positions × vocabulary lives longer than one chunk.

A `Kernel` says what the loss of a few positions is and, in the very buffer that held their logits, what its gradient by
the logits is. `head_loss` multiplies that on to the hidden states and to whatever of the head is trained, in the forward
pass; the backward pass only scales. A frozen head costs no gradient.

Under autocast the products run in its low precision; logits, softmax, losses and the head's summed gradient stay float32
(float64 for float64 input).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from timbre.models import logits

SMALL_CHUNK = 64
"""Positions at a time where autograd keeps some copies of a chunk."""

Kernel = Callable[[Tensor, slice, bool], Tensor]
"""(logits_nV, rows, gradient?) -> losses_n; where a gradient is wanted, logits_nV is overwritten with ∂Σ losses/∂logits."""


@dataclass(frozen=True)
class Correction:
    """A low-rank term and a bias on the logits: z = h·Wᵀ + scale·(h·downᵀ)·upᵀ + bias."""

    down_RD: Tensor
    up_VR: Tensor
    bias_V: Tensor
    scale: float

    def operands(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms as one product x·uᵀ: x N×(R+1), u V×(R+1)."""
        wide = torch.promote_types(hidden_ND.dtype, self.down_RD.dtype)
        inner_NR = self.scale * (hidden_ND.to(wide) @ self.down_RD.to(wide).T)
        ones_N1 = inner_NR.new_ones(inner_NR.shape[0], 1)
        return torch.cat([inner_NR, ones_N1], -1), torch.cat([self.up_VR, self.bias_V.unsqueeze(-1)], -1)


@dataclass(frozen=True)
class Head:
    """What turns hidden states into logits."""

    weight_VD: Tensor
    vocab_size: int
    """True vocabulary size: rows from here on are padding and get no probability."""
    correction: Correction | None = None


def head_loss(hidden_ND: Tensor, head: Head, kernel: Kernel, *, chunk: int) -> Tensor:
    """Sum of the kernel's losses over N positions, a scalar at least in float32.

    Args:
        chunk: positions worked on at a time; moves memory and speed, not the value.

    Raises:
        ValueError: a vocabulary that the head has no rows for, or a chunk below 1.
    """
    rows = head.weight_VD.shape[0]
    if not 0 < head.vocab_size <= rows:
        raise ValueError(f"a vocabulary of {head.vocab_size} needs as many head rows; there are {rows}")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    inner, outer = head.correction.operands(hidden_ND) if head.correction is not None else (None, None)
    plan = _Plan(kernel, chunk, head.vocab_size, *(_wants_gradient(part) for part in (hidden_ND, head.weight_VD, inner, outer)))
    loss: Tensor = _HeadLoss.apply(hidden_ND, head.weight_VD, inner, outer, plan)  # type: ignore[no-untyped-call]
    return loss


def differentiated(loss: Callable[[Tensor, slice], Tensor]) -> Kernel:
    """A kernel from a plain loss (log_q_nV, rows) -> losses_n, its gradient by autograd within the chunk.

    For the objectives that are not worth a closed form: right by construction, some chunks of memory more.
    """

    def kernel(logits_nV: Tensor, rows: slice, gradient: bool) -> Tensor:
        if not gradient:
            return loss(logits_nV.log_softmax(-1), rows)
        with torch.enable_grad():
            leaf_nV = logits_nV.detach().requires_grad_()
            losses_n = loss(leaf_nV.log_softmax(-1), rows)
            (found_nV,) = torch.autograd.grad(losses_n.sum(), leaf_nV)
        logits_nV.copy_(found_nV)
        return losses_n.detach()

    return kernel


@dataclass(frozen=True)
class _Plan:
    """What one call computes, and for which operands a gradient is wanted."""

    kernel: Kernel
    chunk: int
    vocab_size: int
    hidden: bool
    weight: bool
    inner: bool
    outer: bool

    @property
    def gradient(self) -> bool:
        return self.hidden or self.weight or self.inner or self.outer


class _HeadLoss(torch.autograd.Function):
    """Loss and gradients in one pass; `backward` only scales what `forward` has built."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, inner_NR: Tensor | None, outer_VR: Tensor | None, plan: _Plan) -> Tensor:
        compute, accumulated = _compute_dtype(hidden_ND), accumulation_dtype(hidden_ND)
        head_VD, states_ND = weight_VD[: plan.vocab_size].to(compute), hidden_ND.to(compute)
        losses_N = hidden_ND.new_zeros(hidden_ND.shape[0], dtype=accumulated)
        gradients = _Gradients(hidden_ND, weight_VD, inner_NR, outer_VR, plan, accumulated)
        with torch.autocast(device_type=hidden_ND.device.type, enabled=False):
            for start in range(0, hidden_ND.shape[0], plan.chunk):
                rows = slice(start, start + plan.chunk)
                logits_nV = product(states_ND[rows], head_VD, accumulated)
                if inner_NR is not None and outer_VR is not None:
                    logits_nV.addmm_(inner_NR[rows].to(accumulated), outer_VR[: plan.vocab_size].to(accumulated).T)
                losses_N[rows] = plan.kernel(logits_nV, rows, plan.gradient)
                if plan.gradient:
                    gradients.add(rows, logits_nV, states_ND[rows], head_VD)
                del logits_nV  # before the next chunk's are made
        ctx.save_for_backward(*gradients.finished())
        return losses_N.sum()

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        """In place: a second pass over the same graph finds its tensors changed, and autograd refuses it by name."""
        scale = outputs[0]
        scaled = (None if part is None else part.mul_(scale.to(part.dtype)) for part in ctx.saved_tensors)
        return (*scaled, None)


class _Gradients:
    """Gradients by hidden states, head and the correction's two operands, filled chunk by chunk; None where unwanted."""

    def __init__(
        self, hidden_ND: Tensor, weight_VD: Tensor, inner_NR: Tensor | None, outer_VR: Tensor | None, plan: _Plan, accumulated: torch.dtype
    ) -> None:  # fmt: skip
        self._plan, self._inner, self._outer = plan, inner_NR, outer_VR
        self._weight_dtype = weight_VD.dtype
        self.hidden = torch.empty_like(hidden_ND) if plan.hidden else None
        self.weight = torch.zeros_like(weight_VD, dtype=accumulated) if plan.weight else None
        self.inner = torch.empty_like(inner_NR) if inner_NR is not None and plan.inner else None
        self.outer = torch.zeros_like(outer_VR, dtype=accumulated) if outer_VR is not None and plan.outer else None

    def add(self, rows: slice, exact_nV: Tensor, states_nD: Tensor, head_VD: Tensor) -> None:
        gradient_nV = exact_nV.to(head_VD.dtype)  # the same memory, except under bf16
        if self.hidden is not None and self.hidden.dtype == gradient_nV.dtype:
            torch.mm(gradient_nV, head_VD, out=self.hidden[rows])
        elif self.hidden is not None:
            self.hidden[rows] = gradient_nV @ head_VD
        if self.weight is not None:
            _add_product(self.weight[: self._plan.vocab_size], gradient_nV, states_nD)
        if self._inner is not None and self._outer is not None:
            if self.inner is not None:
                self.inner[rows] = (exact_nV @ self._outer[: self._plan.vocab_size].to(exact_nV.dtype)).to(self.inner.dtype)
            if self.outer is not None:
                _add_product(self.outer[: self._plan.vocab_size], exact_nV, self._inner[rows].to(exact_nV.dtype))

    def finished(self) -> tuple[Tensor | None, ...]:
        weight = self.weight.to(self._weight_dtype) if self.weight is not None else None
        outer = self.outer.to(self._outer.dtype) if self.outer is not None and self._outer is not None else None
        return self.hidden, weight, self.inner, outer


def _add_product(sum_VD: Tensor, left_nV: Tensor, right_nD: Tensor) -> None:
    """sum += leftᵀ·right, without a V×D product beside it where the types agree."""
    if sum_VD.dtype == left_nV.dtype:
        sum_VD.addmm_(left_nV.T, right_nD)
    else:
        sum_VD += left_nV.T @ right_nD


def product(states_nD: Tensor, head_VD: Tensor, dtype: torch.dtype) -> Tensor:
    """states·headᵀ in `dtype`; on CUDA never rounded to bf16 on the way, on a CPU as its bf16 product gives it."""
    return (logits(states_nD, head_VD) if states_nD.is_cuda else states_nD @ head_VD.T).to(dtype)


def accumulation_dtype(hidden: Tensor) -> torch.dtype:
    """What losses and softmax are computed in: float64 for float64, else float32."""
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def _compute_dtype(hidden: Tensor) -> torch.dtype:
    """What the products with the head run in: autocast's precision where it is on."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) and hidden.dtype != torch.float64 else hidden.dtype


def _wants_gradient(part: Tensor | None) -> bool:
    return part is not None and torch.is_grad_enabled() and part.requires_grad


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Σ over the last axis of left·right, without their product in memory."""
    product: Tensor = torch.linalg.vecdot(left, right)
    return product
