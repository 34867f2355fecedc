"""A whole training step: forward and backward of the model with the stored-target objective, beside what others publish.

    python -m benchmarks.step --json      the packaged model: about ten minutes on two idle cores, 10 GiB
    python -m benchmarks.step --small     seconds, a tiny random model

step_ratio_full              full fine-tuning, ours over transformers' own loss
step_ratio_lora              LoRA, ours over transformers' own loss under peft with a frozen head
step_ratio_lora_chunked_sft  LoRA, ours over our own chunked cross-entropy
kd_step_ratio                LoRA, a resident teacher of the same size (full logits) over transformers' own loss
total_cost_ratio             cross-fitting, scoring and five epochs of training over five epochs of SFT, from these steps
total_cost_ratio_one_epoch   the same with one epoch of cross-fitting (target.reference_epochs) instead of the default's two
second_student_ratio         five epochs on a target that stands already over five epochs of SFT; reading it is counted
admission_share              what the admission test of the default configuration adds to that, in the same unit: its tokens scored
                             by the base model and each fold's adapter. It does not grow with the training text
read_share_of_step           reading a step's rows from the store into a batch, over our LoRA step

Scoring is the release's own path: the network with its adapter apart, the K likeliest tokens and the tail, the observed token
mixed in, rows written to a store. CPU time in alternation, one process, always on the CPU in float32; the optimizer's update is
the same for all and left out. SFT in the cost ratios is transformers' own loss under peft.
"""

import copy
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from benchmarks.measuring import Times, against_goals, alternate, arguments, finish, on_the_cpu, ratio, show_table
from timbre.config import TargetConfig, TrainingConfig
from timbre.corpus.passages import Passage
from timbre.store import StoreHeader, TargetReader, TargetRow, TargetWriter
from timbre.targets.rows import target_row
from timbre.targets.scoring import PlainModel, Wanted, score_with
from timbre.training.adapters import prepare
from timbre.training.data import Batch, Example, collate
from timbre.training.student import Student

EPOCHS, FOLDS, TOP_K = 5, 2, 32
GOALS = {
    "step_ratio_full": 1.02,
    "step_ratio_lora": 0.95,
    "total_cost_ratio": 1.30,
    "second_student_ratio": 1.02,
    "read_share_of_step": 0.01,
}
REASONS = {
    "step_ratio_full": "only the head's loss differs, the rest of the step is the same code: a small head beside the blocks moves little",
    "step_ratio_lora": "autograd skips a frozen head's gradient for the peer, too: what is left to save is the memory traffic of "
    "N×V logits, a few percent of a step whose blocks take the rest",
    "total_cost_ratio": "two epochs of cross-fitting, each document in one of two folds, are 2/5 of five epochs, and scoring is a forward "
    "pass and its top K: with one epoch of cross-fitting, see total_cost_ratio_one_epoch",
    "second_student_ratio": "our LoRA step and the reading of its rows, against transformers' own loss",
    "read_share_of_step": "dequantising K probabilities a position and collating them, against a step; small models have short steps",
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Of one step."""

    passages: int
    tokens: int


class StepData:
    """A model, and a step's worth of passages with targets, as the store gives them back."""

    def __init__(self, model: Any, vocab_size: int, size: Size, folder: Path) -> None:
        self.model, self.vocab_size = model, vocab_size
        random = np.random.default_rng(0)
        header = StoreHeader(
            top_k=TOP_K, vocab_size=vocab_size, tokenizer_digest="", corpus_digest="", model_digest="", folds=FOLDS,
            temperature=1.0, alpha=0.5, seed=0,
        )  # fmt: skip
        self._header, self._scratch = header, folder.parent / "scored"
        with TargetWriter(folder, header) as writer:
            for number in range(size.passages):
                writer.append(_row(number, size.tokens + 1, vocab_size, random))
        self.reader = TargetReader(folder)
        self.passages = [Passage(row.doc_id, row.index, 0, "", row.token_ids_T.astype(np.int32)) for row in self.reader]
        self.batch: Batch = self.read()

    def read(self) -> Batch:
        """A step's rows from the store, as training reads them."""
        return collate([Example.of_row(row) for row in self.reader])

    def score(self, network: Any) -> None:
        """A step's passages scored by the reference as `timbre.targets.shards` does it, mixed and written to a store."""
        scores = score_with(PlainModel(network, 1.0, self.vocab_size), self.passages, Wanted(TOP_K), TargetConfig().batch_tokens)
        shutil.rmtree(self._scratch, ignore_errors=True)
        with TargetWriter(self._scratch, self._header) as writer:
            for place, scored in sorted(scores, key=lambda found: found[0]):
                writer.append(target_row(self.passages[place], scored, self._header.alpha, None, None, self.vocab_size, None))


def _row(number: int, tokens: int, vocab_size: int, random: np.random.Generator) -> TargetRow:
    """Random tokens with half of the mass on the observed one, the rest falling off over others, a tenth in the tail."""
    token_ids = random.integers(0, vocab_size, tokens).astype(np.int32)
    ids = np.stack([_ids(observed, vocab_size, random) for observed in token_ids[1:]])
    probs = np.broadcast_to(0.4 * 0.8 ** np.arange(TOP_K), ids.shape).astype(np.float32).copy()
    probs *= 0.4 / probs.sum(axis=1, keepdims=True)
    probs[ids == token_ids[1:, None]] += 0.5
    return TargetRow(f"passage-{number}", 0, token_ids, ids, probs, (1 - probs.sum(axis=1)).astype(np.float32))


def _ids(observed: int, vocab_size: int, random: np.random.Generator) -> Any:
    others = random.choice(vocab_size - 1, TOP_K - 1, replace=False)
    return np.sort(np.append(others + (others >= observed), observed)).astype(np.int32)


def steps(step_data: StepData, adapter: str) -> dict[str, Callable[[], Any]]:
    """What is compared, on one and the same trainable network; with LoRA also what a target costs besides."""
    network = prepare(copy.deepcopy(step_data.model), TrainingConfig(adapter="full" if adapter == "full" else "lora"))
    ours, sft = (Student(network, TrainingConfig(objective=name), step_data.vocab_size) for name in ("forward_kl", "sft"))
    teacher = copy.deepcopy(step_data.model) if adapter == "full" else None
    batch = step_data.batch
    ids, mask = batch.input_ids_BT, batch.attention_mask_BT
    labels_BT = torch.full_like(ids, -100)
    labels_BT[batch.counted_BT] = batch.labels_N

    def step(loss: Callable[[], Tensor]) -> None:
        network.zero_grad(set_to_none=True)
        loss().backward()

    def transformers_loss() -> Tensor:
        value: Tensor = network(input_ids=ids, attention_mask=mask, labels=labels_BT, shift_labels=labels_BT).loss
        return value

    def resident_teacher() -> Tensor:
        with torch.no_grad():
            if teacher is not None:
                log_p = teacher(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
            else:
                with network.disable_adapter():
                    log_p = network(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
        log_q = network(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
        return kl_div(log_q, log_p, reduction="sum", log_target=True) / batch.positions

    losses: dict[str, Callable[[], Tensor]] = {
        "timbre": lambda: ours.total(batch) / batch.positions,
        "timbre, chunked SFT": lambda: sft.total(batch) / batch.positions,
        "transformers' loss": transformers_loss,
        "resident teacher": resident_teacher,
    }
    trained: dict[str, Callable[[], Any]] = {name: partial(step, loss) for name, loss in losses.items()}
    return trained if adapter == "full" else trained | {"score": partial(step_data.score, network), "read": step_data.read}


def load(small: bool) -> tuple[Any, int, Size]:
    """Model in float32 on the CPU, true vocabulary size, and the size of a step."""
    if small:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=2_000, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128
        )
        return LlamaForCausalLM(config).eval(), 2_000, Size(4, 64)
    from timbre.artifacts import ArtifactStore
    from timbre.config import ModelConfig
    from timbre.models import load_model, model_facts, resolve_model
    from timbre.settings import settings

    model = resolve_model(ModelConfig(), ArtifactStore(settings().home))
    return load_model(model).float(), model_facts(model)["vocab_size"], Size(2, 256)  # type: ignore[no-untyped-call]


def figures(full: Times, lora: Times) -> dict[str, float]:
    """From seconds of a step's worth of tokens to the ratios: the cost of a target is added up from these."""
    sft, ours, chunked, config = "transformers' loss", "timbre", "timbre, chunked SFT", TargetConfig()
    seconds = {name: median(times) for name, times in lora.items()}
    whole_sft = EPOCHS * seconds[sft]
    crossfit = (FOLDS - 1) * seconds[chunked]  # an epoch: each of the folds' adapters sees all documents but its own
    once = crossfit + seconds["score"] + EPOCHS * (seconds[ours] + seconds["read"])
    whole = once + (config.reference_epochs - 1) * crossfit
    admission = config.admission_tokens / config.train_tokens * (1 + FOLDS) * seconds["score"]
    second = EPOCHS * (seconds[ours] + seconds["read"])
    return {
        "step_ratio_full": ratio(full, ours, sft), "step_ratio_lora": ratio(lora, ours, sft),
        "step_ratio_lora_chunked_sft": ratio(lora, ours, chunked), "kd_step_ratio": ratio(lora, "resident teacher", sft),
        "kd_step_ratio_full": ratio(full, "resident teacher", sft), 
        "total_cost_ratio": whole / whole_sft, "total_cost_ratio_with_admission": (whole + admission) / whole_sft,
        "total_cost_ratio_one_epoch": once / whole_sft,
        "second_student_ratio": second / whole_sft, "admission_share": admission / whole_sft,
        "score_share_of_step": seconds["score"] / seconds[ours], "read_share_of_step": seconds["read"] / seconds[ours],
    }  # fmt: skip


def main() -> None:
    """Measure, show, and print the figures."""
    given = arguments(__doc__)
    on_the_cpu()
    model, vocab_size, size = load(given.small)
    with tempfile.TemporaryDirectory() as folder:
        step_data = StepData(model, vocab_size, size, Path(folder) / "target")
        full = alternate(steps(step_data, "full"), given.rounds)
        lora = alternate(steps(step_data, "lora"), given.rounds)

    sft = "transformers' loss"
    found = figures(full, lora)
    print(f"a step of {size.passages} × {size.tokens} tokens, vocabulary {vocab_size:,}, CPU time over {sft} = 1\n")
    seconds = {kind: {name: median(values) for name, values in times.items()} for kind, times in (("full", full), ("lora", lora))}
    show_table(
        ["", "full", "LoRA", "LoRA s"], [[name, ratio(full, name, sft), ratio(lora, name, sft), seconds["lora"][name]] for name in full]
    )
    print(
        f"\na LoRA step is {found['step_ratio_lora']:.3f} of {sft} and {found['step_ratio_lora_chunked_sft']:.3f} of chunked SFT; with the "
        f"teacher in the step it would be {found['kd_step_ratio']:.3f}\n"
        f"the whole cost is over SFT's, {EPOCHS} epochs and {FOLDS} folds; the admission test adds {found['admission_share']:.3f} to it\n"
    )
    _, missed = against_goals(found, GOALS, reasons=REASONS)
    more = {
        "epochs": EPOCHS, "folds": FOLDS, "reference_epochs": TargetConfig().reference_epochs, "tokens": size.passages * size.tokens,
        "seconds_lora": seconds["lora"], "seconds_full": seconds["full"], "missed": missed,
    }  # fmt: skip
    bars = {f"{name}, {kind}": ratio(times, name, sft) for kind, times in (("full", full), ("LoRA", lora)) for name in full}
    finish(found | more, given, bars, "CPU time of a training step", "over transformers' own loss", "step")


if __name__ == "__main__":
    main()
