"""What `python -m benchmarks.serving` says of a bundle."""

import json
import math
import subprocess
import sys

from timbre.artifacts import Artifact
from timbre.settings import PROJECT_ROOT


def test_every_figure_of_an_engine_is_measured_and_a_miss_is_named(tiny_bundle: Artifact) -> None:
    command = [sys.executable, "-m", "benchmarks.serving", "--bundle", str(tiny_bundle.path), "--rounds", "1", "--tokens", "6", "--json"]
    figures = json.loads(subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout)
    names = {
        "first_token_ms",
        "tokens_per_s_1",
        "tokens_per_s_8",
        "tokens_per_s_32",
        "batch_gain_8",
        "control_overhead",
        "watermark_overhead",
    }
    assert names <= set(figures) and all(figures[name] > 0 and math.isfinite(figures[name]) for name in names)
    assert figures["bundle"] == tiny_bundle.digest and ("batch_gain_8" in figures["misses"]) == (figures["batch_gain_8"] < 2.5)
