"""The second stretch of a sequence-level student: on from the token-level adapter, with weighted completions beside human text.

    loss = token-level objective on human text  +  ω · Σ_i w′_i·(−log P_θ(completion i | prompt))      w′ ∝ w + κ/n, mean a token

Completions are drawn in proportion to w′ rather than multiplied by it, which has the same mean. On p₀'s own samples the NLL with uniform
weights is KL(p₀‖P_θ) but for a constant, so the share κ of them is the leash κ·KL to the start, without a second model in memory.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.artifacts import Artifact, Input, write_atomically
from timbre.config import SequenceConfig, TrainingConfig

if TYPE_CHECKING:
    from timbre.training.data import Example

TOLERANCE = 0.01
"""Nats a token by which held-out text may become less likely than at the start; beyond that training stops."""
_ROUNDS = 8
"""How often, on average, a completion stands in the plan: the whole numbers of a plan follow weights to an eighth."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """What a student goes on with."""

    start: Path
    """The token-level adapter's folder."""
    plan: "Sequence[Example]"
    """Completions, each as often as it weighs."""
    a_step: int
    weight: float


def admitted(inputs: Mapping[str, Input]) -> bool:
    """Whether there are completions to train on."""
    sequence = inputs.get("sequence")
    return isinstance(sequence, Artifact) and bool(sequence.json("admission.json")["admitted"])


def stretch_of(inputs: Mapping[str, Input], seed: int) -> Stretch:
    """From the artifacts "sequence" and "start"."""
    from timbre.training.data import Example

    sequence, start = inputs["sequence"], inputs["start"]
    assert isinstance(sequence, Artifact) and isinstance(start, Artifact)
    config, rows = config_of(sequence), sequence.json_lines("weights.jsonl")
    counts = planned([row["weight"] for row in rows], config.anchor, seed)
    examples = [Example(np.asarray(row["token_ids"], np.int32), first_label=int(row["first_label"])) for row in rows]
    plan = [example for example, count in zip(examples, counts, strict=True) for _ in range(count)]
    return Stretch(start.path, plan, config.completions_a_step, config.completions_weight)


def config_of(sequence: Artifact) -> SequenceConfig:
    """What the artifact "sequence" was built with."""
    return SequenceConfig.model_validate(sequence.manifest.config)


def training_of(config: TrainingConfig, sequence: Artifact) -> TrainingConfig:
    """The candidate's training with the epochs and the rate of the second stretch."""
    own = config_of(sequence)
    return config.model_copy(update={"epochs": own.epochs, "learning_rate": own.learning_rate})


def planned(weights: Sequence[float], anchor: float, seed: int) -> list[int]:
    """How often each completion stands in the plan: systematic resampling of w + κ/n, so that expected counts are exact.

    Args:
        weights: in any unit; only their proportions count.
        anchor: κ, the share of uniform weights beside them.
    """
    share = np.asarray(weights, np.float64)
    share = (share / share.sum() + anchor / len(share)) / (1 + anchor)
    points = (np.random.default_rng(seed).random() + np.arange(_ROUNDS * len(share))) / (_ROUNDS * len(share))
    places = np.minimum(np.searchsorted(np.cumsum(share), points), len(share) - 1)
    return [int(count) for count in np.bincount(places, minlength=len(share))]


def keep_token_level(inputs: Mapping[str, Input], output: Path) -> None:
    """Give back the token-level adapter as it is; its summary says why."""
    start, sequence = inputs["start"], inputs["sequence"]
    assert isinstance(start, Artifact) and isinstance(sequence, Artifact)
    for name in start.manifest.files:
        if name != "summary.json":
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(output / name, start.file(name).read_bytes())
    summary = start.json("summary.json") | {"sequence": about(sequence)}
    write_atomically(output / "summary.json", json.dumps(summary, indent=2, sort_keys=True).encode() + b"\n")


def about(sequence: Artifact) -> dict[str, Any]:
    """What a student's summary says of the sequence level."""
    admission, config = sequence.json("admission.json"), config_of(sequence)
    return {"admitted": admission["admitted"], "why": admission["why"], "arm": "uniform" if config.uniform else config.weights}
