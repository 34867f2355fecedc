"""A paper estimate: what DFT of a large model on much text takes, beside SFT and a resident teacher.

    python -m benchmarks.scale                                   the table of docs/explanation/scale.md
    python -m benchmarks.scale --json --price 2.5 --tokens 1e9   one object
    python -m benchmarks.scale --check HOME                      the same arithmetic against what a release in HOME took

Nothing large is run. Arithmetic, counted in passes: a token costs 2N operations forward, 2N more for the gradients of activations, and 2N
more for those of the weights where all are trained (N parameters; Kaplan et al. 2020, §2.1). What a device does of its peak is assumed, and
named. `--check` calibrates the operations a second on one trained adapter of the home and predicts its target with the same numbers.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PEAK, MEMORY = 989e12, 80e9
"""Operations a second in bf16 and bytes of one H100 SXM, from its data sheet."""
TRAINS, SCORES = 0.40, 0.50
"""Shares of the peak, assumed: what well-kept trainers report of themselves."""
FIXED = 10.0
"""Seconds of a stage here that are no passes: loading, writing."""
_LOOKS = 3
"""Readings of held-out text for the admission: base, and each of two folds."""


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    parameters: float
    tokens: float
    epochs: int = 3
    reference_epochs: int = 1
    folds: int = 2
    top_k: int = 64
    vocabulary: int = 128_256
    full: bool = False


@dataclass(frozen=True)
class Estimate:
    """Of one method."""

    method: str
    gpu_hours: float
    gpus: int
    hours: float
    peak_bytes_a_gpu: float
    stored_bytes: float
    money: float


def operations(work: Work, method: str) -> tuple[float, float]:
    """Operations of training passes, and of passes that only read."""
    trained, read = (6 if work.full else 4) * work.parameters, 2 * work.parameters
    student = work.epochs * work.tokens * trained
    references = (work.folds - 1) * work.tokens * work.reference_epochs * 4 * work.parameters  # low-rank adapters, whatever the student
    match method:
        case "SFT":
            return student, 0.0
        case "DFT":
            return references + student, work.tokens * read
        case "resident teacher":
            return references + student, work.epochs * work.tokens * read
    raise ValueError(f"no such method: {method}")


def stored(work: Work) -> float:
    """Bytes of the target on disk: an id and a code of each of K tokens, and ten for the observed token, the tail and the rest."""
    return work.tokens * (work.top_k * ((2 if work.vocabulary <= 65_536 else 4) + 1) + 10)


def state(work: Work, method: str) -> float:
    """Bytes of weights, gradients and optimizer: bf16 weights, an adapter of 1% in fp32 with Adam; 16 a parameter where all are trained."""
    own = 16 * work.parameters if work.full else 2 * work.parameters + 0.01 * work.parameters * 16
    return own + (2 * work.parameters if method == "resident teacher" else 0)


def estimate(work: Work, method: str, price: float) -> Estimate:
    """Hours on as few devices as hold the state with a quarter of each kept for activations; sharded evenly (FSDP2)."""
    training, reading = operations(work, method)
    gpu_hours = (training / (PEAK * TRAINS) + reading / (PEAK * SCORES)) / 3600
    gpus = 1
    while state(work, method) / gpus > 0.75 * MEMORY:
        gpus *= 2
    bytes_stored = stored(work) if method == "DFT" else 0.0
    return Estimate(method, gpu_hours, gpus, gpu_hours / gpus, state(work, method) / gpus, bytes_stored, gpu_hours * price)


def table(tokens: float, price: float) -> Iterator[tuple[str, Estimate]]:
    """7B and 70B, adapters and all weights, by each method."""
    for name, parameters in (("7B", 7e9), ("70B", 70e9)):
        for full in (False, True):
            work = Work(parameters, tokens, full=full)
            for method in ("SFT", "DFT", "resident teacher"):
                yield f"{name}, {'all weights' if full else 'LoRA'}", estimate(work, method, price)


def predicted(target: dict[str, Any], training: dict[str, Any], adapter_seconds: float, folds: int = 2) -> float:
    """Seconds of a target, by the operations a second that the adapter trained on it did."""
    tokens, epochs = target["train_tokens"], training["epochs"]
    looks = epochs * tokens / training["batch_tokens"] / training["evaluate_every"] + 1
    did = 4 * epochs * tokens + 2 * looks * training["validation_tokens"]
    asked = 4 * (folds - 1) * tokens * target["reference_epochs"] + 2 * (tokens + _LOOKS * target["admission_tokens"])
    return FIXED + asked / did * (adapter_seconds - FIXED)


def check(home: Path) -> list[dict[str, Any]]:
    """Of each adapter with its target in a home: what the target took, what was predicted, and the error of that."""
    from timbre.artifacts import Artifact, ArtifactStore

    artifacts = [Artifact.open(path) for path in ArtifactStore(home).all() if path.parent.name in ("target", "adapter")]
    targets = {one.digest: one.manifest for one in artifacts if one.stage == "target"}
    found = []
    for adapter in (one.manifest for one in artifacts if one.stage == "adapter"):
        target = targets.get(adapter.inputs.get("target", ""))
        if target is not None and adapter.config["objective"] == "forward_kl":
            guess, took = predicted(target.config, adapter.config, float(adapter.built["seconds"])), float(target.built["seconds"])
            found.append({"target": target.digest[:12], "took": took, "predicted": round(guess, 1), "error": round(guess / took - 1, 3)})
    return found


def main() -> None:
    """Print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--tokens", type=float, default=1e9)
    parser.add_argument("--price", type=float, default=2.5, help="of one GPU for an hour")
    parser.add_argument("--check", type=Path, help="a home with a release: predicts what its target took")
    given = parser.parse_args()
    if given.check:
        print(json.dumps(check(given.check)))
    elif given.json:
        print(json.dumps([{"model": name} | asdict(one) for name, one in table(given.tokens, given.price)]))
    else:
        print("| model | method | GPU hours | GPUs | hours | GB a GPU | GB stored | money |\n|---|---|---|---|---|---|---|---|")
        for name, one in table(given.tokens, given.price):
            print(line(name, one))


def line(name: str, one: Estimate) -> str:
    """A row of the table."""
    return (
        f"| {name} | {one.method} | {one.gpu_hours:,.0f} | {one.gpus} | {one.hours:,.0f} | {one.peak_bytes_a_gpu / 1e9:.0f} | "
        f"{one.stored_bytes / 1e9:,.0f} | {one.money:,.0f} |"
    )


if __name__ == "__main__":
    main()
