"""The table of faults: the same command again makes good whatever went wrong on the way."""

import pytest

from benchmarks.faults import BOUNDARIES, KINDS, table

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_command_makes_good_what_went_wrong_at_every_boundary(kind: str) -> None:
    cells = list(table(kinds=(kind,)))
    assert len(cells) == len(BOUNDARIES)
    assert [cell for cell in cells if cell.problems] == []
    ended = {"raise": {"RuntimeError"}, "exit": {"exit code 9"}, "SIGKILL": {"signal SIGKILL"}}
    if kind in ended:
        assert {cell.first for cell in cells} == ended[kind], "the fault did happen"
