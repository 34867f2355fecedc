"""The training loop: towards a target distribution (`forward_kl`), or by any other objective, in the same code.

    loss = (1/N) Σ_t D(P_t, P_θ)  +  λ · (1/M) Σ CE(replay answers)  +  μ · (1/L) Σ KL(P_base ‖ P_θ on neutral prompts)

over the N positions of a step, the M answer tokens of its replay items and the L positions of its prompts;
a step may be several backward passes, and several processes, and is divided by its own N, M and L all the same. Held-out
loss is had by the same functions and normalised the same way. Everything a step does is a function of configuration, data
and the state of the step before it, so a run that was killed and resumed ends with the same bytes as an undisturbed one.
"""

import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from timbre import budget
from timbre.artifacts import digest_json, write_atomically
from timbre.config import TrainingConfig
from timbre.models.loading import CUBLAS
from timbre.objectives.objective import objective
from timbre.progress import Progress
from timbre.settings import settings
from timbre.training.adapters import adapter_parameters, copy_parameters, like, prepare, put_adapter, put_parameters, whole
from timbre.training.checkpoints import Checkpoint, Checkpoints
from timbre.training.completions import TOLERANCE, Stretch
from timbre.training.data import Example, collate, pack, plan_steps
from timbre.training.gradients import Gradients
from timbre.training.outline import fill
from timbre.training.parallel import World, clip, shard
from timbre.training.preferences import preference_pairs
from timbre.training.reading import Examples, Groups, digest_of
from timbre.training.sharded import ShardedCheckpoints, shards_of
from timbre.training.student import Student

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CURVE = "curve.jsonl"


class DivergedError(ValueError):
    """The loss or its gradient is not a number any more."""


@dataclass(frozen=True)
class TrainingResult:
    """A trained adapter, set to its best weights, and how it came about."""

    model: Any
    curve: Path
    """Lines {step, steps, tokens, loss, replay_loss, base_kl?, grad_norm, learning_rate, held_out_nll?}; step 0 has no loss yet."""
    summary: dict[str, Any]


def train(
    model: "PreTrainedModel",
    examples: Sequence[Example],
    config: TrainingConfig,
    *,
    vocab_size: int,
    held_out: Sequence[Example] = (),
    replay: Sequence[Example] = (),
    stretch: Stretch | None = None,
    scratch: Path,
    progress: Progress,
    weights: Path | None = None,
) -> TrainingResult:
    """Train a fresh adapter, of the kind `config.adapter`, going on from `scratch` if an earlier run of the same was ended there.

    The adapter with the lowest loss on `held_out` among the looks is kept (the last one where nothing is held out), and
    training ends after `config.patience` looks without a better one. The look before the first step is one of them: training
    that only harms gives back the model as it began, warns, and says `kept_untrained` in the summary. With no epochs the
    adapter stays as it began: without effect.

    Args:
        examples: passages, with target distributions where the objective needs them. `Examples.stored` reads them from a target
            as the steps need them, so that memory does not grow with their number.
        vocab_size: true vocabulary size; rows of the head beyond it are padding.
        held_out: unseen passages; their mean NLL a token is the early-stopping measure.
        replay: items of the accuracy term, weighted by `config.replay_weight`; their prompts are neutral for the KL to base.
        stretch: go on from this adapter instead of a fresh one, with completions beside the examples. The last look at which held-out
            text is at most .01 nats less likely than at the start is kept, and training ends with the first beyond that.
        scratch: checkpoints and the growing `curve.jsonl`; keep it until the result is stored.
        weights: the folder that an outline (`timbre.training.outline`) gets its weights from, once it is sharded.

    Raises:
        ValueError: nothing to train on, or passages without targets for an objective that needs them.
        DivergedError: the loss is not finite; the sentence says at which step and what to lower.
    """
    with _repeatable():
        examples = examples if isinstance(examples, Examples) else Examples.listed(examples)
        _check(examples, held_out, config)
        world = World.here()
        if config.objective == "dpo":
            options: dict[str, Any] = {"prompt_tokens": config.dpo_prompt_tokens, "vocab_size": vocab_size, "seed": config.seed}
            groups = preference_pairs(model, examples, **options, scratch=scratch, progress=progress, world=world)
        else:
            groups = Groups.singles(examples)
        prepared = prepare(model, config)
        if stretch is not None:
            put_adapter(prepared, stretch.start)
        run = _Run(prepared, groups, config, vocab_size, held_out, replay, scratch, world, stretch, weights)
        run.resume()
        for step in progress.track(range(run.state.step + 1, len(run.steps) + 1), "training", len(run.steps), run.state.step):
            if run.state.stopped:
                break
            run.step(step)
        return run.result()


def _mean_nll(student: Student, examples: Sequence[Example], batch_tokens: int, world: World) -> float:
    """Mean −log q of the observed tokens, in nats a token, over all positions.

    Each process reads its share. Sharded weights meet in every batch, so there all read all.
    """
    positions = [example.positions for example in examples]
    batches = pack([index for index, count in enumerate(positions) if count], positions, batch_tokens)
    shared = world.size > 1 and student.shared_looks
    total = torch.zeros((), dtype=torch.float64, device=student.device)  # read back once, at the end
    with torch.no_grad():
        for group in batches[world.rank :: world.size] if shared else batches:
            total += student.cross_entropy(collate([examples[index] for index in group], packed=student.packing))
    return (world.total([total.item()])[0] if shared else total.item()) / sum(positions)


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
        self, model: Any, groups: Groups, config: TrainingConfig, vocab_size: int,
        held_out: Sequence[Example], replay: Sequence[Example], scratch: Path, world: World, stretch: Stretch | None, weights: Path | None,
    ) -> None:  # fmt: skip
        self.model, self.groups, self.config, self.vocab_size = model, groups, config, vocab_size
        self.held_out, self.scratch, self.world, self.stretch = held_out, scratch, world, stretch
        self.student = Student(model, config, vocab_size)
        self.sharded = world.size > 1 and config.sharding == "fsdp2"
        if self.sharded:
            shard(self.student, model)
            if weights is not None:
                fill(model, weights)
            self.student.settle()
        self.gradients = Gradients(self.student, config, world, groups, replay, stretch)
        self.steps = plan_steps(
            self.gradients.positions, epochs=config.epochs, batch_tokens=config.batch_tokens * world.size, seed=config.seed
        )
        self.parameters = adapter_parameters(model)
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay)
        self.state = _State()
        self.best: dict[str, Tensor] = {}
        folder, fingerprint = scratch / "checkpoints", self._fingerprint(replay)
        self.checkpoints = ShardedCheckpoints(folder, fingerprint, world) if self.sharded else Checkpoints(folder, fingerprint)

    @property
    def curve(self) -> Path:
        return self.scratch / CURVE

    def _fingerprint(self, replay: Sequence[Example]) -> str:
        data: list[Any] = [self.groups.digest, digest_of(self.held_out), digest_of(replay)]
        if self.stretch is not None:
            own = copy_parameters(self.model)  # where it starts from
            data += [digest_of(self.stretch.plan), {name: [value.double().sum().item()] for name, value in own.items()}]
            data += [self.stretch.a_step, self.stretch.weight]
        return digest_json({"config": self.config.model_dump(mode="json"), "data": data, "vocab_size": self.student.vocab_size})

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, or begin with a look at the untrained model."""
        stored = self.checkpoints
        checkpoint = stored.newest(self.parameters) if isinstance(stored, ShardedCheckpoints) else stored.newest()
        if checkpoint is not None:
            self._restore(checkpoint)
        elif self.held_out:
            self.state.nll_before = before = self._look()
            if self.steps and math.isfinite(before):
                self.state.best_nll, self.best = before, copy_parameters(self.model, shards=self.sharded)
        rows = self.curve.read_text().splitlines() if self.curve.exists() else []
        untrained = self._untrained_row()
        kept = rows[len(untrained) :][: self.state.step]  # one line a step; what came after the checkpoint will come again
        self.world.wait()  # until all have read what one of them may now write
        if self.world.first:
            write_atomically(self.curve, "".join(f"{row}\n" for row in [*untrained, *kept]).encode())

    def _untrained_row(self) -> list[str]:
        """Where the curve begins: the look at held-out text before the first step, if there was one."""
        nll = self.state.nll_before
        if nll is None or not math.isfinite(nll):
            return []
        return [json.dumps({"step": 0, "steps": len(self.steps), "tokens": 0, "held_out_nll": nll}, sort_keys=True)]

    def step(self, step: int) -> None:
        """One optimizer step, a look at held-out text when one is due, a line of the curve, a checkpoint when one is due."""
        rate = learning_rate(step, len(self.steps), self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        means = self.gradients.add(step, self.steps[step - 1])
        norm = clip(self.parameters.values(), self.config.clip_norm)
        self._refuse_divergence(
            step,
            loss=means.loss,
            replay_loss=means.replay_loss,
            base_kl=means.base_kl,
            completions_loss=means.completions_loss,
            grad_norm=norm,
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step = step
        self.state.tokens += means.positions
        row = {
            "step": step, "steps": len(self.steps), "tokens": self.state.tokens, "loss": means.loss, "replay_loss": means.replay_loss,
            "grad_norm": norm, "learning_rate": rate,
        }  # fmt: skip
        if means.base_kl is not None:
            row["base_kl"] = means.base_kl
        if means.completions_loss is not None:
            row["completions_loss"] = means.completions_loss
        last = step == len(self.steps)
        if self.held_out and (step % self.config.evaluate_every == 0 or last):
            row["held_out_nll"] = self._judge(step)
        if self.world.first:
            with self.curve.open("a") as curve:
                curve.write(json.dumps(row, sort_keys=True) + "\n")
        if step % self.config.checkpoint_every == 0 or last or self.state.stopped:
            self._save()
            if not (last or self.state.stopped):
                budget.check(f"behind the checkpoint of step {step}", before=self._finish)

    def result(self) -> TrainingResult:
        """The best adapter and the summary."""
        state = self.state
        self._finish()
        if self.best:
            put_parameters(self.model, self.best)
        untrained = bool(self.best) and state.best_step == 0
        if untrained and self.world.first:
            advice = "lower training.learning_rate, or give more text"
            if self.stretch is not None:
                advice = (
                    f"completions cost more than {TOLERANCE} nats: lower target.sequence.learning_rate, or raise target.sequence.anchor"
                )
            warnings.warn(
                f"no look after step 0 found held-out text likelier than the untrained model does ({state.best_nll:.3f} nats a token), so "
                f"the model is given back as it was: {advice}",
                stacklevel=3,
            )
        summary = {
            "objective": self.config.objective, "steps": state.step, "steps_planned": len(self.steps), "tokens": state.tokens,
            "stopped_early": state.stopped, "best_step": state.best_step if self.best else state.step,
            "kept_untrained": untrained,
            "held_out_nll_before": state.nll_before, "held_out_nll": state.best_nll if self.best else state.nll_before,
            "held_out_tokens": sum(example.positions for example in self.held_out), "passages": len(self.groups),
            "replay_items": len(self.gradients.replay), "trainable_parameters": sum(value.numel() for value in self.parameters.values()),
        }  # fmt: skip
        return TrainingResult(self.model, self.curve, summary)

    def _look(self) -> float:
        return _mean_nll(self.student, self.held_out, self.config.batch_tokens, self.world)

    def _judge(self, step: int) -> float:
        """Look at held-out text; remember the adapter if it is the best so far, else count towards stopping."""
        nll, state = self._look(), self.state
        self._refuse_divergence(step, held_out_nll=nll)
        if self._is_good(nll):
            state.best_nll, state.best_step, state.looks_since_best = nll, step, 0
            self.best = {}  # the one before goes first: of all weights, two at a time are much
            self.best = copy_parameters(self.model, shards=self.sharded)
        else:
            state.looks_since_best += 1
            patience = self.config.patience if self.stretch is None else 1
            state.stopped = state.looks_since_best >= patience and step < len(self.steps)
        return nll

    def _is_good(self, nll: float) -> bool:
        """Whether a look is to be remembered: the best so far; after a start from an adapter, one that is hardly worse than it."""
        if self.stretch is not None and self.state.nll_before is not None:
            return nll <= self.state.nll_before + TOLERANCE
        return self.state.best_nll is None or nll < self.state.best_nll

    def _refuse_divergence(self, step: int, **figures: float | None) -> None:
        for name, value in figures.items():
            if value is not None and not math.isfinite(value):
                raise DivergedError(
                    f"step {step}: {name.replace('_', ' ')} is {value}; lower training.learning_rate (now {self.config.learning_rate:g}) "
                    f"or training.clip_norm (now {self.config.clip_norm:g})"
                )

    def _save(self) -> None:
        if isinstance(self.checkpoints, ShardedCheckpoints):
            shards = shards_of(self.parameters, self.best, self.optimizer)
            self.checkpoints.save(Checkpoint(self.state.step, asdict(self.state), shards))
            return
        tensors = {f"adapter/{name}": _at_hand(parameter.detach()) for name, parameter in self.parameters.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        for name, parameter in self.parameters.items():
            tensors |= {f"optimizer/{name}/{part}": _at_hand(value) for part, value in self.optimizer.state[parameter].items()}
        if self.world.first:
            self.checkpoints.save(Checkpoint(self.state.step, asdict(self.state), tensors))

    def _finish(self) -> None:
        """Until a checkpoint that is written in the background is there."""
        if isinstance(self.checkpoints, ShardedCheckpoints):
            self.checkpoints.finish()

    def _restore(self, checkpoint: Checkpoint) -> None:
        parts: dict[str, dict[str, Tensor]] = {"adapter": {}, "best": {}, "optimizer": {}}
        for key, value in checkpoint.tensors.items():
            kind, name = key.split("/", 1)
            parts[kind][name] = value
        put_parameters(self.model, parts["adapter"])
        self.best = parts["best"]
        for name, parameter in self.parameters.items():
            if f"{name}/step" not in parts["optimizer"]:  # it never had a gradient, and so no moments
                continue
            moments = {part: parts["optimizer"][f"{name}/{part}"] for part in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {part: like(value.to(parameter.device), parameter) for part, value in moments.items()}
            self.optimizer.state[parameter]["step"] = parts["optimizer"][f"{name}/step"]
        self.state = _State(**checkpoint.state)


_OF_ONE_OBJECTIVE = {
    "tail": "forward_kl", "jsd_beta": "jsd", "smoothing": "label_smoothing", "gem_beta": "gem", "teacher_alpha": "resident_teacher",
    "dpo_beta": "dpo", "dpo_prompt_tokens": "dpo",
}  # fmt: skip


def _check(examples: Examples, held_out: Sequence[Example], config: TrainingConfig) -> None:
    if not sum(examples.positions):
        raise ValueError("there is nothing to train on: no passage has two tokens or more")
    if objective(config.objective).needs == "targets" and not examples.targets:
        raise ValueError(f"the objective {config.objective} needs passages with target distributions; use sft for plain text")
    if held_out and not sum(example.positions for example in held_out):
        raise ValueError("the held-out passages are too short to judge by: give the corpus longer validation documents")
    for name, owner in _OF_ONE_OBJECTIVE.items():
        if config.objective != owner and getattr(config, name) != TrainingConfig.model_fields[name].default:
            warnings.warn(f"training.{name} is a setting of {owner} and is ignored by {config.objective}", stacklevel=3)
    if config.processes == 1 and config.sharding != "replicate":
        warnings.warn("training.sharding is ignored with one process: set training.processes", stacklevel=3)


def _at_hand(tensor: Tensor) -> Tensor:
    """A tensor as it can be written: whole, on the CPU, in one piece; there it is not copied."""
    return whole(tensor).cpu().contiguous()


@contextmanager
def _repeatable() -> Iterator[None]:
    """Fixed threads and deterministic kernels while training; afterwards as it was, but for the environment that cuBLAS reads once.

    Memory that is about to be written is not filled first, as torch does in this mode to show who reads it too early.
    """
    filling: Any = torch.utils.deterministic  # torch has no stub for it
    threads, strict, warn_only, filled = (
        torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
        filling.fill_uninitialized_memory,
    )  # fmt: skip
    os.environ.setdefault(*CUBLAS)
    torch.set_num_threads(settings().threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    filling.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        filling.fill_uninitialized_memory = filled
