"""The pilot: settings chosen on validation documents with one seed that is not among those reported.

    nice python -m benchmarks.little_text.pilot [ARM …]

Trains the arms named (default: all), and writes what it finds of each to benchmarks/results/little-text/pilot.json: validation
curve, NLL and calibration gap after the best look and after ten epochs, and for some how well their continuations of validation
prompts are told apart from human ones. No test document is read.
"""

import json
import sys
from typing import Any

from benchmarks.little_text.arms import PILOT_SEED, REGULARISERS, SFT_LONG, SFT_RATES, SOFT, SOFT_LONG, STYLE, size
from benchmarks.little_text.cells import RESULTS
from benchmarks.recipes import Recipe
from benchmarks.students import State, curve, state_of, student, trial
from benchmarks.trial import Trial
from timbre.artifacts import Artifact, write_atomically
from timbre.metrics.told_apart import Side, told_apart

TOKENS = 2_048
HEARD = {"sft-5e-4": "best", "sft-1e-3": "best", "sft-5e-4-long": "best"} | dict.fromkeys(
    ("dft-75", "dft-75-1e-3", "dft-75-renorm", "dft-50-long", "dft-75-long"), "last"
)
"""Whose texts are told apart, and at which state."""


def main() -> None:
    """Train, read, and write one JSON."""
    path, place = RESULTS / "pilot.json", trial("little-text", STYLE, size(TOKENS), PILOT_SEED)
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    for recipe in (*SFT_RATES, *SFT_LONG, *SOFT, *SOFT_LONG, *REGULARISERS):
        if recipe.name in found or (sys.argv[1:] and recipe.name not in sys.argv[1:]):
            continue
        found[recipe.name] = _row(place, recipe)
        write_atomically(path, json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")
        print(recipe.name, json.dumps(found[recipe.name]), flush=True)


def _row(place: Trial, recipe: Recipe) -> dict[str, Any]:
    trained = student(place, recipe)
    row: dict[str, Any] = {"why": recipe.why, "curve": curve(trained)}
    states: tuple[State, ...] = ("best", "last")
    for state in states:
        adapter = state_of(place, trained, state)
        rows = place.likelihood(adapter, "validation", (1.0,))[1.0]
        tokens = sum(one["tokens"] for one in rows)
        nll, entropy = (sum(one[name] for one in rows) / tokens for name in ("nll", "entropy"))
        row[state] = {"nll": round(nll, 4), "gap": round(nll - entropy, 4), "tokens": tokens}
        if HEARD.get(recipe.name) == state:
            row[state]["told_apart"] = _told(place, adapter, recipe)
    return row


def _told(place: Trial, adapter: Artifact, recipe: Recipe) -> dict[str, float]:
    """Areas on validation prompts; the human texts are of other windows of the same documents."""
    written = place.samples(adapter, "validation", 1.0, recipe.top_p)
    texts, documents = place.human("validation")
    human = Side(texts[-len(written) :], documents[-len(written) :])
    found = told_apart(Side([row["text"] for row in written], [row["cluster"] for row in written]), human, of_one_length=True)
    return {name: round(apart.auc.mean, 4) for name, apart in found.families.items()}


if __name__ == "__main__":
    main()
