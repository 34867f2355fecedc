"""The main job in a fresh home: how long it takes, and how much less its texts are told apart from human ones than the base's.

    python -m benchmarks.voice --json                       the profile quick in a home of its own, removed afterwards
    python -m benchmarks.voice --home DIR --json            the same in DIR, which stays; it must be new or only set up
    python -m benchmarks.voice --read DIR --json            figures of a run that stands in DIR, nothing is run
    python -m benchmarks.voice --objective sft              the plain student at the same setting

Set-up (model, graph, sources) is done first and not counted. Areas are of the families characters and words, mean of the two:
`auc_base`, `auc_tuned`, `auc_floor` (human against human); `auc_gain_low` is the lower of the two one-sided 95% bounds on what the
base is told apart more, paired by prompt and clustered by document. Load averages are printed beside the minutes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ReleaseConfig, release_config
from timbre.metrics.told_apart import Apart, Side, ToldApart, told_apart
from timbre.pipeline.building import find
from timbre.progress import SILENT
from timbre.settings import settings
from timbre.statistics import clustered_bound

FAMILIES = ("characters", "words")
_SET_UP = ("model", "decoder")


def main() -> None:
    """Run or read, print a table, and with `--json` one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--objective", default="forward_kl", help="forward_kl (DFT) or another (default %(default)s)")
    parser.add_argument("--home", type=Path, help="where the run is made (default: a new folder, removed afterwards)")
    parser.add_argument("--read", type=Path, help="a home whose run is read; nothing is run")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on the last line")
    given = parser.parse_args()
    config = release_config(given.style, overrides={"training.objective": given.objective})
    if given.read is not None:
        found = figures(config, given.read)
    elif given.home is not None:
        found = fresh_run(config, given.home)
    else:
        with tempfile.TemporaryDirectory(prefix="voice-", dir=settings().home.parent) as folder:
            found = fresh_run(config, Path(folder))
    for name, value in found.items():
        print(f"{name:14} {value}")
    if given.json:
        print(json.dumps(found))


def fresh_run(config: ReleaseConfig, home: Path) -> dict[str, Any]:
    """Set up, run, and read.

    Raises:
        ValueError: the home holds more than set-up leaves, so that the run would not be a fresh one.
        subprocess.CalledProcessError: set-up or the run went wrong.
    """
    if built := sorted(path.name for path in home.glob("artifacts/*") if path.name not in _SET_UP):
        raise ValueError(f"{home} holds {', '.join(built)} already: name a new folder, or read what is there with --read")
    home.mkdir(parents=True, exist_ok=True)
    if settings().downloads.is_dir():
        shutil.copytree(settings().downloads, home / "downloads", dirs_exist_ok=True)
    _timbre(home, "setup", "--style", config.style)
    before, started = os.getloadavg()[0], time.monotonic()
    out = _timbre(home, "run", "--style", config.style, "--objective", config.training.objective, "--json")
    minutes = (time.monotonic() - started) / 60
    steps = {name: round(step["seconds"], 1) for name, step in json.loads(out)["steps"].items()}
    return (
        {"job_minutes": round(minutes, 2), "load_before": round(before, 1), "load_after": round(os.getloadavg()[0], 1)}
        | figures(config, home)
        | {"verdict": json.loads(out)["verdict"], "seconds": steps}
    )


def _timbre(home: Path, *arguments: str) -> str:
    """What the command printed; 3 and 4 (FAIL, INCONCLUSIVE) are answers."""
    environment = os.environ | {"TIMBRE_HOME": str(home.absolute())}
    done = subprocess.run([sys.executable, "-m", "timbre.cli", *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 3, 4):
        raise subprocess.CalledProcessError(done.returncode, arguments)
    return done.stdout


def figures(config: ReleaseConfig, home: Path) -> dict[str, Any]:
    """Areas of base and tuned texts, the floor, and the bound on the gain.

    Raises:
        ValueError: the run is not there.
    """
    built = find(config, ArtifactStore(home, SILENT))
    if missing := [name for name in ("prompts", "base_generations", "generations") if name not in built]:
        raise ValueError(f"{home} has no {missing[0]} of this configuration: run it first, without --read")
    others = built["prompts"].json_lines("human.jsonl")
    told = [_told(built[name], others) for name in ("base_generations", "generations")]
    clusters = [row["cluster"] for row in _style(built["generations"])]
    counts = {"prompts": len(clusters), "documents": len(set(clusters))}
    missing_families = {name: each.not_measured[name] for each in told for name in FAMILIES if name not in each.families}
    if missing_families:
        nothing = dict.fromkeys(("auc_base", "auc_tuned", "auc_floor", "auc_gain_low"))
        return nothing | counts | {"families": {}, "not_measured": missing_families}
    base, tuned = (each.families for each in told)
    gains = [clustered_bound(base[name].contributions - tuned[name].contributions, clusters) for name in FAMILIES]
    floors = [floor.mean for name in FAMILIES if (floor := tuned[name].floor) is not None]
    return {
        "auc_base": _mean(base), "auc_tuned": _mean(tuned), "auc_floor": round(float(np.mean(floors)), 4) if floors else None,
        "auc_gain_low": round(min(gain.low for gain in gains), 4), **counts, "not_measured": {},
        "families": {name: {"base": round(base[name].auc.mean, 4), "tuned": round(tuned[name].auc.mean, 4)} for name in FAMILIES},
    }  # fmt: skip


def _style(generations: Artifact) -> list[dict[str, Any]]:
    return [row for row in generations.json_lines("generations.jsonl") if row["kind"] == "style"]


def _told(generations: Artifact, others: Sequence[Mapping[str, Any]]) -> ToldApart:
    rows = _style(generations)
    documents = [row["cluster"] for row in rows]
    own, human = (Side([row[field] for row in rows], documents) for field in ("text", "human"))
    rest = Side([row["text"] for row in others], [row["cluster"] for row in others])
    return told_apart(own, human, rest, of_one_length=True)


def _mean(families: Mapping[str, Apart]) -> float:
    return round(float(np.mean([families[name].auc.mean for name in FAMILIES])), 4)


if __name__ == "__main__":
    main()
