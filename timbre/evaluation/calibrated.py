"""What a calibration left for the Style Diversity Score: texts of the untuned base, and whether the score passed."""

from timbre.artifacts import Artifact
from timbre.metrics.comparison import Calibrated
from timbre.metrics.style_diversity import GREEDY, HOT


def read_calibrated(calibration: Artifact, style: str, length: float | None = None) -> Calibrated:
    """The texts of an artifact "calibration", and the definition that passed.

    Args:
        length: .75, 1 or 1.25 of its `new_tokens`; None for the longest.
    """
    summary = calibration.json("calibration.json")
    rows = calibration.json_lines("texts.jsonl")
    length = max(row["length"] for row in rows) if length is None else length
    texts: dict[str, list[str]] = {}
    for row in rows:
        if row["length"] == length:
            texts.setdefault(row["set"], []).append(row["text"])
    failures = [f"{check['name']}: required {check['required']}" for check in summary["checks"] if not check["passed"]]
    anchors = {GREEDY: texts["greedy_anchor"], HOT: texts["hot_anchor"]}
    return Calibrated(style, summary["definition"], anchors, texts["base"], failures, summary.get("count"))
