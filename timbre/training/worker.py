"""One of several training processes: `torchrun … -m timbre.training.worker REQUEST.json`, started by `timbre.training.launch`.

REQUEST.json: {"config": {…TrainingConfig…}, "inputs": {name: path}}. The first process leaves the adapter in the folder
`result` beside the request, or its refusal in `refusal.json`.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.artifacts import Artifact, FileInput, IntegrityError, write_atomically
from timbre.config import TrainingConfig
from timbre.progress import SILENT, Progress
from timbre.training.launch import REFUSAL, RESULT, end_with_parent
from timbre.training.replay import FILES

if TYPE_CHECKING:
    from timbre.training.parallel import World


def main(request_path: Path) -> int:
    """Train with the others; returns the exit code."""
    from timbre.training.parallel import process_group

    end_with_parent()
    try:
        with process_group() as world:
            _train(request_path, world)
    except (ValueError, IntegrityError) as error:
        kind = "IntegrityError" if isinstance(error, IntegrityError) else "ValueError"
        if os.environ["RANK"] == "0":
            write_atomically(request_path.parent / REFUSAL, json.dumps({"kind": kind, "sentence": str(error)}).encode())
        return 6 if isinstance(error, IntegrityError) else 2
    return 0


def _train(request_path: Path, world: "World") -> None:
    from timbre.training.adapters import adapter_tensors, save_adapter
    from timbre.training.stage import train_on, write_records

    request, scratch = json.loads(request_path.read_bytes()), request_path.parent
    places = {name: Path(path) for name, path in request["inputs"].items()}
    inputs = {name: FileInput(path) if name in FILES else Artifact.open(path) for name, path in places.items()}
    config = TrainingConfig.model_validate(request["config"])
    result, summary = train_on(config, inputs, scratch, Progress() if world.first else SILENT)
    tensors = adapter_tensors(result.model, keep=world.first)
    if world.first:
        staging = Path(tempfile.mkdtemp(prefix=".result-", dir=scratch))
        save_adapter(result.model, staging, tensors)
        write_records(result, summary, staging)
        shutil.rmtree(scratch / RESULT, ignore_errors=True)
        staging.rename(scratch / RESULT)
    world.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
