"""One of several training processes: `torchrun … -m timbre.training.worker REQUEST.json`, started by `timbre.training.launch`.

REQUEST.json: {"config": {…TrainingConfig…}, "inputs": {name: path}}. The first process leaves the adapter in the folder
`result` beside the request, or its refusal in `refusal.json`.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from timbre.artifacts import Artifact, FileInput, IntegrityError, write_atomically
from timbre.config import TrainingConfig
from timbre.progress import SILENT, Progress
from timbre.training.launch import REFUSAL, RESULT, end_with_parent


def main(request_path: Path) -> int:
    """Train with the others; returns the exit code."""
    from timbre.training.adapters import adapter_tensors, save_adapter
    from timbre.training.parallel import process_group
    from timbre.training.stage import train_on, write_records

    end_with_parent()
    request, scratch = json.loads(request_path.read_bytes()), request_path.parent
    config = TrainingConfig.model_validate(request["config"])
    with process_group() as world:
        try:
            places = {name: Path(path) for name, path in request["inputs"].items()}
            inputs = {name: FileInput(path) if name == "replay" else Artifact.open(path) for name, path in places.items()}
            result, summary = train_on(config, inputs, scratch, Progress() if world.first else SILENT)
            tensors = adapter_tensors(result.model)
        except (ValueError, IntegrityError) as error:
            kind = "IntegrityError" if isinstance(error, IntegrityError) else "ValueError"
            if world.first:
                write_atomically(scratch / REFUSAL, json.dumps({"kind": kind, "sentence": str(error)}).encode())
            return 6 if isinstance(error, IntegrityError) else 2
        if world.first:
            staging = Path(tempfile.mkdtemp(prefix=".result-", dir=scratch))
            save_adapter(result.model, staging, tensors)
            write_records(result, summary, staging)
            shutil.rmtree(scratch / RESULT, ignore_errors=True)
            staging.rename(scratch / RESULT)
        world.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
