"""What `python -m benchmarks.serving` says of a bundle."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.serving import KEYS
from timbre.artifacts import Artifact
from timbre.settings import PROJECT_ROOT

MEASURED = {
    "first_token_ms", "tokens_per_s_1", "tokens_per_s_8", "tokens_per_s_32", "batch_gain_8", "control_overhead", "watermark_overhead",
}  # fmt: skip
ASKED = {
    "speedup_fp32", "speedup_int8", "speedup_int4", "first_token_ms", "tokens_per_s_1", "tokens_per_s_8", "tokens_per_s_32",
    "control_overhead", "control_overhead_two", "watermark_tpr_at_1pct_fpr_200tok", "server_overhead", "cold_start_s",
}  # fmt: skip


def test_every_figure_of_an_engine_is_measured_and_a_miss_is_named(tiny_bundle: Artifact, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.serving", "--bundle", str(tiny_bundle.path), "--rounds", "1", "--tokens", "6", "--json"]
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env=os.environ | {"TIMBRE_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert ASKED <= set(KEYS) <= set(figures)
    assert all(figures[name] > 0 and math.isfinite(figures[name]) for name in MEASURED)
    assert figures["watermark_tpr_at_1pct_fpr_200tok"] >= 0.5
    unmeasured = {name for name in KEYS if figures[name] is None}
    assert unmeasured == {"speedup_fp32", "speedup_int8", "speedup_int4", "control_overhead_two", "server_overhead", "cold_start_s"}
    assert unmeasured <= set(figures["not_measured"])
    assert figures["bundle"] == tiny_bundle.digest and ("batch_gain_8" in figures["misses"]) == (figures["batch_gain_8"] < 2.5)
