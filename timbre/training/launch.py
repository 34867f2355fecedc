"""Training in several processes: started by `torchrun`, ended with whoever started them, their refusals passed on."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from timbre.artifacts import Artifact, FileInput, Input, IntegrityError, Workspace, write_atomically
from timbre.config import TrainingConfig

REQUEST, RESULT, REFUSAL = "request.json", "result", "refusal.json"
_GRACE_SECONDS = 10


def run_workers(config: TrainingConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    """Train in `config.processes` processes of this machine, and put what they leave into the workspace's output.

    They share `workspace.scratch`: a killed run goes on there at its last checkpoint.

    Raises:
        ValueError, IntegrityError: more processes than devices, or what the workers refused.
        RuntimeError: they ended without a result.
    """
    from timbre.training.parallel import check_devices

    check_devices(config.processes)
    places = {name: str(value.path) for name, value in inputs.items() if isinstance(value, Artifact | FileInput)}
    request = workspace.scratch / REQUEST
    write_atomically(request, json.dumps({"config": config.model_dump(mode="json"), "inputs": places}).encode())
    (workspace.scratch / REFUSAL).unlink(missing_ok=True)
    if not (workspace.scratch / RESULT).exists():
        code = _torchrun(config.processes, request)
        if (workspace.scratch / REFUSAL).exists():
            refusal = json.loads((workspace.scratch / REFUSAL).read_bytes())
            raise (IntegrityError if refusal["kind"] == "IntegrityError" else ValueError)(refusal["sentence"])
        if not (workspace.scratch / RESULT).exists():
            raise RuntimeError(f"the {config.processes} training processes ended with exit code {code} and without a result")
    shutil.copytree(workspace.scratch / RESULT, workspace.output, dirs_exist_ok=True)


def _torchrun(processes: int, request: Path) -> int:
    """Run the workers to their end; when this process is interrupted, so are they."""
    from timbre.models.loading import CUBLAS

    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
        "-m", "timbre.training.worker", str(request),
    ]  # fmt: skip
    environment = dict([CUBLAS]) | os.environ | {"OMP_NUM_THREADS": _threads()}
    process = subprocess.Popen(command, stdout=sys.stderr.fileno(), env=environment)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def _threads() -> str:
    return os.environ.get("OMP_NUM_THREADS", "1")


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it dies, whatever kills that (Linux; elsewhere nothing).

    `torchrun` gives each worker a session of its own, so a signal to the group does not reach them.
    """
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL))
