"""What `python -m benchmarks.serving` says of a bundle."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.refinement import measure, verdicts
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


def test_refinement_is_compared_at_equal_compute_with_classifiers_it_did_not_use_and_goes_on(
    tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tmp_path: Path
) -> None:
    arms = measure(tiny_bundle, tiny_parts["corpus"], 20, 16, tmp_path)
    assert arms["refined"]["score"] <= arms["plain"]["score"] and arms["best_of_n"]["score"] <= arms["plain"]["score"]
    assert arms["best_of_n"]["tokens"] >= arms["refined"]["tokens"] > arms["plain"]["tokens"]
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert measure(tiny_bundle, tiny_parts["corpus"], 20, 16, tmp_path) == arms
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == kept and len(kept) == 20
    far = {"plain": 0.9, "best_of_n": 0.72, "refined": 0.7}
    told = {arm: {"told_apart": {"words": {"auc": auc, "low": auc - 0.05, "high": auc + 0.05}}} for arm, auc in far.items()}
    assert verdicts(told) == {"plain": {"words": "wins"}, "best_of_n": {"words": "not told"}}
