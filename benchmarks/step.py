"""A whole training step: forward and backward of the model with the stored-target objective, beside what others publish.

    python -m benchmarks.step --json      the packaged model: about ten minutes on two idle cores, 10 GiB
    python -m benchmarks.step --small     seconds, a tiny random model

step_ratio_full              full fine-tuning, ours over transformers' own loss
step_ratio_lora              LoRA, ours over transformers' own loss under peft with a frozen head
step_ratio_lora_chunked_sft  LoRA, ours over our own chunked cross-entropy
kd_step_ratio                LoRA, a resident teacher of the same size (full logits) over transformers' own loss
total_cost_ratio             cross-fitting, scoring and five epochs of training over five epochs of SFT, from these steps
second_student_ratio         five epochs on a target that stands already over five epochs of SFT; reading it is counted

CPU time in alternation, one process; the optimizer's update is the same for all and left out. SFT in the cost ratios is
transformers' own loss under peft.
"""

import copy
import tempfile
import time
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

from benchmarks.measuring import alternate, arguments, finish, ratio, show_table
from timbre.config import TargetConfig, TrainingConfig
from timbre.store import StoreHeader, TargetReader, TargetRow, TargetWriter
from timbre.training.adapters import prepare
from timbre.training.data import Batch, Example, collate
from timbre.training.student import Student

EPOCHS, FOLDS, TOP_K = 5, 2, 32


@dataclass(frozen=True)
class Size:
    """Of one step."""

    passages: int
    tokens: int


class Material:
    """A model, and a step's worth of passages with targets, as the store gives them back."""

    def __init__(self, model: Any, vocab_size: int, size: Size, folder: Path) -> None:
        self.model, self.vocab_size = model, vocab_size
        random = np.random.default_rng(0)
        header = StoreHeader(
            top_k=TOP_K, vocab_size=vocab_size, tokenizer_digest="", corpus_digest="", model_digest="", folds=FOLDS,
            temperature=1.0, alpha=0.5, seed=0,
        )  # fmt: skip
        with TargetWriter(folder, header) as writer:
            for number in range(size.passages):
                writer.append(_row(number, size.tokens + 1, vocab_size, random))
        started = time.process_time()
        examples = [Example.of_row(row) for row in TargetReader(folder)]
        self.batch: Batch = collate(examples)
        self.read_seconds = time.process_time() - started


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


def steps(material: Material, adapter: str) -> dict[str, Callable[[], None]]:
    """What is compared, on one and the same trainable network."""
    network = prepare(copy.deepcopy(material.model), TrainingConfig(adapter="full" if adapter == "full" else "lora"))
    ours, sft = (Student(network, TrainingConfig(objective=name), material.vocab_size) for name in ("forward_kl", "sft"))
    teacher = copy.deepcopy(material.model) if adapter == "full" else None
    batch = material.batch
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
    return {name: partial(step, loss) for name, loss in losses.items()}


def score(material: Material) -> None:
    """What scoring a step's tokens with the reference takes: a forward pass, the softmax, and its top K."""
    with torch.no_grad():
        logits_BTV = material.model(input_ids=material.batch.input_ids_BT, attention_mask=material.batch.attention_mask_BT).logits
        for logits_TV in logits_BTV:
            logits_TV.softmax(-1).topk(TOP_K, dim=-1)


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


def main() -> None:
    """Measure, show, and print the figures."""
    given = arguments(__doc__)
    model, vocab_size, size = load(given.small)
    with tempfile.TemporaryDirectory() as folder:
        material = Material(model, vocab_size, size, Path(folder) / "target")
    full = alternate(steps(material, "full"), given.rounds)
    lora = alternate(steps(material, "lora") | {"score": partial(score, material)}, given.rounds)

    sft, ours = "transformers' loss", "timbre"
    seconds = {name: median(times) for name, times in lora.items()}
    crossfit = TargetConfig().reference_epochs * (FOLDS - 1) * seconds["timbre, chunked SFT"]
    second = EPOCHS * (seconds[ours] + material.read_seconds)
    figures: dict[str, object] = {
        "step_ratio_full": ratio(full, ours, sft), "step_ratio_lora": ratio(lora, ours, sft),
        "step_ratio_lora_chunked_sft": ratio(lora, ours, "timbre, chunked SFT"), "kd_step_ratio": ratio(lora, "resident teacher", sft),
        "kd_step_ratio_full": ratio(full, "resident teacher", sft),
        "total_cost_ratio": (crossfit + seconds["score"] + second) / (EPOCHS * seconds[sft]),
        "second_student_ratio": second / (EPOCHS * seconds[sft]),
        "read_share_of_step": material.read_seconds / seconds[ours], "epochs": EPOCHS, "folds": FOLDS,
        "reference_epochs": TargetConfig().reference_epochs, "tokens": size.passages * size.tokens, "seconds_lora": seconds,
        "seconds_full": {name: median(times) for name, times in full.items()},
    }  # fmt: skip
    print(f"a step of {size.passages} × {size.tokens} tokens, vocabulary {vocab_size:,}, CPU time over {sft} = 1\n")
    show_table(["", "full", "LoRA", "LoRA s"], [[name, ratio(full, name, sft), ratio(lora, name, sft), seconds[name]] for name in full])
    print(f"\nwhole cost over SFT, {EPOCHS} epochs, {FOLDS} folds: {figures['total_cost_ratio']:.3f}")
    print(f"a second student on the same target: {figures['second_student_ratio']:.3f}")
    bars = {f"{name}, {kind}": ratio(times, name, sft) for kind, times in (("full", full), ("LoRA", lora)) for name in full}
    finish(figures, given, bars, "CPU time of a training step", "over transformers' own loss", "step")


if __name__ == "__main__":
    main()
