"""The cross-fitted reference's adapters: the same loop on plain passages, cross-entropy only, no looks, no replay."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from timbre.artifacts import Artifact
from timbre.config import TrainingConfig
from timbre.corpus.passages import Passage
from timbre.models import load_model, model_facts
from timbre.models.loading import autocast
from timbre.progress import Progress
from timbre.training.adapters import save_adapter
from timbre.training.data import Example
from timbre.training.trainer import train


def reference_config(
    epochs: int, learning_rate: float, rank: int, batch_tokens: int, seed: int, packing: bool = False
) -> TrainingConfig:  # fmt: skip
    """How an adapter of the reference is trained: LoRA by cross-entropy on text alone."""
    return TrainingConfig(
        objective="sft", epochs=epochs, learning_rate=learning_rate, rank=rank, lora_alpha=2 * rank, batch_tokens=batch_tokens,
        replay_weight=0.0, replay_items=0, seed=seed, packing=packing, autocast=autocast("off"),
    )  # fmt: skip


def train_on_passages(
    model: Artifact,
    passages: Sequence[Passage],
    *,
    epochs: int,
    learning_rate: float,
    rank: int,
    batch_tokens: int,
    seed: int,
    scratch: Path,
    progress: Progress,
    packing: bool = False,
) -> Path:
    """An adapter of the base model on `passages`, in a folder that peft and `load_model(adapter=…)` read.

    Where passages differ much in length, `packing` saves the padding.
    Kept in `scratch`: a killed call goes on at its last checkpoint, a finished one returns at once.

    Raises:
        ValueError: no passages, or the loss diverged.
    """
    folder = scratch / "adapter"
    if folder.exists():
        return folder
    config = reference_config(epochs, learning_rate, rank, batch_tokens, seed, packing)
    examples = [Example.of_passage(passage) for passage in passages]
    result = train(load_model(model), examples, config, vocab_size=model_facts(model)["vocab_size"], scratch=scratch, progress=progress)
    staging = Path(tempfile.mkdtemp(prefix=".adapter-", dir=scratch))
    save_adapter(result.model, staging)
    staging.rename(folder)
    shutil.rmtree(scratch / "checkpoints", ignore_errors=True)
    return folder
