"""What operations cost: figures that were not measured say why, and what was measured is not measured twice."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import operations, release_costs
from benchmarks.operations import KEYS, figures
from benchmarks.pieces import Pieces, TimeOver


def test_nothing_is_measured_unasked_and_each_null_says_why(home: Path) -> None:
    found = figures([])
    assert set(KEYS) <= set(found) and all(found[name] is None for name in KEYS)
    assert set(found["why_null"]) == set(KEYS) and all("--measure" in why for why in found["why_null"].values())
    with pytest.raises(SystemExit, match="unknown part 'speed': known are faults"):
        figures(["speed"])


def test_a_part_stops_between_pieces_and_goes_on_where_it_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import faults

    tried: list[str] = []

    def table(kinds: tuple[str, ...]) -> list[faults.Cell]:
        tried.extend(kinds)
        if len(tried) == 2:
            monkeypatch.setattr(time, "monotonic", lambda: float("inf"))  # time is over behind the second piece
        return [faults.Cell("run begun", kinds[0], "done", ())] * 15

    clock = time.monotonic
    monkeypatch.setattr(faults, "table", table)
    first = figures(["faults"], minutes=60)
    assert first["faults_tried"] is None and "give the command again" in first["why_null"]["faults_tried"]
    monkeypatch.setattr(time, "monotonic", clock)
    second = figures(["faults"])
    assert (second["faults_tried"], second["faults_survived"]) == (105, 105) and tried == list(faults.KINDS)
    assert figures([])["faults_tried"] == 105, "what is kept is shown unasked"


def test_overhead_is_what_no_stage_that_was_built_spent() -> None:
    steps = {"corpus": {"cached": False}, "target": {"cached": False}, "model": {"cached": True}}
    assert release_costs.overhead(100.0, steps, {"corpus": 20.0, "target": 50.0, "model": 900.0}) == 30.0
    assert release_costs.error(130.0, 100.0) == release_costs.error(70.0, 100.0) == pytest.approx(0.3)


def test_a_plan_is_held_to_the_pieces_without_what_it_costs_to_begin_them_again() -> None:
    parts = [{"seconds": seconds, "peak_gib": peak, "load": [1, 2]} for seconds, peak in ((200.0, 3.0), (220.0, 4.0), (80.0, 2.0))]
    found = release_costs.plan_figures({"seconds": 552.0, "memory_gib": 4.4}, parts, 20.0, {"planned_gib": 6.0, "peak_gib": 5.0})
    assert (found["release_s"], found["plan_error_time"]) == (460.0, 0.2)
    assert (found["plan_error_memory_lora"], found["plan_error_memory_full"], found["plan_error_memory"]) == (0.1, 0.2, 0.2)


def test_what_was_measured_is_kept_by_what_was_asked_and_none_begins_when_time_is_over(tmp_path: Path) -> None:
    calls: list[int] = []

    def measure() -> dict[str, float]:
        calls.append(1)
        return {"seconds": 2.0}

    pieces = Pieces(tmp_path)
    first = pieces.kept("target", {"workers": 1}, measure)
    assert pieces.kept("target", {"workers": 1}, measure) == first and len(calls) == 1
    assert pieces.kept("target", {"workers": 2}, measure)["asked"] == {"workers": 2} and len(calls) == 2
    assert first["code"] and len(first["load"]) == 2
    over = Pieces(tmp_path, ends=0.0)
    assert over.kept("target", {"workers": 1}, measure) == first
    with pytest.raises(TimeOver):
        over.kept("target", {"workers": 3}, measure)


def test_the_command_is_timed_with_the_most_memory_that_it_held() -> None:
    said, seconds, peak = release_costs.run_timbre("--version")
    assert "timbre" in said and seconds > 0 and peak > 1 << 20
    with pytest.raises(ValueError, match="ended with 2"):
        release_costs.run_timbre("run", "--style", "nobody", "--dry-run", "--json")


def test_a_piece_of_a_release_that_was_killed_is_told_and_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[str | None] = []

    def run(*_: str, also: str | None = None) -> tuple[str, float, int]:
        budgets.append(os.environ.get("TIMBRE_BUDGET_MINUTES"))
        if len(budgets) == 2:
            raise KeyboardInterrupt
        return "", 100.0, 2**30

    monkeypatch.setattr(release_costs, "run_timbre", run)
    assert release_costs._piece([], tmp_path, 3.0) == {"seconds": 100.0, "peak_gib": 1.0, "done": False}
    with pytest.raises(KeyboardInterrupt):
        release_costs._piece([], tmp_path, float("inf"))
    with pytest.raises(ValueError, match="a piece of this release was killed"):
        release_costs._piece([], tmp_path, 3.0)
    assert budgets == ["3.00", None]


def test_every_figure_is_printed_as_one_object(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(part: str, *_: Any) -> dict[str, Any]:
        return dict.fromkeys(operations._OF[part], 1.0)

    monkeypatch.setattr(operations, "_measured", measured)
    monkeypatch.setattr("sys.argv", ["operations", "--json"])
    operations.main()
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name] for name in KEYS} == dict.fromkeys(KEYS, 1.0) and found["why_null"] == {}
