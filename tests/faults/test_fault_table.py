"""The table of faults: the same command again makes good whatever went wrong on the way."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.faults import BOUNDARIES, KINDS, Cell, table

HAPPENED = {"raise": {"RuntimeError"}, "exit": {"exit code 9"}, "SIGKILL": {"signal SIGKILL"}}
"""How a command ends to which a fault of the kind did happen."""


def _hold(cells: list[Cell]) -> None:
    assert [cell for cell in cells if cell.problems] == []
    for kind, ends in HAPPENED.items():
        assert {cell.first for cell in cells if cell.kind == kind} <= ends, "the fault did happen"


def test_a_killed_command_given_again_leaves_one_version_and_one_transition() -> None:
    """Three cells of the table: before anything is stored, between ledger and alias, and before the last row."""
    cells = list(table(kinds=("SIGKILL",), boundaries=("corpus written", "transition in the ledger", "champion named")))
    assert len(cells) == 3
    _hold(cells)


def test_a_process_that_a_command_leaves_is_told_and_ended_and_no_other_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def release(_home: Path, _reached: object) -> None:
        subprocess.Popen(["sleep", "600"])

    monkeypatch.setattr(faults, "release", release)
    mine = subprocess.Popen(["sleep", "600"])
    try:
        assert faults._command(tmp_path, "never", "")[0] == "left 1 processes"
        assert mine.poll() is None
    finally:
        mine.kill()
        mine.wait()


def test_the_table_holds_at_least_forty_faults() -> None:
    assert len(BOUNDARIES) * len(KINDS) >= 40 and len(set(BOUNDARIES)) == len(BOUNDARIES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_command_makes_good_what_went_wrong_at_every_boundary(kind: str) -> None:
    cells = list(table(kinds=(kind,)))
    assert len(cells) == len(BOUNDARIES)
    _hold(cells)
