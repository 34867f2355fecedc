"""`benchmarks/device.sh`: every part runs on a CPU with tiny shapes, writes its result, and is not run twice. On a GPU: not run yet."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from timbre.settings import PROJECT_ROOT

SCRIPT = PROJECT_ROOT / "benchmarks" / "device.sh"


def run(out: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"OUT": str(out), "PYTHON": sys.executable}
    return subprocess.run([str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False)


SLOW = [pytest.param(part, marks=pytest.mark.slow) for part in ("step-135m", "step-1b", "memory", "proof")]


@pytest.mark.parametrize("part", ["onnx", "bf16", *SLOW])
def test_a_part_runs_on_a_cpu_and_its_result_stands(part: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--cpu", "--tiny", part)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / f"{part}.json").read_text())
    assert result["part"] == part and result["device"] == "CPU" and result["tiny"]
    assert ("figures" in result) != ("skipped" in result) and ("skipped" not in result or part == "proof")
    if part == "onnx":
        assert result["figures"]["in_place"] and result["figures"]["max_abs_logit_difference"] < 1e-3
    if part == "bf16":
        again = run(tmp_path, "--cpu", "--tiny", part)
        assert again.returncode == 0 and "its result stands" in again.stdout


def test_parts_that_are_not_known_and_machines_without_a_device_are_refused(tmp_path: Path) -> None:
    assert "no part nonsense" in run(tmp_path, "nonsense").stderr
    import torch

    if not torch.cuda.is_available():
        done = run(tmp_path, "bf16")
        assert done.returncode == 1 and "torch sees no CUDA device" in done.stderr
