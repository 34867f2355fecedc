"""The stage "adapter": target, corpus, model and replay set in; adapter, learning curve and summary out.

At the sequence level it goes on from the token-level adapter ("start") with weighted completions ("sequence"); where those were refused it
gives that adapter back.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace, write_atomically
from timbre.config import TrainingConfig
from timbre.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from timbre.store import TargetReader
    from timbre.training.data import Example
    from timbre.training.trainer import TrainingResult


def train_adapter(
    config: TrainingConfig, target: Artifact, corpus: Artifact, model: Artifact, replay: FileInput, store: ArtifactStore
) -> Artifact:
    """The adapter trained towards `target`, found or built.

    Raises:
        ValueError: the target belongs to another corpus or tokenizer, nothing is held out, or the loss diverged.
        IntegrityError: the target is damaged.
    """
    return store.build(STAGE, config, {"target": target, "corpus": corpus, "model": model, "replay": replay})


def _build(config: TrainingConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    if "sequence" in inputs:
        from timbre.training.completions import admitted, keep_token_level

        if not admitted(inputs):
            keep_token_level(inputs, workspace.output)
            return
    if config.processes > 1:
        from timbre.training.launch import run_workers

        run_workers(config, inputs, workspace)
        return
    from timbre.training.adapters import save_adapter

    result, summary = train_on(config, inputs, workspace.scratch, workspace.progress)
    save_adapter(result.model, workspace.output)
    write_records(result, summary, workspace.output)


def train_on(
    config: TrainingConfig, inputs: Mapping[str, Input], scratch: Path, progress: Progress
) -> "tuple[TrainingResult, dict[str, Any]]":
    """Read the inputs and train; the result and the whole summary."""
    import torch

    from timbre.models import load_model, load_tokenizer, model_facts
    from timbre.models.loading import autocast
    from timbre.store import TargetReader
    from timbre.store.format import HEADER
    from timbre.training.outline import never_whole, outline
    from timbre.training.reading import Examples
    from timbre.training.trainer import train

    config = config.model_copy(update={"autocast": autocast(config.autocast)})
    stretch, beside = None, {}
    if "sequence" in inputs:
        from timbre.training.completions import about, stretch_of, training_of

        sequence = _artifact(inputs, "sequence")
        config, stretch, beside = training_of(config, sequence), stretch_of(inputs, config.seed), {"sequence": about(sequence)}
    target, corpus, model = (_artifact(inputs, name) for name in ("target", "corpus", "model"))
    facts, tokenizer = model_facts(model), load_tokenizer(model)
    target.verified(HEADER)  # and the header speaks for the shards, which the reader hashes: whatever was remembered of either
    reader = TargetReader(target.path, tokenizer_digest=facts["tokenizer_digest"], corpus_digest=corpus.digest)
    examples = Examples.stored(reader)
    longest = int(examples.lengths_E.max())
    if longest > facts["context"]:
        raise ValueError(f"passages of {longest} tokens exceed the model's context of {facts['context']}: lower target.passage_tokens")
    # What is sharded is put on the devices block by block: a large model has room there only in parts.
    place = torch.device("cpu") if config.processes > 1 and config.sharding == "fsdp2" else None
    empty = outline(model.path) if never_whole(config) and stretch is None else None
    result = train(
        load_model(model, place=place) if empty is None else empty, examples, config, vocab_size=facts["vocab_size"],
        held_out=_held_out(config, corpus, tokenizer, longest), replay=_replay(config, inputs, tokenizer, facts),
        stretch=stretch, scratch=scratch, progress=progress, weights=None if empty is None else model.path,
    )  # fmt: skip
    width = int(target.manifest.config["passage_tokens"])
    trained = [[row.doc_id, row.index * width] for row in reader.outlines()]
    return result, result.summary | _header(reader) | {"trained_passages": trained} | beside


def write_records(result: "TrainingResult", summary: dict[str, Any], folder: Path) -> None:
    """Learning curve and summary beside the adapter."""
    shutil.copyfile(result.curve, folder / result.curve.name)
    write_atomically(folder / "summary.json", json.dumps(summary, indent=2, sort_keys=True).encode() + b"\n")


def _artifact(inputs: Mapping[str, Input], name: str) -> Artifact:
    value = inputs[name]
    assert isinstance(value, Artifact), f"the input {name!r} is an artifact"
    return value


def _held_out(config: TrainingConfig, corpus: Artifact, tokenizer: "PreTrainedTokenizerBase", passage_tokens: int) -> "list[Example]":
    from timbre.corpus.documents import read_documents
    from timbre.corpus.passages import select_passages
    from timbre.models.tokens import start_ids
    from timbre.training.data import Example

    documents = read_documents(corpus, "validation")
    if not documents:
        raise ValueError("the corpus holds no validation documents to judge by: add documents or raise corpus.validation_share")
    # A fixed seed: runs that differ in their own seed are judged by the same text.
    width = max(passage_tokens - len(start_ids(tokenizer)), 16)
    passages = select_passages(documents, tokenizer, budget_tokens=config.validation_tokens, passage_tokens=width, seed=0)
    return [Example.of_passage(passage) for passage in passages]


def _replay(
    config: TrainingConfig, inputs: Mapping[str, Input], tokenizer: "PreTrainedTokenizerBase", facts: Mapping[str, Any]
) -> "list[Example]":
    from timbre.training.replay import FILES, encode_replay, read_replay

    if (config.replay_weight == 0 and config.base_kl_weight == 0) or config.replay_items == 0:
        return []
    if config.refusals and "refusals" not in inputs:
        raise ValueError("training.refusals needs the input 'refusals', a file of refusals and their harmless twins")
    files = [given.path for name in FILES if isinstance(given := inputs.get(name), FileInput)]
    assert files, "the input 'replay' is a file"
    items = read_replay(*files)
    if not items:
        raise ValueError(f"{files[0].name} holds no replay item: add some, or set training.replay_weight to 0")
    return encode_replay(items, tokenizer, facts["context"])


def _header(reader: "TargetReader") -> dict[str, Any]:
    return {"target_rows": len(reader), "target_top_k": reader.header.top_k, "target_alpha": reader.header.alpha}


STAGE: Stage[TrainingConfig] = Stage("adapter", 4, _build, runs_model=True)
