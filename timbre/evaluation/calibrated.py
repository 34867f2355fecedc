"""What a calibration left for the Style Diversity Score: texts of the untuned base, and whether the score passed."""

import json

from timbre.artifacts import Artifact
from timbre.evaluation.against import Calibrated
from timbre.evaluation.style_diversity import GREEDY, HOT


def read_calibrated(calibration: Artifact, length: float = 1.0) -> Calibrated:
    """The texts of an artifact "calibration" at a length of its own, and the definition that passed.

    Args:
        length: .75, 1 or 1.25 of its `new_tokens`.
    """
    summary = calibration.json("calibration.json")
    rows = [json.loads(line) for line in calibration.file("texts.jsonl").read_bytes().splitlines()]
    texts: dict[str, list[str]] = {}
    for row in rows:
        if row["length"] == length:
            texts.setdefault(row["set"], []).append(row["text"])
    failures = [f"{check['name']}: asked {check['asked']}" for check in summary["checks"] if not check["passed"]]
    anchors = {GREEDY: texts["greedy_anchor"], HOT: texts["hot_anchor"]}
    return Calibrated("this style", summary["definition"], anchors, texts["base"], failures)
