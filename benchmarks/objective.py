"""The LM-head loss: time, peak memory and gradient error of the fused sparse forward KL, beside what others publish.

    python -m benchmarks.objective --json      about ten minutes on two cores, 8 GiB
    python -m benchmarks.objective --small     seconds, a tiny head

head_peak_ratio      peak of ours over plain cross-entropy at N = 2,048, both less the head's gradient (V×D)
head_peak_flatness   peak at N = 8,192 over N = 512, both less the hidden states' gradient (N×D); the head frozen
grad_error_fp64      of our gradients against dense float64 autograd over three chunks of positions, the larger of hidden states'
grad_error_fp32      and head's: norm of the difference over the norm
  …_worst_row            of the worst row, over its own norm or the mean row's if that is larger
  …_plain_worst_row      the same of dense autograd in that precision: what its rounding leaves to anyone
  …_worst_row_unclamped  over its own norm alone; no goal: rows that hardly any position pulls at are rounding to begin with
head_time_ratio      CPU time over plain cross-entropy, head trained; *_frozen with a frozen head
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.measuring import against_goals, alternate, arguments, finish, peak_bytes, ratio, show_table
from timbre.objectives import divergences
from timbre.objectives.sparse_kl import sparse_forward_kl

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Size:
    """Of the head and what is tried on it."""

    vocabulary: int
    width: int
    timed: int
    compared: int
    short: int
    long: int
    exact: int
    top_k: int = 32


FULL = Size(vocabulary=49_152, width=576, timed=512, compared=2_048, short=512, long=8_192, exact=640)
SMALL = Size(vocabulary=1_500, width=32, timed=512, compared=2_048, short=512, long=8_192, exact=640)
GOALS = {
    "head_peak_ratio": 0.10, "head_peak_flatness": 1.05, "grad_error_fp64": 1e-6, "grad_error_fp64_worst_row": 1e-6,
    "grad_error_fp32": 1e-5, "grad_error_fp32_worst_row": 1e-5,
}  # fmt: skip
"""A tenth of the memory of all logits, the same for every length (within 5%), and gradients as exact as the numbers allow."""
REASONS = {
    "head_peak_ratio": "the peak is one chunk of logits of 256 positions and the hidden states' gradient, against all N×V logits and "
    "their gradient: it falls with V over D, and a small vocabulary misses it",
    "head_peak_flatness": "what grows with N besides N×D is a few numbers a position; against the one chunk of logits of a small "
    "vocabulary they weigh more",
    **{
        f"grad_error_{precision}{row}": f"rounding of the logits in {precision}; grad_error_{precision}_plain_worst_row is what dense "
        "autograd comes to in the same precision"
        for precision in ("fp64", "fp32") for row in ("", "_worst_row")
    },
}  # fmt: skip


class Problem:
    """Hidden states, a head whose logits are as spread as a language model's, and a target near the model."""

    def __init__(self, positions: int, size: Size, dtype: torch.dtype = torch.float32) -> None:
        generator = torch.Generator().manual_seed(positions)
        self.hidden = torch.randn(positions, size.width, generator=generator).to(dtype)
        self.weight = (2.5 * size.width**-0.5 * torch.randn(size.vocabulary, size.width, generator=generator)).to(dtype)
        self.labels = torch.randint(0, size.vocabulary, (positions,), generator=generator)
        self.ids, self.probs, self.tail = (torch.cat(parts) for parts in zip(*self._target(size, generator), strict=True))

    def _target(self, size: Size, generator: torch.Generator) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Top K of the model's distribution, disturbed; in chunks."""
        rows = []
        for hidden_nD in self.hidden.split(128):
            logits_nV = hidden_nD @ self.weight.T
            p_nV = (logits_nV + torch.randn(logits_nV.shape, generator=generator)).double().softmax(-1)
            kept = p_nV.topk(size.top_k, dim=-1)
            rows.append((kept.indices, kept.values.to(self.hidden.dtype), (1 - kept.values.sum(-1)).to(self.hidden.dtype)))
        return rows

    def ours(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return sparse_forward_kl(hidden, weight, self.ids, self.probs, self.tail)

    def log_p(self) -> Tensor:
        """A dense distribution to distil: the model's own logits, disturbed."""
        return (1.1 * self.hidden @ self.weight.T).log_softmax(-1)

    def losses(self) -> dict[str, Loss]:
        log_p = self.log_p()
        return {
            "timbre, fused sparse KL": self.ours,
            "cross-entropy, full logits": lambda h, w: peers.plain_cross_entropy(h, w, self.labels),
            "cross-entropy, recomputed chunks": lambda h, w: peers.recomputed_cross_entropy(h, w, self.labels),
            "sparse KL, full logits": lambda h, w: peers.sparse_kl_with_full_logits(h, w, self.ids, self.probs, self.tail),
            "dense KL, full logits": lambda h, w: peers.dense_kl(h, w, log_p),
        }


def run(problem: Problem, loss: Loss, *, frozen: bool) -> tuple[Tensor, Tensor | None]:
    """Loss and gradients; returns these."""
    hidden, weight = problem.hidden.detach().requires_grad_(), problem.weight.detach().requires_grad_(not frozen)
    (loss(hidden, weight) / len(problem.labels)).backward()
    assert hidden.grad is not None
    return hidden.grad, weight.grad


def errors(size: Size, dtype: torch.dtype) -> dict[str, float]:
    """Of our gradients in `dtype` against dense float64 autograd on the same numbers, by the end of the figure's name."""
    problem = Problem(size.exact, size, dtype)
    exact = _dense_gradients(problem, torch.float64)
    norm, worst, unclamped = _distances(run(problem, problem.ours, frozen=False), exact)
    plain = _distances(_dense_gradients(problem, dtype), exact)[1]
    return {"": norm, "_worst_row": worst, "_plain_worst_row": plain, "_worst_row_unclamped": unclamped}


def _dense_gradients(problem: Problem, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """By autograd through all N×V log-probabilities."""
    hidden, weight = problem.hidden.to(dtype, copy=True).requires_grad_(), problem.weight.to(dtype, copy=True).requires_grad_()
    log_p = torch.cat([problem.probs.to(dtype), problem.tail.to(dtype).unsqueeze(-1)], -1).log()
    loss = divergences.forward_kl(log_p, divergences.bucketed((hidden @ weight.T).log_softmax(-1), problem.ids)).sum()
    return torch.autograd.grad(loss / len(problem.labels), (hidden, weight))


def _distances(found: Sequence[Tensor | None], exact: Sequence[Tensor]) -> tuple[float, float, float]:
    """Of both gradients the larger: over the whole norm, of the worst row (see the head of this file), and that unclamped."""
    norm, worst, unclamped = 0.0, 0.0, 0.0
    for ours, wanted in zip(found, exact, strict=True):
        assert ours is not None
        gap = ours.double() - wanted
        norm = max(norm, float(gap.norm() / wanted.norm()))
        rows, gaps = wanted.norm(dim=-1), gap.norm(dim=-1)
        worst = max(worst, float((gaps / rows.clamp_min(float(rows.mean()))).max()))
        unclamped = max(unclamped, float((gaps[rows > 0] / rows[rows > 0]).max()))
    return norm, worst, unclamped


def main() -> None:
    """Measure, show, and print the figures."""
    given = arguments(__doc__)
    size = SMALL if given.small else FULL
    timed = Problem(size.timed, size)
    losses = timed.losses()
    trained = alternate({name: partial(run, timed, loss, frozen=False) for name, loss in losses.items()}, given.rounds)
    frozen = alternate({name: partial(run, timed, loss, frozen=True) for name, loss in losses.items()}, given.rounds)
    del timed, losses

    compared = Problem(size.compared, size)
    head_bytes = size.vocabulary * size.width * 4
    peaks = {name: peak_bytes(partial(run, compared, loss, frozen=False)) - head_bytes for name, loss in compared.losses().items()}
    del compared
    flat = []
    for positions in (size.long, size.short):
        problem = Problem(positions, size)
        flat.append(peak_bytes(partial(run, problem, problem.ours, frozen=True)) - positions * size.width * 4)

    ours, plain = "timbre, fused sparse KL", "cross-entropy, full logits"
    times = {name: ratio(trained, name, plain) for name in trained}
    times_frozen = {name: ratio(frozen, name, plain) for name in frozen}
    memory = {name: peaks[name] / peaks[plain] for name in peaks}
    print(f"LM head {size.vocabulary:,} × {size.width}, K = {size.top_k}; time at N = {size.timed}, peak at N = {size.compared:,}\n")
    show_table(
        ["", "time", "time, frozen", "peak", "peak MiB"],
        [[name, times[name], times_frozen[name], memory[name], peaks[name] / 2**20] for name in times],
    )
    found = {
        "head_time_ratio": times[ours], "head_time_ratio_frozen": times_frozen[ours],
        "head_peak_ratio": memory[ours], "head_peak_flatness": flat[0] / flat[1],
        **{f"grad_error_fp64{end}": error for end, error in errors(size, torch.float64).items()},
        **{f"grad_error_fp32{end}": error for end, error in errors(size, torch.float32).items()},
    }  # fmt: skip
    print()
    _, missed = against_goals(found, GOALS, reasons=REASONS)
    more = {"times": times, "times_frozen": times_frozen, "peak_bytes": peaks, "error_positions": size.exact, "missed": missed}
    finish(found | more, given, memory, "Peak memory of the LM-head loss", "over plain cross-entropy", "objective")


if __name__ == "__main__":
    main()
