"""The most memory that a training process holds, for a target of some rows, four times and sixteen times as many.

    python -m benchmarks.store --json      prints it beside the store's other figures
    python -m benchmarks.training_memory FOLDER MODEL SCRATCH      one process of it: trains, and prints its peak in MiB

A process of its own for each size, since a peak never falls: what the kernel counts as resident at most, mapped pages and all.
The model is tiny, so that rows would show; a step is of the same size for all.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TIMES = (1, 4, 16)
_BATCH_TOKENS = 2_048


def training_peaks(write: Callable[[Path, int], float], model: Path, scratch: Path) -> dict[str, float]:
    """Peaks in MiB for stores of rows, of 4× and of 16× rows.

    Args:
        write: puts a store of so many times the rows into a folder; gives back what they come to decoded, in MiB.
        model: a folder in the form of `save_pretrained`.
        scratch: an empty folder.
    """
    found: dict[str, float] = {}
    for times in TIMES:
        folder = scratch / str(times)
        found["training_rows_mib_16x"] = write(folder / "store", times)  # the last is kept
        command = [sys.executable, "-m", "benchmarks.training_memory", str(folder / "store"), str(model), str(folder / "scratch")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"training on {times}× rows failed: {done.stderr[-2000:]}")
        found[f"training_peak_mib_{times}x"] = json.loads(done.stdout.splitlines()[-1])["peak_mib"]
    return found | {"training_peak_growth": found["training_peak_mib_16x"] / found["training_peak_mib_1x"]}


def main(store: Path, model_folder: Path, scratch: Path) -> None:
    """Train on a store for one epoch and print the peak of this process."""
    import resource

    from timbre.artifacts import ArtifactStore
    from timbre.config import ModelConfig, TrainingConfig
    from timbre.models import load_model, model_facts, resolve_model
    from timbre.progress import SILENT
    from timbre.store import TargetReader
    from timbre.training.reading import Examples
    from timbre.training.trainer import train

    scratch.mkdir(parents=True)
    model = resolve_model(ModelConfig(name=str(model_folder)), ArtifactStore(scratch / "home", SILENT))
    config = TrainingConfig(epochs=1, batch_tokens=_BATCH_TOKENS, replay_weight=0.0, replay_items=0)
    examples = Examples.stored(TargetReader(store))
    result = train(load_model(model), examples, config, vocab_size=model_facts(model)["vocab_size"], scratch=scratch, progress=SILENT)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"peak_mib": peak, "steps": result.summary["steps"], "rows": len(examples)}))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
