"""What a release costs beside its stages' own work, what its plan was worth, and what a second worker of a target saves.

Called by `python -m benchmarks.operations --measure release,targets`. Each piece is kept under `<home>/benchmarks/operations`, by commit
and what was asked, and is not done twice. Times say the load they were had at: on a busy machine they are about that machine.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from timbre.artifacts import digest_json, write_atomically
from timbre.settings import settings

ARMS = (1, 2)
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


def release_costs(style: str, profile: str, settled: Sequence[str] = ()) -> dict[str, Any]:
    """flow_overhead_s, cached_rerun_s, plan_error_time and plan_error_memory of one release of the home, which must be new to it.

    The overhead is the wall time of `timbre run` less what the manifests of the stages that it built say they took.
    """
    asked = {"style": style, "profile": profile, "settled": list(settled)}
    return kept("release", asked, lambda: _released(style, profile, settled))


def target_scaling(style: str, profile: str) -> dict[str, Any]:
    """targets_scaling_2_workers: wall time of one worker over that of two, one thread a worker in both arms.

    Each arm builds a target of its own seed, as large as the other's, so that neither finds what was made before.
    """
    found: dict[str, float] = {}
    for workers in ARMS:
        asked = {"style": style, "profile": profile, "workers": workers}
        found[f"target_{workers}_workers_s"] = kept("target", asked, lambda workers=workers: _target(style, profile, workers))["seconds"]  # type: ignore[misc]
    one, two = found.values()
    return found | {"targets_scaling_2_workers": round(one / two, 2)}


def overhead(wall: float, steps: Mapping[str, Mapping[str, Any]], own: Mapping[str, float]) -> float:
    """Seconds of a run that no stage spent: `own` seconds of the steps that were built in it are taken from the wall time."""
    return wall - sum(own[name] for name, step in steps.items() if not step["cached"])


def error(planned: float, took: float) -> float:
    """How far a plan was off, as a share of what came."""
    return abs(planned - took) / took


def kept(what: str, asked: Mapping[str, Any], measure: Any) -> dict[str, Any]:
    """A measurement, had now or found: by commit and what was asked."""
    about = {"what": what, "asked": dict(asked), "commit": _commit()}
    place = settings().home / "benchmarks" / "operations" / f"{what}-{digest_json(about)[:12]}.json"
    if not place.exists():
        before = os.getloadavg()[0]
        found = measure() | about | {"load": [round(before, 1), round(os.getloadavg()[0], 1)]}
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, json.dumps(found, indent=1).encode())
    return dict(json.loads(place.read_bytes()))


def _released(style: str, profile: str, settled: Sequence[str]) -> dict[str, Any]:
    words = ["--style", style, "--profile", profile, *(word for pair in settled for word in ("--set", pair))]
    plan = json.loads(_timbre("run", *words, "--dry-run", "--json")[0])
    if any(step["cached"] for step in plan["steps"]):
        raise ValueError("this home has some of that release already, and a plan is held to a whole one: name an empty home with --home")
    said, wall, peak = _timbre("run", *words, "--json")
    _, again, _ = _timbre("run", *words, "--json")
    steps = json.loads(said)["steps"]
    own = {name: _own_seconds(step) for name, step in steps.items()}
    return {
        "flow_overhead_s": round(overhead(wall, steps, own), 1),
        "cached_rerun_s": round(again, 1),
        "plan_error_time": round(error(plan["seconds"], wall), 3),
        "plan_error_memory": round(error(plan["memory_gib"], peak / 2**30), 3),
        "release_s": round(wall, 1),
        "planned_s": plan["seconds"],
        "peak_gib": round(peak / 2**30, 2),
        "planned_gib": plan["memory_gib"],
    }


def _own_seconds(step: Mapping[str, Any]) -> float:
    """What the manifest of a step's artifact says that it took."""
    found = sorted((settings().home / "artifacts").glob(f"*/{step['digest']}/manifest.json"))
    return float(json.loads(found[0].read_bytes())["built"]["seconds"])


def _target(style: str, profile: str, workers: int) -> dict[str, Any]:
    given = {"style": style, "profile": profile, "overrides": {"target.seed": 100 + workers}}
    script = settings().home / "benchmarks" / "target.py"  # a file, since the processes of a pool import what started them
    write_atomically(_made(script), _TARGET.encode())
    environment = os.environ | {"TIMBRE_TARGET_WORKERS": str(workers), "TIMBRE_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script), json.dumps(given)], env=environment, check=True, capture_output=True, text=True)
    return {"seconds": round(float(done.stdout.split()[-1]), 1)}


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _timbre(*words: str) -> tuple[str, float, int]:
    """What the command prints, how long it took, and the most memory that it and its children held together, in bytes."""
    started, peak = time.monotonic(), 0
    with subprocess.Popen([sys.executable, "-m", "timbre.cli", *words], stdout=subprocess.PIPE, text=True) as process:
        import threading

        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(process.stdout.read() if process.stdout else ""))
        reader.start()
        while process.poll() is None:
            peak = max(peak, _held(process.pid))
            time.sleep(0.05)
        reader.join()
    if process.returncode not in (0, 3, 4):  # a verdict is no failure of the run
        raise ValueError(f"timbre {' '.join(words)} ended with {process.returncode}: {said[0][-300:]}")
    return said[0], time.monotonic() - started, peak


def _held(pid: int) -> int:
    try:
        whole = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (whole, *whole.children(recursive=True)))
    except psutil.Error:
        return 0


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
