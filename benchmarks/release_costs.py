"""What a release costs beside its stages' own work, what its plan was worth, and what a second worker of a target saves.

Called by `benchmarks.operations`. Times say the load they were had at: on a busy machine they are about that machine.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.pieces import Pieces, code_digest, environment
from timbre.artifacts import write_atomically
from timbre.settings import PROJECT_ROOT, settings

ARMS = (1, 2)
_SHORTEST_MINUTES = 0.5
_LOOK_SECONDS = 0.2
"""A look at the memory of all processes takes the kernel milliseconds of each."""
_FULL = ("--set", "training.adapter=full", "--set", "training.epochs=1")
_TARGET = """
import json, sys, time
from timbre import pipeline
from timbre.artifacts import ArtifactStore
from timbre.config import release_config
from timbre.settings import settings
if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    config, store = release_config(given["style"], given["profile"], 1, given["overrides"]), ArtifactStore(settings().home)
    built = {}
    for name in ("model", "corpus"):
        built[name] = pipeline.build(name, config, store, built)
    started = time.monotonic()
    pipeline.build("target", config, store, built)
    print(time.monotonic() - started)
"""


def flow_costs(pieces: Pieces) -> dict[str, Any]:
    """flow_overhead_s and cached_rerun_s: `timbre run` of the tests' tiny model on forty short texts, with every step of the profile quick.

    The overhead is the wall time less what the manifests of the stages say they took: Prefect, MLflow, DVC, and the start of every
    process. It knows nothing of the size of the model, so a tiny one shows it.
    """
    return pieces.kept("flow", {}, lambda: _flow(pieces.folder / "flow"))


def _flow(place: Path) -> dict[str, Any]:
    shutil.rmtree(place, ignore_errors=True)
    words = _tiny_project(place)
    with environment(TIMBRE_HOME=str(place / "home"), TIMBRE_ROOT=str(place)):
        said, wall, _ = run_timbre("run", *words, "--json")
        _, again, _ = run_timbre("run", *words, "--json")
        steps = json.loads(said)["steps"]
        own = {name: _own_seconds(step) for name, step in steps.items()}
    return {
        "flow_overhead_s": round(overhead(wall, steps, own), 1), "cached_rerun_s": round(again, 1),
        "flow_s": round(wall, 1), "flow_steps": len(steps),
    }  # fmt: skip


def _tiny_project(place: Path) -> list[str]:
    """A checkout with a style of forty short texts and a policy for a tiny model; the words that `timbre run` takes there."""
    from tests.conftest import corpus_texts, write_llama, write_tokenizer
    from tests.integration.conftest import SMALL
    from tests.tiny_policy import TINY_POLICY

    for name in ("data", "mlflow"):
        shutil.copytree(PROJECT_ROOT / name, place / name)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(PROJECT_ROOT / name, place / name)
    (place / "mlflow" / "policies" / "tiny.toml").write_text(TINY_POLICY)
    texts, model = place / "texts.jsonl", place / "model"
    texts.write_text("".join(json.dumps({"author": author, "text": text}) + "\n" for author, text in corpus_texts()))
    model.mkdir()
    write_tokenizer(model, [text for _, text in corpus_texts()])
    write_llama(model, seed=0)
    with environment(TIMBRE_HOME=str(place / "home"), TIMBRE_ROOT=str(place)):
        run_timbre("corpus", "add", str(texts), "--style", "tiny", "--author", "various", "--licence", "CC0-1.0")
    return ["--style", "tiny", "--model", str(model), *(f"--set={name}={value}" for name, value in SMALL.items())]


def plan_costs(pieces: Pieces, style: str, profile: str, settled: Sequence[str] = ()) -> dict[str, Any]:
    """plan_error_time and plan_error_memory: a release of the default model in a home that has nothing but that model, in pieces.

    A piece is `timbre run` with a budget, which stops it before a stage or behind a checkpoint. The release took what its pieces took,
    less what it costs to begin each but the first: the time of a run that finds everything. Memory is the most that the command and its
    children held together; that of full fine-tuning is of `timbre stage train` in the same home. The worse of the two errors counts.

    Raises:
        TimeOver: the next call goes on.
        ValueError: a piece was killed, so that nobody knows what it took; the sentence says what to remove.
    """
    home = seeded(pieces.folder / f"plan-{code_digest()[:8]}")
    asked = {"style": style, "profile": profile, "settled": list(settled)}
    words = ["--style", style, "--profile", profile, *(f"--set={one}" for one in settled)]
    with environment(TIMBRE_HOME=str(home)):
        planned = pieces.kept("planned", asked, lambda: _planned(words))
        parts: list[dict[str, Any]] = []
        while not (parts and parts[-1]["done"]):
            number = {"piece": len(parts) + 1}
            parts.append(pieces.kept("released", asked | number, lambda: _piece(words, home, (pieces.ends - time.monotonic()) / 60)))
        rerun = pieces.kept("rerun", asked, lambda: {"seconds": run_timbre("run", *words, "--json")[1]})
        full = pieces.kept("full", asked, lambda: _full(words))
    return plan_figures(planned, parts, rerun["seconds"], full)


def plan_figures(
    planned: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], rerun_seconds: float, full: Mapping[str, Any]
) -> dict[str, Any]:
    """The errors of a plan, from what was planned and what came."""
    took = sum(part["seconds"] for part in parts) - (len(parts) - 1) * rerun_seconds
    peak = max(part["peak_gib"] for part in parts)
    lora, whole = error(planned["memory_gib"], peak), error(full["planned_gib"], full["peak_gib"])
    return {
        "plan_error_time": round(error(planned["seconds"], took), 3), "plan_error_memory": round(max(lora, whole), 3),
        "plan_error_memory_lora": round(lora, 3), "plan_error_memory_full": round(whole, 3),
        "release_s": round(took, 1), "planned_s": planned["seconds"], "release_pieces": len(parts),
        "peak_gib": peak, "planned_gib": planned["memory_gib"], "full_peak_gib": full["peak_gib"], "full_planned_gib": full["planned_gib"],
        "release_load": [load for part in parts for load in part["load"]],
    }  # fmt: skip


def _planned(words: Sequence[str], *more: str) -> dict[str, Any]:
    plan = json.loads(run_timbre("run", *words, *more, "--dry-run", "--json")[0])
    return {"seconds": plan["seconds"], "memory_gib": plan["memory_gib"], "cached": [row["step"] for row in plan["steps"] if row["cached"]]}


def _piece(words: Sequence[str], home: Path, minutes: float) -> dict[str, Any]:
    """One run with a budget. A file says while it goes on that it does: what a kill interrupts is in nobody's account."""
    begun = home / "piece-goes-on"
    if begun.exists():
        raise ValueError(f"a piece of this release was killed, and what it took is unknown: remove {home} and begin again")
    begun.touch()
    budget = {} if minutes == float("inf") else {"TIMBRE_BUDGET_MINUTES": f"{max(minutes, _SHORTEST_MINUTES):.2f}"}
    with environment(**budget):
        said, seconds, peak = run_timbre("run", *words, "--json", also="the budget of this run is spent")
    begun.unlink()
    return {"seconds": round(seconds, 1), "peak_gib": round(peak / 2**30, 2), "done": bool(said.strip())}


def _full(words: Sequence[str]) -> dict[str, Any]:
    planned = _planned(words, *_FULL)
    _, seconds, peak = run_timbre("stage", "train", *words, *_FULL)
    return {"planned_gib": planned["memory_gib"], "peak_gib": round(peak / 2**30, 2), "seconds": round(seconds, 1)}


def target_scaling(pieces: Pieces, style: str, profile: str) -> dict[str, Any]:
    """targets_scaling_2_workers: wall time of one worker over that of two, one thread a worker in both arms, of the default model.

    Each arm builds a target of its own seed, as large as the other's, so that neither finds what was made before.
    """
    found: dict[str, Any] = {}
    for workers in ARMS:
        asked = {"style": style, "profile": profile, "workers": workers}
        arm = pieces.kept("target", asked, lambda workers=workers: _target(seeded(pieces.folder / "targets"), style, profile, workers))  # type: ignore[misc]
        found |= {f"target_{workers}_workers_s": arm["seconds"], f"target_{workers}_workers_load": arm["load"]}
    return found | {"targets_scaling_2_workers": round(found["target_1_workers_s"] / found["target_2_workers_s"], 2)}


def _target(home: Path, style: str, profile: str, workers: int) -> dict[str, Any]:
    given = {"style": style, "profile": profile, "overrides": {"target.seed": 100 + workers}}
    script = home / "target.py"  # a file, since the processes of a pool import what started them
    write_atomically(script, _TARGET.encode())
    variables = os.environ | {
        "TIMBRE_HOME": str(home),
        "TIMBRE_TARGET_WORKERS": str(workers),
        "TIMBRE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([sys.executable, str(script), json.dumps(given)], env=variables, check=True, capture_output=True, text=True)
    return {"seconds": round(float(done.stdout.split()[-1]), 1)}


def seeded(home: Path) -> Path:
    """A home that has the default model already, where this one has: fetching and converting it is once and for all."""
    if not home.exists():
        staging = home.with_name(f".{home.name}")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for name in ("artifacts/model", "artifacts/decoder", "downloads"):
            if (there := settings().home / name).exists():
                shutil.copytree(there, staging / name, copy_function=os.link)
        staging.rename(home)
    return home


def overhead(wall: float, steps: Mapping[str, Mapping[str, Any]], own: Mapping[str, float]) -> float:
    """Seconds of a run that no stage spent: `own` seconds of the steps that were built in it are taken from the wall time."""
    return wall - sum(own[name] for name, step in steps.items() if not step["cached"])


def error(planned: float, took: float) -> float:
    """How far a plan was off, as a share of what came."""
    return abs(planned - took) / took


def _own_seconds(step: Mapping[str, Any]) -> float:
    """What the manifest of a step's artifact says that it took."""
    found = sorted((settings().home / "artifacts").glob(f"*/{step['digest']}/manifest.json"))
    return float(json.loads(found[0].read_bytes())["built"]["seconds"])


def run_timbre(*words: str, also: str | None = None) -> tuple[str, float, int]:
    """What the command prints, how long it took, and the most memory that it and its children held together, in bytes.

    Args:
        also: an end with code 2 that is none of a failure, by a part of its sentence.
    """
    started, peak = time.monotonic(), 0
    command = [sys.executable, "-m", "timbre.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said: list[str] = ["", ""]

        def read(index: int, stream: Any) -> None:
            said[index] = stream.read()

        readers = [threading.Thread(target=read, args=pair) for pair in enumerate((process.stdout, process.stderr))]
        for reader in readers:
            reader.start()
        while process.poll() is None:
            peak = max(peak, _held(process.pid))
            time.sleep(_LOOK_SECONDS)
        for reader in readers:
            reader.join()
    if process.returncode not in (0, 3, 4) and not (process.returncode == 2 and also and also in said[1]):  # a verdict is no failure
        raise ValueError(f"timbre {' '.join(words)} ended with {process.returncode}: {(said[1].strip() or said[0])[-300:]}")
    return said[0], time.monotonic() - started, peak


def _held(pid: int) -> int:
    try:
        whole = psutil.Process(pid)
        return sum(_shared_out(one) for one in (whole, *whole.children(recursive=True)))
    except psutil.Error:
        return 0


def _shared_out(process: psutil.Process) -> int:
    """The memory of a process; what it shares with those that were forked from it, or it from them, is divided among them."""
    held = process.memory_full_info()
    return int(getattr(held, "pss", held.rss))
