"""The training loop: LoRA towards a target distribution (`forward_kl`) or the observed tokens (`sft`), in the same code.

    loss = (1/N) Σ_t D(P_t, P_θ)  +  λ · (1/M) Σ CE(replay answers)

over the N positions of a step and the M answer tokens of its replay items (SCIENCE §2). Held-out loss is had by the same
functions and normalised the same way. Everything a step does is a function of configuration, data and the state of the
step before it, so a run that was killed and resumed ends with the same bytes as an undisturbed one.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from timbre.artifacts import digest_json, write_atomically
from timbre.config import TrainingConfig
from timbre.models import head_weight, hidden_states
from timbre.objectives.sparse_kl import cross_entropy_sum, sparse_forward_kl
from timbre.progress import Progress
from timbre.settings import settings
from timbre.training.adapters import adapter_parameters, add_adapter, copy_parameters, put_parameters
from timbre.training.checkpoints import Checkpoint, Checkpoints
from timbre.training.data import Batch, Example, collate, draw_replay, pack, plan_steps

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

CURVE = "curve.jsonl"


class DivergedError(ValueError):
    """The loss or its gradient is not a number any more."""


@dataclass(frozen=True)
class TrainingResult:
    """A trained adapter, set to its best weights, and how it came about."""

    model: "PeftModel"
    curve: Path
    """Lines {step, steps, tokens, loss, replay_loss, grad_norm, learning_rate, held_out_nll?}."""
    summary: dict[str, Any]


def train(
    model: "PreTrainedModel",
    examples: Sequence[Example],
    config: TrainingConfig,
    *,
    vocab_size: int,
    held_out: Sequence[Example] = (),
    replay: Sequence[Example] = (),
    scratch: Path,
    progress: Progress,
) -> TrainingResult:
    """Train a fresh adapter on `model`, going on from `scratch` if an earlier run of the same was ended there.

    The adapter with the lowest loss on `held_out` among the looks is kept (the last one where nothing is held out), and
    training ends after `config.patience` looks without a better one. With no epochs the adapter stays as it began:
    without effect.

    Args:
        examples: passages, with target distributions unless the objective is `sft`.
        vocab_size: true vocabulary size; rows of the head beyond it are padding.
        held_out: unseen passages; their mean NLL a token is the early-stopping measure.
        replay: items of the accuracy term, weighted by `config.replay_weight`.
        scratch: checkpoints and the growing `curve.jsonl`; keep it until the result is stored.

    Raises:
        ValueError: nothing to train on, or passages without targets for `forward_kl`.
        DivergedError: the loss is not finite; the sentence says at which step and what to lower.
    """
    with _repeatable():
        adapted = add_adapter(model, rank=config.rank, alpha=config.lora_alpha, seed=config.seed)
        run = _Run(adapted, examples, config, vocab_size, held_out, replay, scratch)
        run.resume()
        for step in progress.track(range(run.state.step + 1, len(run.steps) + 1), "training", len(run.steps), run.state.step):
            if run.state.stopped:
                break
            run.step(step)
        return run.result()


def mean_nll(model: Any, examples: Sequence[Example], *, vocab_size: int, batch_tokens: int) -> float:
    """Mean −log q of the observed tokens, in nats a token, over all positions of `examples`."""
    positions = [example.positions for example in examples]
    total = 0.0
    with torch.no_grad():
        for group in pack([index for index, count in enumerate(positions) if count], positions, batch_tokens):
            total += float(_cross_entropy(model, collate([examples[index] for index in group]), vocab_size))
    return total / sum(positions)


def learning_rate(step: int, steps: int, config: TrainingConfig) -> float:
    """Linear warm-up to the configured rate, then a half cosine that would reach 0 one step after the last."""
    warmup = math.ceil(config.warmup_share * steps)
    if step <= warmup:
        return config.learning_rate * step / warmup
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup + 1)))


@dataclass
class _State:
    """What changes from step to step, beside tensors."""

    step: int = 0
    tokens: int = 0
    stopped: bool = False
    best_nll: float | None = None
    best_step: int = 0
    looks_since_best: int = 0
    nll_before: float | None = None


class _Run:
    """One training run: model, plan and state. `resume` first, then `step` for each step that is left, then `result`."""

    def __init__(
        self, model: "PeftModel", examples: Sequence[Example], config: TrainingConfig, vocab_size: int,
        held_out: Sequence[Example], replay: Sequence[Example], scratch: Path,
    ) -> None:  # fmt: skip
        self.model, self.examples, self.config, self.vocab_size = model, examples, config, vocab_size
        self.held_out, self.scratch = held_out, scratch
        self.replay = replay if config.replay_weight > 0 and config.replay_items > 0 else ()
        _check(examples, held_out, config)
        positions = [example.positions for example in examples]
        self.steps = plan_steps(positions, epochs=config.epochs, batch_tokens=config.batch_tokens, seed=config.seed)
        self.parameters = adapter_parameters(model)
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay)
        self.state = _State()
        self.best: dict[str, Tensor] = {}
        self.checkpoints = Checkpoints(scratch / "checkpoints", self._fingerprint)

    @property
    def curve(self) -> Path:
        return self.scratch / CURVE

    @cached_property
    def _fingerprint(self) -> str:
        text = hashlib.sha256()
        for example in (*self.examples, *self.held_out, *self.replay):
            text.update(example.token_ids_T.astype("int64").tobytes() + b"|")
        return digest_json({"config": self.config.model_dump(mode="json"), "text": text.hexdigest()})

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, or begin with a look at the untrained model."""
        checkpoint = self.checkpoints.newest()
        if checkpoint is not None:
            self._restore(checkpoint)
        elif self.held_out:
            self.state.nll_before = self._look()
        rows = self.curve.read_text().splitlines() if self.curve.exists() else []
        kept = rows[: self.state.step]  # one line a step; what came after the checkpoint will come again
        write_atomically(self.curve, "".join(f"{row}\n" for row in kept).encode())

    def step(self, step: int) -> None:
        """One optimizer step, a look at held-out text when one is due, a line of the curve, a checkpoint when one is due."""
        rate = learning_rate(step, len(self.steps), self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, replay_loss, positions = self._backward(step)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip_norm))
        self._refuse_divergence(step, loss=loss, replay_loss=replay_loss, grad_norm=norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step = step
        self.state.tokens += positions
        row = {
            "step": step, "steps": len(self.steps), "tokens": self.state.tokens, "loss": loss, "replay_loss": replay_loss,
            "grad_norm": norm, "learning_rate": rate,
        }  # fmt: skip
        last = step == len(self.steps)
        if self.held_out and (step % self.config.evaluate_every == 0 or last):
            row["held_out_nll"] = self._judge(step)
        with self.curve.open("a") as curve:
            curve.write(json.dumps(row, sort_keys=True) + "\n")
        if step % self.config.checkpoint_every == 0 or last or self.state.stopped:
            self._save()

    def result(self) -> TrainingResult:
        """The best adapter and the summary."""
        state = self.state
        if self.best:
            put_parameters(self.model, self.best)
        summary = {
            "objective": self.config.objective, "steps": state.step, "steps_planned": len(self.steps), "tokens": state.tokens,
            "stopped_early": state.stopped, "best_step": state.best_step if self.best else state.step,
            "held_out_nll_before": state.nll_before, "held_out_nll": state.best_nll if self.best else state.nll_before,
            "held_out_tokens": sum(example.positions for example in self.held_out), "passages": len(self.examples),
            "replay_items": len(self.replay), "trainable_parameters": sum(value.numel() for value in self.parameters.values()),
        }  # fmt: skip
        return TrainingResult(self.model, self.curve, summary)

    def _backward(self, step: int) -> tuple[float, float | None, int]:
        """Add the gradients of both terms; returns both means and the number of target positions."""
        batch = collate([self.examples[index] for index in self.steps[step - 1]])
        loss = (_cross_entropy if self.config.objective == "sft" else _forward_kl)(self.model, batch, self.vocab_size) / batch.positions
        loss.backward()  # type: ignore[no-untyped-call]
        if not self.replay:
            return loss.item(), None, batch.positions
        drawn = draw_replay(len(self.replay), self.config.replay_items, step, self.config.seed)
        answers = collate([self.replay[index] for index in drawn])
        replay_loss = _cross_entropy(self.model, answers, self.vocab_size) / answers.positions
        (self.config.replay_weight * replay_loss).backward()  # type: ignore[no-untyped-call]
        return loss.item(), replay_loss.item(), batch.positions

    def _look(self) -> float:
        return mean_nll(self.model, self.held_out, vocab_size=self.vocab_size, batch_tokens=self.config.batch_tokens)

    def _judge(self, step: int) -> float:
        """Look at held-out text; remember the adapter if it is the best so far, else count towards stopping."""
        nll, state = self._look(), self.state
        self._refuse_divergence(step, held_out_nll=nll)
        if state.best_nll is None or nll < state.best_nll:
            state.best_nll, state.best_step, state.looks_since_best = nll, step, 0
            self.best = copy_parameters(self.model)
        else:
            state.looks_since_best += 1
            state.stopped = state.looks_since_best >= self.config.patience and step < len(self.steps)
        return nll

    def _refuse_divergence(self, step: int, **figures: float | None) -> None:
        for name, value in figures.items():
            if value is not None and not math.isfinite(value):
                raise DivergedError(
                    f"step {step}: {name.replace('_', ' ')} is {value}; lower training.learning_rate (now {self.config.learning_rate:g}) "
                    f"or training.clip_norm (now {self.config.clip_norm:g})"
                )

    def _save(self) -> None:
        tensors = {f"adapter/{name}": value for name, value in copy_parameters(self.model).items()}
        tensors |= {f"best/{name}": value.clone() for name, value in self.best.items()}
        for name, parameter in self.parameters.items():
            tensors |= {f"optimizer/{name}/{part}": value.cpu().clone() for part, value in self.optimizer.state[parameter].items()}
        self.checkpoints.save(Checkpoint(self.state.step, asdict(self.state), tensors))

    def _restore(self, checkpoint: Checkpoint) -> None:
        parts: dict[str, dict[str, Tensor]] = {"adapter": {}, "best": {}, "optimizer": {}}
        for key, value in checkpoint.tensors.items():
            kind, name = key.split("/", 1)
            parts[kind][name] = value
        put_parameters(self.model, parts["adapter"])
        self.best = parts["best"]
        for name, parameter in self.parameters.items():
            moments = {part: parts["optimizer"][f"{name}/{part}"] for part in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {part: value.to(parameter.device) for part, value in moments.items()}
            self.optimizer.state[parameter]["step"] = parts["optimizer"][f"{name}/step"]
        self.state = _State(**checkpoint.state)


def _counted_hidden(model: Any, batch: Batch) -> Tensor:
    """Hidden states of the positions that count: N×D."""
    return hidden_states(model, batch.input_ids_BT, batch.attention_mask_BT)[batch.counted_BT]


def _forward_kl(model: Any, batch: Batch, vocab_size: int) -> Tensor:
    weight = head_weight(model)
    batch = batch.to(weight.device)
    assert batch.ids_NK is not None and batch.probs_NK is not None and batch.tail_N is not None
    return sparse_forward_kl(_counted_hidden(model, batch), weight, batch.ids_NK, batch.probs_NK, batch.tail_N, vocab_size=vocab_size)


def _cross_entropy(model: Any, batch: Batch, vocab_size: int) -> Tensor:
    weight = head_weight(model)
    batch = batch.to(weight.device)
    return cross_entropy_sum(_counted_hidden(model, batch), weight, batch.labels_N, vocab_size=vocab_size)


def _check(examples: Sequence[Example], held_out: Sequence[Example], config: TrainingConfig) -> None:
    if not sum(example.positions for example in examples):
        raise ValueError("there is nothing to train on: no passage has two tokens or more")
    if config.objective != "sft" and any(example.probs_TK is None for example in examples):
        raise ValueError(f"the objective {config.objective} needs passages with target distributions; use sft for plain text")
    if held_out and not sum(example.positions for example in held_out):
        raise ValueError("the held-out passages are too short to judge by: give the corpus longer validation documents")


@contextmanager
def _repeatable() -> Iterator[None]:
    """Fixed threads and deterministic kernels while training; afterwards as it was."""
    threads, strict, warn_only = (
        torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
    )  # fmt: skip
    torch.set_num_threads(settings().threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
