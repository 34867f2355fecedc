"""What operations cost: figures that were not measured say why, and what was measured is not measured twice."""

from pathlib import Path

import pytest

from benchmarks import release_costs
from benchmarks.operations import KEYS, figures


def test_nothing_is_measured_unasked_and_each_null_says_why() -> None:
    found = figures(set())
    assert set(KEYS) <= set(found) and all(found[name] is None for name in KEYS)
    assert set(found["why_null"]) == set(KEYS) and all(found["why_null"].values())
    with pytest.raises(SystemExit, match="unknown measurement 'speed': known are faults"):
        figures({"speed"})


def test_overhead_is_what_no_stage_that_was_built_spent() -> None:
    steps = {"corpus": {"cached": False}, "target": {"cached": False}, "model": {"cached": True}}
    assert release_costs.overhead(100.0, steps, {"corpus": 20.0, "target": 50.0, "model": 900.0}) == 30.0
    assert release_costs.error(130.0, 100.0) == release_costs.error(70.0, 100.0) == pytest.approx(0.3)


def test_what_was_measured_is_kept_by_commit_and_what_was_asked(home: Path) -> None:
    calls: list[int] = []

    def measure() -> dict[str, float]:
        calls.append(1)
        return {"seconds": 2.0}

    first = release_costs.kept("target", {"workers": 1}, measure)
    assert release_costs.kept("target", {"workers": 1}, measure) == first and len(calls) == 1
    assert release_costs.kept("target", {"workers": 2}, measure)["asked"] == {"workers": 2} and len(calls) == 2
    assert first["commit"] and len(first["load"]) == 2 and list((home / "benchmarks" / "operations").glob("target-*.json"))


def test_the_command_is_timed_with_the_most_memory_that_it_held() -> None:
    said, seconds, peak = release_costs._timbre("--version")
    assert "timbre" in said and seconds > 0 and peak > 1 << 20
    with pytest.raises(ValueError, match="ended with 2"):
        release_costs._timbre("run", "--style", "nobody", "--dry-run", "--json")
